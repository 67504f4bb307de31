"""The JSON between clients and services: requests, answers, and what an error says."""

import dataclasses
import json

import pytest

from lab_utils.predictors.answers import decode_reading, decode_text
from lab_utils.service import schema
from lab_utils.service.schema import (
    MAX_BODY_BYTES,
    RequestError,
    encode_answer,
    error_answer,
    parse_request,
)
from text_recognizer.errors import (
    AddressError,
    DownloadError,
    ImageError,
    ImageTooLargeError,
    ModelFileError,
)
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


def test_an_image_as_base64_or_data_uri_comes_out_as_a_data_uri():
    assert parsed({"image": " aGVsbG8= "}).images == ["data:;base64,aGVsbG8="]
    assert parsed({"image": "DATA:image/png;base64,aGVs"}).images == ["DATA:image/png;base64,aGVs"]
    assert parse_request(b'{"image": "aGVs", "lines": true}').lines
    assert not parsed({"image": "aGVs", "lines": None}).lines
    assert not parsed({"image": "aGVs", "image_url": None}).many


def test_a_list_of_images_is_answered_with_a_list():
    request = parsed({"images": ["aGVs"]})
    assert request.many and len(request.images) == 1
    assert len(parsed({"images": ["aGVs"] * 16}).images) == 16
    assert encode_answer(request, [READING]) == {"preds": [{"pred": "two\nlines"}]}


def test_a_body_of_just_the_limit_is_looked_at():
    document = json.dumps({"image": ""})
    body = json.dumps({"image": "a" * (MAX_BODY_BYTES - len(document))})
    assert len(body) == MAX_BODY_BYTES
    assert parse_request(body.encode()).images


def test_a_reading_comes_back_equal_through_json():
    request = parsed({"image": "aGVs", "lines": True})
    answer = json.loads(json.dumps(encode_answer(request, [READING])))
    assert decode_reading(answer) == READING
    assert decode_text(answer) == READING.text
    doubtful = dataclasses.replace(READING, note="The text is doubtful.")
    assert decode_reading(json.loads(json.dumps(encode_answer(request, [doubtful])))) == doubtful
    assert encode_answer(parsed({"image": "aGVs"}), [doubtful])["note"] == doubtful.note
    without = encode_answer(parsed({"image": "aGVs"}), [READING])
    assert without == {"pred": "two\nlines"}
    with pytest.raises(ValueError, match="lines"):
        decode_reading(without)


ANSWER = json.loads(json.dumps(encode_answer(schema.Request(["a"], lines=True), [READING])))
LINE = ANSWER["lines"][0]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {**ANSWER, "note": 5},
        {**ANSWER, "lines": ["a"]},
        {**ANSWER, "width": "40"},
        {**ANSWER, "height": 0},
        {**ANSWER, "seconds": float("nan")},
        *(
            {**ANSWER, "lines": [{**LINE, **change}]}
            for change in (
                {"confidence": True},
                {"path": [[1]]},
                {"path": [[1, float("inf")]]},
                {"box": [1, 2, 3]},
            )
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_answer_of_another_form_is_a_value_error(answer):
    with pytest.raises(ValueError):
        decode_reading(answer)


def test_an_error_of_the_request_is_passed_on_and_a_fault_inside_stays_inside():
    for error, status in (
        (RequestError(503, "Busy.", retry_after=2), 503),
        (ImageTooLargeError("Too large."), 413),
        (ImageError("Damaged."), 422),
        (AddressError("Private."), 422),
        (DownloadError("Slow."), 422),
    ):
        assert error_answer(error) == (status, {"error": str(error)})
    for fault, status in ((TimeoutError("/secret"), 504), (ModelFileError("/secret"), 500)):
        found, document = error_answer(fault)
        assert found == status and "secret" not in document["error"]
