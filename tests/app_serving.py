"""Serves the app in this process for tests, and asks it as the page and as programs do."""

import base64
import contextlib
import io
import json
import threading
import uuid
from pathlib import Path

import httpx
from PIL import Image

from text_recognizer.paragraph_text_recognizer import PageReading

ROOT = Path(__file__).resolve().parents[1]


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


def png(width: int = 60, height: int = 40) -> bytes:
    """A picture with something on it."""
    image = Image.new("L", (width, height), 255)
    image.paste(0, (10, 10, 30, 20))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{text_of(data)}"


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
