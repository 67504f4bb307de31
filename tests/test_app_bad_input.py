"""Whatever comes in, the app answers with a sentence, tells nothing of its insides, and goes on.

`test_edges.py` sends the table of bad requests, here is what only the app takes."""

import pytest
from app_serving import ROOT, call, event, file_data, index, png, run, serving, upload, uri
from bad_requests import bomb

from lab_utils.app import limits, routes
from lab_utils.app.cache import cache_folder
from lab_utils.app.pictures import picture_in
from lab_utils.predictors import LocalPredictor
from text_recognizer.errors import ImageTooLargeError


@pytest.fixture(scope="module")
def app(stand_in_path, tmp_path_factory):
    with serving(LocalPredictor(stand_in_path), tmp_path_factory.mktemp("feedback")) as served:
        yield served


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
FILES = {
    "cut": (png()[:-30], "damaged"),
    "bomb": (bomb(30_000, 30_000), "make it smaller"),
    "svg": (SVG, "is not an image"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_images(app, name):
    frontend, client = app
    data, said = FILES[name]
    path = upload(client, f"{name}.png", data)
    for given in ({"url": uri(data)}, file_data(path)):
        answer = run(client, "predict", given)
        assert answer.status_code in (413, 422)
        assert_told(answer.json()["error"], said)
    for given in (uri(data), file_data(path)):
        lines, message, *_ = event(frontend, client, frontend.functions.read, given)
        assert said in message and "class='line'" not in lines


@pytest.mark.parametrize(
    "value",
    [
        file_data("/etc/passwd"),
        file_data("no\0thing"),
        file_data("http://127.0.0.1:1/page.png"),
        {"url": "file:///etc/passwd"},
        {"url": 5},
        {"path": {"path": "/etc/passwd"}},
        uri(png()),
        [[]],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_values_that_are_no_picture(app, value):
    frontend, client = app
    body = {"data": [value], "session_hash": "x"}
    body["fn_index"] = index(frontend, frontend.functions.read)
    for path in ("run/predict", "call/predict", "queue/join"):
        answer = client.post(f"gradio_api/{path}", json=body)
        assert answer.status_code == 422
        assert_told(answer.json()["error"])


@pytest.mark.parametrize("nothing", [{}, None])
def test_no_picture_at_all(app, nothing):
    frontend, client = app
    answer = run(client, "predict", nothing)
    assert answer.status_code == 422
    assert_told(answer.json()["error"], "No image was given")
    name, said = call(client, "predict", nothing)
    assert name == "error" and "No image was given" in said["error"]
    shown = event(frontend, client, frontend.functions.read, "")
    assert "nothing to read" in shown[1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"data": {"0": 1}}',
        b'{"data": [1, 2]}',
        b'{"data": [null], "session_hash": {}}',
        b'{"data": [null], "batched": true}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body)[:40],
)
def test_bodies_of_another_form(app, body):
    _, client = app
    for path in ("run/predict", "call/predict", "queue/join"):
        answer = client.post(f"gradio_api/{path}", content=body)
        assert answer.status_code == 422
        assert_told(answer.json()["error"], "Send JSON")


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
        picture_in("A" * (limits.MAX_UPLOAD_BYTES * 3 // 2 + 1))


def test_uploads_do_not_fill_the_disk(app, monkeypatch):
    _, client = app
    upload(client, "page.png", png(63, 40))
    monkeypatch.setattr(routes, "MAX_CACHE_BYTES", limits.LEAST_UPLOAD_BYTES)
    answer = client.post("gradio_api/upload", files={"files": ("page.png", png())})
    assert answer.status_code == 503 and answer.headers["retry-after"]
    files = [("files", (f"{name}.png", png())) for name in "ab"]
    answer = client.post("gradio_api/upload", files=files)
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
    _, client = app
    path = upload(client, name, png(62, 40))
    assert path.startswith(str(cache_folder())) and ".." not in path
    assert run(client, "predict", file_data(path)).json()["data"][0].startswith("62x40")
