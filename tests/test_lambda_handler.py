"""The Lambda handler by the events that Lambda makes: right answers, right statuses, and a worker
that lives on whatever it is sent. (`test_edges.py` sends it the table of bad requests.)"""

import base64
import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from bad_requests import png, text

from lab_utils.predictors.answers import decode_reading
from lab_utils.service import lambda_handler, schema
from lab_utils.service.function_url import event_of
from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.errors import ModelFileError

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


@pytest.fixture
def handler(stand_in, stand_in_path, log):
    return LambdaHandler(stand_in, stand_in_path, load_seconds=0.5, log=log.append)


def test_a_direct_event_and_one_by_url_are_answered_alike(handler):
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


def test_several_images_come_back_in_order_with_their_lines(handler, stand_in):
    images = [png(width, 90) for width in (100, 110, 120)]
    answer = json.loads(json.dumps(handler({"images": [*map(text, images)], "lines": True})))
    readings = [decode_reading(one) for one in answer["preds"]]
    expected = [dataclasses.replace(one, seconds=0) for one in stand_in.read_batch(images)]
    assert [dataclasses.replace(one, seconds=0) for one in readings] == expected
    assert handler({"images": [PNG]})["preds"][0]["pred"].startswith("300x200")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (url_event(body="ü\x00\ud800"), 400),
        (url_event(GOOD, isBase64Encoded=True), 400),
        (url_event(body="ü" * (schema.MAX_BODY_BYTES // 2 + 1)), 413),
        (url_event(body="A" * (schema.MAX_BODY_BYTES * 2), isBase64Encoded=True), 413),
        (url_event(GOOD, rawPath=5), 400),
        (url_event(GOOD, requestContext={"http": "POST"}), 400),
        (url_event(GOOD, version="1.0"), 400),
        (None, 400),
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
    handler, stand_in, serve, monkeypatch
):
    server = serve(png(300, 200))
    refused = handler({"image_url": f"{server.url}/page.png"})
    assert (refused["status"], "private" in refused["error"], server.requests) == (422, True, [])
    monkeypatch.setattr(stand_in, "allow_private_addresses", True)
    answer = handler({"image_url": f"{server.url}/page.png"})
    assert answer == {"pred": "300x200\ngray 127", **NOTED}


def test_an_exception_in_the_model_is_a_500_and_only_the_log_says_why(
    stand_in, handler, monkeypatch, log
):
    def fail(images):
        raise RuntimeError("CUDA: /secret/place")

    monkeypatch.setattr(stand_in, "read_batch", fail)
    answer = handler(url_event(GOOD), CONTEXT)
    assert answer["statusCode"] == 500
    assert "secret" not in answer["body"] and "Error" not in answer["body"]
    record = json.loads(log[-1])
    assert "RuntimeError" in record["traceback"] and record["status"] == 500


def test_an_answer_that_lambda_would_not_pass_on_is_refused(handler, monkeypatch):
    size = len(json.dumps(handler(url_event({**GOOD, "lines": True}))))
    monkeypatch.setattr(lambda_handler, "MAX_ANSWER_BYTES", size - 100)
    answer = handler(url_event({**GOOD, "lines": True}))
    assert answer["statusCode"] == 413 and "without lines" in answer["body"]


def test_the_log_is_one_json_line_a_request_without_the_text(handler, log):
    handler(url_event({"images": [PNG, PNG]}), CONTEXT)
    handler({"image": "%"})
    first, second = map(json.loads, log)
    first.pop("seconds")
    assert first == {
        "message": "request",
        "request_id": "one-request",
        "cold_start": True,
        "load_seconds": 0.5,
        "images": 2,
        "bytes": 2 * len(f"data:;base64,{PNG}"),
        "lines": 4,
        "status": 200,
    }
    assert (second["cold_start"], second["request_id"], second["status"]) == (False, None, 422)
    assert second["error"] and "traceback" not in second
    assert "\n" not in "".join(log) and "gray" not in "".join(log)


def test_the_model_of_the_environment_loads_once(stand_in_path, tmp_path, monkeypatch, capsys):
    lambda_handler.load.cache_clear()
    monkeypatch.setenv("LAB_MODEL", str(tmp_path / "none.pt"))
    with pytest.raises(ModelFileError, match="There is no model file"):
        lambda_handler.load()
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    try:
        for _ in range(2):
            assert lambda_handler.handler(GOOD, CONTEXT)["pred"].startswith("300x200")
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
