"""Requests that must not hurt, over every edge: the Lambda handler's events, the gateway before it,
the app, the tunnel before that, and the tracker. Each gets an answer, none a 5xx, and the good
request after it is answered well. (`ray_cases.py` does the same with Ray.)

Some are generated, see `generated_requests.py`. The nightly run also asks for ten minutes
(LAB_SOAK_SECONDS) and looks for what has grown.
"""

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest
from bad_requests import BAD_REQUESTS, GOOD_BODY_WITH_MARK, text
from conftest import lab_process
from generated_requests import (
    COUNTS,
    GOOD,
    SLOW,
    anything,
    app_requests,
    generated,
    service_documents,
    service_requests,
    texts,
    tracker_requests,
)
from hostile_images import HOSTILE_IMAGES
from hypothesis import strategies as st
from tracking_client import Client

from lab_tracker.server import TrackingServer
from lab_utils.logins import Login
from lab_utils.net import http_client
from lab_utils.service.gateway import Gateway, InProcessFunction
from lab_utils.service.lambda_handler import LambdaHandler
from lab_utils.tunnel.auth_proxy import AuthProxy
from text_recognizer import decoding
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

SOAK_SECONDS = float(os.environ.get("LAB_SOAK_SECONDS", 600))
SOAK_MEMORY = 100e6
"""Bytes by which an edge may grow in the second half of a soak: a decoder may be there more."""

JSON = {"content-type": "application/json"}


class Edge(NamedTuple):
    """A server, and the form of its requests."""

    client: httpx.Client
    path: str
    image: Callable[[str], dict]
    address: Callable[[str], dict]

    def post(self, body: bytes, headers: dict[str, str] = JSON) -> tuple[int, str]:
        answer = self.client.post(self.path, content=body, headers=headers)
        return answer.status_code, answer.text

    def reads(self) -> None:
        """Fails unless a good request is read."""
        status, answer = self.post(json.dumps(self.image(text(GOOD))).encode())
        assert (status, "60x40" in answer) == (200, True), (status, answer[:300])

    def survives(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        status, answer = self.post(body, JSON | (headers or {}))
        assert status < 500, (body[:200], status, answer[:300])
        assert "Traceback" not in answer
        self.reads()


class TrackerEdge(NamedTuple):
    """A tracker with a run of its own that no bad request names."""

    client: httpx.Client

    def reads(self) -> None:
        query = 'query Q { project(name: "good") { run(name: "good") { config } } }'
        answer = self.client.post("graphql", json={"query": query})
        assert json.loads(answer.json()["data"]["project"]["run"]["config"]) == {"a": 1}
        assert self.client.get("lab/good/runs/good").status_code == 200

    def survives(self, method: str, path: str, body: bytes) -> None:
        url = str(self.client.base_url).rstrip("/") + path
        answer = self.client.request(method, url, content=body)
        assert answer.status_code < 500, (method, path, body[:200], answer.text[:300])
        assert "Traceback" not in answer.text
        self.reads()


def service_edge(client: httpx.Client) -> Edge:
    return Edge(client, "", lambda image: {"image": image}, lambda url: {"image_url": url})


def app_edge(client: httpx.Client) -> Edge:
    path = "gradio_api/run/predict_base64"
    return Edge(client, path, lambda image: {"data": [image]}, lambda url: {"data": [url]})


@pytest.fixture(scope="module")
def gateway(stand_in_path):
    """The gateway, with the handler in this process."""
    handler = LambdaHandler(ParagraphTextRecognizer(stand_in_path), stand_in_path, log=str)
    with (
        Gateway([InProcessFunction(handler)]) as running,
        http_client(60, local=True, base_url=running.url) as client,
    ):
        yield service_edge(client)


@pytest.fixture(scope="module")
def app(app):
    return app_edge(app[1])


@pytest.fixture(scope="module")
def tunnel(app):
    """The tunnel's authentication proxy before the app, asked as the far end asks it."""
    proxy = AuthProxy(app.client.base_url.port, Login("ada", "secret"))
    proxy.start()
    proxy.open_to("https://lab.example")
    options = {"headers": {"host": "lab.example"}, "auth": ("ada", "secret")}
    with http_client(60, local=True, base_url=f"http://127.0.0.1:{proxy.port}", **options) as far:
        yield app_edge(far)
    proxy.stop()


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    server = TrackingServer(tmp_path_factory.mktemp("tracker"))
    server.start()
    client = Client(server.url, server.key)
    client.mutate("upsertBucket", "{ inserted }", modelName="good", name="good", config='{"a": 1}')
    client.run("a", "a")
    client.run("run", "a")
    options = {"base_url": server.url, "auth": ("api", server.key)}
    with http_client(60, local=True, **options) as asking:
        yield TrackerEdge(asking)
    server.stop()


EDGES = pytest.mark.parametrize("edge", ["gateway", "app"])


@pytest.mark.parametrize("request_", BAD_REQUESTS, ids=lambda one: one.name)
def test_the_gateway_refuses_bad_requests(gateway, request_):
    answer = gateway.client.request(
        request_.method, request_.path, content=request_.body, headers=JSON | request_.headers
    )
    request_.check(answer.status_code, answer.content)
    assert ("allow" in answer.headers) == (answer.status_code == 405)


OF_SERVICES = ("images", "size", "path", "address: a data URI")
"""Beginnings of names that mean nothing to the app, which takes data URIs and larger bodies."""


@pytest.mark.parametrize(
    "request_",
    [one for one in BAD_REQUESTS if not one.name.startswith(OF_SERVICES)],
    ids=lambda one: one.name,
)
def test_the_app_refuses_bad_requests(app, request_):
    """In its own form, and with statuses of its own."""
    kind = request_.name.partition(":")[0]
    body = request_.body
    if kind in ("image", "address", "host", "origin"):
        document = json.loads(body)
        form = app.address if kind == "address" else app.image
        body = json.dumps(form(*document.values())).encode()
    headers = JSON | request_.headers
    answer = app.client.request(request_.method, app.path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert kind not in ("host", "origin") or answer.status_code == 403
    assert "Traceback" not in answer.text and "/etc/" not in answer.text


def test_json_is_read_whatever_it_is_called_and_its_own_page_may_send_it(gateway):
    own = {"origin": str(gateway.client.base_url).rstrip("/")}
    for headers in ({}, {"content-type": "text/plain"}, JSON, own):
        answer = gateway.client.post("", content=GOOD_BODY_WITH_MARK, headers=headers)
        assert (answer.status_code, answer.json()["pred"]) == (200, "60x40\ngray 127")


@pytest.mark.parametrize("way", ["run", "call"])
def test_the_app_reads_json_that_curl_calls_a_form(app, way):
    body = json.dumps(app.image(text(GOOD)))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = app.client.post(f"gradio_api/{way}/predict_base64", content=body, headers=headers)
    assert answer.status_code == 200, answer.text[:300]


def test_slow_images_of_one_request_share_one_budget_of_time(gateway, monkeypatch):
    """Each of them takes 3 s by this clock, and 8 s is the most for a request."""
    clock = itertools.count(0.0, 3.0)
    monkeypatch.setattr(decoding, "monotonic", lambda: next(clock))
    status, answer = gateway.post(json.dumps({"images": [text(GOOD)] * 4}).encode())
    assert (status, "Image 4 of 4: " in answer, "together" in answer) == (422, True, True)
    gateway.reads()


REQUESTS = {
    "app": app_requests,
    "gateway": service_requests,
    "tracker": tracker_requests,
    "tunnel": app_requests,
}


@pytest.mark.parametrize("edge", REQUESTS)
@COUNTS
def test_generated_requests(edge, count, request):
    survives = request.getfixturevalue(edge).survives
    taken = []

    def ask(asked: tuple) -> None:
        began = time.monotonic()
        survives(*asked)
        taken.append((time.monotonic() - began, str(asked)[:200]))

    generated(REQUESTS[edge], count, ask)
    print(f"{edge}: {len(taken)} requests and as many good ones, the slowest:", max(taken))


@EDGES
@pytest.mark.nightly
@pytest.mark.parametrize("name", SLOW)
def test_an_image_that_takes_its_time(edge, name, request):
    running = request.getfixturevalue(edge)
    running.survives(json.dumps(running.image(text(HOSTILE_IMAGES[name]()))).encode())


GOOD_EVENT = {
    "version": "2.0",
    "rawPath": "/",
    "headers": JSON,
    "requestContext": {"http": {"method": "POST", "path": "/"}},
    "body": json.dumps({"image": text(GOOD)}),
    "isBase64Encoded": False,
}
names = st.sampled_from(sorted(GOOD_EVENT))
paths = st.sampled_from(["/", "/health", "/nothing", "/stage/health"]) | anything
methods = st.sampled_from(["GET", "HEAD", "PUT", "post"]) | anything
changes = st.one_of(
    st.dictionaries(names | texts, anything),
    st.builds(
        lambda method, path: {"requestContext": {"http": {"method": method}}, "rawPath": path},
        methods,
        paths,
    ),
)
events = service_documents | st.builds(
    lambda new, gone: {k: v for k, v in (GOOD_EVENT | new).items() if k not in gone},
    changes,
    st.just(set()) | st.sets(names),
)


@COUNTS
def test_generated_events(stand_in_path, count):
    """What no HTTP request becomes, a direct invocation may still be."""
    log: list[str] = []
    handler = LambdaHandler(ParagraphTextRecognizer(stand_in_path), stand_in_path, log=log.append)

    def answers(event: object) -> None:
        log.clear()
        answer = handler(event)
        json.dumps(answer).encode()
        document = json.loads(answer["body"]) if "statusCode" in answer else answer
        status = answer.get("statusCode") or document.get("status", 200)
        assert status in (200, "ok", 400, 404, 405, 413, 422)
        assert json.loads(*log)["status"] in (status, 200)
        if "error" in document:
            assert document["error"].endswith(".") and len(document["error"]) < 400
        assert json.loads(handler(GOOD_EVENT)["body"])["pred"] == "60x40\ngray 127"

    generated(events, count, answers)


COMMANDS = {
    "gateway": (["service", "lambda", "--workers", "1"], service_edge),
    "app": (["app"], app_edge),
}
MOST_GROWN = {"files": 8, "threads": 4, "temporary": 5}


def state(process: psutil.Process, temporary: Path) -> dict[str, float]:
    """What must not grow: of a process with its children, and of its temporary files."""
    all_of_it = [process, *process.children(recursive=True)]
    return {
        "memory": sum(one.memory_info().rss for one in all_of_it),
        "files": sum(one.num_fds() for one in all_of_it),
        "threads": process.num_threads(),
        "temporary": sum(1 for _ in temporary.rglob("*")),
    }


@pytest.mark.nightly
@EDGES
def test_a_long_time_of_good_and_bad_requests_leaves_nothing(edge, stand_in_path, tmp_path):
    arguments, made = COMMANDS[edge]
    arguments = [*arguments, "--port", "0", "--model", stand_in_path]
    with lab_process(*arguments, variables={"TMPDIR": str(tmp_path)}, stderr=None) as program:
        url = next(filter(None, (re.search(r"http://[\d.:]+", line) for line in program.stdout)))
        with http_client(60, local=True, base_url=url[0]) as client:
            soak(made(client), psutil.Process(program.pid), tmp_path)
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 143


def soak(edge: Edge, process: psutil.Process, temporary: Path) -> None:
    hostile = [make() for name, make in HOSTILE_IMAGES.items() if name not in SLOW]
    bodies = [one.body for one in BAD_REQUESTS if not one.is_http_only]
    bodies += [json.dumps(edge.image(text(data))).encode() for data in hostile]
    states = [state(process, temporary)]
    for seconds in (0, 0, SOAK_SECONDS / 2, SOAK_SECONDS / 2):  # at first all is loaded
        until = time.monotonic() + seconds
        for number, body in enumerate(itertools.cycle(bodies)):
            edge.survives(body)
            if number >= len(bodies) and time.monotonic() > until:
                break
        states.append(state(process, temporary))
        print(f"{number} requests:", states[-1])
    *_, begin, half, end = states
    for name, most in MOST_GROWN.items():
        assert end[name] - begin[name] <= most, states
    assert end["memory"] - half["memory"] <= SOAK_MEMORY, states
