"""Sources of notebooks: what they hold, and that breaches of the contract are told with a place."""

import sys
from pathlib import Path

import pytest
from conftest import ran

from lab_authoring.build import renumber
from lab_authoring.contract import SourceError
from lab_authoring.source import read_source
from lab_authoring.template import new_notebook
from text_recognizer.errors import RecognizerError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def path(tmp_path) -> Path:
    """The source that the template makes."""
    return new_notebook("08_tiny", "Tiny", tmp_path)[0]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(SourceError) as error:
        read_source(path)
    return error.value.problems


# What a source holds


def test_a_source_tells_its_head_and_its_exercises(path):
    source = read_source(path)
    assert (source.name, source.number, source.module) == ("08_tiny", "08", "tiny")
    assert (source.title, source.minutes) == ("Tiny", 20)
    assert [exercise.number for exercise in source.exercises] == [1, 2, 3]
    exercise = source.exercises[1]
    assert (exercise.name, exercise.minutes) == ("widest_line", 3)
    assert exercise.check == "checks.widest_line(widest_line)"
    assert path.read_text().split("\n")[exercise.line] == "def widest_line(text: str) -> str:"
    assert "exercise" in source.cells[exercise.index].tags
    assert source.import_code == (
        "from lab_utils.figures import show_table\nfrom lab_utils.lessons.tiny import checks\n"
    )


# The contract

MARKS = '    ### BEGIN SOLUTION\n    return max(text.split("\\n"), key=len)\n    ### END SOLUTION\n'
CHECK = '# %% tags=["check"]\nchecks.widest_line(widest_line)\n'
FIRST, SECOND = "# %% [markdown]\n# ### Exercise 1", "# %% [markdown]\n# ### Exercise 2"
LONG = "# %%\n# a comment\n" + "print(1)\n\n" * 11 + "\n"

BREACHES = [
    # What is replaced, by what, the text at the line that is named, what is said.
    ("# ---\n# jupyter", "# jupyter", 1, "start with the header"),
    ("# # Tiny", "# ## Tiny", 9, "`# Title`"),
    ("**Time:** 20 minutes", "**Time:** some minutes", 9, "`**Time:** 60 minutes`"),
    ("# - how lines become one text again\n", "", 9, "3 to 6 goals"),
    ('["setup"]', '["timing"]', '# %% tags=["timing"]', "make the second cell"),
    ("# %%\nprint(text)", '# %% tags=["slow"]\nprint(text)', '# %% tags=["slow"]', "the tag slow"),
    ("print(text)", "print(text", "print(text", "fix the code"),
    ("# %%\nprint(text)", LONG + "# %%\nprint(text)", "# %%\n# a comment", "from 11 to at most 10"),
    ("print(text)", 'print("""\n# %% a\n""")', 1, "no line of a string"),
    (": Find the", " Find the", None, "cells that follow `### Exercise 1: Title"),
    (CHECK, "# %%\nx = 1\n\n" + CHECK, SECOND, "let three cells"),
    ("checks.widest_line(w", "checks.line(w", SECOND, "`checks.NAME(NAME)` and nothing else"),
    ("<summary>Hint", "<summary>hint", FIRST, "the hint: `<details><summary>Hint</summary>`"),
    ("# - how the", "# - 3 $ or 5 $: how the", "# - 3 $", "write \\$ for a dollar sign"),
    ("### END SOLUTION", "", None, "end the function with"),
    (MARKS, MARKS.replace("    ###", "###"), None, "indented as its body"),
    ("def widest_line(text: str)", "def widest_line(text)", "def widest_line", "a type"),
    ('    """Returns the line with', '    # """', None, "docstring"),
    ("def widest_line(text", "x = 1\n\n\ndef widest_line(text", None, "exactly one function"),
    ("def widest_line(text", "def count_lines(text", None, "another name"),
    ("# ## Summary", "# ## Sum", None, "end with the sections"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "message"), BREACHES)
def test_a_breach_is_told_with_its_place(path, old, new, at, message):
    text = path.read_text()
    assert old in text
    text = text.replace(old, new, 1)
    path.write_text(text)
    problems = problems_of(path)
    told = [problem for problem in problems if message in problem]
    assert told, problems
    assert all(problem.startswith(f"{path}:") and "\n" not in problem for problem in problems)
    if at is not None:
        line = at if isinstance(at, int) else text[: text.index(at)].count("\n") + 1
        assert int(told[0].removeprefix(f"{path}:").split(":")[0]) == line


def test_a_missing_check_is_told(path):
    checks = path.parents[2] / "lab_utils" / "lessons" / "tiny" / "checks.py"
    checks.write_text(checks.read_text().replace("def widest_line(", "def narrowest_line("))
    (problem,) = problems_of(path)
    assert "write the check `widest_line` in lab_utils/lessons/tiny/checks.py" in problem
    checks.unlink()
    assert len(problems_of(path)) == 3


def test_exercises_and_what_refers_to_them_are_numbered_in_their_order(path):
    text = path.read_text()
    text = text.replace("# ## Summary", "# See exercise 2.\n#\n# ## Summary")
    wrong = text.replace("Exercise 2:", "Exercise 7:").replace("exercise 2.", "exercise 7.")
    assert text.count("xercise 2") == wrong.count("xercise 7") == 2
    path.write_text(wrong)
    renumber(path)
    assert path.read_text() == text


def test_too_few_exercises_are_told(path):
    text = path.read_text()
    begin, end = text.index("# %% [markdown]\n# ### Exercise 3"), text.index("# %%\nshow_table")
    path.write_text(text[:begin] + text[end:])
    assert problems_of(path) == [f"{path}:9: set 3 to 6 exercises, not 2"]


@pytest.mark.parametrize("name", ["8_tiny", "08-tiny", "08_Tiny", "08_"])
def test_a_file_has_a_number_and_the_name_of_a_module(path, name):
    path = path.rename(path.with_name(f"{name}.py"))
    assert any("name the file" in problem for problem in problems_of(path))


def test_two_sources_have_two_numbers(path):
    other = path.with_name("08_other.py")
    other.write_text(path.read_text())
    assert any("another number: 08_other.py" in problem for problem in problems_of(path))


def test_a_file_that_is_not_text_is_told(path):
    path.write_bytes(b"\xff\xfe")
    assert len(problems_of(path)) == 1


# The template


def test_the_template_is_in_the_projects_style(tmp_path):
    paths = new_notebook("08_tiny", "Tiny", tmp_path)
    settings = ["--config", ROOT / "pyproject.toml", "--no-cache"]
    for command in (["check", "--ignore", "INP"], ["format", "--check"]):
        ended = ran(sys.executable, "-m", "ruff", *command, *settings, *paths)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("08_../x", "two digits"),
        ("08_other", "08_tiny.py is there"),
        ("09_tiny", "tiny/checks.py is there: delete it"),
    ],
)
def test_a_name_that_cannot_be_new_is_one_line_and_writes_nothing(path, name, message):
    project = path.parents[2]
    before = sorted(project.rglob("*"))
    with pytest.raises(RecognizerError, match=message) as error:
        new_notebook(name, None, project)
    assert "\n" not in str(error.value)
    assert sorted(project.rglob("*")) == before


def test_new_tells_what_it_wrote(lab, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("text_recognizer.places.PROJECT", tmp_path)
    code, out, err = lab("notebooks", "new", "08_tiny", "--title", "Tiny words")
    assert (code, err) == (0, "")
    assert out.split() == [
        "notebooks/source/08_tiny.py",
        "lab_utils/lessons/tiny/checks.py",
        "tests/right_answers/tiny.py",
        "tests/wrong_answers/tiny.py",
    ]
    assert read_source(tmp_path / "notebooks" / "source" / "08_tiny.py").title == "Tiny words"
    refused("notebooks", "new", "08_tiny")


def test_a_broken_source_is_told_line_by_line(lab, path, monkeypatch):
    monkeypatch.setattr("lab_authoring.source.SOURCES", path.parent)
    path.write_text(
        path.read_text().replace("# ## Summary", "# ## Sum").replace("(3 min", "(x min")
    )
    for command in ("check", "build"):
        code, out, err = lab("notebooks", command)
        assert (code, out) == (2, "")
        lines = err.splitlines()
        assert len(lines) > 1 and all(line.startswith(f"lab: {path}:") for line in lines)
