"""Requests that nobody foresaw, over the edges that take strangers' images: the gateway with the
Lambda handler behind it, and the app. Each is answered, never with a 5xx, and the good request
after it is read.

LAB_GENERATED_REQUESTS sets how many go to each edge; the nightly run sends 5,000.
"""

import json
import os

import pytest
from app_serving import serving
from bad_requests import BAD_REQUESTS, png, text
from hostile_images import HOSTILE_IMAGES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab_utils.net import http_client
from lab_utils.predictors import LocalPredictor
from lab_utils.service.gateway import Gateway
from lab_utils.service.in_process import InProcessFunction
from lab_utils.service.lambda_handler import LambdaHandler
from lab_utils.service.pool import EmulatorPool
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

NIGHTLY = 5_000
COUNT = int(os.environ.get("LAB_GENERATED_REQUESTS", 50))
SLOW = (
    "JPEG: 3,000 scans",
    "JPEG: a million markers",
    "PNG: the most pixels, transparent",
    "PNG: 100,000 texts",
    "TIFF: a megabyte named 5,000 times",
)
"""They take seconds each, so each edge gets each of them once."""

GOOD = png(60, 40)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


pictures = st.builds(
    changed,
    st.sampled_from(sorted(set(HOSTILE_IMAGES) - set(SLOW))).map(
        lambda name: HOSTILE_IMAGES[name]()
    )
    | st.just(GOOD),
    st.integers(0, 10**7),
    st.binary(max_size=8),
)
images = pictures.map(text) | st.text(max_size=60) | st.binary(max_size=200).map(text)
bad_bodies = st.sampled_from([one.body for one in BAD_REQUESTS if not one.is_http_only])
service_bodies = bad_bodies | st.one_of(
    images.map(lambda image: {"image": image}),
    st.lists(images, max_size=4).map(lambda many: {"images": many, "lines": True}),
    st.text(max_size=60).map(lambda url: {"image_url": f"http://{url}"}),
).map(lambda document: json.dumps(document).encode())
app_bodies = bad_bodies | st.one_of(
    images.map(lambda image: {"data": [image]}),
    images.map(lambda image: {"data": [{"url": f"data:image/png;base64,{image}"}]}),
    images.map(lambda image: {"data": [{"path": image}]}),
    st.lists(images, max_size=3).map(lambda many: {"data": many, "batched": True}),
).map(lambda document: json.dumps(document).encode())


@pytest.fixture(scope="module")
def gateway(stand_in_path):
    """Asks the gateway, with the handler in this process: status and body."""
    recognizer = ParagraphTextRecognizer(stand_in_path)
    handler = LambdaHandler(recognizer, stand_in_path, log=lambda line: None)
    with (
        EmulatorPool([InProcessFunction(handler)]) as pool,
        Gateway(pool) as gateway,
        http_client(60, local=True) as client,
    ):
        gateway.start()

        def ask(body: bytes) -> tuple[int, str]:
            headers = {"content-type": "application/json"}
            answer = client.post(gateway.url, content=body, headers=headers)
            return answer.status_code, answer.text

        yield ask, service_bodies, lambda image: {"image": image}


@pytest.fixture(scope="module")
def app(stand_in_path, tmp_path_factory):
    """Asks the app's two endpoints: status and body."""
    folder = tmp_path_factory.mktemp("feedback")
    with serving(LocalPredictor(stand_in_path), folder) as (_, client):

        def ask(body: bytes) -> tuple[int, str]:
            endpoint = "predict" if b'"url"' in body or b'"path"' in body else "predict_base64"
            headers = {"content-type": "application/json"}
            path = f"gradio_api/run/{endpoint}"
            answer = client.post(path, content=body, headers=headers)
            return answer.status_code, answer.text

        yield ask, app_bodies, lambda image: {"data": [image]}


def check(ask, form, body: bytes) -> None:
    status, answer = ask(body)
    assert status < 500, (body[:200], status, answer[:300])
    assert "Traceback" not in answer
    status, answer = ask(json.dumps(form(text(GOOD))).encode())
    assert (status, "60x40" in answer) == (200, True), (body[:200], status, answer[:300])


def send(edge, count: int) -> None:
    ask, bodies, form = edge

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies)
    def run(body: bytes) -> None:
        check(ask, form, body)

    run()


EDGES = pytest.mark.parametrize("edge", ["gateway", "app"])


@EDGES
def test_generated_requests(edge, request):
    send(request.getfixturevalue(edge), COUNT)


@EDGES
@pytest.mark.nightly
def test_many_generated_requests(edge, request):
    send(request.getfixturevalue(edge), NIGHTLY)


@EDGES
@pytest.mark.nightly
@pytest.mark.parametrize("name", SLOW)
def test_an_image_that_takes_its_time(edge, name, request):
    ask, _, form = request.getfixturevalue(edge)
    check(ask, form, json.dumps(form(text(HOSTILE_IMAGES[name]()))).encode())
