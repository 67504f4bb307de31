"""The Lambda handler by the events that Lambda makes: right answers, right statuses, and a worker
that lives on whatever it is sent."""

import base64
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from bad_requests import png, text
from hostile_images import animated

from lab_utils.predictors.answers import decode_reading
from lab_utils.service import lambda_handler, schema
from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import project_folder

CONTEXT = SimpleNamespace(aws_request_id="one-request")


PNG = text(png(300, 200))
GOOD = {"image": PNG}


def url_event(document: object = None, method: str = "POST", path: str = "/", **changes) -> dict:
    """What a Function URL makes of a request with this document as its JSON body."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": path}, "requestId": "a"},
        "isBase64Encoded": False,
    }
    if document is not None:
        event["body"] = json.dumps(document)
    return event | changes


@pytest.fixture
def log():
    return []


@pytest.fixture
def recognizer(stand_in_path):
    return ParagraphTextRecognizer(stand_in_path)


@pytest.fixture
def handler(recognizer, stand_in_path, log):
    return LambdaHandler(recognizer, stand_in_path, load_seconds=0.5, log=log.append)


@pytest.fixture
def call(handler):
    """Sends a document as a direct event and by URL; returns status and answer, the same in both.

    After it, the next request must work.
    """

    def send(document: object) -> tuple[int, dict]:
        direct = handler(document, CONTEXT)
        by_url = handler(url_event(document), CONTEXT)
        answer = json.loads(by_url["body"])
        assert direct == (
            answer if by_url["statusCode"] == 200 else answer | {"status": by_url["statusCode"]}
        )
        assert handler(GOOD)["pred"].startswith("300x200")
        return by_url["statusCode"], answer

    return send


NOTED = {"note": "The text is doubtful: little of it was read with confidence."}
"""What the stand-in's low confidences lead to."""


def test_one_image_and_its_lines_when_asked(call, handler, recognizer):
    assert call(GOOD) == (200, {"pred": "300x200\ngray 127", **NOTED})
    reading = recognizer.read(png(300, 200))
    decoded = decode_reading(json.loads(json.dumps(handler({**GOOD, "lines": True}))))
    assert decoded.lines == reading.lines
    assert (decoded.width, decoded.height, decoded.text) == (300, 200, reading.text)


def test_several_images_in_their_order(call):
    sizes = [(100 + 10 * number, 90) for number in range(16)]
    images = [text(png(*size)) for size in sizes]
    status, answer = call({"images": images})
    texts = [one["pred"].splitlines()[0] for one in answer["preds"]]
    assert (status, texts) == (200, [f"{width}x{height}" for width, height in sizes])
    assert call({"images": images[:1]})[1]["preds"][0]["pred"].startswith("100x90")


def test_url_event_plain_and_base64(handler):
    body = json.dumps(GOOD)
    for event in (
        url_event(body=body),
        url_event(body=base64.b64encode(body.encode()).decode(), isBase64Encoded=True),
        url_event(body=body, path="/prod/predict", method="post"),
    ):
        answer = handler(event, CONTEXT)
        assert answer["statusCode"] == 200, answer
        assert answer["headers"]["content-type"] == "application/json"
        assert answer["isBase64Encoded"] is False
        assert json.loads(answer["body"])["pred"] == "300x200\ngray 127"


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
    ],
    ids=lambda value: repr(value)[:50],
)
def test_url_events_that_are_refused(event, status, handler):
    answer = handler(event, CONTEXT)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"]).keys() == {"error"}
    assert handler(url_event(GOOD))["statusCode"] == 200


def test_direct_events_that_are_no_requests(handler):
    many = {"images": ["A" * (schema.MAX_BODY_BYTES // 8)] * 9}
    for event, status in ((None, 400), ({"httpMethod": "POST"}, 400), (many, 413)):
        answer = handler(event)
        assert (answer["status"], answer.keys()) == (status, {"status", "error"})


def test_health_names_the_model(handler, stand_in_path):
    for path in ("/", "/health", "/prod/health"):
        answer = handler(url_event(method="GET", path=path))
        expected = {"status": "ok", "model": schema.model_fingerprint(stand_in_path)}
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, expected)


def test_a_url_is_read_and_a_private_one_only_where_that_is_allowed(
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
    many = {"images": [PNG] * 16, "lines": True}
    size = len(json.dumps(handler(url_event(many))))
    monkeypatch.setattr(lambda_handler, "MAX_ANSWER_BYTES", size - 500)
    answer = handler(url_event(many))
    assert answer["statusCode"] == 413 and "without lines" in answer["body"]
    assert handler(url_event(GOOD))["statusCode"] == 200


def test_the_log_is_one_json_line_a_request_without_the_text(handler, log):
    handler(url_event({"images": [PNG, PNG]}), CONTEXT)
    handler({"image": "%"}, CONTEXT)
    handler(url_event(method="GET"))
    first, second, third = map(json.loads, log)
    assert all("\n" not in line for line in log)
    assert 0 <= first.pop("seconds") < 10
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
        loaded = lambda_handler.load()
        assert lambda_handler.handler(GOOD)["pred"].startswith("300x200")
        assert lambda_handler.load() is loaded
    finally:
        lambda_handler.load.cache_clear()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["cold_start"] for record in records] == [True, False]
    assert records[0]["load_seconds"] > 0


@pytest.mark.parametrize(
    ("memory", "openmp", "cores", "threads"),
    [("512", None, 4, 1), ("3538", None, 4, 2), ("10240", None, 4, 4), ("10240", "1", 4, 7),
     ("", None, 4, 7)],
)  # fmt: skip
def test_threads_follow_the_memory(memory, openmp, cores, threads, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if openmp:
        monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    monkeypatch.setattr(lambda_handler.os, "sched_getaffinity", lambda _: set(range(cores)))
    chosen = [7]
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    lambda_handler.set_threads()
    assert chosen[-1] == threads


def test_without_a_model_the_start_fails(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import lab_utils.service.lambda_entry"],
        capture_output=True,
        text=True,
        cwd=project_folder(),
        env={"LAB_MODEL": str(tmp_path / "none.pt"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert "There is no model file" in done.stderr
