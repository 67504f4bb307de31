"""The command line `lab`: thin edges over the packages, and the one place where errors end.

What a user can mend is one line on stderr and exit code 2, never a traceback.
"""

import os
import sys
from typing import Annotated

import typer

from lab_utils.commands import (
    deploy,
    evaluation,
    gpu,
    making_pages,
    notebooks,
    reading,
    service,
    staging,
    tracking,
)
from lab_utils.commands.app import app as web_app
from lab_utils.commands.demo import demo
from lab_utils.commands.doctor import doctor
from lab_utils.commands.profile import profile
from lab_utils.commands.tunnel import tunnel
from text_recognizer.errors import RecognizerError
from text_recognizer.threads import check_thread_settings

# Plain text, so that help and errors read the same in a terminal, a notebook and a log.
app = typer.Typer(
    name="lab",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def lab(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LAB_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Turn a trained handwriting recognizer into a service that other people use."""
    context.ensure_object(dict)["debug"] = debug


for command in (
    staging.run,
    reading.read,
    staging.train,
    staging.stage,
    staging.fetch,
    staging.lineage,
    staging.cleanup,
    evaluation.evaluate,
    making_pages.pages,
    making_pages.fonts,
    gpu.pack,
    gpu.adopt,
):
    app.command()(command)
app.command(name="app")(web_app)
app.command(name="tunnel")(tunnel)
app.command(name="demo")(demo)
app.command(name="doctor")(doctor)
app.command(name="compile")(reading.compile_weights)
app.command()(profile)
app.command(name="wandb-server")(tracking.wandb_server)
app.add_typer(notebooks.app)
app.add_typer(service.app)
app.add_typer(deploy.app)


def main() -> None:
    """Runs the command of `sys.argv` and exits: 0 done, 1 a bug, 2 wrong input, 130 interrupted."""
    settings = {"debug": False}
    try:
        check_thread_settings()
        app(prog_name="lab", obj=settings)
        code = 0
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if settings["debug"]:
            raise
        code = _tell(error)
    _flush()
    sys.exit(code)


def _tell(error: Exception) -> int:
    """Writes one line about an error to stderr and returns the exit code."""
    if isinstance(error, RecognizerError):
        print(f"lab: {_one_line(error)}", file=sys.stderr)
        return 2
    print(
        f"lab: {type(error).__name__}: {_one_line(error)} "
        "(not foreseen: `lab --debug ...` or LAB_DEBUG=1 shows where)",
        file=sys.stderr,
    )
    return 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _flush() -> None:
    """Empties stdout now: at exit, Python would complain if the pipe's reader has left."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
