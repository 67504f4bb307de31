"""The batching service: one Ray cluster of two nodes for all of these tests, in a private network.

They stand in the order in which the cluster can bear them: the last ones kill a node, and end it.
"""

import base64
import http.client
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import StandInReader, save_script
from PIL import Image, ImageDraw

from lab_utils.predictors import RemotePredictor
from lab_utils.predictors.retrying import Clock
from lab_utils.process import session_members
from lab_utils.service.errors import ServiceError
from lab_utils.service.ray_service import STOP_SECONDS, RayService, has_private_networks
from lab_utils.service.ray_settings import Settings
from lab_utils.service.wire import model_fingerprint
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

pytest.importorskip("ray", reason="Ray is not installed: python -m pip install '.[ray]'")
if not has_private_networks():
    pytest.skip(
        "Ray listens on all addresses, and this machine has no private network to put it into",
        allow_module_level=True,
    )

REPLICAS, MAX_BATCH, QUEUE_SIZE = 2, 4, 16
FITS = REPLICAS * 2 * MAX_BATCH
"""Requests that replicas take at once; beyond these, they queue."""


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
    headers: http.client.HTTPMessage
    document: dict[str, Any]


def page(width: int, height: int = 60) -> Image.Image:
    """White paper with a black line; the reader tells the pages by their sizes."""
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).line((5, 30, width - 5, 30), fill=0, width=3)
    return image


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def uri(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of two models, which sign with "old" and "new"."""
    folder = tmp_path_factory.mktemp("models")
    return {name: save_script(SlowReader(name), folder / f"{name}.pt") for name in ("old", "new")}


@pytest.fixture(scope="module")
def service(models):
    settings = Settings(models["old"], REPLICAS, MAX_BATCH, 20, QUEUE_SIZE)
    nodes = Path(__file__).with_name("ray_two_nodes.py")
    with RayService(settings, allow_private_addresses=True, program=[str(nodes)]) as running:
        yield running


@pytest.fixture
def ask(service):
    """Sends a request: an object, as JSON, or bytes as they are."""

    def send(body: object = None, method: str = "POST", path: str = "/", **headers) -> Reply:
        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.headers, json.loads(answer.read() or "{}"))
        connection.close()
        return reply

    return send


def at_once(call: Callable[[Any], Any], inputs: list) -> list:
    with ThreadPoolExecutor(len(inputs)) as threads:
        return list(threads.map(call, inputs))


def test_pages_that_come_together_share_batches_and_both_nodes(ask):
    widths = range(50, 50 + FITS)
    replies = at_once(lambda width: ask({"image": uri(page(width))}), widths)
    for width, reply in zip(widths, replies, strict=True):
        assert (reply.status, reply.document) == (200, {"pred": f"old 1 {width}x60"})
    assert len({reply.headers["x-node"] for reply in replies}) == 2
    sizes = [int(reply.headers["x-batch"]) for reply in replies]
    assert 1 < max(sizes) <= MAX_BATCH
    assert sum(sizes) / len(sizes) > 1.5


def test_a_page_alone_does_not_wait_for_others_for_long(ask):
    assert ask({"image": uri(page(70))}).headers["x-batch"] == "1"


def test_a_bad_page_fails_alone(ask):
    bodies = [{"image": uri(page(width))} for width in (80, 81, 82)]
    damaged = base64.b64encode(png(page(400, 400))[:150]).decode()
    bodies[1:1] = [{"image": damaged}, {"image": "bm8gaW1hZ2U="}, {"image": uri(page(60, 4))}]
    replies = at_once(ask, bodies)
    assert [reply.status for reply in replies] == [200, 422, 422, 422, 200, 200]
    for reply in replies[1:4]:
        assert set(reply.document) == {"error"}
        assert "Traceback" not in reply.document["error"]
    assert "damaged" in replies[1].document["error"]


@pytest.mark.parametrize(
    ("request_parts", "status"),
    [
        ({"body": b"{"}, 400),
        ({"body": b""}, 400),
        ({"body": {}}, 400),
        ({"body": {"image": "a", "image_url": "http://localhost"}}, 400),
        ({"body": {"image": 7}}, 400),
        ({"body": {"image": "/etc/passwd"}}, 422),
        ({"body": {"image_url": "file:///etc/passwd"}}, 422),
        ({"body": {"images": ["a"] * 100}}, 413),
        ({"body": b"x" * 7_000_000}, 413),
        ({"method": "PUT", "body": {"image": "a"}}, 405),
        ({"method": "GET", "path": "/elsewhere"}, 404),
    ],
)
def test_a_bad_request_is_a_json_error(ask, request_parts, status):
    reply = ask(**request_parts)
    assert reply.status == status
    assert reply.document["error"].endswith(".")


def test_images_come_back_in_order_and_a_bad_one_is_named(ask):
    images = [uri(page(width)) for width in (90, 91, 92)]
    reply = ask({"images": images})
    assert [one["pred"] for one in reply.document["preds"]] == [
        f"old 1 {width}x60" for width in (90, 91, 92)
    ]
    assert len(reply.headers["x-batch"].split(",")) == 3
    reply = ask({"images": [images[0], "bm8gaW1hZ2U=", images[1]]})
    assert reply.status == 422
    assert reply.document["error"].startswith("Image 2 of 3: ")


def test_a_url_is_fetched_from_the_network_that_ray_is_not_in(ask, serve):
    server = serve(png(page(93)))
    reply = ask({"image_url": server.url})
    assert (reply.status, reply.document["pred"]) == (200, "old 1 93x60")
    assert len(server.requests) == 1


def test_lines_are_told_in_px_of_the_image_that_was_sent(service, models):
    large = png(page(3300, 120))
    local = ParagraphTextRecognizer(models["old"]).read(large)
    with RemotePredictor(service.url) as predictor:
        reading = predictor.read(large)
    assert (reading.width, reading.height) == (3300, 120)
    (line,), (same,) = reading.lines, local.lines
    assert line.text == same.text == "old 1 1600x58"
    assert line.box == pytest.approx(same.box, abs=0.5)
    assert [x for x, _ in line.path] == pytest.approx([x for x, _ in same.path], abs=0.5)


def test_a_full_queue_sheds_and_recovers(ask, models):
    bodies = [json.dumps({"image": uri(page(width))}).encode() for width in range(100, 196)]
    all_here = threading.Barrier(len(bodies))

    def ask_together(body: bytes) -> Reply:
        all_here.wait()
        return ask(body)

    replies = at_once(ask_together, bodies)
    health = ask(method="GET")
    assert {reply.status for reply in replies} == {200, 503}
    shed = [reply for reply in replies if reply.status == 503]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in shed)
    assert all("busy" in reply.document["error"] for reply in shed)
    assert len(replies) - len(shed) >= FITS
    assert health.status == 200
    assert health.document["model"] == model_fingerprint(models["old"])
    assert health.document["replicas"] == REPLICAS
    assert ask({"image": uri(page(99))}).status == 200


def test_a_model_that_cannot_be_used_changes_nothing(service, ask, tmp_path):
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"no model")
    with pytest.raises(ServiceError, match="damaged"):
        service.update(model=str(damaged))
    assert ask({"image": uri(page(50))}).document == {"pred": "old 1 50x60"}


def test_a_new_model_loses_no_request(service, ask, models):
    replies: list[list[Reply]] = [[], [], [], []]
    has_new, end = threading.Event(), threading.Event()

    def keep_asking(own: list[Reply]) -> None:
        while not end.is_set():
            own.append(ask({"image": uri(page(50))}))
            if own[-1].document.get("pred", "").startswith("new"):
                has_new.set()

    threads = [threading.Thread(target=keep_asking, args=(own,)) for own in replies]
    for thread in threads:
        thread.start()
    try:
        service.update(model=models["new"])
        assert has_new.wait(20)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert {reply.status for own in replies for reply in own} == {200}
    texts = {reply.document["pred"] for own in replies for reply in own}
    assert texts == {"old 1 50x60", "new 1 50x60"}
    last = ask({"image": uri(page(50))})
    assert last.document["pred"] == "new 1 50x60"
    assert last.headers["x-model"] == model_fingerprint(models["new"])


def test_nothing_but_http_on_loopback_can_be_reached(service):
    members = [service.process_id, *session_members(service.process_id)]
    assert len(members) > 5
    outside = _listening("/proc/self/net", members)
    assert outside == [("127.0.0.1", service.port)]
    # Ray itself is in a network that has nothing but its own loopback.
    network = f"/proc/{service.process_id}/net"
    assert len(_listening(network, members)) > 5
    devices = Path(network, "dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def test_a_node_that_dies_under_load_costs_no_page(service, ask, models):
    # After an update Ray may have put both replicas on one node: the other's end would cost none.
    name = "new"
    for _ in range(20):
        replies = at_once(lambda width: ask({"image": uri(page(width))}), range(50, 50 + FITS))
        if not all(reply.document.get("pred", "").startswith(name) for reply in replies):
            time.sleep(0.5)  # replicas of before the update still answer, or a queue is full
        elif len({reply.headers["x-node"] for reply in replies}) == 2:
            break
        else:
            name = "old" if name == "new" else "new"
            service.update(model=models[name])
    else:
        pytest.fail("Both replicas stayed on one node.")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    under_way = threading.Event()

    def read_some(first: int) -> list[str]:
        """Eight pages, and on until the node's end was felt somewhere."""
        end = time.monotonic() + 60
        with RemotePredictor(service.url, retries=10, clock=Clock(sleep=wait)) as predictor:
            texts = []
            while len(texts) < 8 or (not waits and time.monotonic() < end):
                texts.append(predictor.predict(page(first + len(texts) % 8)))
                if len(texts) == 2:
                    under_way.set()
            return texts

    # More than one replica takes, so that the other has some when its node dies.
    firsts = range(1000, 1000 + FITS * 10, 10)
    with ThreadPoolExecutor(len(firsts)) as threads:
        running = [threads.submit(read_some, first) for first in firsts]
        assert under_way.wait(60)
        service.order({"do": "kill"})
        texts = [one.result(timeout=120) for one in running]
    for first, own in zip(firsts, texts, strict=True):
        assert own == [f"{name} 1 {first + index % 8}x60" for index in range(len(own))]
    assert waits  # some pages were lost with the node, and asked for again
    assert len({ask({"image": uri(page(50))}).headers["x-node"] for _ in range(4)}) == 1


def test_the_end_leaves_nothing_behind_also_while_an_order_is_obeyed(service, models):
    process, folder = service.process_id, service.log.parent
    assert session_members(process)
    too_many = asdict(Settings(models["new"], 50, MAX_BATCH, 20, QUEUE_SIZE))
    with pytest.raises(ServiceError, match="did not answer"):
        service.order({"do": "update", "settings": too_many}, seconds=2)
    start = time.monotonic()
    service.stop()
    assert time.monotonic() - start < STOP_SECONDS  # it ended by itself
    assert session_members(process) == []
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", service.port))


def _listening(network: str, processes: list[int]) -> list[tuple[str, int]]:
    """Addresses and ports on which processes listen, in the network of a /proc/.../net."""
    own = set()
    for process in processes:
        try:
            for link in Path(f"/proc/{process}/fd").iterdir():
                own.add(os.readlink(link))
        except OSError:
            continue
    found = []
    for name, family, size in (("tcp", socket.AF_INET, 4), ("tcp6", socket.AF_INET6, 16)):
        for line in Path(network, name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, 2 * size, 8)]
                found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found
