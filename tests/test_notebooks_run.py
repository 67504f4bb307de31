"""The notebooks of the project: generated from their sources, run as far as a student's first stub,
and true in what they link to and in the commands they name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMANDS, parses

from lab_authoring.contract import headings
from lab_authoring.kernel import run_notebook
from lab_authoring.source import Source, read_source, source_paths, student_notebook

ROOT = Path(__file__).resolve().parents[1]

SOURCES = [read_source(path) for path in source_paths()]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


def test_every_generated_notebook_is_the_one_its_source_makes():
    ended = subprocess.run(
        [sys.executable, "-m", "lab_utils.cli", "notebooks", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "source",
    [
        source if source.number == "07" else pytest.param(source, marks=pytest.mark.nightly)
        for source in SOURCES
    ],
    ids=lambda source: source.name,
)
def test_the_notebook_of_a_student_who_solves_nothing_runs_to_its_end(source):
    folder = source.student_path.parent
    notebook = run_notebook(student_notebook(source), folder, cell_timeout=300)
    failures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]
    assert [failure.ename for failure in failures] == ["CheckFailed"] * len(source.exercises)
    for failure in failures:
        assert failure.traceback == [f"CheckFailed: {failure.evalue}"], "one line, no traceback"


@each_source
def test_local_links_of_a_notebook_lead_somewhere(source):
    """Links count from the notebooks' folder, also in the solutions one below."""
    for link in links(source):
        if re.match(r"https?:|data:|mailto:", link):
            continue
        path, _, part = link.partition("#")
        target = source.student_path.parent / path if path else source.path
        assert target.exists(), link
        if part and not path:
            anchors = {title.replace(" ", "-") for *_, title in headings(list(source.cells))}
            assert part in anchors, link


def links(source: Source) -> list[str]:
    text = "\n".join(cell.text for cell in source.cells if cell.kind == "markdown")
    return [
        *re.findall(r"\]\(([^)\s]+)[^)]*\)", text),
        *re.findall(r"(?:src|href)=\"([^\"]+)\"", text),
        *re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE),
    ]


@each_source
def test_commands_of_a_notebook_parse(source):
    """A command or an option that does not exist would be found by the first student otherwise."""
    for line in commands(source):
        words = line.split()
        if words[0] != "lab" or "..." in line or words[1:] in ([], ["--help"]):
            continue
        # A text may name a command without its arguments.
        if " ".join(words[1:]) not in COMMANDS:
            parses(line)


def commands(source: Source) -> list[str]:
    """The command lines of the code, and those of `lab` in the texts, without pipes and comments.

    A variable of the notebook, as in `!lab read {page}`, stands for some word.
    """
    found = []
    for cell in source.cells:
        if cell.kind == "code":
            found += re.findall(r"^\s*!(?:\{sys\.executable\} -m )?(.+)$", cell.text, re.MULTILINE)
        else:
            found += re.findall(r"`(lab [a-z-][^`\n]*)`", cell.text)
            found += re.findall(r"^(lab [a-z-].*)$", cell.text, re.MULTILINE)
    return [
        re.sub(r"\{[^}]*\}|\$\w+", "word", re.split(r" (?:[|>#]|&&)", line)[0]) for line in found
    ]


@each_source
def test_exercises_take_no_longer_than_the_notebook(source):
    assert sum(exercise.minutes for exercise in source.exercises) <= source.minutes
