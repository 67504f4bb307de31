"""The app's API as it is documented: the snippets run as they stand in the file."""

import io
import os
import re
import shutil
import socket
import sys

import httpx
import pytest
from app_serving import ROOT, call, event, file_data, png, run, serving, upload, uri
from bad_requests import text
from conftest import ran
from hostile_images import encoded
from PIL import Image

from lab_utils import logins
from lab_utils.app.routes import ENDPOINTS
from lab_utils.predictors import LocalPredictor
from text_recognizer.paragraph_text_recognizer import PageReading

DOCUMENT = ROOT / "lab_utils" / "app" / "API.md"


def snippets() -> list:
    """(heading and language, language, code) of each code block."""
    found, heading = [], ""
    blocks = re.finditer(
        r"^## ([^\n]+)$|^```(sh|python)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    for block in blocks:
        if block[1]:
            heading = block[1]
        else:
            found.append(pytest.param(heading, block[2], block[3], id=f"{heading}, {block[2]}"))
    return found


@pytest.fixture(scope="module")
def closed_app(stand_in_path, tmp_path_factory):
    """The app with a name and a password."""
    folder = tmp_path_factory.mktemp("feedback")
    auth = ("ada", "secret")
    with serving(LocalPredictor(stand_in_path), folder, auth=auth) as served:
        yield served


@pytest.mark.parametrize("heading, language, code", snippets())
def test_a_documented_snippet_reads_the_page(heading, language, code, app, closed_app, tmp_path):
    _, client = closed_app if heading == "With a password" else app
    if language == "sh" and not os.environ.get("CI") and not shutil.which("curl"):
        pytest.skip("needs curl")
    command = ["bash", "-e", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    variables = {"APP": str(client.base_url).rstrip("/"), "HOME": str(tmp_path)}
    done = ran(*command, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    assert "789x552" in done.stdout


def test_each_endpoint_reads_in_one_step_and_in_two(app):
    """A photo as it was uploaded, with the note on how the camera was held, is read upright."""
    _, client = app
    photo = encoded(Image.open(io.BytesIO(png(48, 64))), "JPEG", turn=6)
    for endpoint, value in (
        ("predict", {"url": uri(photo)}),
        ("predict", file_data(upload(client, "page.jpg", photo))),
        ("predict_base64", uri(photo)),
        ("predict_base64", f"\n{text(photo)}\n"),
    ):
        answer = run(client, endpoint, value)
        assert answer.status_code == 200 and answer.json()["data"][0].startswith("64x48")
        assert call(client, endpoint, value) == ("complete", answer.json()["data"])


def test_what_is_wrong_with_a_page_is_its_note(tmp_path):
    class Noted:
        def read(self, image):
            return PageReading("text", [], 0.1, 60, 40, "The text is doubtful.")

    with serving(Noted(), tmp_path) as (_, client):
        answer = run(client, "predict_base64", uri(png())).json()
    assert answer == {"data": ["text"], "note": "The text is doubtful."}


# A password


def test_nothing_is_read_without_the_password(closed_app, monkeypatch):
    _, client = closed_app
    asks = [run(client, name, text(png())) for name in ENDPOINTS]
    asks += [client.get(path) for path in ("config", "gradio_api/info", "gradio_api/openapi.json")]
    asks.append(client.post("gradio_api/upload", files={"files": ("a.png", png())}))
    body = {"data": [""], "fn_index": 1, "session_hash": "x"}
    asks.append(client.post("gradio_api/queue/join", json=body))
    assert [answer.status_code for answer in asks] == [401] * len(asks)
    assert "log in" in asks[0].json()["error"]
    for name, password in (("ada", "wrong"), ("eve", "secret"), ("eve", "")):
        assert log_in(client, name, password).status_code == 400
    monkeypatch.setattr(logins, "MOST_WAIT_SECONDS", 0.0)
    assert log_in(client, "ada", "wrong").status_code == 429, "the queue of guesses is full"
    assert client.get("config", headers={"cookie": "lab-app=x"}).status_code == 401
    assert client.post("login", content=b"x" * 10_000).status_code == 413


def test_a_login_is_checked_before_the_body_is_there(closed_app):
    _, client = closed_app
    port = client.base_url.port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_the_password_opens_page_and_api(closed_app):
    frontend, client = closed_app
    page = {"accept": "text/html"}
    with httpx.Client(base_url=client.base_url, timeout=60) as known:
        assert "<form" in known.get("", headers=page).text
        assert log_in(known, "ada", "wrong", headers=page).text.count("is wrong") == 1
        assert log_in(known, "ada", "secret").json() == {"success": True}
        assert "<form" not in known.get("", headers=page).text
        assert run(known, "predict_base64", text(png())).status_code == 200
        assert "60x40" in event(frontend, known, frontend.functions.read, uri(png()))[0]


def log_in(client: httpx.Client, name: str, password: str, **options) -> httpx.Response:
    return client.post("login", data={"username": name, "password": password}, **options)
