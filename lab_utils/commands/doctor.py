"""`lab doctor`: what this machine has of what the lab needs."""

import dataclasses
import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: ok, and the findings.")] = False,
) -> None:
    """Look over this machine, and say what to do where something is missing.

    One line for each thing: ok; note, for what is optional or will be made; fix, for what keeps
    `lab run` or another command that needs no account from working. The command after the arrow
    mends it. Changes nothing, asks no network, shows no password and no token. The exit code is 2
    where something is to be fixed, else 0.

    Where `lab` itself does not start, `python -m lab_utils.doctor` says why.

    Example: lab doctor --json
    """
    from lab_utils.doctor import examine, report
    from lab_utils.doctor.examination import exit_code

    findings = examine()
    code = exit_code(findings)
    if as_json:
        found = [dataclasses.asdict(one) for one in findings]
        print(json.dumps({"ok": code == 0, "findings": found}, indent=2))
    else:
        print(report(findings))
    raise typer.Exit(code)
