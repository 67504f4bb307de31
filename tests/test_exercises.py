"""Exercises of all notebooks: a check fails on the stub, passes on the solution, and tells typical
wrong answers what is wrong without giving the answer away.

An exercise is checked alone, with the notebook's imports and nothing else of it.
"""

import contextlib
import importlib.util
import io
import os
import random
import re
import sys
import time
from functools import cache
from pathlib import Path

import pytest

import lab_utils.lessons
from lab_authoring import mutate
from lab_authoring.contract import Exercise
from lab_authoring.mutate import run_check
from lab_authoring.source import Source, read_source, source_paths
from lab_authoring.template import new_notebook
from lab_utils.lessons import checking
from lab_utils.lessons.checking import CheckFailed
from lab_utils.lessons.official import imports_of

HERE = Path(__file__).parent


@cache
def answers(kind: str, module: str, folder: Path = HERE) -> dict[str, list]:
    """The answers in `tests/KIND/MODULE.py` by the exercise's name; none if there is no file.

    A wrong answer is its code and what the check's message matches, or the same with parts of the
    official solution in place of the code: each part, and what takes its place.
    """
    path = folder / kind / f"{module}.py"
    if not path.is_file():
        return {}
    spec = importlib.util.spec_from_file_location(f"{kind}_{module}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, kind.upper())


def code_of(exercise: Exercise, *parts: str) -> str:
    """The code of a wrong answer: given whole, or as changes of the official solution."""
    if len(parts) == 1:
        return parts[0]
    code = exercise.solution
    for old, new in zip(parts[::2], parts[1::2], strict=True):
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    return code


SOURCES = [read_source(path) for path in source_paths()]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
EXERCISES = [
    pytest.param(source, exercise, id=f"{source.number}-{exercise.name}")
    for source in SOURCES
    for exercise in source.exercises
]
WRONG = [
    pytest.param(source, exercise, case, id=f"{source.number}-{exercise.name}-{i}")
    for source in SOURCES
    for exercise in source.exercises
    for i, case in enumerate(answers("wrong_answers", source.module).get(exercise.name, ()), 1)
]
RIGHT = [
    pytest.param(source, exercise, code, id=f"{source.number}-{exercise.name}-{i}")
    for source in SOURCES
    for exercise in source.exercises
    for i, code in enumerate(answers("right_answers", source.module).get(exercise.name, ()), 1)
]


def checked(source: Source, exercise: Exercise, answer: str) -> str:
    """Runs the imports, an answer and the check; returns what the check prints.

    Raises CheckFailed if the check fails.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_check(source, exercise, answer)
    return out.getvalue()


def message_of(source: Source, exercise: Exercise, answer: str) -> str:
    with pytest.raises(CheckFailed) as failure:
        checked(source, exercise, answer)
    return str(failure.value)


def random_states() -> list:
    """What the generators of Python, NumPy and PyTorch would draw next."""
    import numpy
    import torch

    numbers = numpy.random.get_state()[1].tolist()
    return [random.getstate(), numbers, torch.get_rng_state().tolist()]


CALLABLE = """
import functools
class Answer:
    __slots__ = ("function",)
    def __call__(self, *arguments, **named):
        print("x" * 1_000_000)
        return self.function(*arguments, **named)
answer = Answer()
answer.function = {name}
{name} = functools.partial(answer)
"""


@pytest.mark.parametrize(("source", "exercise"), EXERCISES)
def test_the_check_passes_the_solution_and_any_callable_with_one_stable_line(source, exercise):
    line = checked(source, exercise, exercise.solution)
    assert line.startswith(f"\N{CHECK MARK} {exercise.name}: ")
    assert line.count("\n") == 1 and line.endswith("\n")
    before = random_states()
    # torch.jit.script takes plain functions only.
    other = "" if exercise.name == "join_lines" else CALLABLE.format(name=exercise.name)
    assert checked(source, exercise, exercise.solution + other) == line
    assert random_states() == before


@pytest.mark.parametrize(("source", "exercise"), EXERCISES)
def test_the_check_says_what_to_do_with_the_stub(source, exercise):
    message = message_of(source, exercise, exercise.stub)
    assert exercise.name in message and "\n" not in message


@each_source
def test_three_wrong_and_three_right_answers_are_known(source):
    wrong, right = (answers(kind, source.module) for kind in ("wrong_answers", "right_answers"))
    assert {*wrong} == {*right} == {exercise.name for exercise in source.exercises}
    for name in right:
        assert len({case[:-1] for case in wrong[name]}) >= 3
        assert len(set(right[name])) >= 3


@pytest.mark.parametrize(("source", "exercise", "answer"), RIGHT)
def test_a_right_answer_in_another_style_passes(source, exercise, answer):
    answer = imports_of(exercise.stub) + answer  # the student's cell has them
    assert checked(source, exercise, answer).startswith("\N{CHECK MARK}")


class Hostile:
    """Looks like anything and stops with an error wherever it is looked at."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    __repr__ = __eq__ = __len__ = __iter__ = __getattribute__


def exiting(*arguments, **named):
    sys.exit("bye")


def generating(*arguments, **named):
    yield from arguments


def stopping(*arguments, **named):
    raise GeneratorExit


def hanging(*arguments, **named):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(20)


async def awaited(*arguments, **named):
    return arguments


@pytest.mark.parametrize(
    "answer",
    [
        *(None, ..., 7, "name", int, dict, Hostile, print, exiting, generating, stopping, awaited),
        *(lambda *a, **n: Hostile(), lambda *a, **n: ["x" * 10**6] * 3, lambda: 1, hanging),
    ],
    ids=lambda answer: getattr(answer, "__name__", type(answer).__name__),
)
def test_a_check_raises_one_line_whatever_the_answer_is(answer, monkeypatch, capsys):
    monkeypatch.setattr(checking, "CALL_SECONDS", 0.02)
    for source in SOURCES:
        checks = importlib.import_module(f"lab_utils.lessons.{source.module}.checks")
        for exercise in source.exercises:
            with pytest.raises(CheckFailed) as failure:
                getattr(checks, exercise.name)(answer)
            assert "\n" not in str(failure.value) and len(str(failure.value)) < 600
    assert capsys.readouterr().out == ""


def test_ctrl_c_ends_a_check():
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    checks = importlib.import_module("lab_utils.lessons.model_service.checks")
    with pytest.raises(KeyboardInterrupt):
        checks.handle(interrupted)


@each_source
def test_one_can_go_on_with_the_official_function(source, capsys):
    checks = importlib.import_module(f"lab_utils.lessons.{source.module}.checks")
    for exercise in source.exercises:
        official = checks.go_on(exercise.name)
        assert "the official function is used" in capsys.readouterr().out
    getattr(checks, exercise.name)(official)
    assert checks.go_on(exercise.name, official) is official
    assert checks.go_on(exercise.name, lambda: None) is not official


@pytest.mark.parametrize(("source", "exercise", "case"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(source, exercise, case):
    *parts, expected = case
    message = message_of(source, exercise, code_of(exercise, *parts))
    assert re.search(expected, message), message
    assert "\n" not in message and len(message) < 600
    said = message.split(" of its cell, `")[0]  # what follows is a line of the answer
    for line in solution_lines(exercise):
        assert line not in said, "the message gives the solution away"


def solution_lines(exercise: Exercise) -> list[str]:
    """The lines that stand in the solution alone and say more than `return x`."""
    given = {line.strip() for line in exercise.stub.split("\n")}
    lines = {line.strip() for line in exercise.solution.split("\n")} - given
    return [line for line in lines if len(line) > 12]


def test_the_template_passes_these_tests(tmp_path, monkeypatch):
    path = new_notebook("08_tiny", "Tiny", tmp_path)[0]
    monkeypatch.setattr(lab_utils.lessons, "__path__", [str(tmp_path / "lab_utils" / "lessons")])
    source = read_source(path)
    right = answers("right_answers", "tiny", tmp_path / "tests")
    wrong = answers("wrong_answers", "tiny", tmp_path / "tests")
    for exercise in source.exercises:
        test_the_check_passes_the_solution_and_any_callable_with_one_stable_line(source, exercise)
        test_the_check_says_what_to_do_with_the_stub(source, exercise)
        assert min(len(right[exercise.name]), len(wrong[exercise.name])) >= 3
        for case in wrong[exercise.name]:
            test_a_wrong_answer_is_told_what_is_wrong(source, exercise, case)
        for code in right[exercise.name]:
            test_a_right_answer_in_another_style_passes(source, exercise, code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants run in forked processes")
@pytest.mark.parametrize(
    ("source", "every"),
    [
        pytest.param(SOURCES[2], 4, id="some"),
        *(pytest.param(one, 1, id=one.name, marks=pytest.mark.nightly) for one in SOURCES),
    ],
)
def test_checks_reject_95_percent_of_the_mutants(source, every):
    mutants = mutate.different_mutants(source)[::every]
    survivors = [
        f"{one.exercise.name}: {one.change}" for one in mutants if mutate.survives(source, one)
    ]
    assert len(mutants) > 20
    assert len(survivors) <= (1 - mutate.LEAST_REJECTED) * len(mutants), survivors


def test_each_equivalent_mutant_exists_and_has_a_reason():
    exercises = {e.name: e for source in SOURCES for e in source.exercises}
    for name, changes in mutate.equivalent_mutants().items():
        possible = {mutant.change for mutant in mutate.mutants(exercises[name])}
        assert set(changes) <= possible
        assert all(len(reason.split()) >= 3 for reason in changes.values())
