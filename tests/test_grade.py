"""Grading: right and wrong answers, notebooks that cheat, hang, crash, spend or write too much.

The lesson of these tests is tiny and needs no torch. Each test puts as many cases into one notebook
as possible, because a process takes a second to start.
"""

import contextlib
import csv
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from conftest import processes_with, python_process, until
from nbformat import v4

from lab_authoring.contract import Exercise
from lab_authoring.grade import Course, grade_notebooks
from lab_authoring.source import (
    Source,
    read_source,
    solution_notebook,
    source_paths,
    student_notebook,
)
from lab_authoring.submission import MAX_BYTES, last_definitions
from lab_authoring.workplace import Limits
from lab_utils.tables import read_table
from text_recognizer.errors import RecognizerError

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
        assert processes_with("LAB_HOME", folder) == {}
        assert os.listdir(folder) == []
    monkeypatch.undo()


def write_notebook(path: Path, *cells: str, source: str = "09_numbers") -> Path:
    """A notebook with these code cells."""
    notebook = v4.new_notebook(metadata={"lab": {"source": source}})
    notebook.cells = [v4.new_code_cell(cell) for cell in cells]
    path.write_text(v4.writes(notebook))
    return path


@pytest.fixture
def grade(tmp_path, course):
    """Grades a notebook with these cells: the result and the message of each exercise."""

    def run(*cells: str, **limits: float) -> dict[str, tuple[str, str]]:
        path = write_notebook(tmp_path / "student.ipynb", *cells)
        limits = Limits(**{"cell_timeout": 20, "total_timeout": 60} | limits)
        results = grade_notebooks([path], tmp_path / "grades.csv", limits, course=course)
        assert [result.exercise for result in results] == list(NAMES)
        return {result.exercise: (result.result, result.message) for result in results}

    return run


def right(number: int) -> str:
    return f"def {NAMES[number - 1]}():\n    return {number}"


def failed(name: str, got: object) -> tuple[str, str]:
    return "failed", f"{name}() is {got!r}, not {NAMES.index(name) + 1}."


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
            "three returned None: write its body where the three dots are, and return the result "
            "in every case.",
        ),
        "four": failed("four", 44),
        "five": ("passed", ""),
        "six": ("missing", "no cell defines six"),
    }


def test_only_what_binds_a_name_defines_it():
    for cell in (
        "one = sorted([1, 2], key=lambda y: -y)",
        "import math  # not one",
        "import math; print('one')",
        "text = 'import one'",
        "other = lambda one=3: one",
    ):
        assert last_definitions(["def one():\n    return 1", cell], ["one"]) == {"one": 0}
    for cell in (
        "class one:\n    ...",
        "from .some.where import other, floor as one",
        "two = one = other = lambda x: x",
    ):
        assert last_definitions([cell, "one = one()"], ["one"]) == {"one": 0}


@pytest.mark.parametrize("word", ("import ", "one = ", " "))
def test_a_line_as_long_as_a_file_is_read_once(word):
    # Reading it again from each word would take days.
    assert last_definitions([word * (MAX_BYTES // len(word))], ["two"]) == {}


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
    assert results["four"] == ("failed", "four called sys.exit(): return the result instead.")
    assert results["three"] == ("failed", "three called sys.exit(): return the result instead.")
    assert results["five"] == ("died", "its check ended the Python process")
    assert results["six"] == ("passed", "")


def test_endless_loops_are_ended_and_what_follows_is_graded(grade):
    results = grade(
        right(1),
        "def two():\n"
        "    while True:\n        try:\n            while True: sum([])\n        except: pass",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + right(3) + "\n"
        "while True:\n    try: print('endless output' * 1000)\n    except BaseException: pass",
        "def four():\n    return one() + 3",
        cell_timeout=2.0,  # on a busy machine, a check may take long to begin
    )
    assert results["one"] == results["four"] == ("passed", "")
    assert results["two"] == ("timed out", "its check ran longer than 2 s")
    assert results["three"] == ("timed out", "its cell ran longer than 2 s")


def test_the_errors_of_cells_are_told_and_what_they_write_anywhere_is_no_result(grade):
    write = (
        "import os\nfor fd in range(3, 40):\n    try: os.write(fd, {})\n    except OSError: pass\n"
    )
    results = grade(
        "error = ValueError('real')\nerror.add_note('a note')\nraise error\n" + right(1),
        "exit()\n" + right(2),
        write.format("b'x' * 60_000") + write.format("b'x' * 60_000") + right(3),
        write.format("b'[[\\n'") + right(4),
        write.format("b'7\\n'") + right(5),
        right(6),
    )
    assert results["one"][1] == "its cell stopped with ValueError: real before one was defined"
    assert results["two"][1] == "its cell stopped with SystemExit before two was defined"
    wrote = ("died", "its cell wrote to the pipe that grading reads")
    assert results["three"] == results["four"] == results["five"] == wrote
    assert results["six"] == ("passed", "")


def test_exits_broken_cells_magics_and_questions_end_nothing_but_themselves(grade):
    results = grade(
        "import sys, os\n" + right(1) + "\nsys.exit()",
        right(2) + "\nos.kill(os.getpid(), 9)",
        "quit()",
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
def test_memory_is_limited(grade):
    results = grade(
        "hoard = bytearray(10**12)",
        right(1),
        "def two():\n    return len(bytearray(10**12))",
        "hoard = []\nwhile True: hoard.append(bytearray(10**6))\ndef three(): return 3",
        right(4),
        memory_mib=600,
    )
    assert results["one"] == results["four"] == ("passed", "")
    assert results["two"][0] == "failed" and "MemoryError" in results["two"][1]
    assert results["three"] == ("out of memory", "its cell took too much memory: see --memory")
    with pytest.raises(RecognizerError, match="give a larger --memory"):
        grade(right(1), memory_mib=1)


def test_all_processes_of_a_notebook_together_are_limited(grade):
    fork = "import os, time\nfor _ in range({}):\n    if os.fork() == 0:\n        {}\n"
    wait = "time.sleep(99)\n"
    results = grade(
        fork.format(4, "hoard = b'1' * 300_000_000; time.sleep(99)") + wait + right(1),
        fork.format(150, wait) + wait + right(2),
        right(3),
        memory_mib=600,
    )
    assert results["one"] == ("out of memory", "its cell took too much memory: see --memory")
    assert results["two"] == ("died", "its cell started more than 100 processes")
    assert results["three"] == ("passed", "")


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


def test_a_notebook_gets_its_time_and_no_more(grade):
    results = grade(right(1), "import time\ntime.sleep(60)", right(3), total_timeout=5.0)
    assert results["one"] == ("passed", "")
    assert results["three"] == ("not reached", "the notebook ran longer than 5 s before")
    assert results["four"] == ("missing", "no cell defines four")


def test_files_that_are_no_notebooks_get_a_line_and_the_others_are_graded(tmp_path, course):
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    os.mkfifo(tmp_path / "pipe.ipynb")
    wrong = {
        tmp_path / "absent.ipynb": "is not a file",
        tmp_path / "pipe.ipynb": "is not a file",
        file("empty.ipynb", b""): "NotJSONError",
        file("deep.ipynb", b"[" * 100_000): "is not a notebook",
        file("list.ipynb", b"[1, 2]"): "is not a notebook",
        file(
            "odd.ipynb", b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}'
        ): "is not a notebook",
        file("huge.ipynb", b" " * (MAX_BYTES + 1)): "larger than 20 MiB",
        write_notebook(tmp_path / "other.ipynb", "x = 1", source=""): "not one of the lab's",
    }
    cells = [right(number) for number in range(1, 7)]
    by_name = write_notebook(tmp_path / "anna_09_numbers (2).ipynb", *cells[:2], source="?")
    by_metadata = write_notebook(tmp_path / "work.ipynb", *cells)
    lines: list[str] = []
    out = tmp_path / "new" / "grades.csv"
    results = grade_notebooks(
        [*wrong, by_name, by_metadata], out, Limits(20, 60), lines.append, course
    )
    for result, line, (path, part) in zip(results, lines, wrong.items(), strict=False):
        assert (result.notebook, result.result, result.number) == (path, "unreadable", None)
        assert part in result.message and result.message == line and str(path) in line
    rest = results[len(wrong) :]
    assert [row.result == "passed" for row in rest] == [True] * 2 + [False] * 4 + [True] * 6
    assert re.fullmatch(r".*work\.ipynb: 6 of 6 passed, 21 of 21 points", lines[-1])


def test_the_table_has_totals_and_no_formulas_and_each_student_gets_a_page(
    tmp_path, course, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("bert b").mkdir()
    rude = "type('@', (), {'__repr__': lambda s: '\\x1b[1m<b>\"a\\nb\",'})()"
    paths = [
        write_notebook(Path("=anna ,09_numbers.ipynb"), right(1), f"def three(): return {rude}"),
        write_notebook(Path("bert b") / "09_numbers.ipynb", *map(right, (1, 2, 6))),
        Path("cora.ipynb"),
        # Handed in a second time, better here and worse there.
        write_notebook(Path("anna_09_numbers (1).ipynb"), right(2)),
    ]
    out, pages = Path("grades.csv"), Path("feedback")
    out.write_text("from before")
    results = grade_notebooks(paths, out, Limits(20, 60), course=course, jobs=3, feedback=pages)
    assert [row.notebook for row in results] == [
        *([paths[0]] * 6 + [paths[1]] * 6),
        *([paths[2]] + [paths[3]] * 6),
    ]
    with out.open(newline="") as file:
        header, first, *rows = csv.reader(file)
    assert header[:5] == ["student", "notebook", "source", "exercise number", "exercise"]
    assert header[5:] == ["result", "points", "of", "message"]
    assert first == ["anna", f"'{paths[0]}", "09_numbers", "1", "one", "passed", "1", "1", ""]
    assert rows[1][6:] == ["0", "3", 'three() is <b>"a b",, not 3.']
    assert [[row[0], *row[6:8]] for row in rows if row[4] == "total"] == [
        ["anna", "3", "21"],
        ["bert_b", "9", "21"],
        ["cora", "0", "0"],
    ]
    assert sorted(path.name for path in pages.iterdir()) == ["anna.md", "bert_b.md", "cora.md"]
    page = (pages / "anna.md").read_text()
    assert page.startswith("# anna: 3 of 21 points\n\n## 09_numbers: 3 of 21 points\n\n")
    assert "- Exercise 1, `one`: 1 of 1 points.\n" in page
    assert "- Exercise 3, `three`: 0 of 3 points (failed). three() is &lt;b&gt;" in page
    assert "is not a file" in (pages / "cora.md").read_text()
    for out, message in ((paths[0], "would be a notebook"), (tmp_path, "cannot be written")):
        with pytest.raises(RecognizerError, match=message):
            grade_notebooks(paths, out, Limits(20, 60), course=course)


def test_ctrl_c_ends_all_processes_and_keeps_the_rows_so_far(tmp_path, course):
    first = tmp_path / "no_notebook.ipynb"
    endless = (
        "open('started', 'w')\nwhile True:\n    try:\n        while True: sum([])\n"
        "    except BaseException: pass"
    )
    others = [write_notebook(tmp_path / name, endless, right(1)) for name in ("a.ipynb", "b.ipynb")]
    out = tmp_path / "grades.csv"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from lab_utils.signals import orderly_end\n"
        "from test_grade import Limits, course_in, grade_notebooks\n"
        "project, out, *paths = map(Path, sys.argv[1:])\n"
        "say = lambda line: print(line, flush=True)\n"
        "with orderly_end():\n"
        "    grade_notebooks(paths, out, Limits(), say, course_in(project), jobs=2)"
    )
    command = ("-c", program, course.project, out, first, *others)
    with python_process(*command) as grading:
        assert "no_notebook.ipynb" in grading.stdout.readline()
        folder = Path(os.environ["TMPDIR"])
        assert until(lambda: len(list(folder.rglob("started"))) == 2, 120)
        grading.send_signal(signal.SIGINT)
        _, errors = grading.communicate(timeout=120)
    assert grading.returncode == -signal.SIGINT, errors
    assert [row["result"] for row in read_table(out)] == ["unreadable", ""]


@pytest.mark.nightly
def test_a_real_notebook_is_graded(tmp_path):
    """One of them: test_exercises has the solutions and stubs of all."""
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
