"""The HTTP edge without Ray: what it takes in, and what it makes of failures behind it."""

import asyncio
import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("ray", reason="Ray is not installed: python -m pip install '.[ray]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own
    import ray.serve  # noqa: F401

from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve.exceptions import BackPressureError

from lab_utils.service import ray_edge
from lab_utils.service.ray_app import Answer, PageReader
from lab_utils.service.wire import MAX_BODY_BYTES
from text_recognizer.errors import ImageError
from text_recognizer.paragraph_text_recognizer import PageReading

IMAGE = json.dumps({"image": "aGVsbG8="}).encode()


class Replicas:
    """Stands for the handle of the deployment: `handle.read.remote(source)`."""

    def __init__(self, result) -> None:
        self.result, self.cancelled = result, 0
        self.read = self

    async def remote(self, source):
        try:
            result = self.result(source) if callable(self.result) else self.result
            if asyncio.iscoroutine(result):
                result = await result
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(result, Exception):
            raise result
        return result


def answer(text: str) -> Answer:
    return Answer(PageReading(text, [], 0.1, 10, 20), None, 2, "abc", "node")


def exchange(edge, pieces=(IMAGE,), method="POST", path="/", headers=(), leave=False):
    """Status, headers and document of one request, whose body comes in pieces.

    Of an iterator, the body goes on when it is used up; with `leave`, the client goes then.
    """

    async def run():
        coming = iter([*pieces, b""] if isinstance(pieces, tuple) else pieces)
        sent = []

        async def receive():
            piece = next(coming, None)
            if piece is not None:
                return {"type": "http.request", "body": piece, "more_body": piece != b""}
            if leave:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:9100"), *headers],
        }
        await asyncio.wait_for(edge(scope, receive, send), 10)
        return sent

    sent = asyncio.run(run())
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, json.loads(body)


@pytest.fixture
def edge():
    """Makes an edge before replicas that give a result: a value, an error, or a function."""
    with ThreadPoolExecutor(1) as threads:

        def make(result, health=(200, {"status": "ok"})):
            return ray_edge.Edge(Replicas(result), lambda: health, threads)

        yield make


def test_a_reading_tells_how_it_was_read(edge):
    status, headers, document = exchange(edge(answer("text")))
    assert (status, document) == (200, {"pred": "text"})
    assert (headers["x-batch"], headers["x-model"], headers["x-node"]) == ("2", "abc", "node")


def test_a_body_may_come_in_pieces(edge):
    pieces = tuple(IMAGE[i : i + 3] for i in range(0, len(IMAGE), 3))
    assert exchange(edge(answer("text")), pieces)[0] == 200


def test_health_is_what_the_cluster_says(edge):
    starting = edge(None, health=(503, {"status": "starting"}))
    assert exchange(starting, method="GET")[::2] == (503, {"status": "starting"})
    assert exchange(starting, method="GET", path="/health")[0] == 503


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (BackPressureError(num_queued_requests=3, max_queued_requests=3), 503, "busy"),
        (ActorDiedError(), 503, "once more"),
        (ActorUnavailableError("gone", b"1" * 16), 503, "once more"),
        (TimeoutError(), 504, "in time"),
        (RuntimeError("secret"), 500, "log"),
    ],
)
def test_a_failure_behind_the_edge_is_told_by_its_status(edge, error, status, word):
    found, headers, document = exchange(edge(error))
    assert found == status
    assert word in document["error"]
    assert "secret" not in document["error"]
    assert ("retry-after" in headers) == (status == 503)


def test_a_refused_image_is_the_clients(edge):
    refusal = Answer(None, ImageError("The image is damaged."), 0, "abc", "node")
    status, _, document = exchange(edge(refusal))
    assert (status, document) == (422, {"error": "The image is damaged."})


def test_an_endless_body_is_read_no_further_than_it_may_be_long(edge):
    taken = []

    def pieces():
        while True:
            taken.append(2**20)
            yield b"x" * 2**20

    assert exchange(edge(answer("")), pieces())[0] == 413
    assert sum(taken) <= MAX_BODY_BYTES + 2**20
    length = [(b"content-length", b"999999999999")]
    assert exchange(edge(answer("")), iter(()), headers=length)[0] == 413


def test_a_slow_body_is_given_up(edge, monkeypatch):
    monkeypatch.setattr(ray_edge, "BODY_SECONDS", 0.05)
    status, _, document = exchange(edge(answer("")), iter([b"{"]))
    assert status == 408
    assert "did not arrive" in document["error"]


def test_a_page_that_takes_too_long_is_given_up(edge, monkeypatch):
    monkeypatch.setattr(ray_edge, "REQUEST_SECONDS", 0.05)
    slow = edge(lambda _source: asyncio.sleep(60))
    assert exchange(slow)[0] == 504
    assert slow._replicas.cancelled == 1


def test_a_client_that_leaves_frees_its_place(edge):
    slow = edge(lambda _source: asyncio.sleep(60))
    assert exchange(slow, leave=True) is None
    assert slow._replicas.cancelled == 1
    assert slow._open == 0


def test_more_requests_at_once_than_memory_is_for_are_refused(edge, monkeypatch):
    monkeypatch.setattr(ray_edge, "MAX_OPEN_REQUESTS", 0)
    status, headers, document = exchange(edge(answer("")))
    assert status == 503
    assert headers["retry-after"]
    assert exchange(edge(answer("")), method="GET")[0] == 200


def test_a_replica_whose_batch_never_ends_is_not_healthy():
    kind = PageReader.func_or_class
    reader = kind.__new__(kind)
    reader._batch_began = None
    reader.check_health()
    reader._batch_began = -1e9
    with pytest.raises(RuntimeError, match="has not ended"):
        reader.check_health()
