"""The app's API as it is documented: the snippets run as they stand in the file."""

import asyncio
import io
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from app_serving import ROOT, call, event, file_data, png, run, serving, text_of, upload, uri
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
def app(stand_in_path, tmp_path_factory):
    with serving(LocalPredictor(stand_in_path), tmp_path_factory.mktemp("feedback")) as served:
        yield served


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
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"APP": str(client.base_url).rstrip("/"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "789x552" in done.stdout


def test_each_endpoint_reads_in_one_step_and_in_two(app):
    _, client = app
    image = png(64, 48)
    for endpoint, value in (
        ("predict", {"url": uri(image)}),
        ("predict", file_data(upload(client, "page.png", image))),
        ("predict_base64", uri(image)),
        ("predict_base64", text_of(image)),
        ("predict_base64", f"\n{text_of(image)}\n"),
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


def test_a_turned_photo_is_read_upright(app):
    """The app hands on the bytes that were uploaded, with the note on how the camera was held."""
    _, client = app
    picture, stream, exif = Image.new("L", (80, 50), 255), io.BytesIO(), Image.Exif()
    picture.paste(0, (10, 10, 30, 20))
    exif[274] = 6
    picture.save(stream, "JPEG", exif=exif)
    path = upload(client, "turned.jpg", stream.getvalue())
    assert run(client, "predict", file_data(path)).json()["data"][0].startswith("50x80")


# A password


def test_nothing_is_read_without_the_password(closed_app, monkeypatch):
    _, client = closed_app
    asks = [run(client, name, text_of(png())) for name in ENDPOINTS]
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
        assert run(known, "predict_base64", text_of(png())).status_code == 200
        output = event(frontend, known, frontend.functions.read_drawing, uri(png()))
        assert "60x40" in output["data"][0]


def log_in(client: httpx.Client, name: str, password: str, **options) -> httpx.Response:
    return client.post("login", data={"username": name, "password": password}, **options)


# Tools


def test_a_tool_reads_a_page(stand_in_path, tmp_path):
    if not os.environ.get("CI"):
        pytest.importorskip("mcp")
    image = text_of(png(66, 44))

    async def use_tools(url: str) -> dict[str, tuple[bool, str]]:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (receive, send, _),
            ClientSession(receive, send) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            assert {tool.name for tool in tools.tools} == set(ENDPOINTS)
            found = {}
            for label, tool, value in (
                ("text", "predict_base64", image),
                ("uri", "predict", f"data:image/png;base64,{image}"),
                ("path", "predict", "/etc/passwd"),
                ("address", "predict", "http://127.0.0.1:1/page.png"),
                ("none", "predict_base64", "/etc/passwd"),
            ):
                answer = await session.call_tool(tool, {"image": value})
                found[label] = bool(answer.isError), answer.content[0].text
            return found

    served = serving(LocalPredictor(stand_in_path), tmp_path, mcp_server=True)
    with served as (frontend, _):
        found = asyncio.run(use_tools(frontend.local_url))
    assert not found["text"][0] and found["text"][1].startswith("66x44")
    assert not found["uri"][0] and found["uri"][1].startswith("66x44")
    assert [found[label][0] for label in ("path", "address", "none")] == [True] * 3
    assert "root:" not in str(found)


def test_pictures_are_kept_in_a_folder_of_the_process_alone(app):
    frontend, client = app
    path = Path(upload(client, "page.png", png(67, 40)))
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert path.is_relative_to(folder) and f"-{os.getpid()}-" in folder.name
    assert folder.stat().st_mode & 0o077 == 0
    assert frontend.page.delete_cache[1] <= 3600
