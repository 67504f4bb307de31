"""Checks of the exercises: one module a notebook, one function an exercise.

A check takes the student's function, tries it on inputs of its own, seeded, and says what is wrong
and what to look at, never the answer. When all is right it prints one line that is always the same.
"""

import linecache
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from text_recognizer.errors import ToldInOneLine


class CheckFailed(ToldInOneLine, AssertionError):
    """What is wrong with an answer, in a sentence or two."""


def attempt(function: Callable, *arguments: Any, **named: Any) -> Any:
    """The student's function on these arguments.

    Raises CheckFailed where it is no function, stops with an error (the message gives the line),
    or returns None, as the untouched stub does.
    """
    if not callable(function):
        fail(f"this is {_kind(function)}, no function: run the cell that defines it again.")
    name = function.__name__
    try:
        result = function(*arguments, **named)
    except CheckFailed:
        raise
    except Exception as error:
        where = _line_of(function, error)
        raise CheckFailed(f"{name} stopped with {_one_line(error)}{where}.") from None
    if result is None or result is ...:
        fail(
            f"{name} returned {result}: write its body where the three dots are, "
            "and return the result."
        )
    return result


def expect(right: bool, message: str) -> None:
    """Raises CheckFailed with the message unless `right`."""
    if not right:
        fail(message)


def expect_type(result: Any, wanted: type | tuple[type, ...], name: str) -> None:
    """Raises CheckFailed unless the result of the function `name` is of a wanted type."""
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    if not isinstance(result, kinds) or (isinstance(result, bool) and bool not in kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        fail(f"{name} returned {_kind(result)}, not {names}: look at its signature.")


def fail(message: str) -> NoReturn:
    """Raises CheckFailed."""
    raise CheckFailed(message)


def passed(function: Callable, message: str) -> None:
    """Prints the line of an exercise that is solved; `message` says what now holds."""
    print(f"\N{CHECK MARK} {function.__name__}: {message}")


def _kind(value: Any) -> str:
    if value is None or value is ...:
        return str(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else text[:200] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line_of(function: Callable, error: Exception) -> str:
    """The student's line in which an error came up, as the end of a sentence."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    if not own:
        return ""
    line = linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f" in line {own[-1].lineno} of its cell{f', `{line}`' if line else ''}"
