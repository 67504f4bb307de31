"""Grading: right and wrong answers, notebooks that cheat, hang, crash, spend or write too much.

The lesson of these tests is tiny and needs no torch. Each test puts as many cases into one notebook
as do not disturb each other, because a process takes a second to start.
"""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from lab_authoring.contract import Exercise
from lab_authoring.grade import Course, Limits, grade_notebooks
from lab_authoring.source import (
    Source,
    read_source,
    solution_notebook,
    source_paths,
    student_notebook,
)
from lab_authoring.submission import MAX_BYTES
from lab_utils.tables import read_table
from text_recognizer.errors import RecognizerError
from text_recognizer.places import PROJECT

NAMES = ("one", "two", "three", "four", "five", "six")
SET_UP = "import os\nos.chdir('..')\nPASSWORD = 'of the set-up cell'"


CHECKS = (
    "import inspect\nfrom lab_utils.lessons.checking import attempt, check, expect\n"
    + "".join(
        f"""

@check
def {name}(function):
    result = attempt(function)
    expect(result == {number}, f"{{function.name}}() is {{result!r}}, not {number}.")
    inspect.getsource({name})  # as torch.jit.script does
    return "right"
"""
        for number, name in enumerate(NAMES, start=1)
    )
)


def course_in(project: Path) -> Course:
    """A course with one source of six exercises."""
    exercises = tuple(
        Exercise(number, name, 1, "", "", 0, 0, points=number)
        for number, name in enumerate(NAMES, start=1)
    )
    source = Source(project / "09_numbers.py", "Numbers", 6, (), exercises, "")
    return Course(project, (source,), SET_UP)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    """That course with its checks, and a file that students might spoil."""
    project = tmp_path_factory.mktemp("project")
    for name, text in {
        "pyproject.toml": "",
        "data/keep.txt": "as it was",
        "lab_utils/lessons/numbers/checks.py": CHECKS,
    }.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return course_in(project)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(monkeypatch, tmp_path):
    """Whatever a student's code does: no process and no temporary file outlives the grading."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield
        assert kernel_processes() == []
        assert os.listdir(folder) == []
    monkeypatch.undo()


def write_notebook(path: Path, *cells: str, source: str = "09_numbers", **more: object) -> Path:
    """A notebook with these code cells."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"lab": {"source": source}},
        "cells": [
            {"cell_type": "code", "id": str(i), "metadata": {}, "outputs": [], "source": cell}
            for i, cell in enumerate(cells)
        ],
        **more,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def grade(tmp_path, course):
    """Grades a notebook with these cells: the result and the message of each exercise."""

    def run(*cells: str, cell=20.0, total=60.0, memory=4096) -> dict[str, tuple[str, str]]:
        path = write_notebook(tmp_path / "student.ipynb", *cells)
        out = tmp_path / "grades.csv"
        results = grade_notebooks([path], out, Limits(cell, total, memory), course=course)
        assert [result.exercise for result in results] == list(NAMES)
        return {result.exercise: (result.result, result.message) for result in results}

    return run


def right(number: int) -> str:
    return f"def {NAMES[number - 1]}():\n    return {number}"


def failed(name: str, got: object) -> tuple[str, str]:
    return "failed", f"{name}() is {got!r}, not {NAMES.index(name) + 1}."


def kernel_processes() -> list[psutil.Process]:
    """The processes that this test's kernels have started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            folder = os.path.realpath(environment.get("TMPDIR", "/"))
            ours = folder.startswith(os.path.realpath(os.environ["TMPDIR"]))
            if ours and "LAB_HOME" in environment:
                found.append(process)
    return found


def test_right_wrong_untouched_and_deleted_answers_are_told_apart(grade):
    results = grade(
        # The imports and the set-up cell are deleted, and so is exercise six.
        right(1) + "\nchecks.one(one); kept = 5",
        "def two():\n    return 3",
        "checks.two(\n    two\n)\nchecks.go_on('two'); two = checks.go_on('two', two)",
        "if kept:\n    from math import floor as three\ndef three():\n    ...  # your code here",
        "def four():\n    return 4",
        "!true\nwho = %who\nif who or 1:\n def four(): return 44\nfour = four  # this counts",
        "five = five_and_more = lambda: kept",
        "five = five()  # a name used again is no answer",
    )
    assert results == {
        "one": ("passed", ""),
        "two": failed("two", 3),
        "three": (
            "failed",
            "three returned None: write its body where the three dots are, and return the result.",
        ),
        "four": failed("four", 44),
        "five": ("passed", ""),
        "six": ("missing", "no cell defines six"),
    }


def test_what_a_notebook_prints_or_rebinds_counts_for_nothing(grade):
    results = grade(
        "import builtins, sys, lab_utils.lessons.checking\n"
        "print('\\N{CHECK MARK} one: right')\n"
        "builtins.print = lambda *_, **__: None\n"
        "class checks:\n    one = staticmethod(lambda f: None)\n"
        "lab_utils.lessons.checking.expect = lab_utils.lessons.checking.fail = lambda *_: None\n"
        "lab_utils.lessons.checking.attempt = lambda f: NAMES[f.__name__]\n"
        "sys.modules['lab_utils.lessons.numbers.checks'] = checks",
        "def one():\n    print('\\N{CHECK MARK} one: right')\n    return 0\nchecks.one(one)",
        "from lab_utils.lessons import checking\n"
        "def two():\n    raise checking.CheckFailed('passed')",
        "def three():\n    raise SystemExit(0)",
        "def four():\n    exit()",
        "def five():\n    import os\n    os._exit(0)",
        right(6),
    )
    assert results["one"] == failed("one", 0)
    assert results["two"][0] == "failed"
    assert results["three"] == ("failed", "three called sys.exit(): return the result instead.")
    assert results["four"] == results["five"] == ("died", "its check ended the Python process")
    assert results["six"] == ("passed", "")


def test_endless_loops_are_ended_and_what_follows_is_graded(grade):
    results = grade(
        right(1),
        "def two():\n"
        "    while True:\n        try:\n            while True: sum([])\n        except: pass",
        "while True: print('endless output' * 1000)",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + right(3) + "\n"
        "while True:\n    try: time.sleep(99)\n    except BaseException: pass",
        "def four():\n    return one() + 3",
        cell=2.0,  # on a busy machine, a check may take long to begin
    )
    assert results["one"] == results["four"] == ("passed", "")
    assert results["two"] == ("timed out", "its check ran longer than 2 s")
    assert results["three"] == ("timed out", "its cell ran longer than 2 s")


def test_exits_broken_cells_magics_and_questions_end_nothing_but_themselves(grade):
    results = grade(
        "import sys, os, signal\n" + right(1) + "\nsys.exit()",
        right(2) + "\nexit()",
        "os._exit(1)",
        "quit()",
        "os.kill(os.getpid(), 9)",
        "def three():\n    return input('A number: ')\ninput()",
        "def four(:\n    return 4",
        "%%bash\nexit 3",
        "!exit 3\nlisted = !echo five\n%time answer = 5\nimport os?\n" + "def five():\n"
        "    return answer if list(listed) == ['five'] else listed",
        "%%time\n" + right(6),
        "import nothing_like_this\n" + right(6),
    )
    assert results["one"] == ("passed", "")
    assert results["two"] == ("died", "its cell ended the Python process")
    assert results["three"][0] == "failed" and "EOFError" in results["three"][1]
    assert results["four"][0] == "failed"
    assert results["four"][1].startswith("its cell stopped with SyntaxError")
    assert results["five"] == ("passed", "")
    # The earlier definition is there, as it is in the student's own kernel.
    assert results["six"] == ("passed", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no process's data")
def test_memory_is_limited_for_each_process_and_for_all_together(grade):
    fork = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
    results = grade(
        "hoard = bytearray(10**12)",
        right(1),
        "def two():\n    return len(bytearray(10**12))",
        "hoard = []\nwhile True: hoard.append(bytearray(10**6))\ndef three(): return 3",
        fork + "        hoard = b'1' * 300_000_000\n"
        "        time.sleep(99)\ntime.sleep(99)\n" + right(4),
        fork.replace("4", "150") + "        time.sleep(99)\ntime.sleep(99)\n" + right(5),
        right(6),
        memory=600,
    )
    assert results["one"] == ("passed", "")
    assert results["two"] == ("out of memory", "its check took too much memory: see --memory")
    assert results["three"] == ("out of memory", "its cell took too much memory: see --memory")
    assert results["four"] == ("out of memory", "its cell took too much memory: see --memory")
    assert results["five"] == ("died", "its cell started more than 100 processes")
    assert results["six"] == ("passed", "")


def test_a_memory_limit_too_small_for_a_kernel_is_told(grade):
    with pytest.raises(RecognizerError, match="give a larger --memory"):
        grade(right(1), memory=1)


def test_nothing_is_left_behind_and_nothing_secret_is_passed_on(
    grade, course, monkeypatch, tmp_path
):
    for name in ("WANDB_API_KEY", "NGROK_AUTHTOKEN", "AWS_PROFILE", "MY_TOKEN", "A_SECRET_B"):
        monkeypatch.setenv(name, "secret")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    checkout = {p: p.read_bytes() for p in course.project.rglob("*") if p.is_file()}
    results = grade(
        "import os, pathlib\nstate = pathlib.Path('data/keep.txt').read_text()",
        "for p in ('data/keep.txt', 'pyproject.toml', 'checks.py', 'notebooks/new.txt'):\n"
        "    pathlib.Path(p).write_text('spoilt')",
        "pathlib.Path.home().joinpath('trace').write_text('here')\n"
        "def one():\n    return state, os.path.basename(os.getcwd()), os.listdir('notebooks')",
        "def two():\n    return 'secret' in os.environ.values()",
        # Leaves its parent, its session and its environment.
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execve('/bin/sleep', ['sleep', '987.25'], {})\n"
        "    os._exit(0)",
        "get_ipython().system = os.system\n!sleep 999 &\ndef three():\n    return PASSWORD",
    )
    assert results["one"] == failed("one", ("as it was", "project", ["new.txt"]))
    assert results["two"] == failed("two", False)
    assert results["three"] == failed("three", "of the set-up cell")
    assert {p: p.read_bytes() for p in course.project.rglob("*") if p.is_file()} == checkout
    assert list(home.iterdir()) == []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert "987.25" not in process.cmdline()


def test_a_notebook_gets_its_time_and_its_kernels_and_no_more(grade):
    sleep = "import time\ntime.sleep(1.5)"
    results = grade(right(1), sleep, sleep, right(2), sleep, sleep, right(3), total=5.0)
    assert results["one"] == ("passed", "")
    assert results["three"] == ("not reached", "the notebook ran longer than 5 s before")
    assert results["four"] == ("missing", "no cell defines four")


def test_files_that_are_no_notebooks_get_a_line_and_the_others_are_graded(tmp_path, course):
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    cells = [right(number) for number in range(1, 7)]
    os.mkfifo(tmp_path / "pipe.ipynb")
    wrong = {
        tmp_path / "absent.ipynb": "cannot be read",
        tmp_path / "pipe.ipynb": "is not a file",
        file("empty.ipynb", b""): "NotJSONError",
        file("binary.ipynb", bytes(range(256))): "UnicodeDecodeError",
        file("deep.ipynb", b"[" * 100_000): "is not a notebook",
        file("list.ipynb", b"[1, 2]"): "is not a notebook",
        file("huge.ipynb", b" " * (MAX_BYTES + 1)): "larger than 20 MiB",
        write_notebook(tmp_path / "odd.ipynb", cells=[{"cell_type": "code"}]): "is not a notebook",
    }
    by_name = write_notebook(tmp_path / "anna_09_numbers (2).ipynb", *cells[:2], source="?")
    by_metadata = write_notebook(tmp_path / "work.ipynb", *cells)
    of_nothing = write_notebook(tmp_path / "other.ipynb", "x = 1", source="")
    lines: list[str] = []
    out = tmp_path / "new" / "grades.csv"
    paths = [*wrong, of_nothing, by_name, by_metadata]
    results = grade_notebooks(paths, out, Limits(20, 60), lines.append, course)
    for result, line, (path, part) in zip(results, lines, wrong.items(), strict=False):
        assert (result.notebook, result.result, result.number) == (path, "unreadable", None)
        assert part in result.message and result.message == line and str(path) in line
    rest = results[len(wrong) :]
    assert (rest[0].result, rest[0].notebook) == ("no source", of_nothing)
    assert [row.passed for row in rest[1:]] == [True] * 2 + [False] * 4 + [True] * 6
    assert re.fullmatch(r".*work\.ipynb: 6 of 6 passed, 21 of 21 points", lines[-1])


def test_the_table_is_a_csv_file_without_formulas(tmp_path, course, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = Path("=cmd|' ,09_numbers.ipynb")
    write_notebook(name, right(1), "def two():\n    return type('@', (), {'__repr__': "
                   "lambda s: '\\x1b[1m\"a\\nb\",'})()")  # fmt: skip
    out = tmp_path / "grades.csv"
    out.write_text("from before")
    grade_notebooks([name], out, Limits(20, 60), course=course)
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        *("student", "notebook", "source", "exercise number", "exercise"),
        *("result", "points", "of", "message"),
    ]
    assert len(rows) == 8
    assert rows[1] == ["cmd", f"'{name}", "09_numbers", "1", "one", "passed", "1", "1", ""]
    assert rows[2][6:9] == ["0", "2", 'two() is "a b",, not 2.']
    assert rows[7] == ["cmd", "", "", "", "total", "", "1", "21", ""]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for out, message in ((name, "would be a notebook"), (tmp_path, "cannot be written")):
        with pytest.raises(RecognizerError, match=message):
            grade_notebooks([name], out, Limits(20, 60), course=course)


def test_several_are_graded_at_a_time_and_each_student_gets_a_total_and_a_page(tmp_path, course):
    folder = tmp_path / "bert b"
    folder.mkdir()
    unread = tmp_path / "cora.ipynb"
    unread.write_text("")
    anna = tmp_path / "anna_09_numbers.ipynb"
    paths = [
        write_notebook(anna, right(1), "def three():\n    return '<b>bold</b>'"),
        write_notebook(folder / "09_numbers.ipynb", *map(right, (1, 2, 6))),
        unread,
        # Handed in a second time, better here and worse there.
        write_notebook(anna.with_name("anna_09_numbers (1).ipynb"), right(2)),
    ]
    out, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    results = grade_notebooks(paths, out, Limits(20, 60), course=course, jobs=3, feedback=pages)
    assert [row.notebook for row in results] == [*[paths[0]] * 6, *[paths[1]] * 6, *paths[2:3],
                                                 *[paths[3]] * 6]  # fmt: skip
    totals = [row for row in read_table(out) if row["exercise"] == "total"]
    assert [(row["student"], row["points"], row["of"]) for row in totals] == [
        ("anna", "3", "21"), ("bert_b", "9", "21"), ("cora", "0", "0")
    ]  # fmt: skip
    assert sorted(path.name for path in pages.iterdir()) == ["anna.md", "bert_b.md", "cora.md"]
    page = (pages / "anna.md").read_text()
    assert page.startswith("# anna: 3 of 21 points\n\n## 09_numbers: 3 of 21 points\n\n")
    assert "- Exercise 1, `one`: 1 of 1 points.\n" in page
    assert "- Exercise 3, `three`: 0 of 3 points (failed). three() is '&lt;b&gt;bold" in page
    assert "is not a notebook" in (pages / "cora.md").read_text()


@pytest.mark.parametrize(("stop", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_ctrl_c_ends_all_kernels_and_keeps_the_rows_so_far(tmp_path, course, stop, jobs):
    first = tmp_path / "no_notebook.ipynb"
    endless = (
        "open('started', 'w')\nwhile True:\n    try:\n        while True: sum([])\n"
        "    except BaseException: pass"
    )
    second = write_notebook(tmp_path / "second.ipynb", endless, right(1))
    out = tmp_path / "grades.csv"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from lab_utils.signals import orderly_end\n"
        "from test_grade import Limits, course_in, grade_notebooks\n"
        "project, out, *paths = map(Path, sys.argv[1:])\n"
        "say = lambda line: print(line, flush=True)\n"
        "with orderly_end():\n"
        f"    grade_notebooks(paths, out, Limits(), say, course_in(project), {jobs})"
    )
    grading = subprocess.Popen(
        [sys.executable, "-c", program, course.project, out, first, second],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "no_notebook.ipynb" in grading.stdout.readline()
        wait_until(lambda: any(Path(os.environ["TMPDIR"]).rglob("started")))
        grading.send_signal(stop)
        _, errors = grading.communicate(timeout=120)
    finally:
        grading.kill()
    assert grading.returncode in (-signal.SIGINT, 128 + signal.SIGTERM), errors
    assert kernel_processes() == []
    assert os.listdir(os.environ["TMPDIR"]) == []
    with out.open(newline="") as file:
        assert [row["result"] for row in csv.DictReader(file)] == ["unreadable", ""]


def wait_until(happened, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.nightly
def test_a_real_notebook_is_graded(tmp_path):
    """One: that each notebook's solutions pass and its stubs fail, test_exercises tells."""
    (path,) = (path for path in source_paths() if path.stem == "03_paragraph_text_recognizer")
    source = read_source(path)
    solved, untouched = tmp_path / "solved.ipynb", tmp_path / "untouched.ipynb"
    solved.write_text(json.dumps(solution_notebook(source)))
    untouched.write_text(json.dumps(student_notebook(source)))
    results = grade_notebooks([solved, untouched], tmp_path / "grades.csv", Limits())
    count = len(source.exercises)
    assert [(r.result, r.message) for r in results[:count]] == [("passed", "")] * count
    assert [r.result for r in results[count:]] == ["failed"] * count
    assert all("write its body where the three dots are" in r.message for r in results[count:])
