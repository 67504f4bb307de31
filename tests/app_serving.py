"""Serves the app in this process for tests, and asks it as the page and as programs do."""

import contextlib
import json
import os
import shutil
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from bad_requests import text
from hostile_images import encoded
from PIL import Image

from text_recognizer.paragraph_text_recognizer import PageReading

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


class Held:
    """A predictor that answers when it is let go, and counts who is inside."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = 0
        self.most = 0
        self.order: list[bytes] = []
        self._lock = threading.Lock()

    def read(self, image) -> PageReading:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(image)
        assert self.go.wait(30)
        with self._lock:
            self.inside -= 1
        return PageReading("read", [], 0.1, 60, 40)


class Broken:
    """A predictor with a bug, whose message must not get out."""

    def read(self, image) -> PageReading:
        raise KeyError("/secret/path")


@contextlib.contextmanager
def serving(predictor, folder, hosts=None, auth=None, **options):
    """The app over a predictor, on a free port: (frontend, client of its address)."""
    from lab_utils.app import make_frontend  # Gradio takes seconds

    frontend = make_frontend(predictor, flagging_dir=folder, **options)
    frontend.launch(server_port=0, hosts=hosts, auth=auth, inline=False)
    try:
        with httpx.Client(base_url=frontend.local_url, timeout=60) as client:
            yield frontend, client
    finally:
        frontend.close()


@contextlib.contextmanager
def chromium():
    """A browser without a window. Where there is none, the test is skipped, but not in CI."""
    programs = map(shutil.which, ("chromium", "chromium-browser"))
    program = os.environ.get("CHROMIUM") or next(filter(None, programs), None)
    if program is None and not os.environ.get("CI"):
        pytest.skip("needs Chromium: install Debian's chromium, or name a program in CHROMIUM")
    assert program, "CI needs Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": program, "args": ARGUMENTS.split(), "timeout": 60_000}
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


def png(width: int = 60, height: int = 40) -> bytes:
    """A picture with something on it."""
    image = Image.new("L", (width, height), 255)
    image.paste(0, (10, 10, 30, 20))
    return encoded(image)


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{text(data)}"


def run(client: httpx.Client, endpoint: str, *data) -> httpx.Response:
    """A call in one step."""
    return client.post(f"gradio_api/run/{endpoint}", json={"data": list(data)})


def call(client: httpx.Client, endpoint: str, *data) -> tuple[str, object]:
    """A call in two steps: the last event's name and data."""
    posted = client.post(f"gradio_api/call/{endpoint}", json={"data": list(data)})
    posted.raise_for_status()
    stream = client.get(f"gradio_api/call/{endpoint}/{posted.json()['event_id']}").text
    name, data = stream.strip().split("\n\n")[-1].split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def index(frontend, function, kind: str = "image") -> int:
    """The number of a function of the page whose first input is of that kind."""
    found = ((i, one) for i, one in frontend.page.fns.items() if one.fn == function)
    return next(i for i, one in found if one.inputs[0].get_block_name() == kind)


def event(frontend, client: httpx.Client, function, *data) -> list:
    """What an event of the page returns, sent as the page does, through Gradio's queue."""
    session = uuid.uuid4().hex
    number = index(frontend, function, "image" if isinstance(data[0], dict) else "textbox")
    body = {"data": list(data), "fn_index": number, "session_hash": session}
    client.post("gradio_api/queue/join", json=body).raise_for_status()
    path = f"gradio_api/queue/data?session_hash={session}"
    with client.stream("GET", path) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                return message["output"]["data"]
    raise AssertionError("the event did not end")


def upload(client: httpx.Client, name: str, data: bytes) -> str:
    """Uploads a file as the page does: its path in the app's cache."""
    answer = client.post("gradio_api/upload", files={"files": (name, data)})
    answer.raise_for_status()
    return answer.json()[0]


def file_data(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
