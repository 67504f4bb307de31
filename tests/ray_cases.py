"""`lab service ray` from outside: started as a command once, and asked over HTTP.

`test_ray_service.py` runs this in a network of its own, since Ray also listens beyond 127.0.0.1.
The last test ends the service.
"""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
import pytest
import torch
from bad_requests import BAD_REQUESTS, GOOD_BODY_WITH_MARK, png, text
from conftest import StandInReader, lab_process, save_script
from generated_requests import COUNTS, generated, service_requests

from lab_utils.net import http_client, is_loopback
from lab_utils.service.schema import model_fingerprint

MAX_BATCH, QUEUE_SIZE = 4, 16
SECONDS = 300


class SlowReader(StandInReader):
    """Works on a page for a while."""

    def page_text(self, page: torch.Tensor) -> list[str]:
        work = torch.ones(400, 400)
        for _ in range(20):
            work = (work @ work) / 400.0
        return [str(int(work.mean())) + " " + str(page.size(1)) + "x" + str(page.size(0))]


class Reply(NamedTuple):
    status: int
    headers: Any
    document: dict[str, Any]


def page(width: int, height: int = 60) -> bytes:
    """A picture; the reader tells pages apart by their sizes."""
    return png(width, height)


def body(*pages: bytes) -> bytes:
    images = [text(one) for one in pages]
    return json.dumps({"image": images[0]} if len(pages) == 1 else {"images": images}).encode()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_script(SlowReader(), tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="module")
def service(model):
    """The command as a process; its address is `url`."""
    arguments = ["--port", 0, "--max-batch", MAX_BATCH, "--max-wait-ms", 20, "--model", model]
    arguments += ["--queue-size", QUEUE_SIZE, "--allow-private"]
    with lab_process("service", "ray", *arguments) as process:
        silence = threading.Timer(SECONDS, process.kill)
        silence.start()
        lines = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
        found = next(filter(None, lines), None)
        silence.cancel()
        assert found, process.stderr.read()
        process.url = found[0]
        yield process
        process.terminate()
        process.communicate(timeout=120)


@pytest.fixture
def ask(service):
    """Sends a request; Reply."""
    with http_client(SECONDS, local=True, base_url=service.url) as client:

        def send(content=None, method="POST", path="/", headers=None) -> Reply:
            answer = client.request(method, path, content=content, headers=headers)
            document = answer.json() if answer.text else {}
            document.pop("note", None)  # pages as small as these have one
            return Reply(answer.status_code, answer.headers, document)

        yield send


def at_once(ask, bodies: list[bytes]) -> list[Reply]:
    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(ask, bodies))


def test_pages_that_come_together_share_batches_and_bad_ones_fail_by_themselves(ask):
    assert ask(body(page(70))).headers["x-batch"] == "1"
    good = [body(page(width)) for width in range(50, 55)]
    bad = [body(page(400, 400)[:150]), body(b"no image"), body(page(60, 4))]
    *read, cut, none, small = at_once(ask, [*good, *bad])
    for width, reply in zip(range(50, 55), read, strict=True):
        assert (reply.status, reply.document) == (200, {"pred": f"1 {width}x60"})
    assert 1 < max(int(reply.headers["x-batch"]) for reply in read) <= MAX_BATCH
    assert (cut.status, none.status, small.status) == (422, 422, 422)
    assert "damaged" in cut.document["error"]


def test_bad_requests_are_refused(service):
    with http_client(SECONDS, local=True, base_url=service.url) as client:
        for one in BAD_REQUESTS:
            if one.name.startswith("address: "):  # this service may fetch from its own network
                continue
            answer = client.request(one.method, one.path, content=one.body, headers=one.headers)
            one.check(answer.status_code, answer.content)


@COUNTS
def test_generated_requests(service, count):
    """Each gets an answer, none a 5xx, and the good request after it is read."""
    with http_client(SECONDS, local=True, base_url=service.url) as client:

        def ask(asked: tuple[bytes, dict[str, str]]) -> None:
            answer = client.post("", content=asked[0], headers=asked[1])
            assert answer.status_code < 500, (asked[0][:200], answer.text[:300])
            assert "Traceback" not in answer.text
            assert client.post("", content=GOOD_BODY_WITH_MARK).status_code == 200
            seconds.append(answer.elapsed.total_seconds())

        seconds = []
        generated(service_requests, count, ask)
        print(f"Ray: {len(seconds)} requests and as many good ones, at most {max(seconds):.2f} s")


def test_images_come_back_in_order_and_a_url_is_fetched(ask, serve):
    reply = ask(body(page(90), page(91), page(92)))
    assert [one["pred"] for one in reply.document["preds"]] == ["1 90x60", "1 91x60", "1 92x60"]
    assert len(reply.headers["x-batch"].split(",")) == 3
    reply = ask(body(page(90), page(60, 4)))
    assert (reply.status, "Image 2 of 2: " in reply.document["error"]) == (422, True)
    assert ask(GOOD_BODY_WITH_MARK).status == 200
    reply = ask(json.dumps({"image_url": serve(page(93)).url}).encode())
    assert (reply.status, reply.document["pred"]) == (200, "1 93x60")


def test_a_full_queue_sheds_and_recovers(ask, model):
    replies = at_once(ask, [body(page(width)) for width in range(100, 160)])
    assert {reply.status for reply in replies} == {200, 503}
    shed = [reply for reply in replies if reply.status == 503]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in shed)
    assert all("busy" in reply.document["error"] for reply in shed)
    health = ask(method="GET", path="/health")
    assert (health.status, health.document["model"]) == (200, model_fingerprint(model))
    assert ask(body(page(99))).status == 200


def test_only_replicas_listen_beyond_loopback_and_they_ask_for_a_token(service):
    listening = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len(listening) > 10
    # An IPv6 socket of Ray's own parts says ::ffff:127.0.0.1.
    outside = {
        one.laddr.port: " ".join(psutil.Process(one.pid).cmdline())
        for one in listening
        if not is_loopback(one.laddr.ip.removeprefix("::ffff:"))
    }
    assert all("ServeReplica" in name for name in outside.values()), outside
    assert len(outside) == 2, "the reader's and the edge's"
    for port in outside:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=30)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_replica_that_is_replaced_reads_with_the_same_model(ask, model):
    """Also if `lab fetch` has put another file in its place."""
    fingerprint = model_fingerprint(model)
    save_script(StandInReader(), model)
    (reader,) = (pid for pid, command in processes().items() if "PageReader" in command)
    os.kill(reader, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while (reply := ask(body(page(120)))).status != 200:
        assert reply.status in (503, 504) and time.monotonic() < deadline
        time.sleep(0.2)
    assert reply.document == {"pred": "1 120x60"}
    assert ask(method="GET", path="/health").document["model"] == fingerprint


def test_sigterm_ends_it_and_all_that_it_started(service):
    service.send_signal(signal.SIGTERM)
    _, errors = service.communicate(timeout=120)
    # Ray warns that a network of its own has no way out.
    said = [line for line in errors.splitlines() if "network_util.cc" not in line]
    assert (service.returncode, said) == (143, [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])))
    # The tests' own process, and its decoder of images; what Ray left would have lost its parent.
    assert {*processes()} <= {os.getpid(), *(child.pid for child in psutil.Process().children())}


def processes() -> dict[int, str]:
    """The processes in this network, which only the tests started, with their commands."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if os.readlink(path / "ns/net") == os.readlink("/proc/self/ns/net"):
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
    return found
