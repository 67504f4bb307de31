"""Whatever comes in, the app answers with a sentence, tells nothing of its insides, and goes on.

`test_edges.py` sends the table of bad requests, here is what only the app takes."""

import json
import os
import tracemalloc

import pytest
from app_serving import ROOT, call, event, file_data, index, png, run, upload, uri
from bad_requests import bomb

from lab_utils.app import limits, routes
from lab_utils.app.uploads import SentFile, cache_folder, picture_in
from text_recognizer.errors import ImageTooLargeError, RecognizerError


@pytest.fixture(autouse=True)
def the_next_request_works(app):
    yield
    assert run(app[1], "predict", {"url": uri(png())}).json()["data"][0].startswith("60x40")


def assert_told(message: object, said: str = "") -> None:
    """A sentence for the user, without paths of this machine and Python's own words."""
    assert isinstance(message, str) and message and said in message, message
    for word in ("Traceback", str(ROOT), "/tmp", "site-packages", "Error", "object at", ".py"):
        assert word not in message, message


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def test_a_file_that_is_no_image_is_told_by_api_and_page(app):
    frontend, client = app
    bad, said = bomb(30_000, 30_000), "make it smaller"
    path = upload(client, "bomb.png", bad)
    for given in ({"url": uri(bad)}, file_data(path)):
        answer = run(client, "predict", given)
        assert answer.status_code == 413
        assert_told(answer.json()["error"], said)
    for given in (uri(bad), file_data(path)):
        shown, *_ = event(frontend, client, frontend.functions.read, given)
        assert said in shown and "class='line'" not in shown


VALUES = [
    file_data("/etc/passwd"),
    file_data("no\0thing"),
    file_data("http://127.0.0.1:1/page.png"),
    {"url": "file:///etc/passwd"},
    {"url": 5},
    {"path": {"path": "/etc/passwd"}},
    {"path": "", "url": "http://127.0.0.1:1/page.png"},
    uri(png()),
    [[]],
]
BODIES = [
    b'{"data": {"0": 1}}',
    b'{"data": [1, 2]}',
    b'{"data": [null], "session_hash": {}}',
    b'{"data": [null], "batched": true}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("sent", [*VALUES, *BODIES], ids=lambda sent: repr(sent)[:40])
def test_values_that_are_no_picture_and_bodies_of_another_form(app, sent):
    frontend, client = app
    number = index(frontend, frontend.functions.read)
    document = {"data": [sent], "session_hash": "x", "fn_index": number}
    body = sent if isinstance(sent, bytes) else json.dumps(document).encode()
    for path in ("run/predict", "call/predict", "queue/join"):
        answer = client.post(f"gradio_api/{path}", content=body)
        assert answer.status_code == 422
        assert_told(answer.json()["error"], "Send JSON" if isinstance(sent, bytes) else "")


@pytest.mark.parametrize("nothing", [{}, None])
def test_no_picture_at_all(app, nothing):
    frontend, client = app
    answer = run(client, "predict", nothing)
    assert answer.status_code == 422
    assert_told(answer.json()["error"], "No image was given")
    name, said = call(client, "predict", nothing)
    assert name == "error" and "No image was given" in said["error"]
    assert "nothing to read" in event(frontend, client, frontend.functions.read, "")[0]


def test_an_endpoint_that_is_not_there_is_named(app):
    frontend, client = app
    assert_told(run(client, "nothing", 1).json()["error"], "/predict")
    names = [one.api_name for one in frontend.page.fns.values() if one.api_visibility == "private"]
    assert run(client, names[0], 1).status_code == 404
    body = {"data": [None], "fn_index": 1000, "session_hash": "x"}
    assert client.post("gradio_api/queue/join", json=body).status_code == 422


# Sizes


def test_what_is_too_large_is_refused_before_it_is_read(app):
    _, client = app
    body = b'{"data": ["' + b"A" * 50_000_000 + b'"]}'
    answer = client.post("gradio_api/run/predict_base64", content=body)
    assert answer.status_code == 413
    assert_told(answer.json()["error"], "MB")
    large = b"x" * (limits.MAX_UPLOAD_BYTES + 2**20)
    answer = client.post("gradio_api/upload", files={"files": ("page.png", large)})
    assert answer.status_code == 413
    with pytest.raises(ImageTooLargeError, match="20 MB"):
        picture_in("A" * (limits.MAX_UPLOAD_BYTES * 3 // 2))


def test_a_million_values_are_not_made_before_they_are_counted(app):
    _, client = app
    for path in ("run/predict", "call/predict", "queue/join", "cancel"):
        body = b'{"data": [' + b"{}," * 1_000_000 + b"{}]}"
        answer = client.post(f"gradio_api/{path}", content=body)
        assert answer.status_code == 413
        assert_told(answer.json()["error"], "too many values")
    few = b'{"data": [' + b"{}," * (limits.MAX_JSON_VALUES // 3) + b"{}]}"
    tracemalloc.start()
    with pytest.raises(RecognizerError, match="^Send JSON of the form"):
        routes.checked(few, {"predict": [SentFile]}, "predict")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 2**20, "each became an object of its own before it was refused"


def test_uploads_do_not_fill_the_disk(app, monkeypatch):
    _, client = app
    upload(client, "page.png", png(63, 40))
    monkeypatch.setattr(routes, "MAX_CACHE_BYTES", limits.LEAST_UPLOAD_BYTES)
    answer = client.post("gradio_api/upload", files={"files": ("page.png", png())})
    assert answer.status_code == 503 and answer.headers["retry-after"]
    two = [("files", (f"{name}.png", png())) for name in "ab"]
    answer = client.post("gradio_api/upload", files=two)
    assert answer.status_code == 422
    assert_told(answer.json()["error"], "one file")


# Files, addresses, other sites


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        f"file={ROOT}/data/pages/../../pyproject.toml",
        "file=http://127.0.0.1:1/",
        "proxy=http://127.0.0.1:1/",
        "component_server",
        "mcp/",
        "info%0A",
        "../monitoring",
    ],
)
def test_nothing_else_is_served(app, path):
    _, client = app
    answer = client.get(f"gradio_api/{path}")
    assert answer.status_code in (400, 403, 404)
    assert "root:" not in answer.text and "[project]" not in answer.text


@pytest.mark.parametrize("name, data", [("a.svg", SVG), ("a.html", b"<script>alert(1)</script>")])
def test_an_uploaded_page_is_no_page_of_the_app(app, name, data):
    _, client = app
    answer = client.get(f"gradio_api/file={upload(client, name, data)}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["../../x.png", "a\nb.png", "x" * 300 + ".png"])
def test_an_uploads_name_leads_nowhere(app, name):
    """It is kept in a folder of this process, for nobody else to read."""
    _, client = app
    path = upload(client, name, png(62, 40))
    assert path.startswith(str(cache_folder())) and ".." not in path
    assert f"-{os.getpid()}-" in cache_folder().name and not cache_folder().stat().st_mode & 0o077
    assert run(client, "predict", file_data(path)).json()["data"][0].startswith("62x40")
