"""Fifty moments at which a command is ended from outside: nothing is left, and the next run works.

Command, signal and moment of each are drawn with its number as the seed.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import free_port, processes_with, until

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMANDS = {
    "make": ["make", "run"],
    "app": ["app", "--port", "PORT"],
    "demo": ["demo", "--port", "PORT"],
    "run": ["run"],
    "train": ["train", "--steps", "1", "--pages", "1"],
}
SERVES = {"app", "demo", "make"}
MOST_SECONDS = 25.0
"""The latest moment: by then a train is over on an idle machine, and a page is served."""
ENDS_WITHIN = 120
NOWHERE = "http://127.0.0.1:9"
PROXIES = {f"{name}_PROXY": NOWHERE for name in ("HTTP", "HTTPS", "ALL")}
CIRCUMSTANCES = {
    "plain": {},
    "proxies": PROXIES,
    "proxies with exceptions": PROXIES | {"NO_PROXY": "intranet.example"},
}
READY = "The app: http", "The link: http"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for all that the commands write, also into the temporary folder."""
    folder = tmp_path_factory.mktemp("interrupts") / "it's a $HOME of \u00fcmlauts"
    (folder / "tmp").mkdir(parents=True)
    make_clone(folder / "clone")
    return folder


def make_clone(folder: Path) -> None:
    """The project by links, with the environment that runs the tests as one that is set up."""
    (folder / ".venv").mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in (".venv", ".lab", ".git"):
            (folder / path.name).symlink_to(path)
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(".installed"):
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / ".venv" / ".installed").write_text(f"{folder}\n")


def start(place: Path, name: str, **variables: str) -> subprocess.Popen:
    shutil.rmtree(place / "tmp")
    (place / "tmp").mkdir()
    words = [str(free_port()) if word == "PORT" else word for word in COMMANDS[name]]
    lab = [] if name == "make" else [sys.executable, "-m", "lab_utils.cli"]
    variables |= {"LAB_HOME": str(place / "lab"), "TMPDIR": str(place / "tmp")}
    hidden = ("WANDB_", "LAB_MODEL", "NGROK_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    with (place / "said").open("wb") as said:
        return subprocess.Popen(
            [*lab, *words],
            cwd=place / "clone" if name == "make" else ROOT,
            env=kept | variables,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def left_half(place: Path) -> list[Path]:
    """What is begun and not whole: temporary folders and files, also those of `replacing`."""
    hidden = [path for path in (place / "lab").rglob(".*.*") if path.is_dir()]
    # PyTorch makes a cache of that name, and keeps it on purpose.
    scratch = [path for path in (place / "tmp").iterdir() if "torchinductor" not in path.name]
    return [*scratch, *hidden]


def end(process: subprocess.Popen, number: signal.Signals) -> None:
    """Sends a signal as a terminal does: make and what it runs get it, from others the program."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if process.args[0] == "make" else os.kill)(process.pid, number)


def ended_cleanly(place: Path, process: subprocess.Popen, codes: set[int]) -> None:
    code = process.wait(ENDS_WITHIN)
    said = (place / "said").read_text()
    assert code in codes, (code, said)
    # What was killed with its parent takes a moment to be gone.
    running = partial(processes_with, "TMPDIR", str(place / "tmp"))
    assert until(lambda: not running(), 20), running()
    assert left_half(place) == []
    assert "(a bug;" not in said, said


@pytest.mark.parametrize("number", range(50))
def test_a_command_that_is_ended_leaves_nothing(place, number):
    draw = random.Random(number)
    name = draw.choice(sorted(COMMANDS))
    ends_with = draw.choice(SIGNALS)
    process = start(place, name)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0.0, MOST_SECONDS))
    end(process, ends_with)
    # Before Python has begun with the program, the system's own way ends it; 2 is make's error.
    codes = {2 if name == "make" else 128 + ends_with, -ends_with}
    ended_cleanly(place, process, codes if name in SERVES else codes | {0})


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_next_run_works_also_behind_a_proxy_that_is_away(place, name, circumstance):
    process = start(place, name, **CIRCUMSTANCES[circumstance])
    if name in SERVES:
        there = until(lambda: any(one in (place / "said").read_text() for one in READY), 900)
        end(process, signal.SIGINT)
        assert there, (place / "said").read_text()
        ended_cleanly(place, process, {2, -signal.SIGINT} if name == "make" else {130})
    else:
        process.wait(900)
        ended_cleanly(place, process, {0})
