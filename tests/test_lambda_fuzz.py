"""Thousands of events that nobody foresaw: each gets a right status and JSON, nothing is raised,
and the next good request works. The events are the same at every run."""

import base64
import io
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

STATUSES = {200, 400, 404, 405, 413, 422}


def png() -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).point(lambda v: 112 + v // 8).save(stream, "PNG")
    return stream.getvalue()


PNG = base64.b64encode(png()).decode()
GOOD = {
    "version": "2.0",
    "rawPath": "/",
    "headers": {"content-type": "application/json"},
    "requestContext": {"http": {"method": "POST", "path": "/"}},
    "body": json.dumps({"image": PNG}),
    "isBase64Encoded": False,
}

# Any character, the halves of pairs and the null among them.
texts = st.text(st.characters(exclude_categories=()), max_size=60)
numbers = st.one_of(
    st.integers(), st.floats(allow_nan=True), st.sampled_from([10**400, -(2**63), 1e308, -0.0])
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts, st.just(PNG))
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

images = st.one_of(
    st.just(PNG),
    texts,
    st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode()),
    # A good picture with some bytes changed, and one that is cut off.
    st.tuples(st.integers(0, len(png()) - 1), st.binary(min_size=1, max_size=4)).map(
        lambda change: base64.b64encode(
            png()[: change[0]] + change[1] + png()[change[0] + len(change[1]) :]
        ).decode()
    ),
    st.integers(0, len(PNG)).map(lambda end: PNG[:end]),
    texts.map(lambda text: f"data:{text},{PNG}"),
    st.sampled_from(["/etc/passwd", ".", "file:///etc/passwd", "http://127.0.0.1/", "data:,", ""]),
)
urls = st.one_of(
    texts,
    texts.map(lambda text: f"http://{text}"),
    st.ip_addresses().map(lambda ip: f"http://[{ip}]/" if ip.version == 6 else f"http://{ip}/"),
    st.tuples(texts, st.integers()).map(lambda parts: f"https://{parts[0]}:{parts[1]}/"),
    st.sampled_from(["//127.0.0.1/", "http:", "http://", "https://[", "file:///", "http://a b/"]),
)
documents = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "image": images | anything,
            "image_url": urls | anything,
            "images": st.lists(images, max_size=18) | anything,
            "lines": st.booleans() | anything,
        },
    ),
    st.fixed_dictionaries({"image": images}, optional={"lines": st.booleans()}),
    st.fixed_dictionaries({"images": st.lists(images, max_size=4)}),
    st.fixed_dictionaries({"images": st.lists(texts, min_size=17, max_size=20)}),
    st.fixed_dictionaries({"image_url": urls}),
    anything,
)
deep = st.tuples(st.integers(1, 30_000), st.sampled_from(["[", '{"image":', '{"a":['])).map(
    lambda parts: parts[1] * parts[0]
)
bodies = st.one_of(
    documents.map(json.dumps),
    documents.map(lambda document: json.dumps(document, ensure_ascii=False)),
    texts,
    deep,
    st.tuples(documents.map(json.dumps), st.integers(0, 80)).map(lambda cut: cut[0][: cut[1]]),
)
encoded = bodies.map(lambda body: base64.b64encode(body.encode(errors="replace")).decode())


def asked(method: object, path: object) -> dict:
    """A good event, but for its method and path."""
    return {
        **GOOD,
        "requestContext": {"http": {"method": method, "path": path}},
        "rawPath": path,
    }


url_events = st.one_of(
    # A good event with a body of any kind, and as base64: said, unsaid, and wrongly said.
    st.builds(lambda body: {**GOOD, "body": body}, bodies),
    st.builds(lambda body: {**GOOD, "body": body, "isBase64Encoded": True}, encoded | bodies),
    st.builds(lambda body, flag: {**GOOD, "body": body, "isBase64Encoded": flag}, encoded, leaves),
    # A good event with some of its fields changed or gone.
    st.builds(
        lambda name, value: {**GOOD, name: value},
        st.sampled_from(sorted(GOOD)) | texts,
        anything,
    ),
    st.sets(st.sampled_from(sorted(GOOD))).map(
        lambda gone: {name: value for name, value in GOOD.items() if name not in gone}
    ),
    st.builds(
        asked,
        st.sampled_from(["GET", "HEAD", "PUT", "get", "Post", "OPTIONS", ""]) | leaves,
        leaves,
    ),
    # The methods and paths that an answer depends on, each often enough to be met for certain.
    st.builds(
        asked,
        st.sampled_from(["GET", "HEAD", "PUT", "POST"]),
        st.sampled_from(["/", "/health", "/nothing", "/stage/health"]),
    ),
)

checked = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def worker(stand_in_path):
    """A handler with the stand-in model, and the lines of its log."""
    log: list[str] = []
    return LambdaHandler(ParagraphTextRecognizer(stand_in_path), stand_in_path, log=log.append), log


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """No name resolves, and no connection is made."""

    def refuse(*_args, **_options):
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        yield


def check_answer(worker, event: object) -> int:
    """The status of the answer to an event, once all that must hold of it has been checked."""
    handler, log = worker
    log.clear()
    answer = handler(event)
    (line,) = log
    assert json.loads(line)["status"] in STATUSES, line
    json.dumps(answer).encode()
    if isinstance(event, dict) and ("requestContext" in event or "version" in event):
        status, document = answer["statusCode"], json.loads(answer["body"])
        assert answer.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}
    else:
        status, document = answer.get("status", 200), answer
    assert status in STATUSES
    assert json.loads(line)["status"] == status
    if status == 200:
        assert document.keys() & {"pred", "preds", "status"}
    else:
        sentence = document["error"]
        assert isinstance(sentence, str) and sentence.endswith(".") and len(sentence) < 400
        assert "Traceback" not in sentence
    good = handler(GOOD)
    assert json.loads(good["body"])["pred"] == "40x30\ngray 127"
    return status


def fuzz(worker, strategy, count: int) -> list[int]:
    """Checks so many events of a strategy and returns the statuses."""
    found: list[int] = []

    @settings(checked, max_examples=count)
    @given(strategy)
    def run(event: object) -> None:
        found.append(check_answer(worker, event))

    run()
    return found


@pytest.mark.nightly
def test_direct_events(worker):
    found = fuzz(worker, documents, 1000)
    assert len(found) >= 1000
    assert {200, 400, 413, 422} <= set(found)


@pytest.mark.nightly
def test_url_events(worker):
    found = fuzz(worker, url_events, 1200)
    assert len(found) >= 1200
    assert {200, 400, 404, 405, 422} <= set(found)


def test_some_events_of_both_kinds(worker):
    """A sample of the above, for each run of the tests."""
    assert len(fuzz(worker, documents | url_events, 100)) >= 100
