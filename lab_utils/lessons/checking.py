"""What the checks of exercises share: a module of checks per notebook, a function per exercise.

A check calls the student's function on its own seeded inputs, and says what is wrong and what to
look at, never the answer. If everything is right it returns what now holds, and `check` prints
that as one line that is always the same.
"""

import contextlib
import functools
import inspect
import linecache
import math
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lab_utils.tables import one_line
from text_recognizer.errors import ToldInOneLine

CALL_SECONDS = 5.0
"""Time limit for one call of the student's function."""
CHECK_SECONDS = 30.0
"""Time limit for all calls of one check together."""
MOST_CHARACTERS = 560


class CheckFailed(ToldInOneLine, AssertionError):
    """What is wrong with an answer, in a sentence or two."""


class _Stopped(BaseException):
    """The student's code took too long or wanted to exit; `except Exception` lets it through."""


class _TimeIsUp(BaseException):
    """A call has reached its time limit."""


class Answer:
    """A student's object under the name of its exercise, called within limits."""

    def __init__(self, function: Any, name: str) -> None:
        self.function, self.name = function, name
        self._call_seconds, self._seconds = CALL_SECONDS, CHECK_SECONDS

    def uses_a_tool(self) -> None:
        """Gives six times the time: a server or compiler takes long on a busy machine."""
        self._call_seconds, self._seconds = 6 * CALL_SECONDS, 6 * CHECK_SECONDS

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the student's function returns or raises, KeyboardInterrupt included.

        Raises CheckFailed if it changed an argument.
        """
        before = [_snapshot(one) for one in (*arguments, *named.values())]
        start = time.monotonic()
        try:
            with _time_limit(min(self._call_seconds, max(self._seconds, 0.1))):
                result = self.function(*arguments, **named)
        except _TimeIsUp:
            raise _Stopped(
                f"{self.name} took longer than {self._call_seconds:g} s for one call, or its "
                "calls together took too long: look for an endless loop, or for work that is done "
                "again and again."
            ) from None
        except SystemExit:
            raise _Stopped(f"{self.name} called sys.exit(): return the result instead.") from None
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _Stopped(f"{self.name} stopped with {_one_line(error)}.") from None
        finally:
            self._seconds -= time.monotonic() - start
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
        if not all(map(_is_same, before, (*arguments, *named.values()))):
            fail(f"{self.name} changed what it was given: leave that as it is, and make a copy.")
        return result


def check(body: Callable[[Answer], str]) -> Callable[[Any], None]:
    """Makes a check of a function that returns what now holds, or raises CheckFailed.

    Whatever the student's object is or does, the check prints its one line or raises CheckFailed
    with one line. What the student's code prints is dropped, and `random` goes on as before.
    """
    name = body.__name__

    @functools.wraps(body)
    def checked(function: Any) -> None:
        drawn = random.getstate()  # a server that a check starts draws numbers
        try:
            with (
                open(os.devnull, "w", errors="replace") as nowhere,
                contextlib.redirect_stdout(nowhere),
                contextlib.redirect_stderr(nowhere),
            ):
                if not callable(function):
                    fail(f"{name} is {_kind(function)}, not a function: run its cell again.")
                message = body(Answer(function, name))
        except KeyboardInterrupt:
            raise
        except (CheckFailed, _Stopped) as error:
            raise CheckFailed(one_line(error, MOST_CHARACTERS)) from None
        except BaseException as error:
            raise CheckFailed(
                f"{name} returned something that cannot be checked ({_one_line(error)}): "
                "look at its signature."
            ) from None
        finally:
            random.setstate(drawn)
        _passed[name] = function
        print(f"\N{CHECK MARK} {name}: {message}")

    return checked


_passed: dict[str, Any] = {}
"""The functions that passed their checks last."""


def attempt(function: Answer, *arguments: Any, **named: Any) -> Any:
    """The result of the student's function on these arguments.

    Raises CheckFailed if it stops with an error (the message gives the line), or returns None, as
    the untouched stub does.
    """
    name = function.name
    try:
        result = function(*arguments, **named)
    except CheckFailed:
        raise
    except Exception as error:
        where = _line_of(function.function, error)
        raise CheckFailed(f"{name} stopped with {_one_line(error)}{where}.") from None
    if result is None or result is ...:
        fail(
            f"{name} returned {result}: write its body where the three dots are, "
            "and return the result in every case."
        )
    return result


def expect_raises(
    function: Answer,
    wanted: type[BaseException],
    *arguments: Any,
    when: str,
    why: str = "",
) -> BaseException:
    """The error of the type `wanted` with which the student's function stops.

    Raises CheckFailed, which says `when` and `why`, if it does not.
    """
    name, why = function.name, f": {why}" if why else ""
    try:
        result = function(*arguments)
    except wanted as error:
        return error
    except CheckFailed:
        raise
    except Exception as error:
        fail(f"{when}, {name} stopped with {type(error).__name__}, not {wanted.__name__}{why}.")
    fail(f"{when}, {name} returned {short(result)}; raise {wanted.__name__} there{why}.")


def expect_result(
    function: Answer, arguments: tuple, wanted: Any, why: str, given: str = ""
) -> None:
    """Calls the student's function and expects what a right answer returns.

    Args:
        wanted: the right result, whose type the result must have; a float may be an int, too.
        why: the end of the message, what to look at.
        given: the start of the message, what the function was given: "with no kernel".

    Raises CheckFailed if the result is another one, of another type, or none.
    """
    name, start = function.name, f"{given}, " if given else ""
    kinds = (float, int) if isinstance(wanted, float) else type(wanted)
    with saying(given):
        result = expect_type(attempt(function, *arguments), kinds, name)
    if isinstance(wanted, float):
        same = math.isclose(result, wanted, rel_tol=1e-9, abs_tol=1e-9)
    else:
        same = result == wanted
    expect(same, f"{start}{name} returned {short(result, 120)}, not {short(wanted, 120)}: {why}.")


def expect(right: bool, message: str) -> None:
    """Raises CheckFailed with the message unless `right`."""
    if not right:
        fail(message)


def expect_type(result: Any, wanted: type | tuple[type, ...], name: str) -> Any:
    """The result as one of the wanted types.

    Scalars of NumPy and PyTorch become Python's, also within lists and tuples, and lists and
    tuples are accepted for each other. Raises CheckFailed if the result is of another type.
    """
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    if not isinstance(result, kinds):
        result = _python_scalar(result)
    if isinstance(result, list | tuple) and not {list, tuple}.isdisjoint(kinds):
        kind = list if list in kinds else tuple
        return kind(_python_scalar(value) for value in result)
    if not isinstance(result, kinds) or (isinstance(result, bool) and bool not in kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        fail(f"{name} returned {_kind(result)}, not {names}: look at its signature.")
    return result


@contextlib.contextmanager
def saying(when: str) -> Iterator[None]:
    """Puts `when` before the message of a CheckFailed that is raised inside."""
    try:
        yield
    except CheckFailed as error:
        raise CheckFailed(f"{when}, {error}" if when else str(error)) from None


def fail(message: str) -> NoReturn:
    """Raises CheckFailed."""
    raise CheckFailed(message)


def short(value: Any, most: int = 80) -> str:
    """The value as code, cut in the middle."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 20] + "..." + text[-12:]


def go_on(module: str, name: str, function: Any = None) -> Any:
    """The student's function if its check has passed, else the official one.

    Args:
        module: the name of the lesson.
        name: of the exercise.
        function: the student's.
    """
    from lab_utils.lessons.official import official_function

    if function is not None and _passed.get(name) is function:
        return function
    print(f"\N{RIGHTWARDS ARROW} {name}: not solved yet, so the official function is used here.")
    return official_function(module, name)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises _TimeIsUp inside after so many seconds, again and again until it gets out.

    Signals come to the main thread only; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def stop(*_: object) -> None:
        if running:
            raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    start = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        try:
            yield
        finally:
            running = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            left = max(left - (time.monotonic() - start), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


def _snapshot(value: Any) -> Any:
    """A copy of containers and tensors, at any depth, to compare with later."""
    if isinstance(value, dict):
        return {key: _snapshot(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_snapshot(one) for one in value]
    if isinstance(value, set):
        return set(value)
    return value.clone() if hasattr(value, "untyped_storage") else value


def _is_same(before: Any, now: Any) -> bool:
    if isinstance(now, dict):
        return list(before) == list(now) and all(_is_same(before[key], now[key]) for key in now)
    if isinstance(now, list | tuple):
        return len(before) == len(now) and all(map(_is_same, before, now))
    if isinstance(now, set):
        return before == now
    if hasattr(now, "untyped_storage"):
        return before.shape == now.shape and bool((before == now).all())
    return before is now


def _python_scalar(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else value


def _kind(value: Any) -> str:
    if value is None or value is ...:
        return str(value)
    kind = type(value)
    name = kind.__name__
    if kind.__module__.split(".")[0] in ("numpy", "torch"):
        return f"{kind.__module__.split('.')[0]}.{name}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _one_line(error: BaseException) -> str:
    try:
        text = one_line(error, 200)
    except Exception:  # an error class of the student's own
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line_of(function: Any, error: Exception) -> str:
    """The student's line in which an error came up, as the end of a sentence."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    if not own:
        return ""
    line = linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f" in line {own[-1].lineno} of its cell{f', `{line}`' if line else ''}"
