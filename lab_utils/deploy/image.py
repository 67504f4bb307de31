"""Building the function's image with docker, and bringing it to the registry."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab_utils.deploy.errors import DeployError
from text_recognizer.places import project_folder

TAG = "text-recognizer:latest"
PIP_INDEX = "PIP_EXTRA_INDEX_URL"
"""The shell's variable that says where pip finds PyTorch's CPU wheels. The build takes its value
from the shell, so that none with a password in it is ever shown."""


def build_command(model: Path | None = None) -> list[str]:
    """The command that builds the image, from the project's folder.

    `model` is a TorchScript file; None for what `lab compile` made. Raises DeployError for one
    outside the project.
    """
    path = _model_path(model)
    if not path.is_relative_to(project_folder()):
        raise DeployError(
            f"{model} is outside the project, where no build can see it: copy it to .lab/models."
        )
    given = [f"MODEL={path.relative_to(project_folder())}"]
    given += [PIP_INDEX] if os.environ.get(PIP_INDEX) else []
    arguments = [option for one in given for option in ("--build-arg", one)]
    # Provenance would make an index of images of it, which Lambda does not take.
    return [
        *("docker", "build", "--provenance=false", "--platform", "linux/amd64"),
        *("--file", "deploy/lambda.Dockerfile", "--tag", TAG, *arguments, "."),
    ]


def push_commands(remote: str) -> list[list[str]]:
    """The commands that bring the image to `remote`, a name with its registry and tag.

    The first takes the registry's password from stdin.
    """
    registry = remote.split("/")[0]
    return [
        ["docker", "login", "--username", "AWS", "--password-stdin", registry],
        ["docker", "tag", TAG, remote],
        ["docker", "push", remote],
    ]


def check_build(model: Path | None) -> None:
    """Raises DeployError if the model file or docker is missing."""
    path = _model_path(model)
    if not path.is_file():
        raise DeployError(
            f"There is no model file at {path}: make it with `lab compile`, or fetch a staged one "
            "with `lab fetch production`."
        )
    try:
        subprocess.run(["docker", "version"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        raise DeployError(
            "Building an image needs docker with its engine running; without docker, see "
            "deploy/build_without_docker.sh."
        ) from None


def run(command: Sequence[str], stdin: str = "") -> None:
    """Runs a command in the project's folder; what it says is shown. Raises DeployError."""
    done = subprocess.run(command, cwd=project_folder(), input=stdin, text=True, check=False)
    if done.returncode:
        raise DeployError(
            f"`{' '.join(command[:2])}` failed with exit code {done.returncode}: see above."
        )


def _model_path(model: Path | None) -> Path:
    return model.resolve() if model else project_folder() / ".lab/models/paragraph_reader.pt"
