"""`lab read` with folders and with several processes."""

import errno
import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import lab_process, until
from test_cli import told
from test_paragraph_text_recognizer import page

SECONDS = 120  # the longest that anything may take


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pages of 300 to 305 px, and what is not read."""
    made = tmp_path / "pages"
    (made / "inner").mkdir(parents=True)
    (made / ".hidden").write_text("not read")
    for number in range(6):
        page(300 + number).save(made / f"{number}.png")
    return made


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_is_read_in_order(lab, folder, stand_in_path, jobs):
    (folder / "3.png").write_text("no image")
    missing = folder / "none.png"
    code, out, err = lab("read", folder, missing, "--model", stand_in_path, "--jobs", jobs)
    bad, none = told(err).splitlines()
    assert code == 2 and "3.png" in bad and str(missing) in none
    assert f"lab: note: {folder / '4.png'}: The text is doubtful" in err
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("==>")] == [
        f"==> {folder / f'{number}.png'} <==" for number in (0, 1, 2, 4, 5)
    ]
    assert [line for line in lines if "x200" in line] == [f"{300 + n}x200" for n in (0, 1, 2, 4, 5)]
    code, out, err = lab("read", folder / "inner", "--model", stand_in_path)
    assert (code, out) == (2, "") and "no files in the folder" in err


def test_what_cannot_be_opened_is_told_and_the_rest_is_read(
    lab, folder, stand_in_path, monkeypatch
):
    (folder / "1a.png").symlink_to(folder / "nothing")
    os.mkfifo(folder / "1b.png")
    (folder / "2.png").rename(folder / "2\n\x1b[31m.png")
    opened = os.open

    def may_not(path, *options, **more):
        if str(path).endswith("3.png"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *options, **more)

    monkeypatch.setattr(os, "open", may_not)
    code, out, err = lab("read", folder, "--model", stand_in_path, "--jobs", 1)
    link, pipe, locked = told(err).splitlines()
    assert (code, out.count("x200")) == (2, 5)
    assert "1a.png was not found" in link and "1b.png is a device or pipe" in pipe
    assert "3.png may not be read; check the file's permissions." in locked
    assert f"==> {folder}/2??[31m.png <==" in out


def test_all_pages_of_a_document_are_read(lab, stand_in_path, tmp_path):
    first, *rest = (page(height=200 + 20 * number) for number in range(3))
    letter = tmp_path / "letter.tiff"
    first.save(letter, save_all=True, append_images=rest)
    options = ["--model", stand_in_path, "--overlay", tmp_path / "lines.png"]
    code, out, err = lab("read", letter, *options)
    assert code == 0 and err.count("page 3: The text is doubtful") == 1
    marks = [line for line in out.splitlines() if line.startswith("---")]
    assert marks == [f"--- page {number} ---" for number in (1, 2, 3)]
    names = {path.name for path in tmp_path.glob("lines*")}
    assert names == {"lines.png", "lines-page-2.png", "lines-page-3.png"}
    code, out, _ = lab("read", letter, *options, "--json")
    readings = [json.loads(line) for line in out.splitlines()]
    assert [reading["page"] for reading in readings] == [1, 2, 3]


@pytest.mark.parametrize(
    "ended",
    [
        "interrupted",
        *(pytest.param(o, marks=pytest.mark.nightly) for o in ("killed", "worker killed")),
    ],
)
def test_what_was_read_is_printed_and_no_process_stays(folder, stand_in_path, serve, ended):
    over = threading.Event()
    server = serve(lambda *_: over.wait(SECONDS))
    pages = [server.url, *(folder / f"{number}.png" for number in range(4)), server.url]
    options = ["--model", stand_in_path, "--jobs", 2, "--allow-private"]
    with lab_process("read", *pages, *options, start_new_session=True) as process:
        # Then all between the two has been read.
        assert until(lambda: len(server.requests) == 2, SECONDS)
        children = psutil.Process(process.pid).children()
        readers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        assert len(readers) == 2
        time.sleep(1.0)  # for the answers' way to the process that prints
        if ended == "interrupted":
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(process.pid if ended == "killed" else readers[0].pid, signal.SIGKILL)
        out, err = process.communicate(timeout=SECONDS)
    over.set()
    assert not psutil.wait_procs(readers, SECONDS)[1]
    assert "Traceback" not in err
    if ended == "interrupted":
        assert process.returncode == 130
    if ended != "killed":
        assert [line for line in out.splitlines() if "x200" in line] == [
            f"{300 + number}x200" for number in range(4)
        ]
    if ended == "worker killed":
        assert process.returncode == 2
        assert told(err).count("\n") == 1 and "fewer --jobs" in err
