"""The tracker's rows as the objects of W&B's GraphQL: what the SDK's fragments ask for.

An object is a dict; what costs a query, or takes arguments, is a function that the walk calls."""

import json
import mimetypes
import re
import sqlite3
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab_tracker import artifacts, runs, streams
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.filters import matching, ordered
from lab_tracker.graphql import TYPENAME, Node, connection, page, parsed_json
from lab_tracker.limits import MAX_PAGE
from lab_tracker.signing import Signer
from lab_tracker.storage import Store


def to_id(kind: str, number: int) -> str:
    """The id of a row for the SDK, which wants base64."""
    return b64encode(f"{kind}:{number}".encode()).decode()


def from_id(kind: str, text: object) -> int:
    """The row's number. Raises NotFoundError for the id of something else."""
    try:
        found, _, number = b64decode(str(text), validate=True).decode().partition(":")
        if found == kind:
            return int(number)
    except (Base64Error, ValueError):
        pass
    raise NotFoundError(f"There is no {kind} with the id {str(text)[:80]!r}.")


@dataclass(frozen=True)
class Nodes:
    """Makes the objects of one request: `base_url` is where its client reached the server."""

    store: Store
    signer: Signer
    base_url: str

    def user(self) -> Node:
        return {
            TYPENAME: "User",
            "id": to_id("User", 1),
            "name": "You",
            "username": runs.ENTITY,
            "email": "",
            "entity": runs.ENTITY,
            "admin": False,
            "flags": "{}",
            "teams": connection([], self.entity, None, None),
            "apiKeys": connection([], self.entity, None, None),
            "organizations": [],
        }

    def entity(self, entity: str) -> Node:
        return {
            TYPENAME: "Entity",
            "id": to_id("Entity", 1),
            "name": entity,
            "isTeam": False,
            "organization": None,
            "user": {TYPENAME: "User", "organizations": []},
            "project": lambda name=None, **_: self.find_project(entity, name),
            "xxhashDigestsEnabled": False,
        }

    def find_project(self, entity: str | None, name: str | None) -> Node | None:
        found = runs.project_of(self.store, entity, name or "")
        return self.project(found) if found else None

    def project(self, row: sqlite3.Row) -> Node:
        def list_runs(filters=None, order=None, first=None, after=None, **_: Any) -> Node:
            found = matching(self._project_runs(row), parsed_json(filters, {}))
            return connection(ordered(found, order), self.run, _page_size(first), after)

        def count_runs(filters=None, **_: Any) -> int:
            return len(matching(self._project_runs(row), parsed_json(filters, {})))

        def find_run(name: str | None = None, **_: Any) -> Node | None:
            found = runs.run_of(self.store, row["id"], name or "")
            return self.run(found) if found else None

        def types(first=None, after=None, **_: Any) -> Node:
            query = "SELECT DISTINCT type FROM collections WHERE project_id = ? ORDER BY type"
            names = [found["type"] for found in self.store.rows(query, row["id"])]
            return connection(names, lambda name: self.type(row, name), _page_size(first), after)

        def list_collections(first=None, after=None, **_: Any) -> Node:
            found = artifacts.collections_of(self.store, row["id"])
            return connection(found, self.collection, _page_size(first), after)

        return {
            TYPENAME: "Project",
            "id": to_id("Project", row["id"]),
            "internalId": to_id("ProjectInternalId", row["id"]),
            "name": row["name"],
            "entityName": row["entity"],
            "entity": self.entity(row["entity"]),
            "user": self.user,
            "description": None,
            "createdAt": row["created_at"],
            "updatedAt": row["created_at"],
            "isBenchmark": False,
            "readOnly": False,
            "access": "PRIVATE",
            "run": find_run,
            "bucket": find_run,
            "runs": list_runs,
            "runCount": count_runs,
            "sweeps": lambda **_: connection([], self.run, None, None),
            "totalSweeps": 0,
            "artifactTypes": types,
            "artifactType": lambda name, **_: self.type(row, name, must_exist=True),
            "artifactCollections": list_collections,
            "artifactCollection": lambda name, **_: self._collection_named(row, name),
            "artifactCollectionMembership": lambda name, **_: self._member_named(row, name),
            "artifact": lambda name, **_: (self._member_named(row, name) or {}).get("artifact"),
        }

    def run(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def lines(stream: str) -> Callable[..., Any]:
            def select(samples=500, min_step=None, max_step=None, **_: Any) -> list[str]:
                samples = min(int(samples or 500), 100 * MAX_PAGE)
                if min_step is None and max_step is None:
                    return streams.sampled_lines(store, number, stream, samples)
                last = 2**62 if max_step is None else int(max_step)
                return streams.steps_between(store, number, int(min_step or 0), last, samples)

            return select

        def sampled_history(specs: list[str], **_: Any) -> list[Any]:
            return [streams.sampled_history(store, number, spec) for spec in specs]

        def files(names=None, pattern=None, first=None, after=None, **_: Any) -> Node:
            found = runs.files_of(store, number)
            if names:
                found = [file for file in found if file["name"] in names]
            elif pattern:
                like = re.escape(pattern).replace("%", ".*").replace("_", ".")
                found = [file for file in found if re.fullmatch(like, file["name"])]
            return connection(found, self.run_file, _page_size(first), after)

        def artifact_list(rows: Callable[[Store, int], list[sqlite3.Row]]) -> Callable[..., Node]:
            def select(first=None, after=None, **_: Any) -> Node:
                return connection(rows(store, number), self.artifact, _page_size(first), after)

            return select

        def log_lines(first=None, after=None, last=None, **_: Any) -> Node:
            texts = list(enumerate(streams.all_lines(store, number, streams.OUTPUT)))
            if last is not None:
                texts = texts[-int(last) :] if last else []
            return connection(texts, _log_line, _page_size(first), after)

        def count(stream: str) -> Callable[..., int]:
            return lambda **_: streams.line_count(store, number, stream)

        def last_line(stream: str) -> Callable[..., str]:
            return lambda **_: json.dumps(streams.tail(store, number, stream))

        return {
            TYPENAME: "Run",
            "id": to_id("Run", number),
            "name": row["name"],
            "displayName": row["display_name"],
            "projectId": str(row["project_id"]),
            "project": lambda **_: self.project(
                store.row("SELECT * FROM projects WHERE id = ?", row["project_id"])
            ),
            "state": runs.state_of(row),
            "group": row["group_name"],
            "jobType": row["job_type"],
            "notes": row["notes"],
            "description": row["description"],
            "commit": row["commit_hash"],
            "host": row["host"],
            "tags": json.loads(row["tags"]),
            "config": row["config"],
            "wandbConfig": lambda keys=None, **_: json.dumps(_own_config(row["config"], keys)),
            "summaryMetrics": row["summary"],
            "systemMetrics": lambda **_: (streams.tail(store, number, streams.EVENTS) or ["{}"])[0],
            "sweepName": None,
            "readOnly": False,
            "createdAt": row["created_at"],
            "heartbeatAt": row["heartbeat_at"],
            "user": self.user,
            "stopped": False,
            "historyLineCount": count(streams.HISTORY),
            "eventsLineCount": count(streams.EVENTS),
            "logLineCount": count(streams.OUTPUT),
            "historyTail": last_line(streams.HISTORY),
            "eventsTail": last_line(streams.EVENTS),
            "history": lines(streams.HISTORY),
            "events": lines(streams.EVENTS),
            "sampledHistory": sampled_history,
            "historyKeys": lambda **_: streams.history_keys(store, number),
            # Everything is live: nothing is exported to parquet files here.
            "parquetHistory": lambda **_: {
                TYPENAME: "ParquetHistory",
                "parquetUrls": [],
                "liveData": [],
            },
            "logLines": log_lines,
            "fileCount": lambda **_: store.value(
                "SELECT count(*) FROM run_files WHERE run_id = ?", number
            ),
            "files": files,
            "inputArtifacts": artifact_list(artifacts.inputs_of),
            "outputArtifacts": artifact_list(artifacts.outputs_of),
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
            "storagePath": None,
            "digest": md5,
            "md5": md5,
        }

    def type(self, project: sqlite3.Row, name: str, must_exist: bool = False) -> Node | None:
        """A type of artifacts in a project."""
        query = "SELECT 1 FROM collections WHERE project_id = ? AND type = ?"
        if must_exist and not self.store.row(query, project["id"], name):
            return None

        def list_collections(first=None, after=None, **_: Any) -> Node:
            found = artifacts.collections_of(self.store, project["id"], name)
            return connection(found, self.collection, _page_size(first), after)

        def find_collection(name: str, **_: Any) -> Node | None:
            return self._collection_named(project, name)

        return {
            TYPENAME: "ArtifactType",
            "id": b64encode(f"ArtifactType:{name}".encode()).decode(),
            "name": name,
            "description": None,
            "createdAt": project["created_at"],
            "artifactCollections": list_collections,
            "artifactCollection": find_collection,
        }

    def collection(self, row: sqlite3.Row) -> Node:
        store = self.store
        is_sequence = row["kind"] == "SEQUENCE"

        def versions(first=None, after=None, **_: Any) -> Node:
            total = store.value(
                "SELECT count(*) FROM memberships WHERE collection_id = ?", row["id"]
            )
            start = int(after or 0)
            members = artifacts.versions_of(store, row["id"], _page_size(first), start)
            listed = page(members, self.artifact, start, total)
            for edge, member in zip(listed["edges"], members, strict=True):
                edge["version"] = f"v{member['version_index']}"
            return listed

        def latest(**_: Any) -> Node | None:
            newest = artifacts.versions_of(store, row["id"], first=1)
            return self.artifact(newest[0]) if newest else None

        def member(alias_name: str, **_: Any) -> Node | None:
            found = artifacts.version_of(store, row["id"], alias_name)
            return self.member(found) if found else None

        def aliases(first=None, after=None, **_: Any) -> Node:
            found = store.rows("SELECT * FROM aliases WHERE collection_id = ?", row["id"])
            return connection(found, self.alias, _page_size(first), after)

        return {
            TYPENAME: "ArtifactSequence" if is_sequence else "ArtifactPortfolio",
            "id": to_id("Collection", row["id"]),
            "name": row["name"],
            "description": row["description"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "state": "READY",
            "digestAlgorithm": "MANIFEST_MD5",
            "project": lambda **_: self.project(
                store.row("SELECT * FROM projects WHERE id = ?", row["project_id"])
            ),
            "defaultArtifactType": {TYPENAME: "ArtifactType", "name": row["type"]},
            "tags": connection([], self.alias, None, None),
            "artifacts": versions,
            "latestArtifact": latest,
            "artifactMembership": member,
            "aliases": aliases,
        }

    def alias(self, row: sqlite3.Row) -> Node:
        return {
            TYPENAME: "ArtifactAlias",
            "id": to_id("Alias", row["id"]),
            "alias": row["alias"],
            "artifactCollection": lambda **_: self.collection(
                artifacts.collection_by_id(self.store, row["collection_id"])
            ),
        }

    def member(self, row: sqlite3.Row) -> Node:
        """A version in a collection; the row is one of a membership joined with its artifact."""
        store = self.store

        def files(first=None, after=None, names=None, **_: Any) -> Node:
            found = artifacts.entries_of(store, row["id"])
            found = [entry for entry in found if not names or entry["path"] in names]
            return connection(found, self._entry(row), _page_size(first), after)

        return {
            TYPENAME: "ArtifactCollectionMembership",
            "id": to_id("Membership", row["membership_id"]),
            "versionIndex": row["version_index"],
            "createdAt": row["joined_at"],
            "aliases": lambda **_: [
                self.alias(alias) for alias in artifacts.aliases_of(store, row["membership_id"])
            ],
            "artifactCollection": lambda **_: self.collection(
                artifacts.collection_by_id(store, row["collection_id"])
            ),
            "artifact": self.artifact(row),
            "files": files,
        }

    def artifact(self, row: sqlite3.Row) -> Node:
        store, number = self.store, row["id"]

        def own_version(**_: Any) -> int | None:
            member = artifacts.source_version(store, row)
            return member["version_index"] if member else None

        def aliases(**_: Any) -> list[Node]:
            return [
                self.alias(alias)
                for member in artifacts.memberships_of(store, number)
                for alias in artifacts.aliases_of(store, member["membership_id"])
            ]

        def created_by(**_: Any) -> Node | None:
            run = artifacts.logged_by(store, row)
            return self.run(run) if run else None

        def files(first=None, after=None, names=None, **_: Any) -> Node:
            found = artifacts.entries_of(store, number)
            found = [entry for entry in found if not names or entry["path"] in names]
            return connection(found, self._entry(row), _page_size(first), after)

        def manifest(**_: Any) -> Node | None:
            if not row["manifest_digest"]:
                return None
            return {
                TYPENAME: "ArtifactManifest",
                "id": to_id("Manifest", number),
                "digest": row["digest"],
                "file": self.file(number, "wandb_manifest.json", row["manifest_digest"], 0, ""),
            }

        return {
            TYPENAME: "Artifact",
            "id": to_id("Artifact", number),
            "artifactSequence": lambda **_: self.collection(
                artifacts.collection_by_id(store, row["sequence_id"])
            ),
            "artifactType": lambda **_: {
                TYPENAME: "ArtifactType",
                "name": artifacts.collection_by_id(store, row["sequence_id"])["type"],
            },
            "versionIndex": own_version,
            "description": row["description"],
            "metadata": row["metadata"],
            "ttlDurationSeconds": -2 if row["ttl_seconds"] is None else row["ttl_seconds"],
            "ttlIsInherited": row["ttl_seconds"] is None,
            "tags": [
                {TYPENAME: "Tag", "id": b64encode(f"Tag:{tag}".encode()).decode(), "name": tag}
                for tag in json.loads(row["tags"])
            ],
            "historyStep": row["history_step"],
            "state": row["state"],
            "size": row["size"],
            "digest": row["digest"],
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": row["digest"],
            "fileCount": row["file_count"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "aliases": aliases,
            "createdBy": created_by,
            "usedBy": lambda **_: connection(
                artifacts.used_by(store, number), self.run, None, None
            ),
            "artifactMemberships": lambda **_: connection(
                artifacts.memberships_of(store, number), self.member, None, None
            ),
            "currentManifest": manifest,
            "files": files,
            "filesByManifestEntries": lambda entries=(), first=None, after=None, **_: files(
                first, after, {entry.get("name") for entry in entries or ()}
            ),
        }

    def _entry(self, artifact: sqlite3.Row) -> Callable[[sqlite3.Row], Node]:
        def make(entry: sqlite3.Row) -> Node:
            time = artifact["created_at"]
            if entry["digest"]:
                return self.file(
                    artifact["id"], entry["path"], entry["digest"], entry["size"], time
                )
            reference = {"url": entry["reference"], "directUrl": entry["reference"]}
            return self.file(artifact["id"], entry["path"], "", entry["size"], time) | reference

        return make

    def _collection_named(self, project: sqlite3.Row, name: str) -> Node | None:
        found = artifacts.collection_of(self.store, project["id"], name)
        return self.collection(found) if found else None

    def _member_named(self, project: sqlite3.Row, name: str) -> Node | None:
        """The version that `name:alias` means; without an alias, the latest."""
        collection_name, _, alias = name.partition(":")
        collection = artifacts.collection_of(self.store, project["id"], collection_name)
        if not collection:
            return None
        found = artifacts.version_of(self.store, collection["id"], alias or artifacts.LATEST)
        return self.member(found) if found else None

    def _project_runs(self, project: sqlite3.Row) -> list[sqlite3.Row]:
        return runs.runs_of(self.store, project["id"])


def _own_config(config: str, keys: list[str] | None) -> dict[str, Any]:
    """What the SDK keeps about itself in a config; a run that has it is one that was begun."""
    own = json.loads(config).get("_wandb", {})
    own = own.get("value", {}) if isinstance(own, dict) else {}
    return {key: value for key, value in own.items() if not keys or key in keys}


def _log_line(numbered: tuple[int, str]) -> Node:
    number, line = numbered
    return {TYPENAME: "LogLine", "number": number, "line": line}


def _page_size(first: object) -> int:
    if first is None:
        return MAX_PAGE
    if not isinstance(first, int) or first < 0:
        raise RequestError("`first` must be a count.")
    return min(first, MAX_PAGE)
