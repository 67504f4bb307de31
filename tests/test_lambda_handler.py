"""The Lambda handler by the events that Lambda makes: right answers, right statuses, and a worker
that lives on whatever it is sent. (`test_edges.py` sends it the table of bad requests.)"""

import base64
import json
from types import SimpleNamespace

import pytest
import torch
from bad_requests import png, text
from hostile_images import animated

from lab_utils.predictors.answers import decode_reading
from lab_utils.service import lambda_handler, schema
from lab_utils.service.function_url import event_of
from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.errors import ModelFileError
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

CONTEXT = SimpleNamespace(aws_request_id="one-request")
PNG = text(png(300, 200))
GOOD = {"image": PNG}
NOTED = {"note": "The text is doubtful: little of it was read with confidence."}
"""What the stand-in's low confidences lead to."""


def url_event(document: object = None, method: str = "POST", path: str = "/", **changes) -> dict:
    """What a Function URL makes of a request with this document as its JSON body."""
    body = b"" if document is None else json.dumps(document).encode()
    headers = [("content-type", "application/json")]
    return json.loads(event_of(method, path, "", headers, body, "")) | changes


@pytest.fixture
def log():
    return []


@pytest.fixture(scope="module")
def recognizer(stand_in_path):
    return ParagraphTextRecognizer(stand_in_path)


@pytest.fixture
def handler(recognizer, stand_in_path, log):
    return LambdaHandler(recognizer, stand_in_path, load_seconds=0.5, log=log.append)


def test_a_direct_event_and_one_by_url_are_answered_alike(handler, recognizer):
    assert handler(GOOD, CONTEXT) == {"pred": "300x200\ngray 127", **NOTED}
    body = json.dumps(GOOD)
    for event in (
        url_event(GOOD),
        url_event(body=base64.b64encode(body.encode()).decode(), isBase64Encoded=True),
        url_event(body=body, path="/prod/predict", method="post"),
    ):
        answer = handler(event, CONTEXT)
        assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
        assert answer["headers"]["content-type"] == "application/json"
        assert json.loads(answer["body"]) == handler(GOOD)
    refused = handler({"image": "%"})
    assert refused.pop("status") == 422
    assert json.loads(handler(url_event({"image": "%"}))["body"]) == refused


def test_lines_and_several_images_come_back_in_order(handler, recognizer):
    reading = recognizer.read(png(300, 200))
    decoded = decode_reading(json.loads(json.dumps(handler({**GOOD, "lines": True}))))
    assert decoded.lines == reading.lines
    assert (decoded.width, decoded.height, decoded.text) == (300, 200, reading.text)
    answer = handler({"images": [text(png(width, 90)) for width in (100, 110, 120)]})
    texts = [one["pred"].splitlines()[0] for one in answer["preds"]]
    assert texts == ["100x90", "110x90", "120x90"]
    assert handler({"images": [PNG]})["preds"][0]["pred"].startswith("300x200")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (url_event(), 400),
        (url_event(body="ü\x00\ud800"), 400),
        (url_event(GOOD, isBase64Encoded=True), 400),
        (url_event(body="ü" * (schema.MAX_BODY_BYTES // 2 + 1)), 413),
        (url_event(body="A" * (schema.MAX_BODY_BYTES * 2), isBase64Encoded=True), 413),
        (url_event(GOOD, rawPath=5), 400),
        (url_event(GOOD, requestContext={"http": "POST"}), 400),
        (url_event(GOOD, version="1.0"), 400),
        (None, 400),
        ({"httpMethod": "POST"}, 400),
        ({"images": ["A" * (schema.MAX_BODY_BYTES // 8)] * 9}, 413),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_events_that_are_refused(event, status, handler):
    answer = handler(event, CONTEXT)
    assert answer.get("statusCode", answer.get("status")) == status
    assert set(json.loads(answer.get("body", json.dumps(answer)))) - {"status"} == {"error"}
    assert handler(url_event(GOOD))["statusCode"] == 200


def test_health_names_the_model(handler, stand_in_path):
    for path in ("/", "/health", "/prod/health"):
        answer = handler(url_event(method="GET", path=path))
        expected = {"status": "ok", "model": schema.model_fingerprint(stand_in_path)}
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, expected)


def test_a_url_is_read_and_a_private_one_only_if_that_is_allowed(
    handler, recognizer, serve, monkeypatch, log
):
    server = serve(png(300, 200))
    refused = handler({"image_url": f"{server.url}/page.png"})
    assert (refused["status"], "private" in refused["error"], server.requests) == (422, True, [])
    monkeypatch.setattr(recognizer, "allow_private_addresses", True)
    answer = handler({"image_url": f"{server.url}/page.png"})
    assert answer == {"pred": "300x200\ngray 127", **NOTED}
    assert json.loads(log[-1])["bytes"] == len(png(300, 200))


def test_an_exception_in_the_model_is_a_500_and_the_worker_lives(
    recognizer, handler, monkeypatch, log
):
    def fail(images):
        raise RuntimeError("CUDA: /secret/place")

    monkeypatch.setattr(recognizer, "read_batch", fail)
    answer = handler(url_event(GOOD), CONTEXT)
    assert answer["statusCode"] == 500
    assert "secret" not in answer["body"] and "Error" not in answer["body"]
    record = json.loads(log[-1])
    assert "RuntimeError" in record["traceback"] and record["status"] == 500
    monkeypatch.undo()
    assert handler(url_event(GOOD))["statusCode"] == 200


def test_an_answer_that_lambda_would_not_pass_on_is_refused(handler, monkeypatch):
    size = len(json.dumps(handler(url_event({**GOOD, "lines": True}))))
    monkeypatch.setattr(lambda_handler, "MAX_ANSWER_BYTES", size - 100)
    answer = handler(url_event({**GOOD, "lines": True}))
    assert answer["statusCode"] == 413 and "without lines" in answer["body"]
    assert handler(url_event(GOOD))["statusCode"] == 200


def test_the_log_is_one_json_line_a_request_without_the_text(handler, log):
    handler(url_event({"images": [PNG, PNG]}), CONTEXT)
    handler({"image": "%"}, CONTEXT)
    handler(url_event(method="GET"))
    first, second, third = map(json.loads, log)
    assert all("\n" not in line for line in log)
    first.pop("seconds")
    assert first == {
        "message": "request",
        "request_id": "one-request",
        "cold_start": True,
        "load_seconds": 0.5,
        "bytes": len(json.dumps({"images": [PNG, PNG]})),
        "images": 2,
        "pixels": 2 * 300 * 200,
        "lines": 4,
        "characters": 2 * len("300x200\ngray 127"),
        "status": 200,
    }
    assert (second["cold_start"], second["status"]) == (False, 422)
    assert second["error"] and "traceback" not in second
    assert (third["request_id"], third["status"]) == (None, 200)
    assert "gray" not in "".join(log)
    handler({"image": text(animated("GIF", 2))})
    assert "first" in json.loads(log[-1])["notes"][0]


def test_the_model_loads_once_and_from_the_environment(stand_in_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    lambda_handler.load.cache_clear()
    try:
        assert lambda_handler.handler(GOOD, CONTEXT)["pred"].startswith("300x200")
        assert lambda_handler.handler(GOOD)["pred"].startswith("300x200")
    finally:
        lambda_handler.load.cache_clear()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["cold_start"] for record in records] == [True, False]
    assert records[0]["load_seconds"] > 0


@pytest.mark.parametrize(
    ("memory", "openmp", "threads"),
    [("512", "", 1), ("3538", "", 2), ("10240", "", 4), ("10240", "1", 7), ("", "", 7)],
)
def test_threads_follow_the_memory(memory, openmp, threads, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    monkeypatch.setattr(lambda_handler.os, "sched_getaffinity", lambda _: set(range(4)))
    chosen = [7]
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    lambda_handler.set_threads()
    assert chosen[-1] == threads


def test_without_a_model_the_start_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_MODEL", str(tmp_path / "none.pt"))
    lambda_handler.load.cache_clear()
    with pytest.raises(ModelFileError, match="There is no model file"):
        lambda_handler.load()
