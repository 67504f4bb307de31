"""`lab service ray` from outside: started as a command, asked over HTTP, given another model.

`test_ray_service.py` runs this in a network of its own, since Ray also listens beyond 127.0.0.1.
The tests are in an order: the last ones change the model, and end the service.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
import pytest
import torch
from bad_requests import BAD_REQUESTS, GOOD_BODY_WITH_MARK, png, text
from conftest import StandInReader, save_script

from lab_utils.net import http_client, is_loopback
from lab_utils.predictors import RemotePredictor
from lab_utils.service.schema import model_fingerprint
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import project_folder

REPLICAS, MAX_BATCH, QUEUE_SIZE = 2, 4, 16
FITS = REPLICAS * 2 * MAX_BATCH
"""Requests that replicas take at once; further ones queue."""
SECONDS = 300


class SlowReader(StandInReader):
    """Works on a page for a while, and signs it with a name."""

    name: str

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def page_text(self, page: torch.Tensor) -> list[str]:
        work = torch.ones(400, 400)
        for _ in range(20):
            work = (work @ work) / 400.0
        paper = str(int(work.mean()))
        return [self.name + " " + paper + " " + str(page.size(1)) + "x" + str(page.size(0))]


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
def models(tmp_path_factory):
    """Files of two models, which sign with "old" and "new", and one that is served."""
    folder = tmp_path_factory.mktemp("models")
    found = {name: save_script(SlowReader(name), folder / f"{name}.pt") for name in ("old", "new")}
    return found | {"served": shutil.copyfile(found["old"], folder / "served.pt")}


class Service:
    """The command as a process."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab_utils.cli", "service", "ray", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(project_folder()), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self, word: str) -> str:
        """Its next line with a word; fails where it ends or goes silent."""
        silence = threading.Timer(SECONDS, self.process.kill)
        silence.start()
        try:
            for line in self.process.stdout:
                if word in line:
                    return line
        finally:
            silence.cancel()
        raise AssertionError(self.process.stderr.read())

    def end(self) -> tuple[int, str]:
        """SIGTERM; returns exit code and stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def service(models):
    running = Service(
        "--port", 0, "--replicas", REPLICAS, "--max-batch", MAX_BATCH, "--max-wait-ms", 20,
        "--queue-size", QUEUE_SIZE, "--model", models["served"], "--allow-private",
    )  # fmt: skip
    running.url = re.search(r"http://127\.0\.0\.1:\d+", running.line("http"))[0]
    yield running
    if running.process.poll() is None:
        running.end()


@pytest.fixture
def ask(service):
    """Sends a request; Reply."""
    with http_client(SECONDS, local=True) as client:

        def send(content=None, method="POST", path="/", headers=None) -> Reply:
            answer = client.request(method, service.url + path, content=content, headers=headers)
            document = answer.json() if answer.text else {}
            document.pop("note", None)  # pages as small as these have one
            return Reply(answer.status_code, answer.headers, document)

        yield send


def at_once(call: Callable[[Any], Any], inputs) -> list:
    inputs = list(inputs)
    with ThreadPoolExecutor(len(inputs)) as threads:
        return list(threads.map(call, inputs))


def test_pages_that_come_together_share_batches(ask):
    widths = range(50, 50 + FITS)
    replies = at_once(lambda width: ask(body(page(width))), widths)
    for width, reply in zip(widths, replies, strict=True):
        assert (reply.status, reply.document) == (200, {"pred": f"old 1 {width}x60"})
    sizes = [int(reply.headers["x-batch"]) for reply in replies]
    assert 1 < max(sizes) <= MAX_BATCH


def test_a_page_by_itself_does_not_wait_for_others(ask):
    assert ask(body(page(70))).headers["x-batch"] == "1"


def test_a_bad_page_fails_by_itself(ask):
    bodies = [body(page(80)), body(page(400, 400)[:150]), body(b"no image"), body(page(60, 4))]
    replies = at_once(ask, [*bodies, body(page(81))])
    assert [reply.status for reply in replies] == [200, 422, 422, 422, 200]
    assert "damaged" in replies[1].document["error"]


# This service may fetch from its own network.
REFUSED = [one for one in BAD_REQUESTS if not one.name.startswith("address: ")]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda one: one.name)
def test_bad_requests_are_refused(service, request_):
    with http_client(SECONDS, local=True, base_url=service.url) as client:
        answer = client.request(
            request_.method, request_.path, content=request_.body, headers=request_.headers
        )
    request_.check(answer.status_code, answer.content)


def test_images_come_back_in_order(ask):
    reply = ask(body(page(90), page(91), page(92)))
    assert [one["pred"] for one in reply.document["preds"]] == [
        f"old 1 {width}x60" for width in (90, 91, 92)
    ]
    assert len(reply.headers["x-batch"].split(",")) == 3
    assert ask(GOOD_BODY_WITH_MARK).status == 200


def test_a_url_is_fetched(ask, serve):
    server = serve(page(93))
    reply = ask(json.dumps({"image_url": server.url}).encode())
    assert (reply.status, reply.document["pred"]) == (200, "old 1 93x60")


def test_lines_are_in_px_of_the_image_that_was_sent(service, models):
    local = ParagraphTextRecognizer(models["old"]).read(page(3300, 120))
    with RemotePredictor(service.url) as predictor:
        reading = predictor.read(page(3300, 120))
    assert (reading.width, reading.height) == (3300, 120)
    assert reading.lines[0].text == local.lines[0].text
    assert reading.lines[0].box == pytest.approx(local.lines[0].box, abs=0.5)


def test_a_full_queue_sheds_and_recovers(ask, models):
    replies = at_once(lambda width: ask(body(page(width))), range(100, 196))
    assert {reply.status for reply in replies} == {200, 503}
    shed = [reply for reply in replies if reply.status == 503]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in shed)
    assert all("busy" in reply.document["error"] for reply in shed)
    health = ask(method="GET", path="/health")
    assert health.status == 200 and health.document["replicas"] == REPLICAS
    assert health.document["model"] == model_fingerprint(models["old"])
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
    assert len(outside) == REPLICAS + 1, "each reader's and the edge's"
    for port in outside:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=30)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_model_that_cannot_be_used_changes_nothing(service, ask, models):
    Path(models["served"]).write_bytes(b"no model")
    service.process.send_signal(signal.SIGHUP)
    assert "stays as it is" in service.line("model")
    assert ask(body(page(50))).document == {"pred": "old 1 50x60"}


def test_a_new_model_file_loses_no_request(service, ask, models):
    replies: list[list[Reply]] = [[], [], [], []]
    end = threading.Event()

    def keep_asking(own: list[Reply]) -> None:
        while not end.is_set():
            own.append(ask(body(page(50))))

    threads = [threading.Thread(target=keep_asking, args=(own,)) for own in replies]
    for thread in threads:
        thread.start()
    try:
        shutil.copyfile(models["new"], models["served"])
        service.process.send_signal(signal.SIGHUP)
        assert "loaded again" in service.line("model")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert {reply.status for own in replies for reply in own} == {200}
    last = ask(body(page(50)))
    assert last.document["pred"] == "new 1 50x60"
    assert last.headers["x-model"] == model_fingerprint(models["new"])


def test_sigterm_ends_it_and_all_that_it_started(service):
    port = int(service.url.rpartition(":")[2])
    code, errors = service.end()
    # Ray warns that a network of its own has no way out.
    said = [line for line in errors.splitlines() if "network_util.cc" not in line]
    assert (code, said) == (143, [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    here = {int(path.parts[2]) for path in Path("/proc").glob("[0-9]*/ns/net") if _is_here(path)}
    # The tests' own process, and its decoder of images; what Ray left would have lost its parent.
    assert here <= {os.getpid(), *(child.pid for child in psutil.Process().children())}


def _is_here(path: Path) -> bool:
    """Whether a process is in this network; only what the tests started is."""
    try:
        return os.readlink(path) == os.readlink("/proc/self/ns/net")
    except OSError:
        return False
