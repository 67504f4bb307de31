"""The web app: its page, what it shows of a reading, feedback, overload, and the command."""

import dataclasses
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
    png,
    run,
    serving,
    upload,
    uri,
)
from PIL import Image

from lab_utils.app import limits, make_frontend
from lab_utils.app.feedback import FeedbackError, FeedbackFolder, RecentReadings
from lab_utils.app.reading import document, notice, read_page
from lab_utils.app.routes import ENDPOINTS
from lab_utils.predictors import LocalPredictor
from lab_utils.predictors.errors import ServiceError
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
    assert client.get("config").json()["title"] == "Handwriting reader"
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="([^"]+)"', page.text)
    assert loaded and not [link for link in loaded if re.match(r"(https?:)?//", link)]
    assert not re.search(r"url\(\s*['\"]?(https?:)?//", client.get("theme.css").text)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy


def test_only_the_endpoints_are_public(app):
    _, client = app
    info = client.get("gradio_api/info").json()
    assert list(info["named_endpoints"]) == [f"/{name}" for name in ENDPOINTS]
    assert not info["unnamed_endpoints"]
    parameters = info["named_endpoints"]["/predict_base64"]["parameters"]
    assert [one["parameter_name"] for one in parameters] == ["image"]
    assert "http" not in str(info["named_endpoints"]["/predict"]["parameters"][0]["example_input"])


def test_the_page_reads_an_uploaded_picture_and_shows_the_lines(app):
    frontend, client = app
    path = upload(client, "page.png", png(60, 40))
    output = event(frontend, client, frontend.functions.read, file_data(path))
    lines, message, found = output["data"][:3]
    assert re.findall(r"class='line'>([^<]*)", lines)[0] == "60x40"
    assert re.search(r"Read 2 lines in \d+\.\d s", message)
    assert "role='img'" in found and "data:image/jpeg;base64," in found


def test_the_pages_of_a_document_are_read_one_after_another(app):
    import gradio as gr

    pytest.importorskip("pypdfium2")
    frontend, client = app
    drawn = Image.open(io.BytesIO(png(600, 400)))
    stream = io.BytesIO()
    drawn.save(stream, "PDF", save_all=True, append_images=[drawn, drawn])
    path = upload(client, "letter.pdf", stream.getvalue())
    number = next(n for n, one in frontend.page.fns.items() if gr.File in map(type, one.inputs))
    body = {"data": [file_data(path)], "fn_index": number, "session_hash": "document"}
    assert client.post("gradio_api/queue/join", json=body).status_code == 200
    lines, message, found, feedback = event(
        frontend, client, frontend.functions.read, file_data(path)
    )["data"][:4]
    assert re.findall(r"<h3>(Page \d)</h3>", lines) == ["Page 1", "Page 2", "Page 3"]
    assert "Read 3 pages." in message and found.count("<figure>") == 3
    assert feedback["visible"] is False


def test_pages_that_were_read_stay_if_a_later_one_fails():
    first = shown(0.99)
    pages = document([first], notice("The pages after that were not read.", "Damaged."))
    assert "Read 1 page." in pages.message and "Damaged." in pages.message
    assert first.lines in pages.lines


class Away:
    def read(self, image):
        raise ServiceError("The model service at http://10.0.0.7:9000/secret is gone.")


@pytest.mark.parametrize(
    "predictor, status, said", [(Broken(), 500, "its log says why"), (Away(), 503, "Try again")]
)
def test_what_is_broken_behind_the_app_is_for_its_log(predictor, status, said, tmp_path, caplog):
    with serving(predictor, tmp_path) as (frontend, client):
        answer = run(client, "predict", {"url": uri(png())})
        shown = event(frontend, client, frontend.functions.read_drawing, uri(png()))["data"]
    assert answer.status_code == status and said in answer.json()["error"]
    assert said in shown[1] and "secret" not in answer.text + str(shown)
    assert "secret" in caplog.text


# What is shown of a reading


def reading(*confidences: float, text: str = "a line") -> PageReading:
    lines = [
        Line(text, confidence, [(0.0, 10.0), (50.0, 12.0)], 8.0, (0.0, 6.0, 50.0, 16.0))
        for confidence in confidences
    ]
    return PageReading("\n".join(line.text for line in lines), lines, 0.1, 60, 40)


class Fixed:
    def __init__(self, found: PageReading) -> None:
        self.found = found

    def read(self, _image) -> PageReading:
        return self.found


def shown(*confidences: float, note=None, **options):
    found = dataclasses.replace(reading(*confidences, **options), note=note)
    return read_page(Fixed(found), png())


def test_doubtful_lines_are_told_in_words_and_dashed():
    low = DOUBTFUL / 2
    page = shown(0.99, low, 0.99, low)
    assert "Lines 2 and 4 are doubtful" in page.message
    assert page.lines.count("doubtful?") == 2 and page.lines.count("<li class='doubtful'>") == 2
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


# Feedback


def rows(folder):
    return read_table(folder / "feedback.csv")


@pytest.mark.parametrize("way", ["read", "read_drawing"])
def test_feedback_is_a_row_with_the_image_as_a_file(app, folder, way):
    frontend, client = app
    image = png(70 + len(way), 44)
    sent = file_data(upload(client, "page.png", image)) if way == "read" else uri(image)
    key = event(frontend, client, getattr(frontend.functions, way), sent)["data"][4]
    tell = frontend.functions.keep_feedback
    said = event(frontend, client, tell, key, "=right, at last")["data"][0]
    assert "Thank you" in said
    row = rows(folder)[-1]
    assert row["corrected"] == "=right, at last"
    assert row["read"].startswith(f"{70 + len(way)}x44\n")
    assert (folder / "images" / row["image"]).read_bytes() == image
    table = (folder / "feedback.csv").read_text()
    assert "'=right" in table and "base64" not in table


def test_feedback_without_a_reading_is_refused(app):
    frontend, client = app
    for guessed in (None, "a key", "x"):
        said = event(frontend, client, frontend.functions.keep_feedback, guessed, "x")
        assert "Read the page again" in said["data"][0]


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


def test_an_open_page_holds_no_stream_that_delays_the_end(app):
    _, client = app
    assert not client.get("/config").json()["connect_heartbeat"]


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
    with serving(held, tmp_path, readers=1, queue_size=2) as (frontend, client):
        gate = frontend.functions.admission
        with ThreadPoolExecutor(3) as pool:
            waiting = []
            for number in range(3):
                waiting.append(pool.submit(run, client, "predict_base64", f"AAA{number}"))
                until(lambda n=number: gate.inside == n + 1)
            refused = run(client, "predict", {"url": uri(png())})
            shown = event(frontend, client, frontend.functions.read_drawing, uri(png()))
            assert not any(future.done() for future in waiting)
            held.go.set()
            answers = [future.result() for future in waiting]
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert "Try again in a few seconds" in refused.json()["error"]
        assert "Try again in a few seconds" in shown["data"][1]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert held.most == 1 and [text[-1] for text in held.order] == ["0", "1", "2"]
        assert run(client, "predict_base64", "AAAA").status_code == 200
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
        (["--mcp", "--auth", "ada:a:b"], "ignores the password"),
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


def test_launch_knows_no_name_where_a_proxy_chooses_it(stand_in_path, tmp_path, monkeypatch):
    from gradio import networking

    monkeypatch.setattr(networking, "setup_tunnel", lambda **_options: "https://x.example")
    frontend = make_frontend(Broken(), flagging_dir=tmp_path)
    asked = []
    for options in ({}, {"share": True}, {"hosts": ["a.example"]}):
        launched = frontend.launch(server_port=0, inline=False, **options)
        for host in ("evil.example", "a.example"):
            answer = httpx.get(launched.local_url, headers={"host": host}, timeout=60)
            asked.append(answer.status_code)
        frontend.close()
    assert asked == [403, 403, 200, 200, 403, 200]


def test_a_proxy_may_show_it_below_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/reader")
    with serving(Broken(), tmp_path) as (_, client):
        root = str(client.base_url.join("/reader"))
        assert client.get("config").json()["root"] == root
        assert f'"root":"{root}"' in client.get("").text


@pytest.fixture(scope="module")
def process(stand_in_path, tmp_path_factory):
    """`lab app` in a process of its own, with a home and a .lab that it finds empty."""
    place = tmp_path_factory.mktemp("app")
    for name in ("home", "lab", "temp"):
        (place / name).mkdir()
    environment = os.environ | {
        "HOME": str(place / "home"),
        "LAB_HOME": str(place / "lab"),
        "TMPDIR": str(place / "temp"),
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("GRADIO_TEMP_DIR", None)
    command = [sys.executable, "-m", "lab_utils.cli", "app", "--port", "0", "--model"]
    started = subprocess.Popen(
        [*command, stand_in_path],
        cwd=place,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    yield started, place
    started.kill()
    started.wait()


def test_the_command_serves_until_ctrl_c_and_leaves_nothing_behind(process):
    started, place = process
    line = started.stdout.readline()
    url = re.fullmatch(r"The app: (http://127\.0\.0\.1:\d+/) .*\n", line)[1]
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("").status_code == 200
        path = upload(client, "page.png", png(60, 40))
        answer = run(client, "predict", file_data(path))
        assert answer.json()["data"] == ["60x40\ngray 233"], answer.text
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    assert (started.returncode, out, err) == (130, "", "")
    left = [file for name in ("home", "temp") for file in (place / name).rglob("*")]
    assert left == [] and {file.name for file in place.iterdir()} == {"home", "lab", "temp"}
    assert {file.name for file in (place / "lab").iterdir()} <= {"cache"}
