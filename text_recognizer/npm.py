"""Fetches packages of fonts and texts from npm's registry, when asked and never at import."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from text_recognizer.errors import RecognizerError
from text_recognizer.files import full_disk

# By default npm tries three times, says only after a minute that there is no network, and in a new
# home folder also asks whether there is a newer npm.
OPTIONS = ["--loglevel=error", "--fetch-retries=0", "--fetch-timeout=9000", "--no-update-notifier"]


class NpmError(RecognizerError):
    """npm is missing or can't reach its registry."""


def fetch_archives(packages: Sequence[str], folder: Path) -> Iterator[Path]:
    """The archive of each package, such as `@fontsource/kalam@5`, one after another, in a scratch
    folder inside `folder`. It is gone when the next one is asked for.

    Raises NpmError, or OSError where it finds no room.
    """
    if shutil.which("npm") is None:
        raise NpmError("npm is not installed; install Node.js, which brings it.")
    folder.mkdir(parents=True, exist_ok=True)
    for package in tqdm(packages, desc="npm", unit="package"):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            result = subprocess.run(
                ["npm", "pack", *OPTIONS, "--cache", f"{scratch}/cache", package],
                cwd=scratch,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            if result.returncode != 0:
                if error := full_disk(result.stderr, folder):
                    raise error
                raise NpmError(f"npm could not fetch {package}; check the network and try again.")
            yield Path(scratch) / result.stdout.split()[-1]
