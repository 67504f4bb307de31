"""The interpreter, the packages, PyTorch, and the files that it reads with.

Packages are read from their metadata, so that those which cannot be imported are checked as well.
PyTorch is asked in a separate process, so that one that crashes or hangs is found too.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.setup import project
from lab_utils.setup.packages import Package, unfit
from text_recognizer.errors import RecognizerError
from text_recognizer.language_model.character_model import load_model
from text_recognizer.model_file import (
    compiled_model_path,
    fetched_model_path,
    is_current,
    wrong_weights,
)
from text_recognizer.places import project_folder

_SHOWN = 6
_INSTALL = "pip install --constraint constraints.txt --editable"
_CODE = """
import json, sys, warnings
warnings.simplefilter("ignore")
said = {}
try:
    import torch
    said["torch"] = torch.__version__
    said["cuda"] = torch.version.cuda
    said["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if len(sys.argv) > 1:
        from text_recognizer.errors import RecognizerError
        from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
        try:
            ParagraphTextRecognizer(sys.argv[1], language_model="none")
        except RecognizerError as error:
            said["model"] = str(error)
except BaseException as error:
    said["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


def check_python() -> Finding:
    """The interpreter: new enough, and the one that the pinned versions were tested with."""
    version, shown = sys.version_info[:2], platform.python_version()
    if version < project.OLDEST_PYTHON:
        return fix(f"{shown} is too old", "make run PYTHON=python3.11")
    if version != project.OLDEST_PYTHON:
        found = f"{shown}; constraints.txt was tested with 3.11"
        return note(found, "if something does not work: make test PYTHON=python3.11")
    return ok(shown)


def check_packages() -> Finding:
    """What commands need, and what notebooks need besides."""
    if not (project_folder() / "pyproject.toml").is_file():
        return note("the project's files are not here", "run `lab doctor` in the checkout")
    if wrong := unfit(project.dependencies()):
        return fix(f"wrong or missing: {_listed(wrong)}", f"{_INSTALL} .")
    if wrong := unfit(project.requirements()):
        return note(f"notebooks need {_listed(wrong)}", f"{_INSTALL} '.[lab]'")
    return ok("all are there")


def check_versions() -> Finding:
    """Whether the packages have the versions that were tested."""
    file = project_folder() / "constraints.txt"
    if not file.is_file():  # without the project's files, `check_packages` says so
        return ok("not compared, since constraints.txt is not here")
    pins = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    if other := [one for one in unfit(pins) if one.installed]:
        return note(f"not as tested: {_listed(other)}", f"{_INSTALL} . installs the tested ones")
    return ok("as in constraints.txt")


def _listed(packages: list[Package]) -> str:
    more = f" and {len(packages) - _SHOWN} more" if len(packages) > _SHOWN else ""
    return ", ".join(map(str, packages[:_SHOWN])) + more


def check_weights() -> Finding:
    """The packaged weights, from which every model here is made."""
    folder = project_folder() / "data" / "weights"
    if wrong := wrong_weights():
        found = f"{', '.join(wrong)} in {folder}: missing, or not as packaged"
        return fix(found, "git checkout data/weights")
    return ok(f"all in {folder}, with their digests")


def check_language_model() -> Finding:
    """The language model that LAB_LANGUAGE_MODEL names; `check_weights` looks at the packaged."""
    name = os.environ.get("LAB_LANGUAGE_MODEL") or "english"
    try:
        if name not in ("english", "none"):
            load_model(name)
    except RecognizerError as error:
        return fix(str(error), "change LAB_LANGUAGE_MODEL, or unset it")
    return ok(name)


def ask_torch(
    model: Path | None, program: str = _CODE, seconds: float = 60.0
) -> dict[str, str | None]:
    """What only PyTorch can answer: does it start, and does the model load.

    The process is ended after `seconds`.

    Args:
        model: TorchScript file to load; None to load none.
        program: the Python code to run.

    Returns some of: "torch", its version; "cuda", the version that it was built for; "gpu", the
    first GPU; "model", why that did not load; "error", why PyTorch did not start.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-c", program, *([str(model)] if model else [])],
            cwd=project_folder(),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:.0f} s"}
    except (ValueError, IndexError):
        return {"error": f"its process ended with code {done.returncode}"}


def check_torch(said: dict[str, str | None]) -> Finding:
    """Whether PyTorch can be imported, by what `ask_torch` returned."""
    if error := said.get("error"):
        return fix(
            f"it does not start ({' '.join(error.split())[:160]})",
            "pip install --force-reinstall --constraint constraints.txt torch",
        )
    kind = f"built for CUDA {said['cuda']}" if said.get("cuda") else "built for CPUs"
    return ok(f"{said['torch']} starts, {kind}; GPU: {said.get('gpu') or 'none'}")


def model_path() -> Path:
    """The file that reads; the packaged one may not be there yet."""
    if named := os.environ.get("LAB_MODEL"):
        return Path(named)
    fetched = fetched_model_path()
    return fetched if fetched.is_file() else compiled_model_path()


def check_model(said: dict[str, str | None]) -> Finding:
    """The TorchScript file that reads: is it there, current, and does it load?"""
    path, named = model_path(), os.environ.get("LAB_MODEL")
    compiling = "lab compile, or the first use compiles it"
    if not path.is_file():
        if named:
            return fix(f"LAB_MODEL names {named}, which is not there", "unset LAB_MODEL")
        return note(f"{path} is not compiled yet", compiling)
    if problem := said.get("model"):
        return fix(problem, "unset LAB_MODEL" if named else "lab compile")
    if said.get("error"):
        return note(f"{path} was not loaded, since PyTorch does not start", "see torch")
    if path == compiled_model_path() and not is_current(path):
        return note(f"{path} is older than its code", compiling)
    return ok(f"{path} loads")
