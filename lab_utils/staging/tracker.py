"""One project at the tracker, through the real `wandb` SDK: finding runs and artifacts, starting
runs, and telling what goes wrong in one line. The tracker may be the lab's own or wandb.ai."""

import base64
import contextlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging.errors import StagingError
from lab_utils.staging.files import check_paths, download
from lab_utils.staging.names import COLLECTIONS, PROJECT
from lab_utils.staging.settings import check_settings, own_settings
from lab_utils.staging.settings import tags as wandb_tags
from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder

if TYPE_CHECKING:
    from wandb import Artifact, Run

API_TIMEOUT = 20  # s
INIT_TIMEOUT = 60  # s
SHOWN = 8  # versions in a message


class Tracker:
    """A project (`NAME` or `ENTITY/NAME`) at the tracker that `tracking.connect()` gives.

    All methods raise StagingError for what is not there.
    """

    def __init__(self, project: str = PROJECT) -> None:
        import lab_tracker as tracking
        from lab_tracker import environment

        entity, _, self.project = project.rpartition("/")
        if not self.project or set(self.project) & set("\\#?%:"):
            raise StagingError(
                f"{project!r} is no project's name: give NAME or ENTITY/NAME without \\ # ? % :."
            )
        self._entity = entity or os.environ.get("WANDB_ENTITY")
        folder = environment.tracker_folder() or lab_folder() / "wandb"
        self.connection = tracking.connect(folder)

    @cached_property
    def api(self) -> Any:
        """`wandb.Api()`; raises StagingError where the key is wrong or nobody answers."""
        with sdk(self.connection.url):
            import wandb

            return wandb.Api(timeout=API_TIMEOUT)

    @cached_property
    def entity(self) -> str:
        """The user or team that the project belongs to."""
        if not self._entity:
            with sdk(self.connection.url):
                self._entity = self.api.default_entity
        return self._entity

    def check(self) -> None:
        """Raises StagingError if no run can be logged: before work is begun."""
        check_settings()
        assert self.entity

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}"

    def qualified(self, reference: str) -> str:
        """`NAME:ALIAS` with entity and project before it."""
        return reference if "/" in reference else f"{self.path}/{reference}"

    def artifact(self, reference: str, type: str) -> "Artifact":
        """The version that `NAME:ALIAS` names, of one type; without `NAME:`, one of the lab's own
        artifact of this type."""
        name, _, alias = reference.rpartition(":")
        name = name or COLLECTIONS[type]
        with sdk(self.connection.url):
            with _if_there():
                return self.api.artifact(self.qualified(f"{name}:{alias}"), type=type)
            known = self.versions(name, type)
        has = ", ".join(map(labelled, known[:SHOWN])) or "no version at all"
        raise StagingError(
            f"{self.project} has no {name}:{alias} of type {type}; {name} has {has}."
        )

    def versions(self, name: str, type: str) -> list["Artifact"]:
        """All versions of a collection, newest first; none where there is no collection.

        Raises StagingError where there is no such project.
        """
        with sdk(self.connection.url):
            path = self.qualified(name)
            if self.api.artifact_collection_exists(path, type):
                return list(self.api.artifacts(type, path, per_page=1000))
            try:
                len(self.api.runs(self.path, per_page=1))
            except ValueError:
                raise StagingError(
                    f"There is no project {self.path} at {self.connection.url}; "
                    "`lab train` starts one, --project names another."
                ) from None
            return []

    def download(
        self, artifact: "Artifact", name: str, target: Path, sha256: str | None = None
    ) -> None:
        """One file of an artifact to `target`: whole and right, or nothing is changed.

        The bytes must have the SHA-256, or without one the MD5 that the tracker knows.
        """
        url, size, md5 = self.file_of(artifact, name)
        download(url, target, size, sha256 or md5, "sha256" if sha256 else "md5")

    def file_of(self, artifact: "Artifact", name: str) -> tuple[str, int, str]:
        """Where a file of an artifact can be downloaded without a key, its bytes, and its MD5.

        Raises StagingError where the manifest has a path that leaves its folder.
        """
        with sdk(self.connection.url):
            entries = artifact.manifest.entries
            check_paths(entries)
            entry = entries.get(name)
            if entry is None or entry.ref is not None:
                raise StagingError(
                    f"{artifact.source_name} holds no file {name}; "
                    "take a version that `lab train` or `lab stage` logged."
                )
            [file] = [file for file in artifact.files(per_page=1000) if file.name == name]
            return file.direct_url, int(entry.size), base64.b64decode(entry.digest).hex()

    @contextlib.contextmanager
    def new_run(self, job_type: str, **options: Any) -> Iterator["Run"]:
        """A run that is finished at the end, and marked as failed where an error ends it.

        Ctrl-C marks it with the tag `interrupted`.
        """
        check_settings()
        tags = wandb_tags()
        with sdk(self.connection.url):
            import wandb

            if not os.environ.get("WANDB_DIR"):  # wandb.ai: else it would be the current folder
                options["dir"] = lab_folder() / "wandb" / "sdk" / "runs"
                options["dir"].mkdir(parents=True, exist_ok=True)
            run = wandb.init(
                entity=self.entity,
                project=self.project,
                job_type=job_type,
                tags=tags,
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    save_code=False,
                    init_timeout=INIT_TIMEOUT,
                ),
                **options,
            )
            try:
                yield run
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                if interrupted:
                    run.tags = (*(run.tags or ()), "interrupted")
                run.finish(exit_code=130 if interrupted else 1)
                raise
            run.finish()


def labelled(artifact: "Artifact") -> str:
    """`v3 (best, latest)`."""
    aliases = named_aliases(artifact)
    return artifact.source_version + (f" ({', '.join(aliases)})" if aliases else "")


def named_aliases(artifact: "Artifact") -> list[str]:
    """The aliases of a version, without the version itself."""
    return [alias for alias in artifact.aliases if alias != artifact.source_version]


@contextlib.contextmanager
def _if_there() -> Iterator[None]:
    """Goes on after the errors by which the SDK says that something is not there."""
    from wandb.errors import CommError

    try:
        yield
    except (CommError, ValueError) as error:
        if isinstance(error, RecognizerError) or _is_refusal(error):
            raise


@contextlib.contextmanager
def sdk(url: str) -> Iterator[None]:
    """Keeps `wandb` quiet, and turns its errors and those of the disk into a StagingError."""
    try:
        with own_settings():
            yield
    except (RecognizerError, KeyboardInterrupt):
        raise
    except Exception as error:
        message = _told(error, url)
        if message is None:
            raise
        raise StagingError(message) from error


def _told(error: Exception, url: str) -> str | None:
    """What to do about an error of the SDK, the network or the disk; None for a bug of the lab."""
    import requests
    import wandb

    reason = " ".join(str(error).split())
    if isinstance(error, ValueError | wandb.errors.Error) and "disk" in reason and "full" in reason:
        return f"The disk of {url} is full; free some space there and run again."
    if isinstance(error, wandb.errors.AuthenticationError) or _is_refusal(error):
        return f"{url} refused the key or did not answer; check WANDB_API_KEY and the network."
    if isinstance(error, wandb.errors.Error | requests.RequestException):
        return f"{url} did not do what was asked ({reason}); check names and network."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or reason}; free some space, or make the folder writable."
    return None


def _is_refusal(error: Exception) -> bool:
    """Whether a key was refused, or nobody answered: both come in several shapes."""
    text = str(error).lower()
    signs = ("key is missing or wrong", "not logged in", "permission", "timed out", "connection")
    return any(sign in text for sign in signs)
