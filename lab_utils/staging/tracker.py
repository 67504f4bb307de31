"""One project at the tracker, through the real `wandb` SDK: finding runs and artifacts, starting
runs, and saying what went wrong in one line. The tracker may be the lab's own or wandb.ai."""

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import lab_tracker
from lab_tracker import environment
from lab_tracker.errors import RequestError
from lab_tracker.limits import MAX_NAME
from lab_utils.net import http_client, is_loopback
from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import COLLECTIONS, PROJECT
from lab_utils.staging.settings import check_settings, own_settings, tags
from text_recognizer.errors import RecognizerError
from text_recognizer.files import full_disk, replacing
from text_recognizer.places import lab_folder

if TYPE_CHECKING:
    from wandb import Artifact, Run

API_TIMEOUT = 20  # s
INIT_TIMEOUT = 60  # s
DOWNLOAD_TIMEOUT = 60  # s without a byte
SHOWN = 8  # versions in a message


class Tracker:
    """A project (`NAME` or `ENTITY/NAME`) at the tracker that `lab_tracker.connect()` gives.

    All methods raise StagingError for what is not there.
    """

    def __init__(self, project: str = PROJECT) -> None:
        entity, self.project = _entity_and_name(project)
        self._entity = entity or os.environ.get("WANDB_ENTITY")
        folder = environment.tracker_folder(lab_folder() / "wandb")
        self.url = lab_tracker.connect(folder).url

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Keeps `wandb` quiet, and turns its errors and those of the disk into a StagingError."""
        try:
            with own_settings():
                yield
        except RecognizerError:
            raise
        except Exception as error:
            if (message := _advice(error, self.url)) is None:
                raise
            raise StagingError(message) from error

    @cached_property
    def api(self) -> Any:
        """`wandb.Api()`; raises StagingError if the key is wrong or nobody answers."""
        with self.asking():
            import wandb

            return wandb.Api(timeout=API_TIMEOUT)

    @cached_property
    def path(self) -> str:
        """The project with the user or team that it belongs to, `ENTITY/NAME`."""
        with self.asking():
            return f"{self._entity or self.api.default_entity}/{self.project}"

    def check(self) -> None:
        """Raises StagingError if no run can be logged: before work is begun."""
        check_settings()
        assert self.path

    def artifact(self, reference: str, type: str) -> "Artifact":
        """The version that `NAME:ALIAS` names, of one type; without `NAME:`, one of the lab's own
        artifact of this type."""
        name, _, alias = reference.rpartition(":")
        name = name or COLLECTIONS[type]
        with self.asking():
            full = self._full(f"{name}:{alias}")
            if self.api.artifact_exists(full, type):
                return self.api.artifact(full, type=type)
            known = self.versions(name, type)
        has = ", ".join(map(labelled, known[:SHOWN])) or "no version at all"
        raise StagingError(
            f"The project {self.path} has no {name}:{alias} of type {type}; there is {has}."
        )

    def versions(self, name: str, type: str) -> list["Artifact"]:
        """All versions of a collection, newest first; none if there is no collection or project."""
        with self.asking():
            full = self._full(name)
            if not self.api.artifact_collection_exists(full, type):
                return []
            return list(self.api.artifacts(type, full, per_page=1000))

    def download(
        self, artifact: "Artifact", name: str, target: Path, sha256: str | None = None
    ) -> None:
        """One file of an artifact to `target`: whole and right, or nothing is changed.

        The bytes must have the SHA-256, or without one the MD5 that the tracker knows. Raises
        StagingError if they don't, or the manifest has a path that leaves its folder.
        """
        with self.asking():
            entries = artifact.manifest.entries
            check_paths(entries)
            entry = entries.get(name)
            if entry is None or entry.ref is not None:
                raise StagingError(
                    f"{artifact.source_name} holds no file {name}; "
                    "take a version that `lab train` or `lab stage` logged."
                )
            [file] = [file for file in artifact.files(per_page=1000) if file.name == name]
            hashed = hashlib.sha256() if sha256 else hashlib.md5()
            expected = sha256 or base64.b64decode(entry.digest).hex()
            with replacing(target) as partial:
                for piece in _pieces(file.direct_url, partial, int(entry.size)):
                    hashed.update(piece)
                if hashed.hexdigest() != expected:
                    raise StagingError(
                        f"The download of {name} is damaged: its {hashed.name} is not "
                        f"{expected[:12]}...; try again, or take another version."
                    )

    @contextlib.contextmanager
    def new_run(self, job_type: str, **options: Any) -> Iterator["Run"]:
        """A run that is finished at the end, and marked as failed if an error ends it."""
        check_settings()
        options["tags"] = tags()
        with self.asking():
            import wandb

            if not os.environ.get("WANDB_DIR"):  # wandb.ai: else it would be the current folder
                options["dir"] = lab_folder() / "wandb" / "sdk" / "runs"
                options["dir"].mkdir(parents=True, exist_ok=True)
            settings = {"silent": True, "console": "off", "disable_git": True, "save_code": False}
            run = wandb.init(
                entity=self.path.partition("/")[0],
                project=self.project,
                job_type=job_type,
                settings=wandb.Settings(**settings, init_timeout=INIT_TIMEOUT),
                **options,
            )
            try:  # the run's own `with` would print the traceback
                yield run
            except BaseException:
                run.finish(exit_code=1)
                raise
            run.finish()

    def _full(self, reference: str) -> str:
        """`NAME:ALIAS` with entity and project before it."""
        return reference if "/" in reference else f"{self.path}/{reference}"


def log_file(run: "Run", name: str, type: str, path: Path, metadata: dict[str, Any]) -> "Artifact":
    """Logs one file as an artifact and waits until the tracker has it whole.

    Until then the version is invisible: a process that is killed leaves nothing behind.
    """
    return run.log_artifact(one_file(name, type, path, metadata)).wait()


def one_file(name: str, type: str, path: Path, metadata: dict[str, Any]) -> "Artifact":
    """An artifact of one file, which stays where it is until the upload ends."""
    import wandb

    artifact = wandb.Artifact(name, type=type, metadata=metadata)
    artifact.add_file(str(path), name=path.name, skip_cache=True, policy="immutable")
    return artifact


def labelled(artifact: "Artifact") -> str:
    """`line-reader:v3 (best, latest)`."""
    aliases = f" ({', '.join(artifact.aliases)})" if artifact.aliases else ""
    return artifact.source_name + aliases


def check_paths(paths: Iterable[str]) -> None:
    """Raises StagingError for a path of a manifest that leads out of the folder it belongs in."""
    for path in paths:
        windows = PureWindowsPath(path)  # takes both kinds of slashes
        if not path or windows.anchor or ".." in windows.parts or "\0" in path:
            raise StagingError(
                f"The artifact's manifest names {path!r}, which leads out of its folder; "
                "delete that version and stage the checkpoint again."
            )


def _pieces(url: str | None, target: Path, size: int) -> Iterator[bytes]:
    """Writes what a URL delivers to a file, up to the piece after `size` bytes.

    Raises StagingError without the URL, which may be signed: anyone who has it can download.
    """
    import httpx

    if not url:
        raise StagingError(f"The tracker gives no address for {target.name}; try another version.")
    options = {"follow_redirects": True, "headers": {"Accept-Encoding": "identity"}}
    came = 0
    try:
        local = is_loopback(httpx.URL(url).host)
        with (
            http_client(DOWNLOAD_TIMEOUT, local, **options) as client,
            client.stream("GET", url) as answer,
            target.open("wb") as file,
        ):
            if not answer.is_success:
                raise StagingError(
                    f"The download of {target.name} was answered with status {answer.status_code}; "
                    "try again, or take another version."
                )
            for piece in answer.iter_raw():
                came += file.write(piece)
                yield piece
                if came > size:
                    return
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StagingError(
            f"The download of {target.name} ended after {came} of {size} bytes ({error}); "
            "check the network and try again."
        ) from None


def _entity_and_name(project: str) -> tuple[str, str]:
    """The parts of `NAME` or `ENTITY/NAME`; without an entity, that is ""."""
    from lab_tracker.names import checked_name  # pydantic would slow down `lab --help`

    *entity, name = project.split("/", 1)
    try:
        for part in (*entity, name):
            checked_name(part)
    except RequestError:
        raise StagingError(
            f"{project!r} is not a project: give NAME or ENTITY/NAME, each of 1 to {MAX_NAME} "
            "characters, not only dots, and without / \\ # ? % : or control characters."
        ) from None
    return "".join(entity), name


def _advice(error: Exception, url: str) -> str | None:
    """What to do about an error of the SDK or the network; None for others."""
    import requests
    import wandb

    reason = " ".join(str(error).split())
    if isinstance(error, ValueError | wandb.errors.Error) and "disk" in reason and "full" in reason:
        return f"The disk of {url} is full; free some space there and run again."
    if full := full_disk(reason, getattr(error, "filename", None) or lab_folder()):
        return f"{full.filename}: {full.strerror}; free some space."
    # A refused key, or no answer: both come in several shapes.
    signs = ("key is missing or wrong", "not logged in", "permission", "timed out", "connection")
    is_refusal = any(sign in reason.lower() for sign in signs)
    if isinstance(error, wandb.errors.AuthenticationError) or (
        is_refusal and not isinstance(error, PermissionError)
    ):
        return f"{url} refused the key or did not answer; check WANDB_API_KEY and the network."
    if isinstance(error, wandb.errors.Error | requests.RequestException):
        return f"{url} did not do what was asked ({reason}); check names and network."
    return None
