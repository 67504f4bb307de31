"""Building the images with docker, and bringing the function's to the registry."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_utils.deploy.errors import DeployError
from text_recognizer.places import project_folder

PIP_INDEX = "PIP_EXTRA_INDEX_URL"
"""The shell's variable that says where pip finds PyTorch's CPU wheels. The build takes its value
from the shell, so that none with a password in it is ever shown."""


@dataclass(frozen=True)
class Build:
    """What is built, and from what."""

    dockerfile: str = "deploy/lambda.Dockerfile"
    """Below the project's folder."""
    tag: str = "text-recognizer:latest"
    model: str = ".lab/models/paragraph_reader.pt"
    """TorchScript file below the project's folder."""

    def command(self) -> list[str]:
        """The command that builds it, from the project's folder."""
        given = [f"MODEL={self.model}", *([PIP_INDEX] if os.environ.get(PIP_INDEX) else [])]
        arguments = [option for one in given for option in ("--build-arg", one)]
        # Provenance would make an index of images of it, which Lambda does not take.
        return [
            *("docker", "build", "--provenance=false", "--platform", "linux/amd64"),
            *("--file", self.dockerfile, "--tag", self.tag, *arguments, "."),
        ]

    def check(self) -> None:
        """Raises DeployError if docker or the model file is missing."""
        if not (project_folder() / self.model).is_file():
            raise DeployError(
                f"There is no model file at {self.model}: make it with `lab compile`, or fetch a "
                "staged one with `lab fetch production`."
            )
        try:
            subprocess.run(["docker", "version"], capture_output=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            raise DeployError(
                "Building an image needs docker with its engine running; without docker, see "
                "deploy/build_without_docker.sh."
            ) from None


def push_commands(tag: str, remote: str) -> list[list[str]]:
    """The commands that bring a built image to `remote`, a name with its registry and tag.

    The first takes the registry's password from stdin.
    """
    registry = remote.split("/")[0]
    return [
        ["docker", "login", "--username", "AWS", "--password-stdin", registry],
        ["docker", "tag", tag, remote],
        ["docker", "push", remote],
    ]


def run(command: Sequence[str], stdin: str = "") -> None:
    """Runs a command in the project's folder; what it says is shown. Raises DeployError."""
    done = subprocess.run(command, cwd=project_folder(), input=stdin, text=True, check=False)
    if done.returncode:
        raise DeployError(
            f"`{' '.join(command[:2])}` failed with exit code {done.returncode}: see above."
        )


def model_below_project(model: Path | None) -> str:
    """A model file as the build names it; raises DeployError for one outside the project."""
    if model is None:
        return Build.model
    try:
        return str(model.resolve().relative_to(project_folder()))
    except ValueError:
        raise DeployError(
            f"{model} is outside the project, where no build can see it: copy it to .lab/models."
        ) from None
