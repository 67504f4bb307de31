"""The web app: its page, what it shows of a reading, feedback, overload, and the command."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from app_serving import (
    ROOT,
    Broken,
    Held,
    event,
    file_data,
    index,
    png,
    run,
    serving,
    text_of,
    upload,
    uri,
)
from PIL import Image

from lab_utils.app import limits, make_frontend
from lab_utils.app.feedback import FeedbackError, FeedbackFolder, RecentReadings
from lab_utils.app.reading import read_page, show
from lab_utils.app.routes import ENDPOINTS
from lab_utils.predictors import LocalPredictor, ServiceError
from lab_utils.tables import read_table
from text_recognizer.overlay import DOUBTFUL
from text_recognizer.paragraph_text_recognizer import Line, PageReading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def app(stand_in_path, folder):
    """The app over the stand-in, whose text tells the picture's size and gray."""
    with serving(LocalPredictor(stand_in_path), folder) as served:
        yield served


# The page


def test_the_page_is_served_and_asks_nothing_from_outside(app):
    _, client = app
    page = client.get("")
    assert page.status_code == 200 and client.base_url.host == "127.0.0.1"
    assert re.search(r'<html\s+lang="en"', page.text)
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="([^"]+)"', page.text)
    assert loaded and not [link for link in loaded if re.match(r"(https?:)?//", link)]
    assert not re.search(r"url\(\s*['\"]?(https?:)?//", client.get("theme.css").text)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    config = client.get("config").json()
    assert config["title"] == "Handwriting reader"
    assert not config["connect_heartbeat"], "an open page holds a stream that delays the end"


def test_only_the_endpoints_are_public(app):
    _, client = app
    info = client.get("gradio_api/info").json()
    assert list(info["named_endpoints"]) == [f"/{name}" for name in ENDPOINTS]
    assert not info["unnamed_endpoints"]
    parameters = info["named_endpoints"]["/predict_base64"]["parameters"]
    assert [one["parameter_name"] for one in parameters] == ["image"]
    assert "http" not in str(info["named_endpoints"]["/predict"]["parameters"][0]["example_input"])


def test_the_pages_of_a_document_are_read_one_after_another(app):
    pytest.importorskip("pypdfium2")
    frontend, client = app
    drawn, stream = Image.open(io.BytesIO(png(600, 400))), io.BytesIO()
    drawn.save(stream, "PDF", save_all=True, append_images=[drawn, drawn])
    given = file_data(upload(client, "letter.pdf", stream.getvalue()))
    body = {"data": [given], "fn_index": index(frontend, frontend.functions.read, "file")}
    assert client.post("gradio_api/queue/join", json=body | {"session_hash": "a"}).is_success
    lines, message, found, feedback, *_ = event(frontend, client, frontend.functions.read, given)
    assert re.findall(r"<h3>(Page \d)</h3>", lines) == ["Page 1", "Page 2", "Page 3"]
    assert "Read 3 pages." in message and found.count("<figure>") == 3
    assert feedback["visible"] is False


class Away:
    def read(self, image):
        raise ServiceError("The model service at http://10.0.0.7:9000/secret is gone.")


@pytest.mark.parametrize(
    "predictor, status, said", [(Broken(), 500, "its log says why"), (Away(), 503, "Try again")]
)
def test_what_is_broken_behind_the_app_is_for_its_log(predictor, status, said, tmp_path, caplog):
    with serving(predictor, tmp_path) as (frontend, client):
        answer = run(client, "predict", {"url": uri(png())})
        shown = event(frontend, client, frontend.functions.read, uri(png()))
    assert answer.status_code == status and said in answer.json()["error"]
    assert said in shown[1] and "secret" not in answer.text + str(shown)
    assert "secret" in caplog.text


# What is shown of a reading


class Fixed:
    """A predictor that always finds lines of these confidences."""

    def __init__(self, *confidences: float, text: str = "a line", note: str = "") -> None:
        lines = [
            Line(text, confidence, [(0.0, 10.0), (50.0, 12.0)], 8.0, (0.0, 6.0, 50.0, 16.0))
            for confidence in confidences
        ]
        self.found = PageReading("\n".join(line.text for line in lines), lines, 0.1, 60, 40, note)

    def read(self, _image) -> PageReading:
        return self.found


def shown(*confidences: float, trouble: str = "", **options):
    return show([read_page(Fixed(*confidences, **options), png())], trouble)


def test_doubtful_lines_are_told_in_words_and_dashed():
    low = DOUBTFUL / 2
    page = shown(0.99, low, 0.99, low)
    assert re.search(r"Read 4 lines in \d+\.\d s", page.message)
    assert "Lines 2 and 4 are doubtful" in page.message
    assert page.lines.count("doubtful?") == 2 and page.lines.count("<li class='doubtful'>") == 2
    assert "role='img'" in page.found and "data:image/jpeg;base64," in page.found
    assert ">2?</span>" in page.found and ">1</span>" in page.found
    assert "line 2, line 4" in re.search(r"aria-label='([^']*)'", page.found)[1]
    assert "Line 1 is doubtful" in shown(low).message
    assert "Lines 1, 2 and 3 are doubtful" in shown(low, low, low).message
    assert "doubtful" not in shown(0.99).message


def test_what_is_wrong_with_a_page_is_said():
    blank = shown()
    assert "No writing was found" in blank.message and blank.found == ""
    assert "too dark" in shown(note="It is too dark.").message
    page = shown(0.3, note="The writing is <too> small.", text="<script>'&\"")
    assert "<script>" not in page.lines + page.found and "&lt;script&gt;" in page.lines
    assert "notice" in page.message and "&lt;too&gt; small" in page.message
    cut = shown(0.99, trouble="Damaged.")
    assert "Read 1 page." in cut.message and "Damaged." in cut.message and "a line" in cut.lines


# Feedback


def rows(folder):
    return read_table(folder / "feedback.csv")


@pytest.mark.parametrize("way", ["upload", "drawing"])
def test_feedback_is_a_row_with_the_image_as_a_file(app, folder, way):
    frontend, client = app
    image = png(70 + len(way), 44)
    sent = file_data(upload(client, "page.png", image)) if way == "upload" else uri(image)
    key = event(frontend, client, frontend.functions.read, sent)[4]
    said = event(frontend, client, frontend.functions.keep_feedback, key, "=right, at last")[0]
    assert "Thank you" in said
    row = rows(folder)[-1]
    assert row["corrected"] == "=right, at last"
    assert row["read"].startswith(f"{70 + len(way)}x44\n")
    assert (folder / "images" / row["image"]).read_bytes() == image
    table = (folder / "feedback.csv").read_text()
    assert "'=right" in table and "base64" not in table
    guessed = event(frontend, client, frontend.functions.keep_feedback, "a key", "x")[0]
    assert "Read the page again" in guessed


def test_one_image_is_one_file_and_rows_do_not_mix(tmp_path):
    def tell(number: int) -> None:
        FeedbackFolder(tmp_path).add(png(), f"read {number}", "line\n" * 50)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(40)))
    assert sorted(row["read"] for row in rows(tmp_path)) == sorted(f"read {i}" for i in range(40))
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_only_the_last_readings_are_remembered():
    kept = RecentReadings(count=3, max_bytes=100)
    keys = [kept.keep(b"x" * 10, str(number)) for number in range(5)]
    assert [kept.find(key) is not None for key in keys] == [False, False, True, True, True]
    kept.keep(b"x" * 95, "large")
    assert kept.find(keys[-1]) is None


def test_the_folder_is_bounded_and_what_is_not_kept_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FeedbackError, match="tell the person who runs"):
        FeedbackFolder(tmp_path / "file" / "folder").add(png(), "read")
    with pytest.raises(FeedbackError, match="characters"):
        FeedbackFolder(tmp_path).add(png(), "read", "x" * (limits.MAX_CORRECTION + 1))
    kept = FeedbackFolder(tmp_path, max_bytes=2000)
    with pytest.raises(FeedbackError, match="full"):
        for number in range(100):
            kept.add(png(40 + number, 40), "read")
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.*")) <= 2000


# Overload


def test_who_comes_to_a_full_queue_is_told_at_once_and_the_others_are_read(tmp_path):
    held = Held()
    pages = [png(60 + number) for number in range(3)]
    with serving(held, tmp_path, readers=1, queue_size=2) as (frontend, client):
        gate = frontend.functions.admission
        with ThreadPoolExecutor(3) as pool:
            waiting = []
            for number, page in enumerate(pages, start=1):
                waiting.append(pool.submit(run, client, "predict_base64", text_of(page)))
                until(lambda n=number: gate.inside == n)
            refused = run(client, "predict", {"url": uri(png())})
            shown = event(frontend, client, frontend.functions.read, uri(png()))
            assert not any(future.done() for future in waiting)
            held.go.set()
            answers = [future.result() for future in waiting]
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert "Try again in a few seconds" in refused.json()["error"]
        assert "Try again in a few seconds" in shown[1]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert held.most == 1 and held.order == pages
        assert run(client, "predict_base64", text_of(png())).status_code == 200
        until(lambda: gate.inside == 0)


def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


# The command


@pytest.mark.parametrize(
    "options, said",
    [
        (["--auth", "ada:"], "NAME:PASSWORD"),
        (["--model-url", "http://127.0.0.1:1/"], "not both"),
        (["--host", "no such name"], "can't be used"),
        (["--port", "TAKEN"], "can't be used"),
        (["--model", "none.pt"], "lab compile"),
    ],
)
def test_options_that_cannot_be_are_one_line(lab, stand_in_path, options, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [port if option == "TAKEN" else option for option in options]
        code, out, err = lab("app", "--port", 0, "--model", stand_in_path, *given)
    assert (code, out) == (2, "") and err.count("\n") == 1 and said in err


def test_a_public_link_that_cannot_be_made_is_one_line(lab, stand_in_path, monkeypatch):
    from gradio import networking

    def offline(**_options):
        raise OSError("no network")

    monkeypatch.setattr(networking, "setup_tunnel", offline)
    code, out, err = lab("app", "--share", "--port", 0, "--model", stand_in_path)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "leave out --share" in err


def test_launch_knows_no_name_where_a_proxy_chooses_it(tmp_path, monkeypatch):
    from gradio import networking

    monkeypatch.setattr(networking, "setup_tunnel", lambda **_options: "https://x.example")
    frontend = make_frontend(Broken(), flagging_dir=tmp_path)
    asked = []
    for options in ({}, {"share": True}, {"hosts": ["a.example"]}):
        _, url, _ = frontend.launch(server_port=0, inline=False, **options)
        for host in ("evil.example", "a.example"):
            asked.append(httpx.get(url, headers={"host": host}, timeout=60).status_code)
        frontend.close()
    assert asked == [403, 403, 200, 200, 403, 200]


def test_a_proxy_may_show_it_below_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/reader")
    with serving(Broken(), tmp_path) as (_, client):
        root = str(client.base_url.join("/reader"))
        assert client.get("config").json()["root"] == root
        assert f'"root":"{root}"' in client.get("").text


def test_the_command_serves_until_ctrl_c_and_leaves_nothing_behind(stand_in_path, tmp_path):
    """With a home and a .lab that it finds empty, what a killed app has left, and an open stream
    that does not end by itself."""
    for name in ("home", "lab", "temp", "temp/lab-app-9999999-left"):
        (tmp_path / name).mkdir()
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "LAB_HOME": str(tmp_path / "lab"),
        "TMPDIR": str(tmp_path / "temp"),
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("GRADIO_TEMP_DIR", None)
    command = [sys.executable, "-m", "lab_utils.cli", "app", "--port", "0", "--model"]
    started = subprocess.Popen(
        [*command, stand_in_path],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = started.stdout.readline()
        url = re.fullmatch(r"The app: (http://127\.0\.0\.1:\d+/) .*\n", line)[1]
        assert not (tmp_path / "temp" / "lab-app-9999999-left").exists()
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("").status_code == 200
            answer = run(client, "predict", file_data(upload(client, "page.png", png(60, 40))))
            assert answer.json()["data"] == ["60x40\ngray 233"], answer.text
            # A page's stream ends with its last event, but one that is opened again stays.
            body = {"data": [None], "fn_index": 0, "session_hash": "a"}
            client.post("gradio_api/queue/join", json=body).raise_for_status()
            stream = "gradio_api/queue/data?session_hash=a"
            assert "process_completed" in client.get(stream).text
            with client.stream("GET", stream):
                started.send_signal(signal.SIGINT)
                out, err = started.communicate(timeout=30)
    finally:
        started.kill()
        started.wait()
    assert (started.returncode, out, err) == (130, "", "")
    left = [file for name in ("home", "temp") for file in (tmp_path / name).rglob("*")]
    assert left == [] and {file.name for file in tmp_path.iterdir()} == {"home", "lab", "temp"}
    assert {file.name for file in (tmp_path / "lab").iterdir()} <= {"cache"}
