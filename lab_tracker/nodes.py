"""The objects of W&B's GraphQL, and their fields: what the SDK's queries and fragments ask for.

An object's values are a row of the database. A plain column, like `createdAt`, is found in the row;
a field that is listed here has another name there, costs a query, or takes arguments."""

import json
import mimetypes
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Literal

import pydantic

from lab_tracker import artifacts, runs, streams
from lab_tracker.errors import RequestError
from lab_tracker.filters import matching, ordered
from lab_tracker.graphql import Node
from lab_tracker.limits import MAX_PAGE
from lab_tracker.names import checked, from_id, load_json, to_id
from lab_tracker.storage import Row, Store

Make = Callable[[Any], Node]
Field = Callable[..., Any]
Natural = Annotated[int, pydantic.Field(ge=0)]

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


@dataclass(frozen=True)
class Context:
    """What the fields of one request share; `base_url` is where its client reached the server."""

    store: Store
    base_url: str


PROJECT, RUN = partial(Node, "Project"), partial(Node, "Run")
ARTIFACT, ALIAS = partial(Node, "Artifact"), partial(Node, "ArtifactAlias")
TYPE, FILE = partial(Node, "ArtifactType"), partial(Node, "File")
MEMBER = partial(Node, "ArtifactCollectionMembership")  # a version in a collection


def collection(row: Row) -> Node:
    """A sequence or a portfolio."""
    return Node(f"Artifact{row['kind'].title()}", row)


def entity(name: str) -> Node:
    """An entity, which is its own organization: the registry of models is its project
    `wandb-registry-model`."""
    owner = Node("Owner", {"name": name})
    own = {"id": to_id("Organization", 1), "name": name, "org_entity": owner}
    values = {"id": to_id("Entity", 1), "name": name, "user": None}
    return Node("Entity", values | {"organization": Node("Organization", own)})


def upload(kind: str, number: int, key: str, name: str = "", **values: Any) -> Node:
    """A file that the SDK is about to send; the first three make its address."""
    named = {"id": number, "name": name or key, "upload_headers": []}
    return FILE(named | {"address": (kind, number, key)} | values)


def maybe(make: Make, row: Row | None) -> Node | None:
    """The object of a row, if there is one."""
    return make(row) if row else None


@checked
def connection(
    rows: Any, make: Any, first: Natural = MAX_PAGE, after: Natural | Literal[""] = 0
) -> Node:
    """A page of a list, in the form of GraphQL's connections: at most, and by default, `MAX_PAGE`
    rows. The cursor is the count so far."""
    start, size = after or 0, min(first, MAX_PAGE)
    shown = rows[start : start + size]
    end = start + len(shown)
    edges = [{"cursor": str(start + i), "node": make(row)} for i, row in enumerate(shown, 1)]
    page = {"end_cursor": str(end) if shown else None, "has_next_page": end < len(rows)}
    values = {"total_count": len(rows), "page_info": Node("PageInfo", page)}
    return Node("Connection", values | {"edges": [Node("Edge", edge) for edge in edges]})


USER = Node(
    "User",
    {
        "id": to_id("User", 1),
        "name": "You",
        "username": runs.ENTITY,
        "entity": runs.ENTITY,
        "flags": "{}",
        "teams": connection([], entity),
        "api_keys": connection([], entity),
        "organizations": [],
    },
)


# Kinds of fields; in `keys`, a column of a table or view equals a column of the object


def _id(kind: str) -> Field:
    return lambda c, row: to_id(kind, row["id"])


def _column(name: str) -> Field:
    return lambda c, row: row[name]


def _all(make: Make, table: str, order: str = "id", most: int = -1, **keys: str) -> Field:
    """The objects that belong to one."""

    def field(c: Context, row: Row) -> list[Node]:
        values = {key: row[own] for key, own in keys.items()}
        return [make(found) for found in c.store.all(table, order, most, **values)]

    return field


def _one(make: Make, table: str, order: str = "1", **keys: str) -> Field:
    """The one object that belongs to another, or the first one, or None."""
    first = _all(make, table, order, 1, **keys)
    return lambda c, row: next(iter(first(c, row)), None)


def _list(make: Make, table: str, order: str = "id", **keys: str) -> Field:
    """The objects that belong to one, in pages."""
    rows = _all(lambda row: row, table, order, **keys)
    return lambda c, row, first=MAX_PAGE, after=0: connection(rows(c, row), make, first, after)


def _named(make: Make, table: str, key: str, own: str = "id") -> Field:
    """The object with a name that belongs to one, or None."""

    def field(c: Context, row: Row, name: str = "") -> Node | None:
        return maybe(make, c.store.find(table, **{key: row[own]}, name=name))

    return field


def _files(table: str, key: str) -> Field:
    """The files of a run or an artifact, in pages; all or those with these names."""

    def field(c: Context, row: Row, names=None, pattern=None, first=MAX_PAGE, after=0) -> Node:
        found = c.store.all(table, "name", **{key: row["id"]})
        if pattern and not names:
            raise RequestError("Files can't be found by a pattern here; list them all.")
        wanted = set(names or ())
        chosen = [file for file in found if file["name"] in wanted] if wanted else found
        return connection(chosen, FILE, first, after)

    return field


def _stream(read: Callable[..., Any], *given: Any) -> Field:
    """What a function of `streams` reads of a run."""

    @wraps(read)
    def field(c: Context, run: Row, **chosen: Any) -> Any:
        return read(c.store, run["id"], *given, **chosen)

    return field


def _project(c: Context, _: Row, name: str = "", entity_name: str = "") -> Node | None:
    return maybe(PROJECT, runs.project_of(c.store, entity_name, name))


def _chosen_runs(c: Context, project: Row, filters: str | None) -> list[Row]:
    wanted = load_json(filters, "filters") if filters else {}
    return matching(c.store.all("runs", project_id=project["id"]), wanted)


def _runs(c: Context, project: Row, filters=None, order=None, first=MAX_PAGE, after=0) -> Node:
    return connection(ordered(_chosen_runs(c, project, filters), order), RUN, first, after)


def _own_config(c: Context, run: Row) -> str:
    """What the SDK keeps about itself in a config; a run that has it is one that was begun."""
    return json.dumps(json.loads(run["config"]).get("_wandb", {}).get("value", {}))


def _member(c: Context, project: Row, name: str) -> Node | None:
    """The version that `name:alias` means; without an alias, the latest."""
    name, _, alias = name.partition(":")
    found = c.store.find("collections", project_id=project["id"], name=name)
    alias = alias or artifacts.LATEST
    return maybe(MEMBER, found and artifacts.version_of(c.store, found["id"], alias))


def _manifest(c: Context, artifact: Row) -> Node | None:
    number, digest = artifact["id"], artifact["manifest_digest"]
    file = {"id": number, "name": "wandb_manifest.json", "digest": digest, "size": 0}
    values = {"id": to_id("Manifest", number), "digest": artifact["digest"], "file": FILE(file)}
    return Node("ArtifactManifest", values) if digest else None


def _tags(c: Context, artifact: Row) -> list[Node]:
    tags = json.loads(artifact["tags"])
    return [Node("Tag", {"id": to_id("Tag", tag), "name": tag}) for tag in tags]


def _url(c: Context, file: Row) -> str:
    if not file["digest"]:
        return file["reference"]
    return c.base_url + c.store.signer.blob_url(file["digest"], file["name"])


def _upload_url(c: Context, file: dict[str, Any]) -> str | None:
    """Where it is to be sent; None if the server has its bytes already."""
    kind, _, key = file["address"]
    if kind == "blob" and c.store.has_blob(key):
        return None
    return c.base_url + c.store.signer.upload_url(*file["address"])


def _md5(c: Context, file: Row) -> str:
    return b64encode(bytes.fromhex(file["digest"] or "")).decode()


_COLLECTION = {
    "id": _id("Collection"),
    "state": "READY",
    "digestAlgorithm": "MANIFEST_MD5",
    "project": _one(PROJECT, "projects", id="project_id"),
    "defaultArtifactType": _one(TYPE, "types", project_id="project_id", name="type"),
    "tags": connection([], ALIAS),
    "artifacts": _list(ARTIFACT, "versions", "version_index DESC", collection_id="id"),
    "latestArtifact": _one(ARTIFACT, "versions", "version_index DESC", collection_id="id"),
    "artifactMembership": lambda c, row, alias_name: maybe(
        MEMBER, artifacts.version_of(c.store, row["id"], alias_name)
    ),
    "aliases": _list(ALIAS, "aliases", collection_id="id"),
}

FIELDS: dict[str, dict[str, Any]] = {
    "Query": {
        "viewer": USER,
        "serverInfo": Node(
            "ServerInfo",
            {
                "features": [Node("Feature", {"name": f, "is_enabled": True}) for f in FEATURES],
                "cli_version_info": {},
                "latest_local_version_info": None,  # wandb 0.26 asks for it
            },
        ),
        "entity": lambda c, _, name="": entity(name or runs.ENTITY),
        "project": _project,
        "model": _project,
        "models": lambda c, _, entity_name, first=MAX_PAGE, after=0: connection(
            c.store.all("projects", "id DESC", entity=entity_name), PROJECT, first, after
        ),
        "artifact": lambda c, _, id: ARTIFACT(c.store.get("artifacts", from_id("Artifact", id))),
        "artifactCollection": lambda c, _, id: collection(
            c.store.get("collections", from_id("Collection", id))
        ),
        "clientIDMapping": lambda c, _, client_id: maybe(
            lambda row: Node("ClientIDMapping", {"server_id": to_id("Artifact", row["id"])}),
            c.store.find("artifacts", client_id=client_id),
        ),
    },
    "Entity": {"project": lambda c, owner, name="": _project(c, owner, name, owner["name"])},
    "Project": {
        "id": _id("Project"),
        "internalId": _id("ProjectInternalId"),
        "entityName": _column("entity"),
        "entity": lambda c, project: entity(project["entity"]),
        "user": USER,
        "isBenchmark": False,
        "run": _named(RUN, "runs", "project_id"),
        "bucket": _named(RUN, "runs", "project_id"),
        "runs": _runs,
        "runCount": lambda c, project, filters=None: len(_chosen_runs(c, project, filters)),
        "artifactTypes": _list(TYPE, "types", "name", project_id="id"),
        "artifactType": _named(TYPE, "types", "project_id"),
        "artifactCollection": _named(collection, "collections", "project_id"),
        "artifactCollectionMembership": _member,
        "artifact": lambda c, project, name: maybe(
            lambda member: ARTIFACT(member.values), _member(c, project, name)
        ),
    },
    "Run": {
        "id": _id("Run"),
        "projectId": lambda c, run: str(run["project_id"]),
        "project": _one(PROJECT, "projects", id="project_id"),
        "state": lambda c, run: runs.state_of(run),
        "group": _column("group_name"),
        "commit": _column("commit_hash"),
        "tags": lambda c, run: json.loads(run["tags"]),
        "wandbConfig": _own_config,
        "summaryMetrics": _column("summary"),
        "systemMetrics": _stream(lambda *of: (streams.tail(*of) or ["{}"])[0], streams.EVENTS),
        "user": USER,
        "historyLineCount": _stream(streams.line_count, streams.HISTORY),
        "eventsLineCount": _stream(streams.line_count, streams.EVENTS),
        "logLineCount": _stream(streams.line_count, streams.OUTPUT),
        "historyTail": _stream(lambda *of: json.dumps(streams.tail(*of)), streams.HISTORY),
        "eventsTail": _stream(lambda *of: json.dumps(streams.tail(*of)), streams.EVENTS),
        "history": _stream(streams.chosen_lines, streams.HISTORY),
        "events": _stream(streams.chosen_lines, streams.EVENTS),
        "sampledHistory": _stream(streams.sampled_histories),
        "historyKeys": _stream(streams.history_keys),
        # Everything is live: nothing is exported to parquet files here.
        "parquetHistory": Node("ParquetHistory", {"parquet_urls": [], "live_data": []}),
        "fileCount": lambda c, run: len(c.store.all("files", run_id=run["id"])),
        "files": _files("files", "run_id"),
        "inputArtifacts": _list(ARTIFACT, "inputs", user_id="id"),
        "outputArtifacts": _list(ARTIFACT, "outputs", created_by="id"),
    },
    "File": {
        "id": _id("File"),
        "displayName": _column("name"),
        "url": _url,
        "directUrl": _url,
        "sizeBytes": _column("size"),
        "mimetype": lambda c, file: mimetypes.guess_type(file["name"])[0],
        "digest": _md5,
        "md5": _md5,
        "uploadUrl": _upload_url,
    },
    "ArtifactType": {
        "id": lambda c, kind: to_id("ArtifactType", kind["name"]),
        "artifactCollections": _list(
            collection, "filled_collections", "name", project_id="project_id", type="name"
        ),
        "artifactCollection": _named(collection, "collections", "project_id", "project_id"),
    },
    "ArtifactSequence": _COLLECTION,
    "ArtifactPortfolio": _COLLECTION,
    "ArtifactAlias": {
        "id": _id("Alias"),
        "artifactCollection": _one(collection, "collections", id="collection_id"),
    },
    "ArtifactCollectionMembership": {
        "id": lambda c, member: to_id("Membership", member["membership_id"]),
        "createdAt": _column("joined_at"),
        "aliases": _all(ALIAS, "aliases", membership_id="membership_id"),
        "artifactCollection": _one(collection, "collections", id="collection_id"),
        "artifact": lambda c, member: ARTIFACT(member),
        "files": _files("artifact_files", "artifact_id"),
    },
    "Artifact": {
        "id": _id("Artifact"),
        "artifactSequence": _one(collection, "collections", id="sequence_id"),
        "artifactType": _one(TYPE, "artifact_types", artifact_id="id"),
        "versionIndex": _one(lambda own: own["version_index"], "sources", id="id"),
        "ttlDurationSeconds": -2,  # nothing expires here
        "ttlIsInherited": True,
        "tags": _tags,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": _column("digest"),
        "aliases": _all(ALIAS, "artifact_aliases", artifact_id="id"),
        "createdBy": _one(RUN, "runs", id="created_by"),
        "usedBy": _list(RUN, "users", used_id="id"),
        "currentManifest": _manifest,
        "files": _files("artifact_files", "artifact_id"),
    },
    "Edge": {"version": lambda c, edge: f"v{edge['node'].values['version_index']}"},
}
