"""The set-up cell, run as students run it: in fresh processes, on a simulated Colab (a fake
`google.colab`, an empty folder, the cell alone) and in environments that lack this or that.

Git is told, by its own settings, to find the repository's address in a folder; pip, by its own, to
find packages in a folder of wheels. So nothing needs a network, and the product knows no test.
"""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from conftest import program, ran
from packaging.version import Version

from lab_utils import setup

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
TAG = f"v{PROJECT['version']}"
CLONE = "text-recognizer-deployment-lab"
READY = "The lab is ready.\n"


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A git repository of the working tree's files that belong into one, with the tag."""
    folder = tmp_path_factory.mktemp("repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*identity, "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "test"],
        ["-c", "tag.gpgsign=false", "tag", TAG],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


RUN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
for cell in json.loads(sys.argv[1]):
    InteractiveShell.instance().run_cell(cell)
"""


class Place:
    """A machine to run cells on: a Python of its own, which sees the packages of this one but for
    those it lacks; an empty home; and a folder `content` to start in."""

    def __init__(
        self, folder: Path, repository: Path, lacks: tuple[str, ...], colab: bool = False
    ) -> None:
        self.folder, self.content, self.home = folder, folder / "content", folder / "home"
        self.wheels = folder / "wheels"
        for one in (self.content, self.home, self.wheels):
            one.mkdir()
        venv.create(folder / "python", with_pip=False)
        self.scripts = folder / "python" / "bin"
        (self.packages,) = (folder / "python" / "lib").glob("python*/site-packages")
        self._show_packages_but(lacks)
        self.env = {
            "PATH": str(Path(shutil.which("git")).parent),
            "HOME": str(self.home),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            # Makes git take the repository's address for its folder.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": ADDRESS,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        if colab:
            fake = folder / "fake" / "google" / "colab"
            fake.mkdir(parents=True)
            (fake / "__init__.py").write_text("# A fake: there is no Colab here.\n")
            self.env["PYTHONPATH"] = str(folder / "fake")

    def _show_packages_but(self, lacks: tuple[str, ...]) -> None:
        hidden = ("__editable__", "text_recognizer_deployment_lab", *lacks)
        shown = self.folder / "packages"
        shown.mkdir()
        for key in ("purelib", "platlib"):
            for entry in Path(sysconfig.get_path(key)).iterdir():
                known = (shown / entry.name).exists()
                if not entry.name.startswith(hidden) and entry.suffix != ".pth" and not known:
                    (shown / entry.name).symlink_to(entry)
        (self.packages / "shown.pth").write_text(f"{shown}\n")

    def put_command(self, name: str, script: str) -> None:
        """Puts a stand-in for a command, as a shell script, first on PATH."""
        folder = self.folder / "commands"
        folder.mkdir(exist_ok=True)
        program(folder / name, f"# A stand-in.\n{script}")
        self.env["PATH"] = f"{folder}{os.pathsep}{self.env['PATH']}"

    def pretend(self, name: str, version: str) -> None:
        """Lets Python and pip believe that this version of a package is installed."""
        folder = self.packages / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(metadata_of(name, version))

    def run(self, *cells: str, cwd: Path | None = None) -> str:
        """What the cells print, errors included, in a fresh IPython."""
        command = [self.scripts / "python", "-P", "-c", RUN, json.dumps(cells)]
        options = {"env": self.env, "stdin": subprocess.DEVNULL}
        done = ran(*command, cwd=cwd or self.content, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path, repository):
    """Makes a Place; `lacks` are beginnings of names of packages."""
    return lambda *lacks, colab=False: Place(tmp_path, repository, lacks, colab)


def metadata_of(name: str, version: str, requires: str = "") -> str:
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"


def write_wheel(folder: Path, name: str, version: str, text: str, files: dict[str, bytes]) -> None:
    """Writes a pure Python wheel with this METADATA and these files."""
    info = f"{name}-{version}.dist-info"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": text.encode(), f"{info}/WHEEL": tags.encode()}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files).encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def write_wheel_of_installed(folder: Path, name: str) -> None:
    """Packs an installed pure Python package as the wheel it came from."""
    installed = metadata.distribution(name)
    files = {
        str(file): file.read_binary()
        for file in installed.files
        if file.suffix != ".pyc"
        and ".." not in file.parts
        and (".dist-info" not in file.parts[0] or file.name == "entry_points.txt")
    }
    text = installed.read_text("METADATA")
    write_wheel(folder, name.replace("-", "_"), installed.version, text, files)


@pytest.mark.nightly
def test_on_colab_the_notebook_alone_is_enough(place):
    """Fetched, installed, imported and used in one session, without a restart."""
    if Version(metadata.version("setuptools")) < Version("77"):
        pytest.skip("pip builds the project with setuptools 77 or newer")
    colab = place("torchmetrics", "lightning_utilities", colab=True)
    for name in ("setuptools", "torchmetrics", "lightning-utilities"):
        write_wheel_of_installed(colab.wheels, name)
    said = colab.run(
        setup.setup_cell(),
        setup.setup_cell(),
        "!lab --help",
        "from importlib import metadata\nimport numpy, torchmetrics\n"
        "print(torchmetrics.__version__, numpy.__version__, Path.cwd())",
        "import matplotlib.font_manager, tqdm.auto",
    )
    assert said.startswith(f"Installing what the lab needs: once, about a minute.\n{READY}{READY}")
    assert "Usage: lab" in said
    versions = f"{metadata.version('torchmetrics')} {metadata.version('numpy')}"
    assert said.endswith(f"{versions} {colab.content / CLONE}\n")
    assert [path.name for path in colab.content.iterdir()] == [CLONE]
    assert list(colab.home.iterdir()) == []
    assert not list(colab.packages.glob("numpy*"))


def test_on_colab_a_package_that_would_move_numpy_is_not_installed(place):
    colab = place("torchmetrics", colab=True)
    colab.put_command("lab", "")
    tested = metadata.version("torchmetrics")
    text = metadata_of("torchmetrics", tested, requires="numpy>=99")
    write_wheel(colab.wheels, "torchmetrics", tested, text, {})
    write_wheel(colab.wheels, "numpy", "99.0", metadata_of("numpy", "99.0"), {})
    installing, error = colab.run(setup.setup_cell()).splitlines()
    assert installing.startswith("Installing")
    assert re.fullmatch(r"SetupError: pip .*torchmetrics.*: check the network .*", error)
    assert not list(colab.packages.glob("numpy*")) + list(colab.packages.glob("torchmetrics*"))


def test_on_colab_an_older_package_is_not_replaced_under_the_session(place):
    colab = place(colab=True)
    colab.pretend("torch", "2.8.0+cu128")
    colab.pretend("typer", "0.1")
    (error,) = colab.run(setup.setup_cell()).splitlines()
    assert error.startswith("SetupError: ") and "torch>=2.9 (2.8.0+cu128 is installed)" in error
    assert "Change runtime type" in error and "Restart session" in error
    assert re.search(r"`%pip install .*'typer>=[\d.]+'`", error)


@pytest.mark.parametrize(
    "git, reason",
    [
        (None, "No such file or directory: 'git'"),
        # The last argument is where the clone goes.
        (
            'for to; do :; done; mkdir -p "$to/lab_utils/setup"; echo cut short >&2; exit 1',
            "cut short",
        ),
    ],
)
def test_a_clone_that_fails_is_told_in_one_line_and_leaves_nothing(place, git, reason):
    colab = place(colab=True)
    if git is None:
        colab.env["PATH"] = str(colab.home)
    else:
        colab.put_command("git", git)
    (error,) = colab.run(setup.setup_cell()).splitlines()
    assert error.startswith("The lab was not fetched (")
    assert f"{reason})" in error
    assert list(colab.content.iterdir()) == []


STATE = """\
import json
print(json.dumps([str(Path.cwd()), sys.path, os.environ["PATH"].split(os.pathsep)]))"""


def test_in_a_checkout_the_cell_says_one_line_and_can_run_again(place, repository):
    jupyter = place()
    jupyter.put_command("lab", "")
    start = repository / "notebooks"
    cell = setup.setup_cell()
    *said, state = jupyter.run(cell, cell, STATE, cwd=start).splitlines(keepends=True)
    assert said == [READY, READY]
    cwd, modules, commands = json.loads(state)
    assert cwd == modules[0] == str(repository)
    assert modules.count(str(repository)) == 1
    assert commands[0] == str(jupyter.scripts)
    assert commands.count(str(jupyter.scripts)) == 1
    assert list(jupyter.home.iterdir()) == []
    assert not (repository / ".lab").exists()


def test_in_a_checkout_what_is_missing_is_named_with_the_command(place, repository):
    jupyter = place("torchmetrics")
    jupyter.pretend("typer", "0.1")
    jupyter.put_command("pip", "exit 1")
    (error,) = jupyter.run(setup.setup_cell(), cwd=repository).splitlines()
    assert error.startswith("SetupError: ")
    for part in (
        "torchmetrics>=1.6 (none is installed)",
        "typer>=0.16 (0.1 is installed)",
        "the command `lab`",
        f"`make lab` in {repository}",
        "`pip install -e '.[lab]' -c constraints.txt`",
    ):
        assert part in error
    assert [path.name for path in jupyter.packages.iterdir() if "typer" in path.name] == [
        "typer-0.1.dist-info"
    ]


def test_missing_weights_are_told_with_a_command_that_brings_them_back(place, repository, tmp_path):
    name = "line_reader.safetensors"
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    weights = clone / "data" / "weights" / name
    weights.unlink()
    jupyter = place()
    jupyter.put_command("lab", "")
    (error,) = jupyter.run(setup.setup_cell(), cwd=clone).splitlines()
    assert name in error
    command = re.search(r"`(git .*)`", error)[1]
    subprocess.run(command, shell=True, check=True)
    assert weights.is_file()
    assert jupyter.run(setup.setup_cell(), cwd=clone) == READY
