"""ngrok's agent, the program that holds the connection: fetched once, into the lab's own cache.

pyngrok would put it into the home folder, by way of a file of a known name in the shared /tmp.
"""

import os
import tarfile
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import IO
from urllib.request import urlopen

from lab_utils.tunnel.errors import OTHER_WAYS, TunnelDownError, TunnelError
from text_recognizer.places import lab_folder

VARIABLE = "PYNGROK_NGROK_PATH"
"""Environment variable, pyngrok's own, with the path of an agent that is there already."""

_SECONDS = 30.0
_MAX_BYTES = 200 * 2**20


def agent_path() -> Path:
    """The agent, downloaded on first use.

    Raises TunnelError where it cannot be had, or cannot be run.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else cached_path()
    if not named and not path.exists():
        _fetch(path)
    if not path.is_file():
        raise TunnelError(f"There is no ngrok agent at {path}; correct {VARIABLE}, or unset it.")
    if not os.access(path, os.X_OK):
        raise TunnelError(f"The ngrok agent {path} may not be executed; run `chmod +x '{path}'`.")
    return path


def cached_path() -> Path:
    """Where the agent lies once it has been fetched."""
    from pyngrok.installer import get_ngrok_bin

    return lab_folder() / "cache" / "ngrok" / get_ngrok_bin()


def _fetch(path: Path) -> None:
    from pyngrok.exception import PyngrokError
    from pyngrok.installer import get_ngrok_cdn_url

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetch-") as folder:
        partial = Path(folder, path.name)
        try:
            url = get_ngrok_cdn_url("3")
            with urlopen(url, timeout=_SECONDS) as answer:
                archive = Path(folder, "archive")
                archive.write_bytes(answer.read(_MAX_BYTES))
            partial.write_bytes(_member(archive, path.name))
        except PyngrokError:
            raise TunnelError(f"ngrok has no agent for this machine; {OTHER_WAYS}") from None
        except OSError as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise TunnelDownError(
                f"ngrok's agent could not be downloaded ({reason}); check the network, or, "
                f"{OTHER_WAYS}"
            ) from None
        except (KeyError, tarfile.TarError, zipfile.BadZipFile):
            raise TunnelDownError(
                "What was downloaded as ngrok's agent is none; try again, or install it by hand "
                f"and name it in {VARIABLE}."
            ) from None
        partial.chmod(0o755)
        partial.replace(path)


def _member(archive: Path, name: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            return file.read(name)
    with tarfile.open(archive) as file, closing(_file(file, name)) as member:
        return member.read()


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member
