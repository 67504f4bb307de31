"""Building the function's image and bringing it to the registry, with docker or with buildah."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_utils.deploy.errors import DeployError
from text_recognizer.places import project_folder

LAMBDA_DOCKERFILE = "deploy/lambda.Dockerfile"
APP_DOCKERFILE = "deploy/app.Dockerfile"
PLATFORM = "linux/amd64"

PIP_INDEX = "PIP_EXTRA_INDEX_URL"
"""The shell's variable that says where pip finds PyTorch's CPU wheels. The build takes its value
from the shell, so that none with a password in it is ever shown."""

_WHEELS = "/wheels"


@dataclass(frozen=True)
class Build:
    """What is built, and from what."""

    dockerfile: str = LAMBDA_DOCKERFILE
    """Below the project's folder."""
    tag: str = "text-recognizer:latest"
    model: str = ".lab/models/paragraph_reader.pt"
    """TorchScript file below the project's folder."""
    base: str | None = None
    """Image to build on; None for the Dockerfile's."""
    builder: str | None = None
    """The same Python with pip; None for the base."""
    wheels: Path | None = None
    """Folder of wheels to install from, instead of from an index (only buildah)."""


def find_tool(wanted: str | None = None) -> str:
    """docker where its engine answers, else buildah; raises DeployError without either."""
    if wanted not in (None, "docker", "buildah"):
        raise DeployError("--tool is docker or buildah.")
    for tool in ("docker", "buildah"):
        if wanted in (None, tool) and shutil.which(tool) and (tool != "docker" or _engine_runs()):
            return tool
    if wanted:
        also = " and start its engine" if wanted == "docker" else ""
        raise DeployError(f"{wanted} is not usable here: install it{also}.")
    raise DeployError(
        "Building an image needs docker with its engine running, or buildah: install one of them."
    )


def build_command(tool: str, build: Build) -> list[str]:
    """The command that builds an image, from the project's folder.

    Raises DeployError where docker is to read wheels from a folder, which it cannot.
    """
    arguments = {"MODEL": build.model, "BASE": build.base, "BUILDER": build.builder}
    mounts = []
    if build.wheels:
        if tool == "docker":
            raise DeployError("docker builds cannot read a folder of wheels: use --tool buildah.")
        mounts = ["--volume", f"{build.wheels.resolve()}:{_WHEELS}:ro"]
        arguments |= {"PIP_FIND_LINKS": _WHEELS, "PIP_NO_INDEX": "1"}
    given = [f"{name}={value}" for name, value in arguments.items() if value]
    if os.environ.get(PIP_INDEX) and not build.wheels:
        given.append(PIP_INDEX)
    options = ["--platform", PLATFORM, "--file", build.dockerfile, "--tag", build.tag]
    options += [option for argument in given for option in ("--build-arg", argument)]
    if tool == "docker":
        # Provenance would make an index of images of it, which Lambda does not take.
        return ["docker", "build", "--provenance=false", *options, "."]
    return ["buildah", "build", "--format", "docker", *mounts, *options, "."]


def login_command(tool: str, registry: str) -> list[str]:
    """The command that takes the registry's password from stdin."""
    return [tool, "login", "--username", "AWS", "--password-stdin", registry]


def push_commands(tool: str, tag: str, remote: str) -> list[list[str]]:
    """The commands that bring a built image to `remote`, a name with its registry and tag."""
    return [[tool, "tag", tag, remote], [tool, "push", remote]]


def check_model(model: str) -> None:
    """Raises DeployError where the model file that goes into the image is not there."""
    if not (project_folder() / model).is_file():
        raise DeployError(
            f"There is no model file at {model}: make it with `lab compile`, or fetch a staged "
            "one with `lab fetch production`."
        )


def run(command: Sequence[str], password: str | None = None) -> None:
    """Runs a command in the project's folder; what it says is shown. Raises DeployError."""
    try:
        subprocess.run(
            command,
            cwd=project_folder(),
            input=password,
            text=True,
            check=True,
            stdin=None if password is not None else subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise DeployError(f"{command[0]} is not installed here.") from None
    except subprocess.CalledProcessError as error:
        raise DeployError(
            f"`{' '.join(command[:2])}` failed with exit code {error.returncode}: see above."
        ) from None


def _engine_runs() -> bool:
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


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
