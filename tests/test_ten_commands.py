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
from conftest import until
from tunnel_serving import Edge, usual_ports_taken

from lab_utils.service.emulator_binary import cached_path, machine
from lab_utils.service.errors import ServiceError
from text_recognizer.places import lab_folder

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "deploy" / "ten_commands.md"
MOST_SECONDS = 240  # on a machine that does other things besides
NOT_COPIED = (".git", ".venv", ".lab", ".hypothesis", "shared", "solutions", "tests", "__pycache__")
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
    assert sum(bool(step.shown) for step in STEPS) == 7, "the others show nothing to compare"


def as_installed(folder: Path) -> None:
    """Makes what the commands that are not run would have made: the clone, and its environment."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (folder / ".venv" / "bin").mkdir(parents=True)
    here = Path(sys.executable).parent
    activate = f'PATH="{here}:$PATH"\nexport PATH PYTHONPATH="{folder}"\n'
    (folder / ".venv" / "bin" / "activate").write_text(activate)
    with contextlib.suppress(ServiceError, OSError):  # the demo does without the emulator, too
        cached = cached_path(machine())
        place = folder / ".lab" / cached.relative_to(lab_folder())
        place.parent.mkdir(parents=True)
        shutil.copy(cached, place)


def shows(step: Step, output: str) -> bool:
    return all(
        re.search(".+?".join(map(re.escape, one.split("…"))), output) is not None
        for one in step.shown
    )


@pytest.mark.nightly
def test_they_lead_to_a_link_under_which_a_page_is_read(edge, tmp_path):
    lab, output = tmp_path / "lab", tmp_path / "output"
    as_installed(lab)
    steps = [step for step in STEPS if step.command not in (CLONE, SET_UP)]
    script = "".join(f"echo '== {step.number}'\n{step.command} || exit\n" for step in steps)
    ours = ("LAB_", "WANDB_", "NGROK_", "PYTHONPATH", "MAKE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    variables = {name: value for name, value in edge.variables.items() if name != "LAB_HOME"}
    token = variables.pop("NGROK_AUTHTOKEN")
    # Where the usual ports are taken the demo takes others; so no other test takes them away.
    with usual_ports_taken(), output.open("w") as file:
        bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-c", script],
            cwd=tmp_path,
            env=kept | variables,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            bash.stdin.write(f"{token}\n")
            bash.stdin.close()
            last = steps[-1]
            until(lambda: shows(last, output.read_text()) or bash.poll() is not None, MOST_SECONDS)
            shown = output.read_text()
            for step, part in zip(steps, re.split(r"(?m)^== \d+\n", shown)[1:], strict=True):
                assert shows(step, part), f"{step.command}\n{part}"
            assert token not in shown and ".lab/staged/paragraph_reader.pt" in shown
            read_under(edge, shown, lab / "data" / "pages" / "show_font_000.jpg")
            os.killpg(bash.pid, signal.SIGINT)
            assert bash.wait(60) == 130
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
            bash.wait()
    assert "Traceback" not in output.read_text()
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
