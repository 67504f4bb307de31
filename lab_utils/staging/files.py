"""Downloads that are whole and right or leave no trace.

Needs the standard library only: the process that has torch and Pillow and nothing else uses it.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from lab_utils.staging.errors import StagingError
from text_recognizer.files import replacing

TIMEOUT = 60  # s without a byte
_PIECE = 2**20


def check_paths(paths: Iterable[str]) -> None:
    """Raises StagingError for a path of a manifest that leads out of the folder it belongs in."""
    for path in paths:
        windows = PureWindowsPath(path)  # takes both kinds of slashes
        if not path or windows.anchor or ".." in windows.parts or "\0" in path:
            raise StagingError(
                f"The artifact's manifest names {path!r}, which leads out of its folder; "
                "delete that version and stage the checkpoint again."
            )


def download(url: str, target: Path, size: int, digest: str, algorithm: str = "sha256") -> None:
    """Downloads a file of `size` bytes whose `digest` (hexadecimal) is known to `target`.

    The target is replaced only once all bytes are there and right. Raises StagingError if the
    server does not deliver them, or the target's folder can't be used.
    """
    if not url.startswith(("http://", "https://")):
        raise StagingError("The artifact's file lies outside the tracker; stage it again.")
    try:
        with replacing(target) as partial:
            found = _receive(url, partial, size, algorithm)
            if found != digest:
                raise StagingError(
                    f"The download of {target.name} is damaged: its {algorithm} is "
                    f"{found[:12]}..., not {digest[:12]}...; try again, or take another version."
                )
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
    """Writes what a URL delivers to a file; returns its digest."""
    hashed, received = hashlib.new(algorithm), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, partial.open("wb") as file:
        while received <= size and (piece := answer.read(_PIECE)):
            received += len(piece)
            hashed.update(piece)
            file.write(piece)
    if received != size:
        more = "more than" if received > size else f"{received} of"
        raise StagingError(f"The tracker sent {more} {size} bytes of {partial.name}; try again.")
    return hashed.hexdigest()
