"""The command line `lab`: how a program runs, and the one place where its errors end.

Exit codes: 0 done, 1 a bug, 2 something that you can fix, 128 plus the number of the signal that
ended the program (130 for Ctrl-C). What you can fix is one line on stderr, without a traceback.
"""

import contextlib
import errno
import gc
import os
import sys

from lab_tracker.errors import TrackingError
from lab_utils.signals import orderly_end
from text_recognizer.errors import RecognizerError

_SPACE = "free some space, or set LAB_HOME to a folder on another disk"
_WRITABLE = "make it writable, or set LAB_HOME to a folder that is"
_CURES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.ENOTDIR: "it must be a folder: move the file away, or set LAB_HOME to a folder",
    errno.EEXIST: "it must be a folder: move the file away, or set LAB_HOME to a folder",
    errno.EISDIR: "it must be a file: give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n`",
    errno.ENOMEM: "end other programs",
}

_NO_FOLDER = "The current folder no longer exists; change to another one and try again."


def main() -> None:
    """Runs the command of `sys.argv` and exits."""
    # PyTorch's import makes some 170,000 objects, all to stay: looking through them again and again
    # would take a tenth of the time to the first text.
    gc.set_threshold(100_000, 10, 10)
    settings = {"debug": False}
    signals = orderly_end()
    try:
        with signals:
            code = _run(settings)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        signals.stop_alarm()  # a tick may have cut the block's own end short
        code = 130
    except Exception as error:
        if settings["debug"]:
            raise
        code = _report(error)
    if code == 130 and signals.number:
        code = 128 + signals.number
    # Python remembers an interrupt within exec(), as of a dataclass that is made during an import,
    # and `python -m` would end as by Ctrl-C whatever the code here; the next exec() forgets it.
    exec("")
    # As it ends, Python would look through all of PyTorch's objects once more: 0.3 s.
    gc.freeze()
    sys.exit(_flush(code))


def _run(settings: dict[str, bool]) -> int:
    """Runs the command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may be bytes that are not text
            stream.reconfigure(errors="backslashreplace")
    from lab_utils.commands.table import app
    from text_recognizer.places import keep_home_clean
    from text_recognizer.threads import check_thread_settings

    if not _has_current_folder():  # oneMKL would end the process in its own words
        return _say(_NO_FOLDER, 2)
    check_thread_settings()
    keep_home_clean()
    try:
        app(prog_name="lab", obj=settings)
    except SystemExit as end:
        # Typer ends with 1 where the reader of stdout has left, as `head` does: that is no error.
        return 0 if isinstance(end.__context__, BrokenPipeError) else end.code
    return 0


def _report(error: Exception) -> int:
    """Writes a line about an error, or for each problem that it lists; returns the exit code."""
    if isinstance(error, RecognizerError | TrackingError):
        for line in getattr(error, "problems", [_one_line(error)]):
            _say(line, 2)
        return 2
    if (cause := _os_error(error)) is not None:
        return _say(os_error_line(cause), 2)
    return _say(
        f"{type(error).__name__}: {_one_line(error)} "
        "(a bug; `lab --debug ...` or LAB_DEBUG=1 shows where)",
        1,
    )


def os_error_line(error: OSError) -> str:
    """What went wrong with a file or the disk, where, and what to do, in one sentence."""
    if error.errno == errno.ENOENT and not _has_current_folder():
        return _NO_FOLDER
    where = os.fspath(error.filename) if isinstance(error.filename, str | bytes) else "The output"
    where = where.decode(errors="backslashreplace") if isinstance(where, bytes) else where
    reason = error.strerror or _one_line(error) or type(error).__name__
    return f"{where}: {reason}; {_CURES.get(error.errno, 'check that place and try again')}."


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's error behind an error; libraries wrap it in their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _has_current_folder() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _say(line: str, code: int) -> int:
    with contextlib.suppress(OSError, AttributeError):  # stderr may be closed or full as well
        print(f"lab: {line}", file=sys.stderr)
    return code


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _flush(code: int) -> int:
    """Flushes stdout now, since at exit Python can only complain; returns the exit code."""
    if sys.stdout is None:  # it was closed when the program started
        return code
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader that has left is not an error
            return code or _report(error)
    return code


if __name__ == "__main__":
    main()
