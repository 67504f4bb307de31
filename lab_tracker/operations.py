"""The mutations that the SDK sends: what each changes in the store, and what it answers.

The functions check their arguments by their types."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from lab_tracker import artifacts, runs
from lab_tracker.graphql import Node
from lab_tracker.names import FileSpec, to_id
from lab_tracker.nodes import ARTIFACT, FIELDS, MEMBER, RUN, Context, connection, upload


def _field(name: str, change: Callable[..., Any], answer: Callable[[Any], dict]) -> Callable:
    """The field of a mutation. `createArtifact` gives a `CreateArtifactPayload`: the SDK has a
    fragment on that."""

    @wraps(change)
    def mutate(context: Context, _: object, **given: Any) -> Node:
        found = answer(change(context.store, **given))
        return Node(f"{name[0].upper()}{name[1:]}Payload", found)

    return mutate


def _run_files(made: tuple[int, list[str]]) -> dict[str, Any]:
    number, names = made
    files = [upload("file", number, name) for name in names]
    return {"run_id": to_id("Run", number), "upload_headers": [], "files": files}


def _manifest(artifact: int) -> dict[str, Any]:
    values = {"id": to_id("Manifest", artifact), "file": upload("manifest", artifact, "")}
    return {"artifact_manifest": Node("ArtifactManifest", values)}


def _artifact_file(file: FileSpec) -> Node:
    where = {"storage_path": f"blobs/{file.md5}", "upload_multipart_urls": None}
    artifact = ARTIFACT({"id": file.artifactID})
    return upload("blob", file.artifactID, file.md5, file.name, artifact=artifact, **where)


# Each mutation: what it changes, and its answer from what that returns.
_SUCCESS = {"success": True}
_DELETED = {"artifact_collection": Node("ArtifactCollection", {"state": "DELETED"})}
_MUTATIONS: dict[str, tuple[Callable[..., Any], Callable[[Any], dict[str, Any]]]] = {
    "upsertBucket": (runs.upsert_run, lambda made: {"bucket": RUN(made[0]), "inserted": made[1]}),
    "deleteRun": (runs.delete_run, lambda _: _SUCCESS),
    "createRunFiles": (runs.announce_files, _run_files),
    "deleteFiles": (runs.delete_files, lambda _: _SUCCESS),
    "notifyScriptableRunAlert": (lambda store: None, lambda _: _SUCCESS),  # no mail is sent
    "createArtifact": (artifacts.create_artifact, lambda row: {"artifact": ARTIFACT(row)}),
    "createArtifactManifest": (artifacts.announce_manifest, _manifest),
    "createArtifactFiles": (
        artifacts.announce_files,
        lambda files: {"files": connection(files, _artifact_file)},
    ),
    "commitArtifact": (artifacts.commit_artifact, lambda row: {"artifact": ARTIFACT(row)}),
    "updateArtifact": (artifacts.update_artifact, lambda row: {"artifact": ARTIFACT(row)}),
    "useArtifact": (artifacts.use_artifact, lambda row: {"artifact": ARTIFACT(row)}),
    "addAliases": (artifacts.add_aliases, lambda _: _SUCCESS),
    "deleteAliases": (artifacts.delete_aliases, lambda _: _SUCCESS),
    "linkArtifact": (
        artifacts.link_artifact,
        lambda row: {"version_index": row["version_index"], "artifact_membership": MEMBER(row)},
    ),
    "unlinkArtifact": (artifacts.unlink_artifact, lambda _: _SUCCESS),
    "deleteArtifact": (
        artifacts.delete_artifact,
        lambda number: {"artifact": ARTIFACT({"id": number, "state": "DELETED"})},
    ),
    "deleteArtifactSequence": (artifacts.delete_collection, lambda _: _DELETED),
    "deleteArtifactPortfolio": (artifacts.delete_collection, lambda _: _DELETED),
}
FIELDS["Mutation"] = {name: _field(name, *functions) for name, functions in _MUTATIONS.items()}
