"""Artifacts: from a draft to a complete version, with aliases, links, lineage and deletion.

A draft becomes a version in one transaction, and only when its manifest fits its digest and every
file of the manifest is in the store: whatever is killed, a version is complete or absent.

A version in a collection is a row of the view `versions`: an artifact with its place there."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.names import (
    Alias,
    ArtifactId,
    CollectionId,
    FileSpec,
    Object,
    Tag,
    checked,
    checked_name,
    checked_path,
    hex_digest,
    load_json,
    version_number,
)
from lab_tracker.runs import find_run, make_project, project_of
from lab_tracker.storage import Store, Upload, now

LATEST = "latest"


# What is there


def collections_of(store: Store, project_id: int, type_: str | None = None) -> list[sqlite3.Row]:
    """The collections of a project that have a version, by name; of one type if it is given."""
    return store.rows(
        """SELECT * FROM collections WHERE project_id = ?1 AND (?2 IS NULL OR type = ?2)
            AND EXISTS (SELECT 1 FROM memberships WHERE collection_id = collections.id)
            ORDER BY name""",
        project_id,
        type_,
    )


def version_of(store: Store, collection_id: int, alias: str) -> sqlite3.Row | None:
    """The version that an alias or `v3` names, or None."""
    if (index := version_number(alias)) is not None:
        return store.find("versions", collection_id=collection_id, version_index=index)
    if found := store.find("aliases", collection_id=collection_id, alias=alias):
        return store.find("versions", membership_id=found["membership_id"])
    return None


class Versions:
    """The versions of a collection, newest first: a sequence of which only slices are read."""

    def __init__(self, store: Store, collection_id: int) -> None:
        self._store, self._id = store, collection_id

    def __len__(self) -> int:
        query = "SELECT count(*) FROM memberships WHERE collection_id = ?"
        return self._store.value(query, self._id)

    def __getitem__(self, part: slice) -> list[sqlite3.Row]:
        start, stop, _ = part.indices(len(self))
        query = """SELECT * FROM versions WHERE collection_id = ?
            ORDER BY version_index DESC LIMIT ? OFFSET ?"""
        return self._store.rows(query, self._id, max(stop - start, 0), start)


def source_version(store: Store, artifact: sqlite3.Row) -> sqlite3.Row | None:
    """The version that an artifact is in its own sequence; None for a draft."""
    return store.find("versions", collection_id=artifact["sequence_id"], id=artifact["id"])


# From a draft to a version


@checked
def create_artifact(
    store: Store,
    *,
    artifact_type_name: str,
    digest: str,
    entity_name: str | None = None,
    project_name: str = "uncategorized",
    run_name: str | None = None,
    artifact_collection_name: str | None = None,
    artifact_collection_names: tuple[str, ...] = (),
    digest_algorithm: Literal["MANIFEST_MD5"] = "MANIFEST_MD5",
    aliases: tuple[Alias, ...] = (),
    tags: tuple[Tag, ...] = (),
    metadata: Object = "{}",
    description: str | None = None,
    client_id: str | None = None,
    enable_digest_deduplication: bool = False,
    **_: Any,
) -> sqlite3.Row:
    """A draft; or the version that has the same digest already, which then gets the aliases."""
    names = [*filter(None, [artifact_collection_name]), *artifact_collection_names]
    if len(names) != 1:
        raise RequestError("An artifact belongs to exactly one collection when it is made.")
    wanted = [alias.alias for alias in aliases]
    with store.write():
        parent = make_project(store, entity_name, project_name)
        maker = find_run(store, entity_name, project_name, run_name) if run_name else None
        sequence = _collection(store, parent["id"], "SEQUENCE", names[0], artifact_type_name)
        if sent_before := store.find("artifacts", client_id=client_id):
            return sent_before  # the answer to an earlier request was lost
        same = store.row(
            """SELECT * FROM artifacts WHERE sequence_id = ? AND digest = ? AND state = 'COMMITTED'
                ORDER BY id DESC""",
            sequence["id"],
            digest,
        )
        if same and enable_digest_deduplication:
            _set_aliases(store, source_version(store, same), [LATEST, *wanted])
            if client_id:
                store.update("artifacts", same["id"], client_id=client_id)
            return same
        time = now()
        return store.insert(
            "artifacts",
            sequence_id=sequence["id"],
            digest=digest,
            description=description,
            metadata=metadata,
            tags=json.dumps(list(dict.fromkeys(tag.tagName for tag in tags))),
            wanted_aliases=json.dumps(wanted),
            client_id=client_id,
            created_by=maker and maker["id"],
            created_at=time,
            updated_at=time,
        )


@checked
def announce_files(store: Store, artifact_files: list[FileSpec], **_: Any) -> list[FileSpec]:
    """Notes the future files of drafts, so that none of their blobs is freed."""
    with store.write() as db:
        for number in {file.artifactID for file in artifact_files}:
            _check_draft(store, number)
        db.executemany(
            "INSERT OR REPLACE INTO entries (artifact_id, path, digest) VALUES (?, ?, ?)",
            ((file.artifactID, file.name, file.md5) for file in artifact_files),
        )
    return artifact_files


def announce_manifest(store: Store, artifact_id: int, md5: str) -> None:
    """Notes the digest that the manifest will have; an empty one says that it comes later."""
    with store.write():
        _check_draft(store, artifact_id)
        if md5:
            store.update("artifacts", artifact_id, manifest_md5=hex_digest(md5))


def keep_blob(store: Store, upload: Upload, artifact_id: int, digest: str) -> None:
    """Makes an upload the file of a draft that was announced with this MD5 (hex)."""
    if upload.digest != digest:
        raise RequestError("The bytes that arrived are not those that were announced.")
    with upload.keep():
        pass


def keep_manifest(store: Store, upload: Upload, artifact_id: int, name: str) -> None:
    """Makes an upload the manifest of a draft."""
    artifact = store.get("artifacts", artifact_id)
    if artifact["manifest_md5"] not in (None, "", upload.digest):
        raise RequestError("The manifest that arrived is not the one that was announced.")
    with upload.keep():
        if artifact["state"] == "PENDING":
            store.update("artifacts", artifact_id, manifest_digest=upload.digest)


@checked
def commit_artifact(store: Store, artifact_id: ArtifactId, **_: Any) -> sqlite3.Row:
    """Makes a draft the newest version. Raises RequestError if anything of it is missing."""
    with store.write() as db:
        artifact = store.get("artifacts", artifact_id)
        if artifact["state"] == "COMMITTED":
            return artifact  # the answer to an earlier request was lost
        if not artifact["manifest_digest"]:
            raise RequestError("The artifact's manifest has not been uploaded.")
        manifest = store.blob_path(artifact["manifest_digest"]).read_bytes()
        entries = read_manifest(manifest, artifact["digest"])
        for path, digest, reference, size in entries:
            stored = reference is None and store.find("blobs", digest=digest)
            if reference is None and (not stored or stored["size"] != size):
                raise RequestError(f"The file {path!r} has not been uploaded completely.")
        db.execute("DELETE FROM entries WHERE artifact_id = ?", (artifact_id,))
        db.executemany(
            """INSERT INTO entries (artifact_id, path, digest, reference, size)
                VALUES (?, ?, ?, ?, ?)""",
            ((artifact_id, *entry) for entry in entries),
        )
        store.update(
            "artifacts",
            artifact_id,
            state="COMMITTED",
            size=sum(size for *_, size in entries),
            file_count=len(entries),
            updated_at=now(),
        )
        member = _join(store, artifact["sequence_id"], artifact_id)
        _set_aliases(store, member, [LATEST, *json.loads(artifact["wanted_aliases"])])
    return store.get("artifacts", artifact_id)


class ManifestEntry(BaseModel):
    """A file of an artifact: its bytes, or a reference to a URL."""

    digest: str = Field(strict=True)
    ref: str | None = Field(None, strict=True, max_length=4096)
    size: int = Field(0, strict=True, ge=0, lt=2**53)


class Manifest(BaseModel):
    """What the SDK says an artifact consists of, by path."""

    contents: dict[str, ManifestEntry]


def read_manifest(text: bytes, digest: str) -> list[tuple[str, str | None, str | None, int]]:
    """Its entries: (path, MD5 in hex or None, reference or None, bytes).

    Raises RequestError if it is damaged, leaves its folder, or has another digest.
    """
    try:
        contents = Manifest.model_validate(load_json(text, "The manifest")).contents
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise RequestError(f"The artifact's manifest is wrong at {where}.") from None
    entries = []
    check = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
    for path, entry in sorted(contents.items()):
        checked_path(path)
        if entry.ref is not None:
            _check_reference(path, entry.ref)
        md5 = hex_digest(entry.digest) if entry.ref is None else None
        entries.append((path, md5, entry.ref, entry.size))
        check.update(f"{path}:{entry.digest}\n".encode())
    if check.hexdigest() != digest:
        raise RequestError("The manifest does not fit the artifact's digest.")
    return entries


# Changes of a version


@checked
def update_artifact(
    store: Store,
    artifact_id: ArtifactId,
    description: str | None = None,
    metadata: Object | None = None,
    aliases: list[Alias] | None = None,
    tags_to_add: tuple[Tag, ...] = (),
    tags_to_delete: tuple[Tag, ...] = (),
    **_: Any,
) -> sqlite3.Row:
    """Changes what is given; `aliases` are all that the version then has in its own sequence."""
    with store.write() as db:
        artifact = store.get("artifacts", artifact_id)
        gone = {tag.tagName for tag in tags_to_delete}
        tags = [tag for tag in json.loads(artifact["tags"]) if tag not in gone]
        tags += [tag.tagName for tag in tags_to_add if tag.tagName not in tags]
        given = {"description": description, "metadata": metadata}
        changes = {column: value for column, value in given.items() if value is not None}
        store.update("artifacts", artifact_id, tags=json.dumps(tags), updated_at=now(), **changes)
        if aliases is not None and (member := source_version(store, artifact)):
            own = [a.alias for a in aliases if a.artifactCollectionName == member["collection"]]
            db.execute("DELETE FROM aliases WHERE membership_id = ?", (member["membership_id"],))
            _set_aliases(store, member, own)
    return store.get("artifacts", artifact_id)


@checked
def change_aliases(
    store: Store, artifact_id: ArtifactId, aliases: list[Alias], *, add: bool, **_: Any
) -> None:
    """Adds or removes aliases that a version has in collections."""
    with store.write() as db:
        for alias in aliases:
            parent = project_of(store, alias.entityName, alias.projectName or "")
            name = alias.artifactCollectionName or ""
            found = parent and store.find("collections", project_id=parent["id"], name=name)
            member = found and store.find("versions", collection_id=found["id"], id=artifact_id)
            if not member:
                raise NotFoundError("The artifact is not a version of that collection.")
            if add:
                _set_aliases(store, member, [alias.alias])
            else:
                db.execute(
                    "DELETE FROM aliases WHERE membership_id = ? AND alias = ?",
                    (member["membership_id"], alias.alias),
                )


@checked
def link_artifact(
    store: Store,
    artifact_portfolio_name: str,
    project_name: str,
    entity_name: str | None = None,
    aliases: tuple[Alias, ...] = (),
    artifact_id: ArtifactId | None = None,
    client_id: str | None = None,
    **_: Any,
) -> sqlite3.Row:
    """Puts a version into a portfolio, which is made if it is new; returns its place there."""
    own = {"client_id": client_id} if artifact_id is None else {"id": artifact_id}
    artifact = store.find("artifacts", **own)
    if not artifact:
        raise NotFoundError("The artifact to link does not exist.")
    if artifact["state"] != "COMMITTED":
        raise RequestError("Only a complete artifact can be linked; wait for it first.")
    with store.write():
        project = make_project(store, entity_name, project_name)["id"]
        type_ = store.get("collections", artifact["sequence_id"])["type"]
        portfolio = _collection(store, project, "PORTFOLIO", artifact_portfolio_name, type_)["id"]
        member = store.find("versions", collection_id=portfolio, id=artifact["id"])
        member = member or _join(store, portfolio, artifact["id"])
        _set_aliases(store, member, [LATEST, *(alias.alias for alias in aliases)])
    return member


@checked
def unlink_artifact(
    store: Store, artifact_id: ArtifactId, artifact_portfolio_id: CollectionId, **_: Any
) -> None:
    """Takes a version out of a portfolio."""
    with store.write() as db:
        if store.get("collections", artifact_portfolio_id)["kind"] != "PORTFOLIO":
            raise RequestError("A version cannot leave its own sequence; delete it instead.")
        db.execute(
            "DELETE FROM memberships WHERE collection_id = ? AND artifact_id = ?",
            (artifact_portfolio_id, artifact_id),
        )


@checked
def use_artifact(
    store: Store,
    artifact_id: ArtifactId,
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
    **_: Any,
) -> sqlite3.Row:
    """Notes that a run used an artifact: one edge of the lineage."""
    with store.write() as db:
        run = find_run(store, entity_name, project_name, run_name)
        artifact = store.get("artifacts", artifact_id)
        query = "INSERT OR REPLACE INTO uses (run_id, artifact_id) VALUES (?, ?)"
        db.execute(query, (run["id"], artifact_id))
    return artifact


@checked
def delete_artifact(
    store: Store, artifact_id: ArtifactId, delete_aliases: bool = False, **_: Any
) -> None:
    """Deletes a version and its links, and frees the blobs that nothing else refers to.

    The version's number is not given again. Raises RequestError if it has an alias, unless
    `delete_aliases`.
    """
    with store.write() as db:
        store.get("artifacts", artifact_id)
        query = """SELECT alias FROM aliases JOIN memberships ON memberships.id = membership_id
            WHERE artifact_id = ?"""
        if (alias := store.value(query, artifact_id)) and not delete_aliases:
            raise RequestError(
                f"The artifact has the alias {alias!r}; remove it, or delete aliases too."
            )
        db.execute("DELETE FROM artifacts WHERE id = ?", (artifact_id,))
    store.free_unused_blobs()


@checked
def delete_collection(store: Store, collection_id: CollectionId) -> None:
    """Deletes a collection: a sequence with all its versions, or a portfolio with its links."""
    with store.write() as db:
        store.get("collections", collection_id)
        db.execute("DELETE FROM collections WHERE id = ?", (collection_id,))
    store.free_unused_blobs()


def _check_reference(path: str, reference: str) -> None:
    """A reference must be a URL; one to another artifact must stay inside that artifact."""
    url = urlsplit(reference)
    if not url.scheme:
        raise RequestError(f"The reference of {path!r} is not a URL.")
    if url.scheme in ("wandb-artifact", "wandb-client-artifact"):
        checked_path(url.path.lstrip("/"))


def _check_draft(store: Store, artifact_id: int) -> None:
    if store.get("artifacts", artifact_id)["state"] != "PENDING":
        raise RequestError("The artifact is a version already; its files cannot change.")


def _collection(store: Store, project_id: int, kind: str, name: str, type_: str) -> sqlite3.Row:
    """The SEQUENCE or PORTFOLIO with this name, which is made if it is new."""
    checked_name(type_, "An artifact's type")
    checked_name(name, "An artifact's name")
    found = store.find("collections", project_id=project_id, name=name)
    if found is None:
        time = now()
        return store.insert(
            "collections",
            project_id=project_id,
            kind=kind,
            type=type_,
            name=name,
            created_at=time,
            updated_at=time,
        )
    if found["kind"] != kind or found["type"] != type_:
        raise RequestError(
            f"{name} already exists as a {found['kind'].lower()} of type {found['type']}; "
            f"give the {kind.lower()} of type {type_} another name."
        )
    return found


def _join(store: Store, collection_id: int, artifact_id: int) -> sqlite3.Row:
    """Gives an artifact the next version number of a collection."""
    index, time = store.get("collections", collection_id)["next_version"], now()
    store.update("collections", collection_id, next_version=index + 1, updated_at=time)
    member = store.insert(
        "memberships",
        collection_id=collection_id,
        artifact_id=artifact_id,
        version_index=index,
        created_at=time,
    )
    return store.find("versions", membership_id=member["id"])


def _set_aliases(store: Store, member: sqlite3.Row, aliases: Iterable[str]) -> None:
    """Gives a version aliases; another version of the collection that had one loses it."""
    with store.write() as db:
        for alias in dict.fromkeys(aliases):
            db.execute(
                """INSERT INTO aliases (membership_id, collection_id, alias) VALUES (?, ?, ?)
                    ON CONFLICT (collection_id, alias) DO UPDATE
                    SET membership_id = excluded.membership_id""",
                (member["membership_id"], member["collection_id"], alias),
            )
