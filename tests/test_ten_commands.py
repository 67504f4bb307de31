"""The page "From zero to a public link in ten commands" is run exactly as written, up to the link.

One bash runs the page's lines in a copy of the checkout. Cloning and installing are not run again:
they are what made the copy and this environment. The world behind the link is ngrok's stand-in.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from app_serving import run, uri
from conftest import parses
from tunnel_serving import Edge, resolve_localhost, until, usual_ports_taken

from lab_utils.service.emulator_binary import cached_path, machine
from lab_utils.service.errors import ServiceError
from text_recognizer.places import lab_folder

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "deploy" / "ten_commands.md"
MOST_SECONDS = 240  # on a machine that does other things besides
NOT_COPIED = (".git", ".venv", ".lab", ".hypothesis", "shared", "build", "dist", "*.egg-info")
CLONE, SET_UP = "git clone REPOSITORY lab", "make .venv/.installed"


@dataclass(frozen=True)
class Step:
    """A command of the page, and what it promises to show; `…` means anything."""

    number: int
    command: str
    shown: list[str]


def steps_of(page: str) -> list[Step]:
    found = []
    for item in re.split(r"(?m)^(?=\d+\. )", page)[1:]:
        number = int(item[: item.index(".")])
        (command,) = re.findall(r"```sh\n(.+?)\n *```", item, re.DOTALL)
        assert "\n" not in command, f"{number} is more than one command"
        text = " ".join(item[: item.index("```sh")].split())
        promise = re.search(r"You see(.*?:) ((`[^`]+`\s?)+)$", text)
        shown = re.findall(r"`([^`]+)`", promise[2]) if promise else []
        found.append(Step(number, command.strip(), shown))
    return found


STEPS = steps_of(PAGE.read_text())


def test_they_are_ten_each_with_what_it_does_and_shows():
    assert [step.number for step in STEPS] == list(range(1, 11))
    assert PAGE.read_text().count("```sh") == PAGE.read_text().count("You see") == 10
    assert sum(bool(step.shown) for step in STEPS) == 7, (
        "the others show nothing that could be read"
    )
    for step in STEPS:
        if step.command.startswith("lab "):
            parses(step.command)
    for line in re.findall(r"`(lab [^`]+)`", PAGE.read_text()):
        parses(line)


def copy_checkout(folder: Path) -> None:
    ignored = shutil.ignore_patterns(*NOT_COPIED, "__pycache__", "my_pages", "solutions", "tests")
    shutil.copytree(ROOT, folder, ignore=ignored)


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """ngrok's stand-in; afterwards no process that was started with its variables is left."""
    edge = Edge(tmp_path)
    resolve_localhost(monkeypatch)
    yield edge
    assert until(lambda: not edge.left(), 20), f"left behind: {edge.left()}"


def as_installed(folder: Path) -> None:
    """What the commands that are not run would have made: the clone, and its environment."""
    copy_checkout(folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    here = Path(sys.executable).parent
    activate = f'PATH="{here}:$PATH"\nexport PATH PYTHONPATH="{folder}"\n'
    (folder / ".venv" / "bin" / "activate").write_text(activate)
    with contextlib.suppress(ServiceError, OSError):  # the demo does without the emulator, too
        cached = cached_path(machine())
        place = folder / ".lab" / cached.relative_to(lab_folder())
        place.parent.mkdir(parents=True)
        shutil.copy(cached, place)


class Terminal:
    """A bash that is given lines and Ctrl-C, as somebody who follows the page gives them."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.shown = folder / "shown"
        ours = ("LAB_", "WANDB_", "NGROK_", "PYTHONPATH", "MAKE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with self.shown.open("wb") as shown:
            self.bash = subprocess.Popen(
                ["bash", "--norc", "--noprofile"],
                cwd=folder,
                env=kept | variables,
                stdin=subprocess.PIPE,
                stdout=shown,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.bash.pid, signal.SIGKILL)
        self.bash.wait()
        self.bash.stdin.close()

    def types(self, *lines: str) -> None:
        self.bash.stdin.write("".join(f"{line}\n" for line in lines))
        self.bash.stdin.flush()

    def runs(self, command: str, *then: str) -> str:
        """What a command shows; it has to end with 0. `then` are the lines that it asks for."""
        before = len(self.shown.read_text())
        self.types(command, *then)
        code, shown = self.ended_with(), self.shown.read_text()[before:]
        assert code == 0, f"{command}\n{shown}"
        return shown

    def ended_with(self) -> int:
        """Waits for the end of what runs: its exit code."""
        before = len(self.shown.read_text())
        self.types('echo "ended with $?"')
        found = []

        def there() -> bool:
            found[:] = re.findall(r"(?m)^ended with (\d+)$", self.shown.read_text()[before:])
            return bool(found) or self.bash.poll() is not None

        until(there, MOST_SECONDS)
        assert found, self.shown.read_text()
        return int(found[0])


def shows(step: Step, output: str) -> bool:
    return all(
        re.search(".+?".join(map(re.escape, one.split("…"))), output) is not None
        for one in step.shown
    )


@pytest.mark.nightly
def test_they_lead_to_a_link_under_which_a_page_is_read(edge, tmp_path):
    lab = tmp_path / "lab"
    as_installed(lab)
    variables = {name: value for name, value in edge.variables.items() if name != "LAB_HOME"}
    token = variables.pop("NGROK_AUTHTOKEN")
    *commands, last = (step for step in STEPS if step.command not in (CLONE, SET_UP))
    # Where the usual ports are taken the demo takes others; so no other test takes them away.
    with usual_ports_taken(), Terminal(tmp_path, variables) as terminal:
        for step in commands:
            asked = [token] if step.command.startswith("read ") else []
            shown = terminal.runs(step.command, *asked)
            assert shows(step, shown), f"{step.command}\n{shown}"
        terminal.types(last.command)
        there = until(lambda: shows(last, terminal.shown.read_text()), MOST_SECONDS)
        shown = terminal.shown.read_text()
        assert there, shown
        assert token not in shown and "CER 0." in shown
        read_under(edge, shown, lab / "data" / "pages" / "show_font_000.jpg")
        assert ".lab/staged/paragraph_reader.pt" in shown, "it serves what was staged"
        os.killpg(terminal.bash.pid, signal.SIGINT)
        assert terminal.ended_with() == 130
    assert "Traceback" not in terminal.shown.read_text()
    assert list((lab / ".lab" / "tunnel").glob("*")) == [], "the token was left behind"


def read_under(edge: Edge, shown: str, page: Path) -> None:
    """Reads a page as a visitor of the link does, with and without the password."""
    url = re.search(r"The link: (\S+)", shown)[1]
    login = re.search(r"the name (\S+) and the password (\S+)", shown).groups()
    with edge.client(url) as stranger:
        assert stranger.get("/").status_code == 401
    with edge.client(url, auth=login) as visitor:
        answer = run(visitor, "predict", {"url": uri(page.read_bytes())})
        assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0].startswith("I wished to live")
