"""Digests of files, and downloads that are whole and right or leave no trace.

Needs the standard library alone: the process that has torch and Pillow and nothing else uses it.
"""

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from lab_utils.staging.errors import StagingError

TIMEOUT = 60  # s without a byte
_PIECE = 2**20


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_paths(paths: Iterable[str]) -> None:
    """Raises StagingError for a path of a manifest that leads out of the folder it belongs to."""
    for path in paths:
        posix, windows = PurePosixPath(path), PureWindowsPath(path)
        parts = [*posix.parts, *windows.parts]
        if not path or posix.is_absolute() or windows.anchor or ".." in parts or "\0" in path:
            raise StagingError(
                f"The artifact's manifest names {path!r}, which leads out of its folder; "
                "delete that version and stage the checkpoint again."
            )


def download(url: str, target: Path, size: int, digest: str, algorithm: str = "sha256") -> None:
    """Downloads a file of `size` bytes whose `digest` (hexadecimal) is known to `target`.

    The bytes go into a temporary folder beside the target, which they replace in one step once all
    are there and right; an interruption leaves the target as it was. Raises StagingError where the
    server does not deliver them, or the target's folder cannot be used.
    """
    if not url.startswith(("http://", "https://")):
        raise StagingError("The artifact's file lies outside the tracker; stage it again.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
        ) as folder:
            partial = Path(folder, target.name)
            found = _receive(url, partial, size, algorithm)
            if found != digest:
                raise StagingError(
                    f"The download of {target.name} is damaged: its {algorithm} is "
                    f"{found[:12]}..., not {digest[:12]}...; try again, or take another version."
                )
            os.replace(partial, target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as e:
        raise StagingError(
            f"{target.name} could not be downloaded ({getattr(e, 'reason', e)}); try again."
        ) from None
    except OSError as error:
        raise StagingError(
            f"{target} cannot be written ({error.strerror or error}); "
            "free some space, or give another place."
        ) from None


def _receive(url: str, partial: Path, size: int, algorithm: str) -> str:
    """Writes what a URL delivers to a file, to the disk; returns its digest."""
    hashed = hashlib.new(algorithm)
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, partial.open("wb") as file:
        received = 0
        while piece := answer.read(_PIECE):
            received += len(piece)
            if received > size:
                break
            hashed.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if received != size:
        more = "more than" if received > size else f"{received} of"
        raise StagingError(f"The tracker sent {more} {size} bytes of {partial.name}; try again.")
    return hashed.hexdigest()
