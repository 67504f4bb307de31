"""Artifacts: from a draft to a complete version, with aliases, links, lineage and deletion.

A draft becomes a version in one transaction, and only when its manifest fits its digest and every
file of the manifest is in the store: whatever is killed, a version is complete or absent.

A version in a collection is a row of the view `versions`: an artifact with its place there."""

import hashlib
import json
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.names import (
    Alias,
    ArtifactId,
    CollectionId,
    FileSpec,
    Name,
    Object,
    Path,
    Tag,
    checked,
    checked_path,
    hex_digest,
    load_json,
    version_number,
)
from lab_tracker.runs import ENTITY, find_run, make_project
from lab_tracker.storage import Row, Store, Upload, now

LATEST = "latest"


def version_of(store: Store, collection_id: int, alias: str) -> Row | None:
    """The version that an alias or `v3` names, or None."""
    if (index := version_number(alias)) is not None:
        return store.find("versions", collection_id=collection_id, version_index=index)
    found = store.find("aliases", collection_id=collection_id, alias=alias)
    return found and store.find("versions", membership_id=found["membership_id"])


@checked
def create_artifact(
    store: Store,
    artifact_type_name: Name,
    digest: str,
    artifact_collection_name: str = "",
    artifact_collection_names: tuple[str, ...] = (),
    entity_name: str = "",
    project_name: str = "uncategorized",
    run_name: str = "",
    digest_algorithm: Literal["MANIFEST_MD5"] = "MANIFEST_MD5",
    aliases: tuple[Alias, ...] = (),
    tags: tuple[Tag, ...] = (),
    metadata: Object = "{}",
    description: str | None = None,
    client_id: str | None = None,
    enable_digest_deduplication: bool = False,
) -> Row:
    """A draft; or the version that has the same digest already, which then gets the aliases."""
    names = artifact_collection_names or (artifact_collection_name,)
    if len(names) != 1:
        raise RequestError("An artifact belongs to exactly one collection when it is made.")
    wanted = [alias.alias for alias in aliases]
    with store.write():
        parent = make_project(store, entity_name, project_name)
        maker = find_run(store, entity_name, project_name, run_name)["id"] if run_name else None
        sequence = _collection(store, parent["id"], "SEQUENCE", names[0], artifact_type_name)["id"]
        if sent_before := store.find("artifacts", client_id=client_id):
            return sent_before  # the answer to an earlier request was lost
        own = {"sequence_id": sequence, "digest": digest}
        same = store.all("artifacts", "id DESC", **own, state="COMMITTED")
        if same and enable_digest_deduplication:
            _set_aliases(store, store.find("sources", id=same[0]["id"]), [LATEST, *wanted])
            if client_id:
                store.update("artifacts", same[0]["id"], client_id=client_id)
            return same[0]
        return store.insert(
            "artifacts",
            **own,
            description=description,
            metadata=metadata,
            tags=json.dumps(list(dict.fromkeys(tag.tagName for tag in tags))),
            wanted_aliases=json.dumps(wanted),
            client_id=client_id,
            created_by=maker,
            created_at=now(),
            updated_at=now(),
        )


@checked
def announce_files(store: Store, artifact_files: list[FileSpec]) -> list[FileSpec]:
    """Notes the future files of drafts, so that none of their blobs is freed."""
    with store.write() as db:
        for number in {file.artifactID for file in artifact_files}:
            _check_draft(store, number)
        db.executemany(
            "INSERT OR REPLACE INTO entries (artifact_id, path, digest) VALUES (?, ?, ?)",
            ((file.artifactID, file.name, file.md5) for file in artifact_files),
        )
    return artifact_files


@checked
def announce_manifest(
    store: Store, artifact_id: ArtifactId, digest: str = "", type: Literal["FULL"] = "FULL"
) -> int:
    """Notes the digest that the manifest will have; an empty one says that it comes later.
    Manifests of distributed and incremental artifacts are not known here."""
    with store.write():
        _check_draft(store, artifact_id)
        if digest:
            store.update("artifacts", artifact_id, manifest_md5=hex_digest(digest))
    return artifact_id


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
def commit_artifact(store: Store, artifact_id: ArtifactId) -> Row:
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
            if reference is None and not store.find("blobs", digest=digest, size=size):
                raise RequestError(f"The file {path!r} has not been uploaded completely.")
        store.delete("entries", artifact_id=artifact_id)
        db.executemany(
            """INSERT INTO entries (artifact_id, path, digest, reference, size)
                VALUES (?, ?, ?, ?, ?)""",
            ((artifact_id, *entry) for entry in entries),
        )
        count = {"size": sum(size for *_, size in entries), "file_count": len(entries)}
        done = {"state": "COMMITTED", "updated_at": now()}
        version = store.update("artifacts", artifact_id, **done, **count)
        member = _join(store, artifact["sequence_id"], artifact_id)
        _set_aliases(store, member, [LATEST, *json.loads(artifact["wanted_aliases"])])
    return version


class ManifestEntry(BaseModel):
    """A file of an artifact: its bytes, or a reference to a URL."""

    digest: str = Field(strict=True)
    ref: str | None = Field(None, strict=True, max_length=4096)
    size: int = Field(0, strict=True, ge=0, lt=2**53)


class Manifest(BaseModel):
    """What the SDK says an artifact consists of, by path."""

    contents: dict[Path, ManifestEntry]


def read_manifest(text: bytes, digest: str) -> list[tuple[str, str | None, str | None, int]]:
    """Its entries: (path, MD5 in hex or None, reference or None, bytes).

    Raises RequestError, or pydantic's ValidationError, if it is damaged, leaves its folder, or has
    another digest.
    """
    contents = Manifest.model_validate(load_json(text, "The manifest")).contents
    entries = []
    check = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
    for path, entry in sorted(contents.items()):
        if entry.ref is not None:
            _check_reference(path, entry.ref)
        md5 = hex_digest(entry.digest) if entry.ref is None else None
        entries.append((path, md5, entry.ref, entry.size))
        check.update(f"{path}:{entry.digest}\n".encode())
    if check.hexdigest() != digest:
        raise RequestError("The manifest does not fit the artifact's digest.")
    return entries


@checked
def update_artifact(
    store: Store,
    artifact_id: ArtifactId,
    description: str | None = None,
    metadata: Object | None = None,
    tags_to_add: tuple[Tag, ...] = (),
    tags_to_delete: tuple[Tag, ...] = (),
) -> Row:
    """Changes what is given."""
    with store.write():
        artifact = store.get("artifacts", artifact_id)
        tags = [*json.loads(artifact["tags"]), *(tag.tagName for tag in tags_to_add)]
        gone = {tag.tagName for tag in tags_to_delete}
        kept = [tag for tag in dict.fromkeys(tags) if tag not in gone]
        given = {"description": description, "metadata": metadata}
        changes = {column: value for column, value in given.items() if value is not None}
        changes |= {"tags": json.dumps(kept), "updated_at": now()}
        return store.update("artifacts", artifact_id, **changes)


@checked
def add_aliases(store: Store, artifact_id: ArtifactId, aliases: list[Alias]) -> None:
    """Adds aliases to a version, each in its collection."""
    with store.write():
        for alias in aliases:
            _set_aliases(store, _member_for(store, artifact_id, alias), [alias.alias])


@checked
def delete_aliases(store: Store, artifact_id: ArtifactId, aliases: list[Alias]) -> None:
    """Removes aliases of a version, each from its collection."""
    with store.write():
        for alias in aliases:
            number = _member_for(store, artifact_id, alias)["membership_id"]
            store.delete("aliases", membership_id=number, alias=alias.alias)


@checked
def link_artifact(
    store: Store,
    artifact_portfolio_name: str,
    project_name: str,
    entity_name: str = "",
    aliases: tuple[Alias, ...] = (),
    artifact_id: ArtifactId | None = None,
    client_id: str | None = None,
) -> Row:
    """Puts a version into a portfolio, which is made if it is new; returns its place there."""
    own = {"client_id": client_id} if artifact_id is None else {"id": artifact_id}
    artifact = store.find("artifacts", **own)
    if not artifact or artifact["state"] != "COMMITTED":
        raise NotFoundError("Only a complete artifact can be linked; wait for it first.")
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
    store: Store, artifact_id: ArtifactId, artifact_portfolio_id: CollectionId
) -> None:
    """Takes a version out of a portfolio."""
    with store.write():
        if store.get("collections", artifact_portfolio_id)["kind"] != "PORTFOLIO":
            raise RequestError("A version cannot leave its own sequence; delete it instead.")
        store.delete("memberships", collection_id=artifact_portfolio_id, artifact_id=artifact_id)


@checked
def use_artifact(
    store: Store,
    artifact_id: ArtifactId,
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
) -> Row:
    """Notes that a run used an artifact: one edge of the lineage."""
    with store.write() as db:
        run = find_run(store, entity_name, project_name, run_name)
        artifact = store.get("artifacts", artifact_id)
        db.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (run["id"], artifact_id))
    return artifact


@checked
def delete_artifact(store: Store, artifact_id: ArtifactId, delete_aliases: bool = False) -> int:
    """Deletes a version and its links, and frees the blobs that nothing else refers to.

    The version's number is not given again. Raises RequestError if it has an alias, unless
    `delete_aliases`.
    """
    with store.write():
        store.get("artifacts", artifact_id)
        held = store.find("artifact_aliases", artifact_id=artifact_id)
        if held and not delete_aliases:
            raise RequestError(
                f"The artifact has the alias {held['alias']!r}; remove it, or delete aliases too."
            )
        store.delete("artifacts", id=artifact_id)
    store.free_unused_blobs()
    return artifact_id


@checked
def delete_collection(
    store: Store, artifact_sequence_id: CollectionId = 0, artifact_portfolio_id: CollectionId = 0
) -> None:
    """Deletes a collection: a sequence with all its versions, or a portfolio with its links."""
    number = artifact_sequence_id or artifact_portfolio_id
    store.get("collections", number)
    with store.write():
        store.delete("collections", id=number)
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


@checked
def _collection(store: Store, project_id: int, kind: str, name: Name, type: Name) -> Row:
    """The SEQUENCE or PORTFOLIO with this name, which is made if it is new."""
    found = store.find("collections", project_id=project_id, name=name)
    if found is None:
        time = {"created_at": now(), "updated_at": now()}
        own = {"project_id": project_id, "kind": kind, "type": type, "name": name}
        return store.insert("collections", **own, **time)
    if (found["kind"], found["type"]) != (kind, type):
        raise RequestError(
            f"{name} already exists as a {found['kind'].lower()} of type {found['type']}; "
            f"give the {kind.lower()} of type {type} another name."
        )
    return found


def _member_for(store: Store, artifact_id: int, alias: Alias) -> Row:
    """The version that an artifact is in the collection of an alias. Raises NotFoundError."""
    names = {"collection": alias.artifactCollectionName, "project": alias.projectName}
    entity = alias.entityName or ENTITY
    if member := store.find("versions", id=artifact_id, entity=entity, **names):
        return member
    raise NotFoundError("The artifact is not a version of that collection.")


def _join(store: Store, collection_id: int, artifact_id: int) -> Row:
    """Gives an artifact the next version number of a collection."""
    index = store.get("collections", collection_id)["next_version"]
    store.update("collections", collection_id, next_version=index + 1, updated_at=now())
    number = {"collection_id": collection_id, "version_index": index}
    store.insert("memberships", artifact_id=artifact_id, created_at=now(), **number)
    return store.find("versions", **number)


def _set_aliases(store: Store, member: Row, aliases: Iterable[str]) -> None:
    """Gives a version aliases; another version of the collection that had one loses it."""
    with store.write() as db:
        db.executemany(
            """INSERT INTO aliases (membership_id, collection_id, alias) VALUES (?, ?, ?)
                ON CONFLICT (collection_id, alias) DO UPDATE
                SET membership_id = excluded.membership_id""",
            ((member["membership_id"], member["collection_id"], alias) for alias in aliases),
        )
