"""The notebooks of the project: generated from their sources, run as far as a student's first stub,
and true in what they link to. (`test_cli.py` parses the commands they name.)"""

import re

import pytest
from test_notebook_build import told_in_one_line

from lab_authoring.build import check_notebooks
from lab_authoring.contract import headings
from lab_authoring.kernel import run_notebook
from lab_authoring.source import SOURCES as SOURCE_FOLDER
from lab_authoring.source import Source, read_source, source_paths, student_notebook

SOURCES = [read_source(path) for path in source_paths()]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


def test_every_generated_notebook_is_the_one_its_source_makes():
    assert check_notebooks(SOURCE_FOLDER) == []


@pytest.mark.nightly
@each_source
def test_the_notebook_of_a_student_who_solves_nothing_runs_to_its_end(source):
    """In `make test`, test_notebook_build runs the template's."""
    folder = source.student_path.parent
    notebook = run_notebook(student_notebook(source), folder, cell_timeout=300)
    assert len(told_in_one_line(notebook)) == len(source.exercises)


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
def test_exercises_take_no_longer_than_the_notebook(source):
    assert sum(exercise.minutes for exercise in source.exercises) <= source.minutes
