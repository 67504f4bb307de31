"""The gateway in front of the pool: which events it makes of requests, what it refuses, and that a
pool loses no worker. The emulators are stand-ins that answer what a test wants."""

import asyncio
import base64
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab_utils.net import http_client
from lab_utils.service import pool as pool_module
from lab_utils.service.emulator import EmulatorDownError, Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import answer_of, event_of
from lab_utils.service.gateway import Gateway
from lab_utils.service.pool import EmulatorPool
from lab_utils.service.schema import MAX_BODY_BYTES


def returned(body: str = "{}", **fields) -> Reply:
    return Reply(200, json.dumps({"statusCode": 200, "body": body, **fields}).encode())


class StandInEmulator:
    """Answers with `reply`, or raises it; while `gate` is closed it works on."""

    def __init__(self) -> None:
        self.reply: Reply | Exception = returned()
        self.gate = threading.Event()
        self.gate.set()
        self.events: list[dict] = []
        self.calls: list[str] = []
        self.busy = 0
        self.failures = 0

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")
        self.gate.set()

    def revive(self) -> None:
        self.calls.append("revive")
        if self.calls.count("revive") <= self.failures:
            raise ServiceError("The function did not start.")

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
def emulators():
    return [StandInEmulator()]


@pytest.fixture
def gateway(emulators):
    pool = EmulatorPool(emulators, queue_size=2)
    with pool, Gateway(pool) as gateway:
        gateway.start()
        yield gateway
        for emulator in emulators:
            emulator.gate.set()


def ask(gateway, method="POST", path="/", body=b"{}", headers=None) -> tuple[int, dict, bytes]:
    kind = {"Content-Type": "application/json"} if headers is None else headers
    with http_client(20, local=True) as client:
        answer = client.request(method, gateway.url + path, content=body, headers=kind)
    return answer.status_code, answer.headers, answer.content


@pytest.fixture
def later(gateway):
    """Sends a request from a thread: the future of its status."""
    with ThreadPoolExecutor() as threads:
        yield lambda: threads.submit(lambda: ask(gateway)[0])


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_event_is_that_of_a_function_url(gateway, emulators):
    headers = {
        "Content-Type": "application/json",
        "Cookie": "a=1; b=2",
        "X-Word": "ü".encode(),
        "User-Agent": "somebody",
    }
    ask(gateway, "POST", "/a%20b/c?q=1&q=2&empty=", b'{"image": "\xc3\xbc"}', headers)
    event = emulators[0].events[0]
    assert event["version"] == "2.0"
    assert event["rawPath"] == "/a%20b/c"
    assert event["rawQueryString"] == "q=1&q=2&empty="
    assert event["queryStringParameters"] == {"q": "1,2", "empty": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["content-type"] == "application/json"
    assert "cookie" not in event["headers"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"image": "ü"}', False)
    http_context = event["requestContext"]["http"]
    assert http_context["method"] == "POST" and http_context["path"] == "/a%20b/c"
    assert (http_context["sourceIp"], http_context["userAgent"]) == ("127.0.0.1", "somebody")
    assert abs(event["requestContext"]["timeEpoch"] / 1000 - time.time()) < 60
    ask(gateway, "GET", "/health", None, {})
    assert "body" not in emulators[0].events[1]


@pytest.mark.parametrize(
    ("kind", "body", "is_base64"),
    [
        ("application/json; charset=utf-8", b"{}", False),
        ("text/plain", b"{}", False),
        ("application/json", b"\xff", True),
        ("application/octet-stream", b"{}", True),
        ("", b"{}", True),
    ],
)
def test_a_body_that_is_no_text_is_base64(kind, body, is_base64):
    event = json.loads(event_of("POST", "/", "", [("content-type", kind)], body, "127.0.0.1"))
    assert event["isBase64Encoded"] is is_base64
    content = base64.b64decode(event["body"]) if is_base64 else event["body"].encode()
    assert content == body


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"errorType": "ValueError", "errorMessage": "secret"}', 500),
        (200, b'{"errorType": "Function.ResponseSizeTooLarge"}', 500),
        (502, b'{"errorType": "Runtime.ExitError", "errorMessage": "secret"}', 502),
        (200, b"Task timed out after 3.00 seconds", 504),
        (200, b"", 502),
        (500, b"{}", 502),
        (200, b'{"statusCode": "many"}', 502),
        (200, b'{"statusCode": 200, "body": 5}', 502),
        (200, b'{"statusCode": 200, "body": "a", "isBase64Encoded": true}', 502),
        (200, b'{"statusCode": 200, "headers": 5}', 502),
    ],
)
def test_failures_of_the_function_get_a_status(status, body, expected):
    answer = answer_of(status, body)
    assert answer.status_code == expected
    assert json.loads(answer.body).keys() == {"error"}
    assert b"secret" not in answer.body


def test_what_the_function_returns_becomes_the_answer(gateway, emulators):
    emulators[0].reply = returned(
        "YWI=",
        statusCode=201,
        headers={"Content-Type": "text/plain", "X-A": "b", "Content-Length": "99"},
        cookies=["c=1"],
        isBase64Encoded=True,
    )
    status, headers, body = ask(gateway)
    assert (status, body) == (201, b"ab")
    assert headers["content-type"] == "text/plain" and headers["x-a"] == "b"
    assert headers["set-cookie"] == "c=1" and headers["content-length"] == "2"
    assert not any(name.startswith("access-control") for name in headers)
    bare = answer_of(200, b'"bare"')
    assert (bare.status_code, bare.body, bare.media_type) == (200, b'"bare"', "application/json")


def test_a_body_without_end_is_refused_while_it_is_read(gateway, emulators):
    def pieces():
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield b"a" * 65536

    status, _, answer = ask(gateway, body=pieces())
    assert status == 413 and b"more than" in answer
    assert emulators[0].events == []
    assert ask(gateway)[0] == 200


def test_requests_that_arrive_slowly_keep_nobody_out(gateway, emulators):
    """However many bodies are begun and not finished, a whole request finds a place."""
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            slow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n{")
        assert ask(gateway)[0] == 200
    assert len(emulators[0].events) == 1


def test_an_event_over_the_limit_is_refused(gateway, emulators):
    # The body just fits, the event around it does not.
    assert ask(gateway, body=b"a" * MAX_BODY_BYTES)[0] == 413
    assert ask(gateway, body=b"a" * (MAX_BODY_BYTES - 4000))[0] == 200
    # Quotation marks take two characters within the event.
    assert ask(gateway, body=b'"' * (MAX_BODY_BYTES // 2))[0] == 413
    assert len(emulators[0].events) == 1


def test_more_requests_than_the_queue_holds_are_told_when_to_come_again(gateway, emulators, later):
    emulators[0].gate.clear()
    waiting = [later() for _ in range(3)]  # one at work, two in the queue
    until(lambda: gateway.pool.present == 3)
    status, headers, body = ask(gateway)
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body).keys() == {"error"}
    emulators[0].gate.set()
    assert [one.result() for one in waiting] == [200] * 3
    assert ask(gateway)[0] == 200
    assert len(emulators[0].events) == 4


def test_requests_are_spread_over_idle_workers(gateway, emulators, later):
    other = StandInEmulator()
    gateway.pool.emulators.append(other)
    gateway.pool._idle.put_nowait(other)
    emulators[0].gate.clear()
    other.gate.clear()
    waiting = [later() for _ in range(2)]
    until(lambda: emulators[0].busy == other.busy == 1)
    emulators[0].gate.set()
    other.gate.set()
    assert [one.result() for one in waiting] == [200] * 2


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (EmulatorDownError("gone"), 502),
        (TimeoutError(), 504),
        (Reply(502, b'{"errorType": "Runtime.ExitError"}'), 502),
        (Reply(200, b"Task timed out after 3.00 seconds"), 504),
    ],
    ids=["down", "silent", "exit", "timeout"],
)
def test_a_worker_that_failed_is_brought_back(gateway, emulators, reply, status, monkeypatch):
    """However often that has to be tried."""
    monkeypatch.setattr(pool_module, "_PAUSES", (0.0, 0.01))
    emulators[0].failures = 3
    emulators[0].reply = reply
    found, _, body = ask(gateway)
    assert found == status
    assert json.loads(body).keys() == {"error"}
    emulators[0].reply = returned()
    assert ask(gateway)[0] == 200
    assert emulators[0].calls.count("revive") == 4


def test_nobody_works_for_a_client_that_has_gone(gateway, emulators, later):
    emulators[0].gate.clear()
    first = later()
    until(lambda: emulators[0].busy == 1)
    with socket.create_connection(("127.0.0.1", gateway.port)) as gone:
        gone.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        until(lambda: gateway.pool.present == 2)
    emulators[0].gate.set()
    assert first.result() == 200
    until(lambda: gateway.pool.present == 0)
    assert len(emulators[0].events) == 1
    assert ask(gateway)[0] == 200


def test_bytes_that_are_no_http_get_an_answer_or_an_end(gateway):
    for data in (b"\x00" * 100, b"GET no HTTP", b"POST / HTTP/1.1\r\n" + b"a" * 100_000):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
            raw.sendall(data + b"\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(100)[:10] in (b"HTTP/1.1 4", b"")
    assert ask(gateway)[0] == 200


def test_a_pool_that_cannot_start_ends_what_has_started():
    good, bad = StandInEmulator(), StandInEmulator()

    def fail() -> None:
        raise ServiceError("No model.")

    bad.start = fail
    with pytest.raises(ServiceError, match=r"No model\."), EmulatorPool([good, bad]):
        pass
    assert good.calls[0] == "start" and good.calls[-1] == "stop"


def test_a_request_cut_off_at_the_end_leaves_the_pool_clean():
    emulator = StandInEmulator()
    emulator.gate.clear()
    pool = EmulatorPool([emulator])

    async def wanted() -> bool:
        return True

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.invoke(b"{}", wanted)
        emulator.gate.set()
        # The work went on, and the worker serves the next one only after it.
        assert (await pool.invoke(b"{}", wanted)) == returned()

    with pool:
        asyncio.run(give_up())
