"""The operations that the SDK starts from: every query and every mutation that the tracker knows.

Arguments arrive as keywords in Python's spelling; the functions check them by their types, and what
a newer SDK adds to them is ignored."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lab_tracker import artifacts, runs
from lab_tracker.errors import RequestError
from lab_tracker.graphql import TYPENAME, Node
from lab_tracker.limits import MAX_PAGE
from lab_tracker.names import ArtifactId, CollectionId, FileSpec, Path, checked, to_id
from lab_tracker.nodes import Nodes, connection
from lab_tracker.storage import Store

# What the SDK may count on; it falls back to older ways for a feature that is not named.
FEATURES = (
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "LARGE_FILENAMES",
)


def roots(nodes: Nodes) -> dict[str, dict[str, Callable[..., Any]]]:
    """The functions of one request, by the names that GraphQL gives them."""

    def mutation(name: str, /, **given: Any) -> Node:
        # `createArtifact` gives a `CreateArtifactPayload`: the SDK has a fragment on that.
        typename = f"{name[0].upper()}{name[1:]}Payload"
        return MUTATIONS[name](nodes, **given) | {TYPENAME: typename}

    return {
        "query": {name: partial(function, nodes) for name, function in QUERIES.items()},
        "mutation": {name: partial(mutation, name) for name in MUTATIONS},
    }


# Queries


def _server_info(nodes: Nodes, **_: Any) -> Node:
    features = [{TYPENAME: "Feature", "name": name, "isEnabled": True} for name in FEATURES]
    return {
        TYPENAME: "ServerInfo",
        "features": features,
        "cliVersionInfo": {},
        "latestLocalVersionInfo": None,  # wandb 0.26 asks for it
    }


@checked
def _project(nodes: Nodes, name: str = "", entity_name: str = "", **_: Any) -> Node | None:
    return nodes.find_project(entity_name, name)


@checked
def _projects(
    nodes: Nodes, entity_name: str = "", first: int = MAX_PAGE, after: str = "", **_: Any
) -> Node:
    found = runs.all_projects(nodes.store, entity_name)
    return connection(found, nodes.project, first, after)


@checked
def _artifact(nodes: Nodes, id: ArtifactId, **_: Any) -> Node:
    return nodes.artifact(nodes.store.get("artifacts", id))


@checked
def _collection(nodes: Nodes, id: CollectionId, **_: Any) -> Node:
    return nodes.collection_with(id)


@checked
def _client_id_mapping(nodes: Nodes, client_id: str, **_: Any) -> Node | None:
    found = nodes.store.find("artifacts", client_id=client_id)
    return found and {TYPENAME: "ClientIDMapping", "serverID": to_id("Artifact", found["id"])}


QUERIES: dict[str, Callable[..., Any]] = {
    "viewer": lambda nodes, **_: nodes.user(),
    "serverInfo": _server_info,
    "entity": lambda nodes, name="", **_: nodes.entity(name or runs.ENTITY),
    "project": _project,
    "model": _project,
    "models": _projects,
    "artifact": _artifact,
    "artifactCollection": _collection,
    "clientIDMapping": _client_id_mapping,
}


# Mutations


def _artifact_of(change: Callable[..., Any]) -> Callable[..., Node]:
    """A mutation that answers with the artifact which `change` returns."""
    return lambda nodes, **given: {"artifact": nodes.artifact(change(nodes.store, **given))}


def _success_of(change: Callable[..., None]) -> Callable[..., Node]:
    """A mutation that answers that it is done."""

    def mutate(nodes: Nodes, **given: Any) -> Node:
        change(nodes.store, **given)
        return {"success": True}

    return mutate


def _upsert_run(nodes: Nodes, **given: Any) -> Node:
    run, is_new = runs.upsert_run(nodes.store, **given)
    return {"bucket": nodes.run(run), "inserted": is_new}


@checked
def _create_run_files(
    nodes: Nodes,
    files: list[Path],
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
    **_: Any,
) -> Node:
    number = runs.find_run(nodes.store, entity_name, project_name, run_name)["id"]
    made = [
        {TYPENAME: "File", "name": name, "uploadUrl": nodes.upload_url("file", number, name)}
        for name in files
    ]
    return {"runID": to_id("Run", number), "uploadHeaders": [], "files": made}


@checked
def _create_manifest(
    nodes: Nodes, artifact_id: ArtifactId, type: str = "FULL", digest: str = "", **_: Any
) -> Node:
    if type != "FULL":
        raise RequestError("Incremental and distributed artifacts are not known here.")
    artifacts.announce_manifest(nodes.store, artifact_id, digest)
    file = {
        TYPENAME: "File",
        "id": to_id("ManifestFile", artifact_id),
        "uploadUrl": nodes.upload_url("manifest", artifact_id),
        "uploadHeaders": [],
    }
    manifest = {TYPENAME: "ArtifactManifest", "id": to_id("Manifest", artifact_id), "file": file}
    return {"artifactManifest": manifest}


def _create_artifact_files(nodes: Nodes, **given: Any) -> Node:
    def make(file: FileSpec) -> Node:
        url = nodes.upload_url("blob", file.artifactID, file.md5)
        return {
            TYPENAME: "File",
            "id": to_id("File", file.artifactID),
            "name": file.name,
            "displayName": file.name,
            "storagePath": f"blobs/{file.md5}",
            "uploadUrl": None if nodes.store.has_blob(file.md5) else url,
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {TYPENAME: "Artifact", "id": to_id("Artifact", file.artifactID)},
        }

    return {"files": connection(artifacts.announce_files(nodes.store, **given), make)}


def _link_artifact(nodes: Nodes, **given: Any) -> Node:
    member = artifacts.link_artifact(nodes.store, **given)
    return {"versionIndex": member["version_index"], "artifactMembership": nodes.member(member)}


def _delete_artifact(nodes: Nodes, **given: Any) -> Node:
    artifacts.delete_artifact(nodes.store, **given)
    return {"artifact": {TYPENAME: "Artifact", "id": given["artifact_id"], "state": "DELETED"}}


def _delete_collection(
    nodes: Nodes, artifact_sequence_id: str = "", artifact_portfolio_id: str = "", **_: Any
) -> Node:
    artifacts.delete_collection(nodes.store, artifact_sequence_id or artifact_portfolio_id)
    return {"artifactCollection": {TYPENAME: "ArtifactCollection", "state": "DELETED"}}


def _ignore(store: Store, **_: Any) -> None:
    """An alert: the lab's tracker sends no mail."""


MUTATIONS: dict[str, Callable[..., Node]] = {
    "upsertBucket": _upsert_run,
    "deleteRun": _success_of(runs.delete_run),
    "createRunFiles": _create_run_files,
    "deleteFiles": _success_of(runs.delete_files),
    "notifyScriptableRunAlert": _success_of(_ignore),
    "createArtifact": _artifact_of(artifacts.create_artifact),
    "createArtifactManifest": _create_manifest,
    "createArtifactFiles": _create_artifact_files,
    "commitArtifact": _artifact_of(artifacts.commit_artifact),
    "updateArtifact": _artifact_of(artifacts.update_artifact),
    "useArtifact": _artifact_of(artifacts.use_artifact),
    "addAliases": _success_of(partial(artifacts.change_aliases, add=True)),
    "deleteAliases": _success_of(partial(artifacts.change_aliases, add=False)),
    "linkArtifact": _link_artifact,
    "unlinkArtifact": _success_of(artifacts.unlink_artifact),
    "deleteArtifact": _delete_artifact,
    "deleteArtifactSequence": _delete_collection,
    "deleteArtifactPortfolio": _delete_collection,
}
