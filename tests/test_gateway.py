"""The gateway: which events it makes of requests, what it refuses, and that it loses no function.
The functions are stand-ins that answer what a test wants."""

import base64
import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import until

from lab_utils.net import http_client
from lab_utils.service.emulator import Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import answer_of, event_of
from lab_utils.service.gateway import Gateway
from lab_utils.service.schema import MAX_BODY_BYTES


def returned(body: str = "{}", **fields) -> Reply:
    return Reply(200, json.dumps({"statusCode": 200, "body": body, **fields}).encode())


class StandIn:
    """Answers with `reply`, or raises it; while `gate` is closed it works on."""

    def __init__(self) -> None:
        self.reply: Reply | Exception = returned()
        self.gate = threading.Event()
        self.gate.set()
        self.events: list[dict] = []
        self.calls: list[str] = []
        self.busy = 0

    def start(self) -> None:
        self.calls.append("start")
        if isinstance(self.reply, Exception):
            raise self.reply

    def stop(self) -> None:
        self.calls.append("stop")
        self.gate.set()

    def invoke(self, event: bytes) -> Reply:
        self.busy += 1
        assert self.busy == 1, "two requests at once"
        self.events.append(json.loads(event))
        self.gate.wait(20)
        self.busy -= 1
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@pytest.fixture
def function():
    return StandIn()


@pytest.fixture
def gateway(function):
    with Gateway([function], queue_size=2) as gateway:
        yield gateway
        function.gate.set()


def ask(gateway, method="POST", path="/", body=b"{}", headers=None) -> httpx.Response:
    kind = {"Content-Type": "application/json"} if headers is None else headers
    with http_client(20, local=True) as client:
        return client.request(method, gateway.url + path, content=body, headers=kind)


@contextlib.contextmanager
def later(gateway, count: int):
    """So many requests on their way: the futures of their statuses."""
    with ThreadPoolExecutor(count) as threads:
        yield [threads.submit(lambda: ask(gateway).status_code) for _ in range(count)]


def test_the_event_is_that_of_a_function_url(gateway, function):
    headers = {"Content-Type": "application/json", "User-Agent": "me"}
    ask(gateway, "POST", "/a%20b/c?q=1&q=2&empty=", b'{"image": "\xc3\xbc"}', headers)
    ask(gateway, "GET", "/health", None, {})
    event, health = function.events
    assert (event["version"], event["rawPath"]) == ("2.0", "/a%20b/c")
    assert event["queryStringParameters"] == {"q": "1,2", "empty": ""}
    assert event["headers"]["content-type"] == "application/json"
    assert (event["body"], event["isBase64Encoded"]) == ('{"image": "ü"}', False)
    http_context = event["requestContext"]["http"]
    assert (http_context["method"], http_context["path"]) == ("POST", "/a%20b/c")
    assert (http_context["sourceIp"], http_context["userAgent"]) == ("127.0.0.1", "me")
    assert "body" not in health
    for kind, body in (("application/json", b"\xff"), ("application/octet-stream", b"{}")):
        event = json.loads(event_of("POST", "/", "", [("content-type", kind)], body, ""))
        assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == body


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"errorType": "ValueError", "errorMessage": "secret"}', 500),
        (502, b'{"errorType": "Runtime.ExitError", "errorMessage": "secret"}', 502),
        (200, b"Task timed out after 3.00 seconds", 504),
        (200, b"", 502),
        (200, b'{"statusCode": 200, "body": 5}', 502),
    ],
)
def test_failures_of_the_function_get_a_status(status, body, expected):
    answer = answer_of(status, body)
    assert answer.status_code == expected
    assert json.loads(answer.body).keys() == {"error"}
    assert b"secret" not in answer.body


def test_what_the_function_returns_becomes_the_answer(gateway, function):
    headers = {"Content-Type": "text/plain", "X-A": "b", "Content-Length": "99"}
    function.reply = returned("YWI=", statusCode=201, headers=headers, isBase64Encoded=True)
    answer = ask(gateway)
    assert (answer.status_code, answer.content) == (201, b"ab")
    assert answer.headers["content-type"] == "text/plain" and answer.headers["x-a"] == "b"
    assert answer.headers["content-length"] == "2"
    bare = answer_of(200, b'"bare"')
    assert (bare.status_code, bare.body, bare.media_type) == (200, b'"bare"', "application/json")


def test_an_event_over_the_limit_is_refused(gateway, function):
    # The body just fits, the event around it does not.
    assert ask(gateway, body=b"a" * MAX_BODY_BYTES).status_code == 413
    assert ask(gateway, body=b"a" * (MAX_BODY_BYTES - 4000)).status_code == 200
    # Quotation marks take two characters within the event.
    assert ask(gateway, body=b'"' * (MAX_BODY_BYTES // 2)).status_code == 413
    assert len(function.events) == 1


def test_more_requests_than_the_queue_holds_are_refused_for_a_second(gateway, function):
    function.gate.clear()
    with later(gateway, 3) as waiting:  # one at work, two in the queue
        assert until(lambda: gateway.present == 3)
        answer = ask(gateway)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json().keys() == {"error"}
        function.gate.set()
    assert [one.result() for one in waiting] == [200] * 3
    assert ask(gateway).status_code == 200
    assert len(function.events) == 4


def test_requests_are_spread_over_idle_functions():
    pair = StandIn(), StandIn()
    for one in pair:
        one.gate.clear()
    with Gateway(pair) as gateway, later(gateway, 2) as waiting:
        assert until(lambda: all(one.busy == 1 for one in pair))
        for one in pair:
            one.gate.set()
    assert [asked.result() for asked in waiting] == [200] * 2


def test_a_function_that_does_not_start_is_tried_again(gateway, function):
    function.reply = ServiceError("The function did not start.")
    answer = ask(gateway)
    assert (answer.status_code, list(answer.json())) == (502, ["error"])
    function.reply = returned()
    assert ask(gateway).status_code == 200


def test_nobody_works_for_a_client_that_has_gone(gateway, function):
    function.gate.clear()
    with later(gateway, 1) as (first,):
        assert until(lambda: function.busy == 1)
        with socket.create_connection(("127.0.0.1", gateway.port)) as gone:
            gone.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            assert until(lambda: gateway.present == 2)
        function.gate.set()
    assert first.result() == 200
    assert until(lambda: gateway.present == 0)
    assert len(function.events) == 1
    assert ask(gateway).status_code == 200


def test_a_gateway_that_cannot_start_ends_what_has_started(function):
    other = StandIn()
    other.reply = ServiceError("No model.")
    with pytest.raises(ServiceError, match=r"No model\."), Gateway([function, other]):
        pass
    assert function.calls[0] == "start" and function.calls[-1] == "stop"
