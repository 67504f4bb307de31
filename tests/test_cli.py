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
from conftest import COMMANDS, parses
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


def lab_process(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lab_utils.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        **options,
    )


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
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert loaded.stdout.strip() == "", "the commands import these inside their functions"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_whose_examples_parse(lab, name):
    code, out, _ = lab(*name.split(), "--help")
    assert code == 0
    assert COMMANDS[name].help.split("\n")[0] in " ".join(out.split())
    for line in re.findall(r"Example: (lab .*)", COMMANDS[name].help):
        parses(line)


@pytest.mark.parametrize("pattern", ["*.md", "*.yml", "data/*/*.md", "notebooks/*.md", "Makefile"])
def test_commands_in_the_texts_parse(pattern):
    """A flag that the parser does not know would be found by the first reader otherwise."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob(pattern)))
    text = text.replace("\\\n", " ")
    quoted = re.findall(r"`(lab [a-z-][^`\n]*)`", text)
    shown = re.findall(r"^[#$ ]*(lab [a-z-].*)$", text, re.MULTILINE)
    for line in quoted + shown:
        words = shlex.split(re.split(r" (?:[|>#]|&&)", line)[0])
        if words[1] in {name.split()[0] for name in COMMANDS} and "..." not in line:
            parses(shlex.join(words))


# Reading


def test_read_json_tells_lines_with_places(lab, page, stand_in_path):
    pictures = ["--overlay", page.parent / "drawn"]
    code, out, err = lab("read", page, page, "--json", "--model", stand_in_path, *pictures)
    assert (code, told(err)) == (0, "")
    objects = [json.loads(line) for line in out.splitlines()]
    assert [found["image"] for found in objects] == [str(page)] * 2
    assert objects[0]["text"] == "\n".join(line["text"] for line in objects[0]["lines"])
    assert objects[0]["seconds"] > 0 and len(list((page.parent / "drawn").iterdir())) == 2
    line = objects[0]["lines"][0]
    assert set(line) >= {"text", "box", "path", "confidence"}
    x0, y0, x1, y1 = line["box"]
    assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 120


def test_one_bad_image_does_not_stop_the_others(lab, page, stand_in_path, tmp_path):
    code, out, err = lab("read", tmp_path / "none.png", page, "--model", stand_in_path)
    assert code == 2
    assert_one_line(err)
    assert "320x120" in out


# Overlays


def test_overlay_draws_on_the_page(lab, page, stand_in_path, tmp_path):
    picture = tmp_path / "deep" / "lines.png"
    code, _, err = lab("read", page, "--overlay", picture, "--model", stand_in_path)
    assert (code, told(err)) == (0, "")
    with Image.open(picture) as drawn:
        assert drawn.size == (320, 120)
        red, _, blue = drawn.split()
    _, most = ImageChops.difference(red, blue).getextrema()
    assert most > 50, "a gray page got no coloured line"


@pytest.mark.parametrize("name", ["page.png", "page.png/lines.png", "lines.txt"])
def test_an_overlay_that_cannot_be_there_is_one_line(lab, page, stand_in_path, name):
    before, target = page.read_bytes(), page.parent / name
    code, _, err = lab("read", page, "--overlay", target, "--model", stand_in_path)
    assert code == 2
    assert_one_line(err)
    assert page.read_bytes() == before


# What goes wrong


@pytest.mark.parametrize("content", ["folder", b"", b"\x89PNG\r\n\x1a\n" + b"x" * 30])
def test_a_file_that_is_not_an_image_is_one_line(lab, stand_in_path, tmp_path, content):
    if content != "folder":
        (tmp_path / "bad.png").write_bytes(content)
    path = tmp_path if content == "folder" else tmp_path / "bad.png"
    code, out, err = lab("read", path, "--model", stand_in_path)
    assert (code, out) == (2, "")
    assert_one_line(err)


def test_a_private_address_is_read_only_when_allowed(lab, serve, page, stand_in_path):
    server = serve(page.read_bytes())
    code, _, err = lab("read", server.url, "--model", stand_in_path)
    assert code == 2 and not server.requests
    assert_one_line(err)
    code, out, _ = lab("read", server.url, "--model", stand_in_path, "--allow-private")
    assert code == 0 and out.startswith("320x120")


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_model_file_that_is_none_is_one_line(lab, page, tmp_path, content):
    if content is not None:
        (tmp_path / "model.pt").write_bytes(content)
    code, _, err = lab("read", page, "--model", tmp_path / "model.pt")
    assert code == 2
    assert_one_line(err)


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


def shell(line: str, folder: Path = ROOT, **variables) -> subprocess.CompletedProcess:
    """Runs a line of the shell in which `$LAB` is the command line of `lab`."""
    variables |= {"LAB": f"{sys.executable} -m lab_utils.cli", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("LAB_HOME=$FILE $LAB compile", ["file", "LAB_HOME"]),
        ("mkdir gone && cd gone && rmdir ../gone && $LAB pages --out pages", ["no longer exists"]),
        ("$LAB read $PAGE --model $MODEL > /dev/full", ["No space left", "free some space"]),
    ],
)
def test_what_the_system_refuses_is_one_line_and_code_2(line, words, page, stand_in_path, tmp_path):
    (tmp_path / "file").write_text("")
    places = {"FILE": str(tmp_path / "file"), "PAGE": str(page), "MODEL": stand_in_path}
    done = shell(line, tmp_path, **places)
    assert done.returncode == 2, done.stderr
    assert_one_line(done.stderr)
    assert all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.glob("**/*.partial"))


def test_a_reader_of_the_pipe_that_leaves_or_a_closed_output_is_no_error():
    done = shell("$LAB tunnel --help | :; $LAB tunnel --help >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_folder_that_refuses_is_named_with_what_to_do(lab, monkeypatch, page, number):
    def refused(*_, **__):
        try:
            raise OSError(number, os.strerror(number), "/some/folder")
        except OSError as error:
            raise RuntimeError("a library's own words") from error

    monkeypatch.setattr(paragraph_text_recognizer, "ParagraphTextRecognizer", refused)
    code, _, err = lab("read", page)
    assert code == 2
    assert_one_line(err)
    assert f"/some/folder: {os.strerror(number)}; " in err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "name",
    ["SIGINT", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("SIGTERM", "SIGHUP"))],
)
def test_a_signal_ends_the_program_quietly(page, stand_in_path, name):
    number = getattr(signal, name)
    many = [page] * 2000
    with lab_process("read", *many, "--model", stand_in_path, start_new_session=True) as process:
        process.stdout.readline()  # it reads by now
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err


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


def own_program(folder: Path, body: str) -> int:
    """The exit code of `python -m` with a command line that does nothing but `body`."""
    (folder / "program.py").write_text(OWN_PROGRAM.format(body=body))
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-m", "program"], env=environment, timeout=50).returncode


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_during_an_import_ends_the_program_after_it(tmp_path):
    (tmp_path / "imported.py").write_text(IMPORTED)
    assert own_program(tmp_path, "import imported") == 130


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_that_a_bare_except_swallows_is_raised_again(tmp_path):
    (tmp_path / "imported.py").write_text(IMPORTED)
    swallows = "try: import imported; time.sleep(60)\n    except: pass"
    assert own_program(tmp_path, swallows) == 130


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_within_exec_does_not_change_the_exit_code(tmp_path):
    """Dataclasses are made with exec(), so an import may be there when the signal comes."""
    assert own_program(tmp_path, 'exec("os.kill(os.getpid(), signal.SIGTERM)")') == 143


def test_trust_is_an_option_of_the_command_line(lab, page, stand_in_path, monkeypatch):
    monkeypatch.setenv("LAB_TRUST_MODEL", "")
    code, _, err = lab("read", page, "--model", stand_in_path)
    assert code == 2 and "--trust-model" in err
    assert lab("--trust-model", "read", page, "--model", stand_in_path)[0] == 0
