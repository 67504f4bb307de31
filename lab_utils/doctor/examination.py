"""All the looks in the order of the report. One that cannot be taken is a line, too."""

from collections.abc import Callable, Iterable

from lab_utils.doctor import files, machine, packages, programs, settings, tracker
from lab_utils.doctor.finding import Finding, fix, note
from lab_utils.doctor.probe import Probe

Look = Callable[[], Finding | list[Finding]]


def examine() -> list[Finding]:
    """Looks at everything, in about the time that PyTorch takes to start. Raises nothing."""
    path = files.model_path()
    probe = Probe(path if path.is_file() else None)
    try:
        before = _taken(
            ("python", packages.check_python),
            ("packages", packages.check_packages),
        )
        after = _taken(
            ("weights", files.check_weights),
            ("fonts", files.check_fonts),
            ("tracker", tracker.check_tracker),
            ("wandb", settings.check_wandb),
            ("threads", settings.check_threads),
            ("proxies", settings.check_proxies),
            ("folder", machine.check_folder),
            ("disk", machine.check_disk),
            ("memory", machine.check_memory),
            ("ports", machine.check_ports),
            ("emulator", files.check_emulator),
            ("ngrok", programs.check_ngrok),
            ("token", programs.check_token),
            ("ssh", programs.check_ssh),
            ("browser", programs.check_browser),
            ("npm", programs.check_npm),
            ("handwriting", files.check_handwriting),
            ("home", machine.check_home),
        )
        told = probe.told()
        between = _taken(
            ("torch", lambda: files.check_torch(told)),
            ("gpu", lambda: machine.check_gpu(told)),
            ("model", lambda: files.check_model(told)),
        )
    finally:
        probe.close()
    return [*before, *between, *after]


def report(findings: Iterable[Finding]) -> str:
    """A line for each: the mark, what was looked at, what was found, and what to do."""
    return "\n".join(
        f"{one.mark:<5}{one.check:<12}{one.found}{f' -> {one.remedy}' if one.remedy else ''}"
        for one in findings
    )


def exit_code(findings: Iterable[Finding]) -> int:
    """As of the other commands: 0, or 2 for what the user has to mend."""
    return 2 if any(one.mark == "fix" for one in findings) else 0


def _taken(*looks: tuple[str, Look]) -> list[Finding]:
    found = []
    for name, look in looks:
        try:
            seen = look()
        except ImportError as error:
            missing = error.name or "a package"
            seen = note(name, f"not looked at, since {missing} cannot be imported", "see packages")
        except Exception as error:  # the rest is worth seeing all the same
            what = f"could not be looked at ({type(error).__name__}: {error})"
            seen = fix(name, what, "see what it names")
        found += seen if isinstance(seen, list) else [seen]
    return found
