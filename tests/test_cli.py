"""The command line: its help is true, it reads, and what goes wrong is one line and a code."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMANDS, parses, python, ran
from PIL import Image, ImageChops, ImageDraw

from lab_utils import cli
from text_recognizer import paragraph_text_recognizer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def page(tmp_path) -> Path:
    image = Image.new("L", (320, 120), 255)
    ImageDraw.Draw(image).text((20, 40), "a page", fill=0)
    image.save(tmp_path / "page.png")
    return tmp_path / "page.png"


def told(err: str) -> str:
    """What stderr says, without the note that the stand-in is never sure of what it reads."""
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if "The text is doubtful" not in line)


def assert_one_line(err: str) -> None:
    err = told(err)
    assert err.startswith("lab: ") and err.count("\n") == 1, err
    assert "Traceback" not in err


# Help


def test_help_lists_every_command_and_starts_at_once(lab):
    code, out, _ = lab("--help")
    assert code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name.split()[0]} ", out, re.MULTILINE)
    code = "import lab_utils.cli, lab_utils.commands.table, sys; "
    code += "print(*{'torch', 'PIL', 'numpy'} & set(sys.modules))"
    assert python(code).stdout.strip() == "", "the commands import these inside their functions"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_whose_examples_parse(lab, name):
    code, out, _ = lab(*name.split(), "--help")
    assert code == 0
    assert COMMANDS[name].help.split("\n")[0] in " ".join(out.split())
    for line in re.findall(r"Example: (lab .*)", COMMANDS[name].help):
        parses(line)


TEXTS = "*.md *.yml docs/*.md deploy/ten*.md notebooks/*.md data/*/*.md Makefile"
NOTEBOOKS = "notebooks/source/*.py"


@pytest.mark.parametrize("pattern", [*TEXTS.split(), NOTEBOOKS])
def test_commands_in_the_texts_parse(pattern):
    """A flag that the parser does not know would be found by the first reader otherwise."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob(pattern)))
    text = text.replace("\\\n", " ")
    if pattern == NOTEBOOKS:  # a variable of the notebook stands for some word
        text = re.sub(r"\{\w+\}|\$\w+", "word", text)
    quoted = re.findall(r"`(lab [a-z-][^`\n]*)`", text)
    shown = re.findall(r"^[#$! ]*(lab [a-z-].*)$", text, re.MULTILINE)
    for line in quoted + shown:
        words = shlex.split(re.split(r" (?:[|>#]|&&)", line)[0])
        is_whole = " ".join(words[1:]) not in COMMANDS and "..." not in line
        is_known = words[1] in {name.split()[0] for name in COMMANDS}
        assert is_known or line in shown or words[1].startswith("--"), line
        if is_known and is_whole:
            parses(shlex.join(words))


# Reading


def test_read_json_tells_lines_with_places(lab, page, stand_in_path):
    pictures = page.parent / "deep" / "lines.png"
    options = "--json", "--model", stand_in_path, "--overlay", pictures
    code, out, err = lab("read", page, page, *options)
    assert (code, told(err)) == (0, "")
    objects = [json.loads(line) for line in out.splitlines()]
    assert [found["image"] for found in objects] == [str(page)] * 2
    assert objects[0]["text"] == "\n".join(line["text"] for line in objects[0]["lines"])
    assert objects[0]["seconds"] > 0
    line = objects[0]["lines"][0]
    assert set(line) >= {"text", "box", "path", "confidence"}
    x0, y0, x1, y1 = line["box"]
    assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 120
    assert {path.name for path in pictures.parent.iterdir()} == {"lines-1.png", "lines-2.png"}
    with Image.open(pictures.with_name("lines-2.png")) as drawn:
        assert drawn.size == (320, 120)
        red, _, blue = drawn.split()
    _, most = ImageChops.difference(red, blue).getextrema()
    assert most > 50, "a gray page got no coloured line"


def test_a_text_is_not_lost_with_the_picture_of_its_lines(lab, page, stand_in_path):
    code, out, err = lab("read", page, "--overlay", page / "lines.png", "--model", stand_in_path)
    assert code == 2 and out.startswith("320x120")
    assert "can't be written" in told(err) and "another place" in err


@pytest.mark.parametrize("name, count", [("page.png", 1), ("lines.txt", 1), ("lines.txt", 2)])
def test_an_overlay_that_cannot_be_there_is_one_line(refused, page, stand_in_path, name, count):
    before, target = page.read_bytes(), page.parent / name
    pages = [page] * count  # no line for each of them
    refused("read", *pages, "--overlay", target, "--model", stand_in_path)
    assert page.read_bytes() == before


# What goes wrong


def test_a_private_address_is_read_only_when_allowed(lab, refused, serve, page, stand_in_path):
    server = serve(page.read_bytes())
    refused("read", server.url, "--model", stand_in_path)
    assert not server.requests
    code, out, _ = lab("read", server.url, "--model", stand_in_path, "--allow-private")
    assert code == 0 and out.startswith("320x120")


def test_a_bug_is_one_line_with_a_hint_and_a_traceback_on_demand(lab, monkeypatch, page):
    def broken(*_, **__):
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr(paragraph_text_recognizer, "ParagraphTextRecognizer", broken)
    code, _, err = lab("read", page)
    assert code == 1
    assert_one_line(err)
    assert "ZeroDivisionError: one two" in err and "LAB_DEBUG" in err
    for variables, arguments in (({}, ["--debug"]), ({"LAB_DEBUG": "1"}, [])):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["lab", *arguments, "read", str(page)])
            with pytest.raises(ZeroDivisionError):
                cli.main()


def test_names_that_are_not_utf_8_are_shown_and_the_rest_is_read(lab, page, stand_in_path):
    odd = page.with_name(os.fsdecode(b"odd\xff.png"))
    odd.write_bytes(page.read_bytes())
    code, out, err = lab("read", odd, page, "--model", stand_in_path)
    assert (code, told(err)) == (0, "")
    assert out.count("320x120") == 2


# The machine


def shell(line: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs a line of the shell in which `$LAB` is the command line of `lab`."""
    variables = {"LAB": f"{sys.executable} -m lab_utils.cli", "PYTHONPATH": str(ROOT)}
    return ran("sh", "-c", line, cwd=folder, env=os.environ | variables)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mkdir gone && cd gone && rmdir ../gone && $LAB read page.jpg", ["no longer exists"]),
        ("$LAB deploy lambda --plan > /dev/full", ["No space left", "free some space"]),
        ("ulimit -f 8; $LAB compile --out x.pt", [" x.pt cannot be written (File", "with --out"]),
        ("touch y; $LAB compile --out y/x.pt", [" y/x.pt cannot be written (File", "with --out"]),
        ("touch y; unset MPLCONFIGDIR; LAB_HOME=y $LAB profile --model no.pt", ["no model file"]),
    ],
)
def test_what_the_system_refuses_is_one_line_and_code_2(line, words, tmp_path):
    done = shell(line, tmp_path)
    assert done.returncode == 2, done.stderr
    assert_one_line(done.stderr)
    assert all(word in done.stderr for word in words), done.stderr


def test_a_reader_of_the_pipe_that_leaves_or_a_closed_output_is_no_error(page, stand_in_path):
    read = f"$LAB read {page} {page} --jobs 1 --model {stand_in_path}"
    done = shell(
        f"$LAB tunnel --help | :; ({read} 2>/dev/null; echo $? >&2) | :; $LAB tunnel --help >&-"
    )
    assert (done.returncode, done.stderr) == (0, "0\n")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_folder_that_refuses_is_named_with_what_to_do(refused, monkeypatch, page, number):
    def refuse(*_, **__):
        try:
            raise OSError(number, os.strerror(number), "/some/folder")
        except OSError as error:
            raise RuntimeError("a library's own words") from error

    monkeypatch.setattr(paragraph_text_recognizer, "ParagraphTextRecognizer", refuse)
    assert f"/some/folder: {os.strerror(number)}; " in refused("read", page)


def test_an_interrupt_before_the_command_has_begun_ends_it_without_a_traceback():
    program = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "lab_utils.cli":
            os.kill(os.getpid(), signal.SIGINT)

from lab_utils.__main__ import main
sys.meta_path.insert(0, Interrupt())
main()
"""
    done = ran(sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_an_interrupt_that_a_library_turns_into_an_error_is_still_one(name, code):
    program = f"""
import os, signal, time
from lab_utils.signals import orderly_end
with orderly_end():
    try:
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
    except KeyboardInterrupt:
        raise ValueError("damaged")
"""
    done = python(program)
    assert done.returncode == code and "damaged" not in done.stderr, done.stderr


def test_an_interrupt_may_meet_a_library_that_puts_all_handlers_back():
    """As PyTorch Lightning does when a training ends, in whatever way."""
    program = """
import os, signal, time
from lab_utils.signals import orderly_end
with orderly_end():
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)
        signal.sigtimedwait([], 0.5)
"""
    assert python(program).returncode == 143


IMPORTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 0.5)
except BaseException:
    os._exit(6)  # C code that imports a module may abort, or go on as if nothing was
"""


OWN_PROGRAM = """
import os, signal, time
from lab_utils import cli

def run(settings):
    {body}
    time.sleep(60)
    return 0

cli._run = run
cli.main()
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("import imported", 130),
        ("try: import imported; time.sleep(60)\n    except: pass", 130),
        # Dataclasses are made with exec(), so an import may be there when the signal comes.
        ('exec("os.kill(os.getpid(), signal.SIGTERM)")', 143),
    ],
    ids=["during an import", "swallowed by a bare except", "within exec"],
)
def test_an_interrupt_ends_the_program(tmp_path, body, code):
    (tmp_path / "imported.py").write_text(IMPORTED)
    (tmp_path / "program.py").write_text(OWN_PROGRAM.format(body=body))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-m", "program"], env=environment, timeout=50)
    assert done.returncode == code
