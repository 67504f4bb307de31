"""GitHub's workflow runs `.ci/run` and tests nothing by itself; `.ci/run` gets the system packages
as root and with sudo, and says what to install where it may not."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import program, ran

ROOT = Path(__file__).resolve().parents[1]
MISSING = "chromium"


@pytest.fixture(params=["ci", "nightly"])
def workflow(request) -> dict:
    text = (ROOT / ".github" / "workflows" / f"{request.param}.yml").read_text()
    # YAML 1.1 takes the key `on` for true.
    return {str(key): value for key, value in yaml.safe_load(text).items()}


def test_a_workflow_leaves_all_testing_to_ci_run(workflow):
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    target = {"ci": "", "nightly": " test-all"}[workflow["name"]]
    assert commands[-1] == f"bash .ci/run{target}"
    assert not any(word in " ".join(commands[:-1]) for word in ("make", "pytest", "ruff", "pip"))


def test_a_workflow_is_bounded_may_only_read_and_has_the_projects_python(workflow):
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"} and "permissions" not in job
    assert 25 < job["timeout-minutes"] <= 180
    events = {"ci": {"push", "pull_request"}, "nightly": {"schedule"}}[workflow["name"]]
    assert set(workflow["True"]) == events | {"workflow_dispatch"}
    (python,) = (step["with"] for step in job["steps"] if "python-version" in step.get("with", {}))
    assert f":: Python :: {python['python-version']}" in (ROOT / "pyproject.toml").read_text()


@pytest.fixture
def machine(tmp_path):
    """A PATH of programs that write down how they were called, without Chromium."""
    calls = tmp_path / "calls"
    calls.touch()
    for name in ("env", "true", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name in ("make", "python3", "npm", "curl", "g++"):
        program(tmp_path / name, f'echo "{name} $*" >> "{calls}"')
    program(tmp_path / "apt-get", f'echo "apt-get $*, $DEBIAN_FRONTEND" >> "{calls}"')
    return tmp_path


def runs(machine: Path, user: int) -> tuple[int, list[str], str]:
    """The script as the user: exit code, calls of what changes the machine, last words."""
    # EUID is bash's own and read-only, so the copy of the script asks for another variable.
    (machine / ".ci").mkdir()
    script = machine / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text().replace("$EUID", "$TEST_USER"))
    environment = {"PATH": str(machine), "TEST_USER": str(user)}
    done = ran(shutil.which("bash"), script, env=environment)
    calls = (machine / "calls").read_text().splitlines()
    return done.returncode, [one for one in calls if not one.startswith("python3")], done.stderr


@pytest.mark.parametrize(("user", "sudo"), [(0, "exit 1"), (1001, 'shift; exec "$@"')])
def test_what_is_missing_is_installed_by_root_or_with_sudo(machine, user, sudo):
    program(machine / "sudo", f'[ "$1" = --non-interactive ] || exit 9; {sudo}')
    code, (update, install, test), _ = runs(machine, user)
    assert (code, update, test) == (0, "apt-get update -q, noninteractive", "make test")
    assert install.startswith("apt-get install -q -y ") and f" {MISSING}" in install


@pytest.mark.parametrize("sudo", [None, "echo a password is required >&2; exit 1"])
def test_who_may_not_install_is_told_what_is_missing(machine, sudo):
    if sudo is not None:
        program(machine / "sudo", sudo)
    code, calls, told = runs(machine, 1001)
    (line,) = told.splitlines()
    assert (code, calls) == (1, [])
    assert line.startswith(".ci/run: install ") and MISSING in line


def test_nothing_is_installed_where_nothing_is_missing(machine):
    program(machine / MISSING, "")
    code, calls, _ = runs(machine, 1001)
    assert (code, calls) == (0, ["make test"])
