"""GitHub's workflow runs `.ci/run` and tests nothing by itself; `.ci/run` gets the system packages
as root and with sudo, and says what to install where it may not."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "run"
MISSING = "chromium"
PRESENT = ("make", "python3", "npm", "curl", "ssh", "g++")


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


class Machine:
    """A PATH of programs that write down how they were called, without Chromium."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder / "bin", folder / "calls"
        self.folder.mkdir()
        self.calls.touch()
        for name in ("env", "true", "dirname"):
            (self.folder / name).symlink_to(shutil.which(name))
        for name in PRESENT:
            self.program(name, f'echo "{name} $*" >> "{self.calls}"')
        self.program("apt-get", f'echo "apt-get $*, $DEBIAN_FRONTEND" >> "{self.calls}"')

    def program(self, name: str, line: str) -> None:
        (self.folder / name).write_text(f"#!{shutil.which('sh')}\n{line}\n")
        (self.folder / name).chmod(0o755)

    def runs(self, user: int) -> tuple[int, list[str], str]:
        """The script as the user: exit code, calls of what changes the machine, last words."""
        # EUID is bash's own and read-only, so the copy of the script asks for another variable.
        place = self.folder.parent / ".ci"
        place.mkdir(exist_ok=True)
        (place / "run").write_text(SCRIPT.read_text().replace("$EUID", "$TEST_USER"))
        done = subprocess.run(
            [shutil.which("bash"), place / "run"],
            env={"PATH": str(self.folder), "TEST_USER": str(user)},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = self.calls.read_text().splitlines()
        return done.returncode, [one for one in calls if not one.startswith("python3")], done.stderr


@pytest.fixture
def a_machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def was_installed(calls: list[str]) -> bool:
    update, install, test = calls
    assert update == "apt-get update -q, noninteractive" and test == "make test"
    return install.startswith("apt-get install -q -y ") and f" {MISSING}" in install


def test_root_installs_what_is_missing(a_machine):
    code, calls, _ = a_machine.runs(0)
    assert code == 0 and was_installed(calls)


def test_others_install_it_with_sudo(a_machine):
    a_machine.program("sudo", '[ "$1" = --non-interactive ] || exit 9; shift; exec "$@"')
    code, calls, _ = a_machine.runs(1001)
    assert code == 0 and was_installed(calls)


@pytest.mark.parametrize("sudo", [None, "echo a password is required >&2; exit 1"])
def test_who_may_not_install_is_told_what_is_missing(a_machine, sudo):
    if sudo is not None:
        a_machine.program("sudo", sudo)
    code, calls, told = a_machine.runs(1001)
    assert code == 1 and calls == []
    (line,) = told.splitlines()
    assert line.startswith(".ci/run: install ") and MISSING in line


def test_nothing_is_installed_where_nothing_is_missing(a_machine):
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("needs OpenSSH's server, which the script looks for in its usual place")
    a_machine.program(MISSING, "")
    code, calls, _ = a_machine.runs(1001)
    assert (code, calls) == (0, ["make test"])
