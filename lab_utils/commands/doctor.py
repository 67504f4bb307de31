"""`lab doctor`: what the lab needs, and whether this machine has it."""

import typer


def doctor() -> None:
    """Check this machine, and say what to do if something is missing.

    Prints one line for each check: ok; note, for what is optional or will be created; fix, for what
    stops `lab run` or another command that needs no account. The command after the arrow fixes it.
    Changes nothing, uses no network, and shows no password and no token. The exit code is 2 if
    something must be fixed, else 0.

    If `lab` itself does not start, run `python -m lab_utils.doctor`.

    Example: lab doctor
    """
    from lab_utils.doctor import main

    raise typer.Exit(main())
