"""The tracker's rows as the objects of W&B's GraphQL: what the SDK's fragments ask for.

An object is a dict with its row; what costs a query, or takes arguments, is a function that the
walk calls. Plain columns, like `createdAt`, are found in the row."""

import json
import mimetypes
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lab_tracker import artifacts, runs, streams
from lab_tracker.errors import RequestError
from lab_tracker.filters import matching, ordered
from lab_tracker.graphql import ROW, TYPENAME, Node
from lab_tracker.limits import MAX_PAGE
from lab_tracker.names import load_json, to_id
from lab_tracker.signing import Signer
from lab_tracker.storage import Store


def connection(
    rows: Any, make: Callable[[Any], Node], first: object = None, after: object = None
) -> Node:
    """A page of a list, in the form of GraphQL's connections: at most, and by default, `MAX_PAGE`
    rows. The cursor is the count so far."""
    try:
        start, size = int(after or 0), min(MAX_PAGE if first is None else int(first), MAX_PAGE)
    except (TypeError, ValueError):
        start = size = -1
    if start < 0 or size < 0:
        raise RequestError("`first` must be a count, `after` a cursor that this server gave.")
    shown = rows[start : start + size]
    end = start + len(shown)
    return {
        TYPENAME: "Connection",
        "totalCount": len(rows),
        "pageInfo": {
            TYPENAME: "PageInfo",
            "endCursor": str(end) if shown else None,
            "hasNextPage": end < len(rows),
        },
        "edges": [
            {TYPENAME: "Edge", "cursor": str(start + i), "node": make(row)}
            for i, row in enumerate(shown, 1)
        ],
    }


def _listed(rows: Callable[[], list[Any]], make: Callable[[Any], Node]) -> Callable[..., Node]:
    """The function of a field that is a list in pages."""
    return lambda first=None, after=None, **_: connection(rows(), make, first, after)


@dataclass(frozen=True)
class Nodes:
    """Makes the objects of one request: `base_url` is where its client reached the server."""

    store: Store
    signer: Signer
    base_url: str

    def user(self, **_: Any) -> Node:
        return {
            TYPENAME: "User",
            "id": to_id("User", 1),
            "name": "You",
            "username": runs.ENTITY,
            "entity": runs.ENTITY,
            "flags": "{}",
            "teams": connection([], self.entity),
            "apiKeys": connection([], self.entity),
            "organizations": [],
        }

    def entity(self, entity: str) -> Node:
        """An entity, which is its own organization: the registry of models is its project
        `wandb-registry-model`."""
        organization = {
            TYPENAME: "Organization",
            "id": to_id("Organization", 1),
            "name": entity,
            "orgEntity": {TYPENAME: "Entity", "name": entity},
        }
        return {
            TYPENAME: "Entity",
            "id": to_id("Entity", 1),
            "name": entity,
            "organization": organization,
            "user": {TYPENAME: "User", "organizations": [organization]},
            "project": lambda name="", **_: self.find_project(entity, name),
        }

    def find_project(self, entity: str | None, name: str) -> Node | None:
        return _maybe(self.project, runs.project_of(self.store, entity, name))

    def project_with(self, number: int) -> Node:
        return self.project(self.store.get("projects", number))

    def upload_url(self, kind: str, number: int, name: str = "") -> str:
        return self.base_url + self.signer.upload_url(kind, number, name)

    def project(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def chosen(filters: str | None) -> list[sqlite3.Row]:
            wanted = load_json(filters, "filters") if filters else {}
            return matching(store.all("runs", project_id=number), wanted)

        def list_runs(filters=None, order=None, first=None, after=None, **_: Any) -> Node:
            found = ordered(chosen(filters), order)
            return connection(found, self.run, first, after)

        def find_run(name: str = "", **_: Any) -> Node | None:
            return _maybe(self.run, store.find("runs", project_id=number, name=name))

        def types() -> list[str]:
            query = "SELECT DISTINCT type FROM collections WHERE project_id = ? ORDER BY type"
            return [found["type"] for found in store.rows(query, number)]

        return {
            TYPENAME: "Project",
            ROW: row,
            "id": to_id("Project", number),
            "internalId": to_id("ProjectInternalId", number),
            "entityName": row["entity"],
            "entity": self.entity(row["entity"]),
            "user": self.user,
            "isBenchmark": False,
            "run": find_run,
            "bucket": find_run,
            "runs": list_runs,
            "runCount": lambda filters=None, **_: len(chosen(filters)),
            "artifactTypes": _listed(types, lambda name: self.type(row, name)),
            "artifactType": lambda name, **_: self.type(row, name) if name in types() else None,
            "artifactCollection": lambda name, **_: self._collection_named(row, name),
            "artifactCollectionMembership": lambda name, **_: self._member_named(row, name),
            "artifact": lambda name, **_: (self._member_named(row, name) or {}).get("artifact"),
        }

    def run(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def files(names=None, pattern=None, first=None, after=None, **_: Any) -> Node:
            found = _named(store.all("files", "name", run_id=number), "name", names)
            if pattern and not names:
                raise RequestError("Files can't be found by a pattern here; list them all.")
            return connection(found, self.run_file, first, after)

        def of(read: Callable[..., Any], *given: Any) -> Callable[..., Any]:
            return partial(read, store, number, *given)

        return {
            TYPENAME: "Run",
            ROW: row,
            "id": to_id("Run", number),
            "projectId": str(row["project_id"]),
            "project": lambda **_: self.project_with(row["project_id"]),
            "state": runs.state_of(row),
            "group": row["group_name"],
            "commit": row["commit_hash"],
            "tags": json.loads(row["tags"]),
            "wandbConfig": lambda keys=None, **_: json.dumps(_own_config(row["config"], keys)),
            "summaryMetrics": row["summary"],
            "systemMetrics": lambda **_: (streams.tail(store, number, streams.EVENTS) or ["{}"])[0],
            "user": self.user,
            "historyLineCount": of(streams.line_count, streams.HISTORY),
            "eventsLineCount": of(streams.line_count, streams.EVENTS),
            "logLineCount": of(streams.line_count, streams.OUTPUT),
            "historyTail": lambda **_: json.dumps(streams.tail(store, number, streams.HISTORY)),
            "eventsTail": lambda **_: json.dumps(streams.tail(store, number, streams.EVENTS)),
            "history": of(streams.chosen_lines, streams.HISTORY),
            "events": of(streams.chosen_lines, streams.EVENTS),
            "sampledHistory": of(streams.sampled_histories),
            "historyKeys": of(streams.history_keys),
            # Everything is live: nothing is exported to parquet files here.
            "parquetHistory": lambda **_: {
                TYPENAME: "ParquetHistory",
                "parquetUrls": [],
                "liveData": [],
            },
            "fileCount": lambda **_: len(store.all("files", run_id=number)),
            "files": files,
            "inputArtifacts": _listed(lambda: store.all("inputs", user_id=number), self.artifact),
            "outputArtifacts": _listed(
                lambda: store.all("outputs", created_by=number), self.artifact
            ),
        }

    def run_file(self, row: sqlite3.Row) -> Node:
        """A file of a run; the row is joined with its blob."""
        return self.file(row["id"], row["name"], row["digest"], row["size"], row["updated_at"])

    def file(self, number: int, name: str, digest: str, size: int, updated_at: str) -> Node:
        url = self.base_url + self.signer.blob_url(digest, name)
        md5 = b64encode(bytes.fromhex(digest)).decode()
        return {
            TYPENAME: "File",
            "id": to_id("File", number),
            "name": name,
            "displayName": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": size,
            "mimetype": mimetypes.guess_type(name)[0],
            "updatedAt": updated_at,
            "digest": md5,
            "md5": md5,
        }

    def type(self, project: sqlite3.Row, name: str) -> Node:
        """A type of artifacts in a project."""
        return {
            TYPENAME: "ArtifactType",
            "id": to_id("ArtifactType", name),
            "name": name,
            "createdAt": project["created_at"],
            "artifactCollections": _listed(
                lambda: artifacts.collections_of(self.store, project["id"], name), self.collection
            ),
            "artifactCollection": lambda name, **_: self._collection_named(project, name),
        }

    def collection_with(self, number: int) -> Node:
        return self.collection(self.store.get("collections", number))

    def collection(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def versions(first=None, after=None, **_: Any) -> Node:
            found = artifacts.Versions(store, number)
            listed = connection(found, self.artifact, first, after)
            for edge in listed["edges"]:
                edge["version"] = f"v{edge['node'][ROW]['version_index']}"
            return listed

        def latest(**_: Any) -> Node | None:
            return _maybe(self.artifact, next(iter(artifacts.Versions(store, number)[:1]), None))

        def member(alias_name: str, **_: Any) -> Node | None:
            return _maybe(self.member, artifacts.version_of(store, number, alias_name))

        return {
            TYPENAME: f"Artifact{row['kind'].title()}",
            ROW: row,
            "id": to_id("Collection", number),
            "state": "READY",
            "digestAlgorithm": "MANIFEST_MD5",
            "project": lambda **_: self.project_with(row["project_id"]),
            "defaultArtifactType": {TYPENAME: "ArtifactType", "name": row["type"]},
            "tags": connection([], self.alias),
            "artifacts": versions,
            "latestArtifact": latest,
            "artifactMembership": member,
            "aliases": _listed(
                lambda: store.rows("SELECT * FROM aliases WHERE collection_id = ?", number),
                self.alias,
            ),
        }

    def alias(self, row: sqlite3.Row) -> Node:
        return {
            TYPENAME: "ArtifactAlias",
            ROW: row,
            "id": to_id("Alias", row["id"]),
            "artifactCollection": lambda **_: self.collection_with(row["collection_id"]),
        }

    def _aliases(self, member: sqlite3.Row) -> list[Node]:
        return [
            self.alias(a) for a in self.store.all("aliases", membership_id=member["membership_id"])
        ]

    def member(self, row: sqlite3.Row) -> Node:
        """A version in a collection; the row is one of a membership joined with its artifact."""
        return {
            TYPENAME: "ArtifactCollectionMembership",
            ROW: row,
            "id": to_id("Membership", row["membership_id"]),
            "createdAt": row["joined_at"],
            "aliases": lambda **_: self._aliases(row),
            "artifactCollection": lambda **_: self.collection_with(row["collection_id"]),
            "artifact": self.artifact(row),
            "files": self._files(row),
        }

    def artifact(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def own_version(**_: Any) -> int | None:
            member = artifacts.source_version(store, row)
            return member and member["version_index"]

        def aliases(**_: Any) -> list[Node]:
            members = store.all("versions", "membership_id", id=number)
            return [alias for member in members for alias in self._aliases(member)]

        def manifest(**_: Any) -> Node | None:
            return row["manifest_digest"] and {
                TYPENAME: "ArtifactManifest",
                "id": to_id("Manifest", number),
                "digest": row["digest"],
                "file": self.file(number, "wandb_manifest.json", row["manifest_digest"], 0, ""),
            }

        return {
            TYPENAME: "Artifact",
            ROW: row,
            "id": to_id("Artifact", number),
            "artifactSequence": lambda **_: self.collection_with(row["sequence_id"]),
            "artifactType": lambda **_: self.collection_with(row["sequence_id"])[
                "defaultArtifactType"
            ],
            "versionIndex": own_version,
            "ttlDurationSeconds": -2,  # nothing expires here
            "ttlIsInherited": True,
            "tags": [
                {TYPENAME: "Tag", "id": to_id("Tag", tag), "name": tag}
                for tag in json.loads(row["tags"])
            ],
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": row["digest"],
            "aliases": aliases,
            "createdBy": lambda **_: _maybe(self.run, store.find("runs", id=row["created_by"])),
            "usedBy": _listed(lambda: store.all("users", used_id=number), self.run),
            "currentManifest": manifest,
            "files": self._files(row),
        }

    def _files(self, artifact: sqlite3.Row) -> Callable[..., Node]:
        def select(first=None, after=None, names=None, **_: Any) -> Node:
            found = _named(
                self.store.all("entries", "path", artifact_id=artifact["id"]), "path", names
            )
            return connection(found, make, first, after)

        def make(entry: sqlite3.Row) -> Node:
            number, time = artifact["id"], artifact["created_at"]
            node = self.file(number, entry["path"], entry["digest"] or "", entry["size"], time)
            if entry["digest"]:
                return node
            return node | {"url": entry["reference"], "directUrl": entry["reference"]}

        return select

    def _collection_named(self, project: sqlite3.Row, name: str) -> Node | None:
        found = self.store.find("collections", project_id=project["id"], name=name)
        return _maybe(self.collection, found)

    def _member_named(self, project: sqlite3.Row, name: str) -> Node | None:
        """The version that `name:alias` means; without an alias, the latest."""
        name, _, alias = name.partition(":")
        if not (collection := self.store.find("collections", project_id=project["id"], name=name)):
            return None
        found = artifacts.version_of(self.store, collection["id"], alias or artifacts.LATEST)
        return _maybe(self.member, found)


def _maybe(make: Callable[[sqlite3.Row], Node], row: sqlite3.Row | None) -> Node | None:
    return make(row) if row else None


def _named(rows: list[sqlite3.Row], column: str, names: list[str] | None) -> list[sqlite3.Row]:
    """The rows with these names; without names, all of them."""
    wanted = set(names or ())
    return [row for row in rows if row[column] in wanted] if wanted else rows


def _own_config(config: str, keys: list[str] | None) -> dict[str, Any]:
    """What the SDK keeps about itself in a config; a run that has it is one that was begun."""
    own = json.loads(config).get("_wandb")
    values = own.get("value") if isinstance(own, dict) else None
    items = values.items() if isinstance(values, dict) else ()
    return {key: value for key, value in items if not keys or key in keys}
