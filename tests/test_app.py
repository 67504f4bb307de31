"""The web app: its page, what it shows of a reading, feedback, overload, and the command."""

import io
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from app_serving import (
    Broken,
    Held,
    event,
    file_data,
    index,
    png,
    run,
    serving,
    upload,
    uri,
)
from bad_requests import text
from conftest import lab_process, until
from hostile_images import encoded
from PIL import Image

from lab_utils.app import limits, make_frontend
from lab_utils.app.feedback import FeedbackFolder
from lab_utils.app.reading import read_page, show
from lab_utils.app.routes import ENDPOINTS
from lab_utils.predictors import PredictorError
from lab_utils.tables import read_table
from text_recognizer.decoding import one_budget
from text_recognizer.errors import RecognizerError
from text_recognizer.overlay import DOUBTFUL
from text_recognizer.paragraph_text_recognizer import Line, PageReading

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
    drawn = Image.open(io.BytesIO(png(600, 400)))
    letter = encoded(drawn, "PDF", save_all=True, append_images=[drawn, drawn])
    given = file_data(upload(client, "letter.pdf", letter))
    body = {"data": [given], "fn_index": index(frontend, frontend.functions.read, "file")}
    assert client.post("gradio_api/queue/join", json=body | {"session_hash": "a"}).is_success
    shown, feedback, *_ = event(frontend, client, frontend.functions.read, given)
    assert re.findall(r"<h3>(Page \d)</h3>", shown) == ["Page 1", "Page 2", "Page 3"] * 2
    assert "Read 3 pages." in shown and shown.count("<figure>") == 3
    assert feedback["visible"] is False


class Away:
    def read(self, image):
        raise PredictorError("The model service at http://10.0.0.7:9000/secret is gone.")


@pytest.mark.parametrize(
    "predictor, status, said", [(Broken(), 500, "its log says why"), (Away(), 503, "Try again")]
)
def test_what_is_broken_behind_the_app_is_for_its_log(predictor, status, said, tmp_path, caplog):
    with serving(predictor, tmp_path) as (frontend, client):
        answer = run(client, "predict", {"url": uri(png())})
        shown = event(frontend, client, frontend.functions.read, uri(png()))
    assert answer.status_code == status and said in answer.json()["error"]
    assert said in shown[0] and "secret" not in answer.text + str(shown)
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


def shown(*confidences: float, what: str = "", **options) -> str:
    return show([read_page(Fixed(*confidences, **options), png())], what)


def test_doubtful_lines_are_told_in_words_and_dashed():
    low = DOUBTFUL / 2
    page = shown(0.99, low, 0.99, low)
    assert re.search(r"Read 4 lines in \d+\.\d s", page)
    assert "Lines 2 and 4 are doubtful" in page
    assert page.count("doubtful?") == 2 and page.count("<li class='doubtful'>") == 2
    assert "role='img'" in page and "data:image/jpeg;base64," in page
    assert ">2?</span>" in page and ">1</span>" in page
    assert "line 2, line 4" in re.search(r"aria-label='([^']*)'", page)[1]
    assert "Line 1 is doubtful" in shown(low)
    assert "Lines 1, 2 and 3 are doubtful" in shown(low, low, low)
    assert "<strong>" not in shown(0.99)


def test_a_page_that_took_all_the_time_for_decoding_is_shown_without_its_picture():
    class Slow(Fixed):
        def read(self, _image) -> PageReading:
            with one_budget() as budget:
                budget.left = 0
            return self.found

    page = show([read_page(Slow(0.99), png())])
    assert "a line" in page and "<figure>" not in page


def test_what_is_wrong_with_a_page_is_said():
    blank = shown()
    assert "No writing was found" in blank and "<figure>" not in blank
    assert "too dark" in shown(note="It is too dark.")
    page = shown(0.3, note="The writing is <too> small.", text="<script>'&\"")
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "notice" in page and "&lt;too&gt; small" in page
    cut = shown(0.99, what="Damaged.")
    assert "Read 1 page." in cut and "Damaged." in cut and "a line" in cut


# Feedback


@pytest.mark.parametrize("way", ["upload", "drawing"])
def test_feedback_is_a_row_with_the_image_as_a_file(app, way):
    frontend, client = app
    events, image = frontend.functions, png(70 + len(way), 44)
    sent = file_data(upload(client, "page.png", image)) if way == "upload" else uri(image)
    source = event(frontend, client, events.read, sent)[2]
    said = event(frontend, client, events.keep_feedback, source, "=right, at last")[0]
    assert "Thank you" in said
    row = read_table(events.feedback.table)[-1]
    assert row["corrected"] == "=right, at last"
    assert row["read"].startswith(f"{70 + len(way)}x44\n")
    assert (events.feedback.images / row["image"]).read_bytes() == image
    table = events.feedback.table.read_text()
    assert "'=right" in table and "base64" not in table
    for other in ("/etc/passwd", "http://127.0.0.1:1/a.png", uri(b"no image"), ""):
        assert "not kept" in event(frontend, client, events.keep_feedback, other, "x")[0]
    assert events.feedback.table.read_text() == table


def test_one_image_is_one_file_and_rows_do_not_mix(tmp_path):
    def tell(number: int) -> None:
        FeedbackFolder(tmp_path).add(png(), f"read {number}", "line\n" * 50)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(40)))
    read = [row["read"] for row in read_table(tmp_path / "feedback.csv")]
    assert sorted(read) == sorted(f"read {number}" for number in range(40))
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_the_folder_is_bounded_and_what_is_not_kept_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecognizerError, match="tell the person who runs"):
        FeedbackFolder(tmp_path / "file" / "folder").add(png(), "read")
    with pytest.raises(RecognizerError, match="characters"):
        FeedbackFolder(tmp_path).add(png(), "read", "x" * (limits.MAX_CORRECTION + 1))
    kept = FeedbackFolder(tmp_path, max_bytes=2000)
    with pytest.raises(RecognizerError, match="full"):
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
                waiting.append(pool.submit(run, client, "predict_base64", text(page)))
                assert until(lambda n=number: gate.inside == n)
            refused = run(client, "predict", {"url": uri(png())})
            shown = event(frontend, client, frontend.functions.read, uri(png()))
            assert not any(future.done() for future in waiting)
            held.go.set()
            answers = [future.result() for future in waiting]
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert "Try again in a few seconds" in refused.json()["error"]
        assert "Try again in a few seconds" in shown[0]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert held.most == 1 and held.order == pages
        assert run(client, "predict_base64", text(png())).status_code == 200
        assert until(lambda: gate.inside == 0)


# The command


@pytest.mark.parametrize(
    "options, said",
    [
        (["--model-url", "http://127.0.0.1:1/"], "not both"),
        (["--host", "no such name"], "can't be used"),
        (["--port", "TAKEN"], "can't be used"),
    ],
)
def test_options_that_cannot_be_are_one_line(refused, stand_in_path, options, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [port if option == "TAKEN" else option for option in options]
        assert said in refused("app", "--port", 0, "--model", stand_in_path, *given)


def test_a_public_link_that_cannot_be_made_is_one_line(refused, stand_in_path, monkeypatch):
    from gradio import networking

    def offline(**_options):
        raise OSError("no network")

    monkeypatch.setattr(networking, "setup_tunnel", offline)
    line = refused("app", "--share", "--port", 0, "--model", stand_in_path)
    assert "leave out --share" in line


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


def test_the_command_serves_until_ctrl_c_and_leaves_nothing_behind(
    stand_in_path, tmp_path, monkeypatch
):
    """With a home and a .lab that it finds empty, what a killed app has left, and an open stream
    that does not end by itself."""
    for name in ("home", "lab", "temp", "temp/lab-app-9999999-left"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    places = {"HOME": "home", "LAB_HOME": "lab", "TMPDIR": "temp"}
    variables = {name: str(tmp_path / place) for name, place in places.items()}
    command = ("app", "--port", 0, "--model", stand_in_path)
    with lab_process(*command, variables=variables, cwd=tmp_path) as started:
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
    assert (started.returncode, out, err) == (130, "", "")
    left = [file for name in ("home", "temp") for file in (tmp_path / name).rglob("*")]
    assert left == [] and {file.name for file in tmp_path.iterdir()} == {"home", "lab", "temp"}
    assert {file.name for file in (tmp_path / "lab").iterdir()} <= {"cache"}
