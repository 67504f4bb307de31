"""The JSON between clients and services: requests, answers, and what an error says.
(`test_edges.py` sends the requests that are refused.)"""

import json

import pytest

from lab_utils.predictors.answers import decode_reading
from lab_utils.service import schema
from lab_utils.service.schema import (
    MAX_BODY_BYTES,
    RequestError,
    encode_answer,
    error_answer,
    parse_request,
)
from text_recognizer.errors import DownloadError, ImageTooLargeError, ModelFileError
from text_recognizer.paragraph_text_recognizer import Line, PageReading

READING = PageReading(
    "two\nlines",
    [
        Line("two", 0.875, [(1.0, 2.5), (30.0, 3.5)], 12.5, (1.0, 0.0, 30.0, 9.7)),
        Line("lines", 0.5, [(1.0, 22.5), (30.0, 23.5)], 12.0, (1.0, 16.0, 30.0, 29.7), block=1),
    ],
    0.25,
    40,
    60,
)


def parsed(document: object) -> schema.Request:
    return parse_request(json.dumps(document).encode())


def test_images_come_out_as_data_uris():
    assert parsed({"image": " aGVsbG8= "}).images == ["data:;base64,aGVsbG8="]
    assert parsed({"image": "DATA:image/png;base64,aGVs"}).images == ["DATA:image/png;base64,aGVs"]
    assert parsed({"image": "aGVs", "lines": True}).lines
    assert parsed({"image": "aGVs", "lines": None}).lines is False
    assert not parsed({"image": "aGVs", "image_url": None}).many
    request = parsed({"images": ["aGVs"]})
    assert encode_answer(request, [READING]) == {"preds": [{"pred": "two\nlines"}]}
    just_fits = b'{"image": "' + b"a" * (MAX_BODY_BYTES - 13) + b'"}'
    assert len(just_fits) == MAX_BODY_BYTES and parse_request(just_fits).images


ANSWER = json.loads(json.dumps(encode_answer(schema.Request(["a"], lines=True), [READING])))
LINE = ANSWER["lines"][0]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {**ANSWER, "height": 0},
        {**ANSWER, "width": 2**31},
        {**ANSWER, "seconds": float("nan")},
        {**ANSWER, "lines": [{**LINE, "confidence": True}]},
        {**ANSWER, "lines": [{**LINE, "path": [[1, float("inf")]]}]},
        {**ANSWER, "lines": [{**LINE, "path": [[1, 10**400]]}]},
        {**ANSWER, "lines": [{**LINE, "box": [1, 2, 3]}]},
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_answer_of_another_form_is_a_value_error(answer):
    with pytest.raises(ValueError):
        decode_reading(answer)


def test_an_error_of_the_request_is_passed_on_and_a_fault_inside_stays_inside():
    busy = RequestError(503, "Busy.", retry_after=2)
    assert error_answer(busy) == (503, {"error": "Busy."}, {"retry-after": "2"})
    for error, status in ((ImageTooLargeError("Too large."), 413), (DownloadError("Slow."), 422)):
        assert error_answer(error) == (status, {"error": str(error)}, {})
    for fault, status in ((TimeoutError("/secret"), 504), (ModelFileError("/secret"), 500)):
        found, document, _ = error_answer(fault)
        assert found == status and "secret" not in document["error"]
