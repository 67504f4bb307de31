"""The operations that the SDK starts from: every query and every mutation that the tracker knows.

Arguments arrive as keywords in Python's spelling and are checked by their types; what a newer SDK
adds to them is ignored."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, validate_call

from lab_tracker import artifacts, runs
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.graphql import TYPENAME, Node
from lab_tracker.limits import MAX_PAGE, MAX_PATH
from lab_tracker.names import checked_object, checked_path
from lab_tracker.nodes import Nodes, connection, from_id, to_id

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

RunId = Annotated[int, BeforeValidator(partial(from_id, "Run"))]
FileId = Annotated[int, BeforeValidator(partial(from_id, "File"))]
ArtifactId = Annotated[int, BeforeValidator(partial(from_id, "Artifact"))]
ManifestId = Annotated[int, BeforeValidator(partial(from_id, "Manifest"))]
CollectionId = Annotated[int, BeforeValidator(partial(from_id, "Collection"))]
Path = Annotated[str, BeforeValidator(checked_path)]
Number = Annotated[int, Field(ge=-(2**53), le=2**53)]


def _json_object(what: str) -> Any:
    return Annotated[str, BeforeValidator(lambda text: checked_object(text, what))]


class Alias(BaseModel):
    """An alias, and the collection that it is for."""

    alias: str
    artifactCollectionName: str | None = None
    projectName: str | None = None
    entityName: str | None = None


class Tag(BaseModel):
    tagName: str = Field(max_length=MAX_PATH)


class FileSpec(BaseModel):
    """A file that is about to be uploaded for an artifact."""

    artifactID: ArtifactId
    name: Path
    md5: Annotated[str, BeforeValidator(artifacts.hex_digest)]


QUERIES: dict[str, Callable[..., Any]] = {"organization": lambda nodes, **_: None}
MUTATIONS: dict[str, Callable[..., Node]] = {}


def roots(nodes: Nodes) -> dict[str, dict[str, Callable[..., Any]]]:
    """The functions of one request, by the names that GraphQL gives them."""
    return {
        "query": {name: partial(function, nodes) for name, function in QUERIES.items()},
        "mutation": {name: partial(function, nodes) for name, function in MUTATIONS.items()},
    }


_checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))


def _query(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        QUERIES.update(dict.fromkeys(names, _checked(function)))
        return function

    return add


def _mutation(name: str) -> Callable[[Callable[..., Node]], Callable[..., Node]]:
    """A mutation; its answer gets its GraphQL type: `createArtifact` gives a
    `CreateArtifactPayload`, and the SDK has a fragment on that."""

    def add(function: Callable[..., Node]) -> Callable[..., Node]:
        typename, checked = f"{name[0].upper()}{name[1:]}Payload", _checked(function)
        MUTATIONS[name] = lambda *nodes, **given: checked(*nodes, **given) | {TYPENAME: typename}
        return function

    return add


# Queries


@_query("viewer")
def viewer(nodes: Nodes, **_: Any) -> Node:
    return nodes.user()


@_query("serverInfo")
def server_info(nodes: Nodes, **_: Any) -> Node:
    features = [{TYPENAME: "Feature", "name": name, "isEnabled": True} for name in FEATURES]
    return {
        TYPENAME: "ServerInfo",
        "features": features,
        "cliVersionInfo": {},
        "latestLocalVersionInfo": None,
    }


@_query("entity")
def entity(nodes: Nodes, name: str = "", **_: Any) -> Node:
    return nodes.entity(name or runs.ENTITY)


@_query("project", "model")
def project(nodes: Nodes, name: str = "", entity_name: str = "", **_: Any) -> Node | None:
    return nodes.find_project(entity_name, name)


@_query("models")
def projects(
    nodes: Nodes, entity_name: str = "", first: int = MAX_PAGE, after: str = "", **_: Any
) -> Node:
    found = runs.all_projects(nodes.store, entity_name)
    return connection(found, nodes.project, first, after)


@_query("artifact")
def artifact(nodes: Nodes, id: ArtifactId, **_: Any) -> Node:
    return nodes.artifact(artifacts.artifact_by_id(nodes.store, id))


@_query("artifactCollection")
def collection(nodes: Nodes, id: CollectionId, **_: Any) -> Node:
    return nodes.collection_with(id)


@_query("clientIDMapping")
def client_id_mapping(nodes: Nodes, client_id: str, **_: Any) -> Node | None:
    found = artifacts.artifact_with_client_id(nodes.store, client_id)
    return found and {TYPENAME: "ClientIDMapping", "serverID": to_id("Artifact", found["id"])}


# Projects and runs


@_mutation("upsertModel")
def upsert_project(nodes: Nodes, name: str = "", entity_name: str = "", **_: Any) -> Node:
    is_new = runs.project_of(nodes.store, entity_name, name) is None
    made = nodes.project(runs.make_project(nodes.store, entity_name, name))
    return {"project": made, "model": made, "inserted": is_new}


@_mutation("upsertBucket")
def upsert_run(
    nodes: Nodes,
    id: RunId | None = None,
    entity_name: str | None = None,
    model_name: str | None = None,
    name: str | None = None,
    config: _json_object("The config") | None = None,
    summary_metrics: _json_object("The summary") | None = None,
    tags: list[str] | None = None,
    **texts: Any,
) -> Node:
    run, is_new = runs.upsert_run(
        nodes.store,
        id,
        entity=entity_name,
        project=model_name,
        name=name,
        config=config,
        summary=summary_metrics,
        tags=tags,
        **texts,
    )
    return {"bucket": nodes.run(run), "inserted": is_new}


@_mutation("deleteRun")
def delete_run(nodes: Nodes, id: RunId, delete_artifacts: bool = False, **_: Any) -> Node:
    runs.delete_run(nodes.store, id, delete_artifacts)
    return {"success": True}


@_mutation("createRunFiles")
def create_run_files(
    nodes: Nodes,
    files: list[Path],
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
    **_: Any,
) -> Node:
    run = runs.find_run(nodes.store, entity_name, project_name, run_name)

    def make(name: str) -> Node:
        url = nodes.base_url + nodes.signer.run_file_url(run["id"], name)
        return {TYPENAME: "File", "name": name, "uploadUrl": url}

    return {
        "runID": to_id("Run", run["id"]),
        "uploadHeaders": [],
        "files": [make(name) for name in files],
    }


@_mutation("deleteFiles")
def delete_files(nodes: Nodes, files: list[FileId], **_: Any) -> Node:
    runs.delete_files(nodes.store, files)
    return {"success": True}


@_mutation("notifyScriptableRunAlert")
def send_alert(nodes: Nodes, **_: Any) -> Node:
    return {"success": True}


# Artifacts


@_mutation("createArtifact")
def create_artifact(
    nodes: Nodes,
    artifact_type_name: str,
    digest: str,
    entity_name: str | None = None,
    project_name: str = "uncategorized",
    run_name: str | None = None,
    artifact_collection_name: str | None = None,
    artifact_collection_names: list[str] = [],  # noqa: B006, pydantic copies it
    digest_algorithm: Literal["MANIFEST_MD5"] = "MANIFEST_MD5",
    aliases: list[Alias] = [],  # noqa: B006
    tags: list[Tag] = [],  # noqa: B006
    metadata: _json_object("The metadata") | None = None,
    description: str | None = None,
    client_id: str | None = None,
    history_step: Number | None = None,
    ttl_duration_seconds: Number | None = None,
    enable_digest_deduplication: bool = False,
    **_: Any,
) -> Node:
    names = [artifact_collection_name] if artifact_collection_name else []
    if len(names := names + artifact_collection_names) != 1:
        raise RequestError("An artifact belongs to exactly one collection when it is made.")
    row = artifacts.create_artifact(
        nodes.store,
        entity=entity_name,
        project=project_name,
        run=run_name,
        type_=artifact_type_name,
        name=names[0],
        digest=digest,
        aliases=[alias.alias for alias in aliases],
        tags=[tag.tagName for tag in tags],
        metadata=metadata,
        description=description,
        client_id=client_id,
        history_step=history_step,
        ttl_seconds=ttl_duration_seconds,
        deduplicate=enable_digest_deduplication,
    )
    return {"artifact": nodes.artifact(row)}


@_mutation("createArtifactManifest")
def create_manifest(
    nodes: Nodes, artifact_id: ArtifactId, type: str = "FULL", digest: str = "", **_: Any
) -> Node:
    if type != "FULL":
        raise RequestError("Incremental and distributed artifacts are not known here.")
    return _manifest(nodes, artifact_id, digest)


@_mutation("updateArtifactManifest")
def update_manifest(
    nodes: Nodes, artifact_manifest_id: ManifestId, digest: str = "", **_: Any
) -> Node:
    return _manifest(nodes, artifact_manifest_id, digest)


def _manifest(nodes: Nodes, artifact_id: int, md5: str) -> Node:
    artifacts.announce_manifest(nodes.store, artifact_id, md5)
    file = {
        TYPENAME: "File",
        "id": to_id("ManifestFile", artifact_id),
        "uploadUrl": nodes.base_url + nodes.signer.manifest_url(artifact_id),
        "uploadHeaders": [],
    }
    manifest = {TYPENAME: "ArtifactManifest", "id": to_id("Manifest", artifact_id), "file": file}
    return {"artifactManifest": manifest}


@_mutation("createArtifactFiles")
def create_artifact_files(nodes: Nodes, artifact_files: list[FileSpec], **_: Any) -> Node:
    for number in {file.artifactID for file in artifact_files}:
        files = [(file.name, file.md5) for file in artifact_files if file.artifactID == number]
        artifacts.announce_files(nodes.store, number, files)

    def make(file: FileSpec) -> Node:
        url = nodes.base_url + nodes.signer.artifact_file_url(file.artifactID, file.md5)
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

    return {"files": connection(artifact_files, make)}


@_mutation("commitArtifact")
def commit_artifact(nodes: Nodes, artifact_id: ArtifactId, **_: Any) -> Node:
    return {"artifact": nodes.artifact(artifacts.commit_artifact(nodes.store, artifact_id))}


@_mutation("updateArtifact")
def update_artifact(
    nodes: Nodes,
    artifact_id: ArtifactId,
    description: str | None = None,
    metadata: _json_object("The metadata") | None = None,
    aliases: list[Alias] | None = None,
    ttl_duration_seconds: Number | None = None,
    tags_to_add: list[Tag] = [],  # noqa: B006
    tags_to_delete: list[Tag] = [],  # noqa: B006
    **_: Any,
) -> Node:
    own = None
    if aliases is not None:  # those that are meant for the artifact's own sequence
        name = artifacts.sequence_of(nodes.store, artifact_id)["name"]
        own = [alias.alias for alias in aliases if alias.artifactCollectionName == name]
    row = artifacts.update_artifact(
        nodes.store,
        artifact_id,
        description=description,
        metadata=metadata,
        aliases=own,
        ttl_seconds=ttl_duration_seconds,
        tags_to_add=[tag.tagName for tag in tags_to_add],
        tags_to_delete=[tag.tagName for tag in tags_to_delete],
    )
    return {"artifact": nodes.artifact(row)}


@_mutation("useArtifact")
def use_artifact(
    nodes: Nodes,
    artifact_id: ArtifactId,
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
    used_as: str | None = None,
    **_: Any,
) -> Node:
    run = runs.find_run(nodes.store, entity_name, project_name, run_name)
    artifacts.use_artifact(nodes.store, run, artifact_id, used_as)
    return {"artifact": artifact(nodes, artifact_id)}


@_mutation("addAliases")
def add_aliases(nodes: Nodes, artifact_id: ArtifactId, aliases: list[Alias], **_: Any) -> Node:
    return _change_aliases(nodes, artifact_id, aliases, add=True)


@_mutation("deleteAliases")
def delete_aliases(nodes: Nodes, artifact_id: ArtifactId, aliases: list[Alias], **_: Any) -> Node:
    return _change_aliases(nodes, artifact_id, aliases, add=False)


def _change_aliases(nodes: Nodes, artifact_id: int, aliases: list[Alias], add: bool) -> Node:
    with nodes.store.write():
        for alias in aliases:
            parent = runs.project_of(nodes.store, alias.entityName, alias.projectName or "")
            name = alias.artifactCollectionName or ""
            found = artifacts.collection_of(nodes.store, parent["id"], name) if parent else None
            artifacts.change_alias(nodes.store, artifact_id, found, alias.alias, add)
    return {"success": True}


@_mutation("linkArtifact")
def link_artifact(
    nodes: Nodes,
    artifact_portfolio_name: str,
    project_name: str,
    entity_name: str | None = None,
    aliases: list[Alias] = [],  # noqa: B006
    artifact_id: ArtifactId | None = None,
    client_id: str | None = None,
    **_: Any,
) -> Node:
    if artifact_id is None:
        row = artifacts.artifact_with_client_id(nodes.store, client_id)
    else:
        row = artifacts.artifact_by_id(nodes.store, artifact_id)
    if not row:
        raise NotFoundError("The artifact to link does not exist.")
    names = [alias.alias for alias in aliases]
    parent = runs.make_project(nodes.store, entity_name, project_name)
    member = artifacts.link_artifact(nodes.store, row, parent, artifact_portfolio_name, names)
    return {"versionIndex": member["version_index"], "artifactMembership": nodes.member(member)}


@_mutation("unlinkArtifact")
def unlink_artifact(
    nodes: Nodes, artifact_id: ArtifactId, artifact_portfolio_id: CollectionId, **_: Any
) -> Node:
    artifacts.unlink_artifact(nodes.store, artifact_id, artifact_portfolio_id)
    return {"success": True}


@_mutation("deleteArtifact")
def delete_artifact(
    nodes: Nodes, artifact_id: ArtifactId, delete_aliases: bool = False, **_: Any
) -> Node:
    artifacts.delete_artifact(nodes.store, artifact_id, delete_aliases)
    gone = {TYPENAME: "Artifact", "id": to_id("Artifact", artifact_id), "state": "DELETED"}
    return {"artifact": gone}


@_mutation("deleteArtifactSequence")
def delete_sequence(nodes: Nodes, artifact_sequence_id: CollectionId, **_: Any) -> Node:
    artifacts.delete_collection(nodes.store, artifact_sequence_id)
    return {"artifactCollection": {TYPENAME: "ArtifactSequence", "state": "DELETED"}}


@_mutation("deleteArtifactPortfolio")
def delete_portfolio(nodes: Nodes, artifact_portfolio_id: CollectionId, **_: Any) -> Node:
    artifacts.delete_collection(nodes.store, artifact_portfolio_id)
    return {"artifactCollection": {TYPENAME: "ArtifactPortfolio", "state": "DELETED"}}
