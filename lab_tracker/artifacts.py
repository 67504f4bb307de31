"""Artifacts: from a draft to a complete version, with aliases, links, lineage and deletion.

A draft becomes a version in one transaction, and only when its manifest fits its digest and every
file of the manifest is in the store: whatever is killed, a version is complete or absent."""

import hashlib
import json
import sqlite3
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.names import (
    checked_alias,
    checked_name,
    checked_path,
    load_json,
    version_number,
)
from lab_tracker.runs import make_project, run_of
from lab_tracker.storage import Store, now

LATEST = "latest"

# A version of a collection: the artifact, the collection and the place in it.
_MEMBERS = """SELECT memberships.id AS membership_id, memberships.version_index AS version_index,
    memberships.created_at AS joined_at, memberships.collection_id AS collection_id, artifacts.*
    FROM memberships JOIN artifacts ON artifacts.id = memberships.artifact_id """


def collection_of(store: Store, project_id: int, name: str) -> sqlite3.Row | None:
    """The collection of a project with this name, or None."""
    return store.row(
        "SELECT * FROM collections WHERE project_id = ? AND name = ?", project_id, name
    )


def collection_by_id(store: Store, collection_id: int) -> sqlite3.Row:
    """The collection with this number. Raises NotFoundError."""
    if found := store.row("SELECT * FROM collections WHERE id = ?", collection_id):
        return found
    raise NotFoundError("The artifact collection does not exist; it may have been deleted.")


def collections_of(store: Store, project_id: int, type_: str | None = None) -> list[sqlite3.Row]:
    """The collections of a project that have a version, by name; of one type if it is given."""
    return store.rows(
        """SELECT * FROM collections WHERE project_id = ?1 AND (?2 IS NULL OR type = ?2)
            AND EXISTS (SELECT 1 FROM memberships WHERE collection_id = collections.id)
            ORDER BY name""",
        project_id,
        type_,
    )


def artifact_by_id(store: Store, artifact_id: int) -> sqlite3.Row:
    """The artifact with this number, also a draft. Raises NotFoundError."""
    if found := store.row("SELECT * FROM artifacts WHERE id = ?", artifact_id):
        return found
    raise NotFoundError("The artifact does not exist; it may have been deleted.")


def artifact_with_client_id(store: Store, client_id: str | None) -> sqlite3.Row | None:
    """The artifact that a client announced under its own id, or None."""
    return store.row("SELECT * FROM artifacts WHERE client_id = ?", client_id)


def sequence_of(store: Store, artifact_id: int) -> sqlite3.Row:
    """The collection that an artifact is a version of, or will be. Raises NotFoundError."""
    return collection_by_id(store, artifact_by_id(store, artifact_id)["sequence_id"])


def version_of(store: Store, collection_id: int, alias: str) -> sqlite3.Row | None:
    """The version that an alias or `v3` names, with its place in the collection, or None."""
    if (index := version_number(alias)) is not None:
        where = "WHERE memberships.collection_id = ? AND memberships.version_index = ?"
        return store.row(_MEMBERS + where, collection_id, index)
    join = "JOIN aliases ON aliases.membership_id = memberships.id "
    where = "WHERE aliases.collection_id = ? AND aliases.alias = ?"
    return store.row(_MEMBERS + join + where, collection_id, alias)


def versions_of(
    store: Store, collection_id: int, first: int = 1_000_000, after: int = 0
) -> list[sqlite3.Row]:
    """The versions of a collection, newest first, from the `after`-th on."""
    where = "WHERE memberships.collection_id = ? ORDER BY version_index DESC LIMIT ? OFFSET ?"
    return store.rows(_MEMBERS + where, collection_id, first, after)


def member_of(store: Store, collection_id: int, artifact_id: int) -> sqlite3.Row | None:
    """An artifact's place in a collection, or None."""
    where = "WHERE memberships.collection_id = ? AND artifacts.id = ?"
    return store.row(_MEMBERS + where, collection_id, artifact_id)


def source_version(store: Store, artifact: sqlite3.Row) -> sqlite3.Row | None:
    """The artifact's place in its own sequence; None for a draft."""
    return member_of(store, artifact["sequence_id"], artifact["id"])


def memberships_of(store: Store, artifact_id: int) -> list[sqlite3.Row]:
    """Every place of an artifact: in its sequence, and in the portfolios that link it."""
    return store.rows(_MEMBERS + "WHERE artifacts.id = ? ORDER BY memberships.id", artifact_id)


def aliases_of(store: Store, membership_id: int) -> list[sqlite3.Row]:
    """The aliases of one version in one collection."""
    return store.rows("SELECT * FROM aliases WHERE membership_id = ? ORDER BY id", membership_id)


def entries_of(store: Store, artifact_id: int) -> list[sqlite3.Row]:
    """The files of an artifact, by path."""
    return store.rows("SELECT * FROM entries WHERE artifact_id = ? ORDER BY path", artifact_id)


def logged_by(store: Store, artifact: sqlite3.Row) -> sqlite3.Row | None:
    """The run that made an artifact; None if it was deleted."""
    return store.row("SELECT * FROM runs WHERE id = ?", artifact["created_by"])


def used_by(store: Store, artifact_id: int) -> list[sqlite3.Row]:
    """The runs that used an artifact."""
    query = """SELECT runs.* FROM runs JOIN uses ON uses.run_id = runs.id
        WHERE uses.artifact_id = ? ORDER BY runs.id"""
    return store.rows(query, artifact_id)


def inputs_of(store: Store, run_id: int) -> list[sqlite3.Row]:
    """The artifacts that a run used."""
    query = """SELECT artifacts.* FROM artifacts JOIN uses ON uses.artifact_id = artifacts.id
        WHERE uses.run_id = ? AND state = 'COMMITTED' ORDER BY artifacts.id"""
    return store.rows(query, run_id)


def outputs_of(store: Store, run_id: int) -> list[sqlite3.Row]:
    """The artifacts that a run made."""
    query = "SELECT * FROM artifacts WHERE created_by = ? AND state = 'COMMITTED' ORDER BY id"
    return store.rows(query, run_id)


def create_artifact(
    store: Store,
    *,
    entity: str | None,
    project: str,
    run: str | None,
    type_: str,
    name: str,
    digest: str,
    aliases: Iterable[str] = (),
    tags: Iterable[str] = (),
    metadata: str | None = None,
    description: str | None = None,
    client_id: str | None = None,
    history_step: int | None = None,
    ttl_seconds: int | None = None,
    deduplicate: bool = True,
) -> sqlite3.Row:
    """A draft; or the version that has the same digest already, which then gets the aliases."""
    aliases = [checked_alias(alias) for alias in aliases]
    with store.write() as db:
        parent = make_project(store, entity, project)
        maker = run_of(store, parent["id"], run) if run else None
        if run and not maker:
            raise NotFoundError(f"There is no run {run} in project {project}.")
        sequence = _collection(store, parent["id"], "SEQUENCE", name, type_)
        if sent_before := artifact_with_client_id(store, client_id):
            return sent_before  # the answer to an earlier request was lost
        same = store.row(
            """SELECT * FROM artifacts WHERE sequence_id = ? AND digest = ? AND state = 'COMMITTED'
                ORDER BY id DESC""",
            sequence["id"],
            digest,
        )
        if same and deduplicate:
            _set_aliases(store, source_version(store, same), [LATEST, *aliases])
            if client_id:
                db.execute(
                    "UPDATE artifacts SET client_id = ? WHERE id = ?", (client_id, same["id"])
                )
            return same
        time = now()
        made = db.execute(
            """INSERT INTO artifacts (sequence_id, digest, description, metadata, tags,
                wanted_aliases, client_id, created_by, history_step, ttl_seconds, created_at,
                updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                sequence["id"],
                digest,
                description,
                metadata or "{}",
                json.dumps(list(dict.fromkeys(tags))),
                json.dumps(aliases),
                client_id,
                maker["id"] if maker else None,
                history_step,
                ttl_seconds,
                time,
                time,
            ),
        )
        return artifact_by_id(store, made.lastrowid)


def announce_files(store: Store, artifact_id: int, files: Iterable[tuple[str, str]]) -> None:
    """Notes (path, MD5 in hex) of a draft's future files, so that none of them is freed."""
    with store.write() as db:
        _checked_draft(store, artifact_id)
        db.executemany(
            "INSERT OR REPLACE INTO entries (artifact_id, path, digest) VALUES (?, ?, ?)",
            ((artifact_id, path, digest) for path, digest in files),
        )


def announce_manifest(store: Store, artifact_id: int, md5: str) -> None:
    """Notes the digest that the manifest will have; an empty one says that it comes later."""
    with store.write() as db:
        _checked_draft(store, artifact_id)
        if md5:
            db.execute(
                "UPDATE artifacts SET manifest_md5 = ? WHERE id = ?", (hex_digest(md5), artifact_id)
            )


def commit_artifact(store: Store, artifact_id: int) -> sqlite3.Row:
    """Makes a draft the newest version. Raises RequestError if anything of it is missing."""
    with store.write() as db:
        artifact = artifact_by_id(store, artifact_id)
        if artifact["state"] == "COMMITTED":
            return artifact  # the answer to an earlier request was lost
        if not artifact["manifest_digest"]:
            raise RequestError("The artifact's manifest has not been uploaded.")
        manifest = store.blob_path(artifact["manifest_digest"]).read_bytes()
        entries = read_manifest(manifest, artifact["digest"])
        size = 0
        for path, digest, reference, entry_size in entries:
            if reference is None:
                stored = store.value("SELECT size FROM blobs WHERE digest = ?", digest)
                if stored is None or stored != entry_size:
                    raise RequestError(f"The file {path!r} has not been uploaded completely.")
            size += entry_size
        db.execute("DELETE FROM entries WHERE artifact_id = ?", (artifact_id,))
        db.executemany(
            """INSERT INTO entries (artifact_id, path, digest, reference, size)
                VALUES (?, ?, ?, ?, ?)""",
            ((artifact_id, *entry) for entry in entries),
        )
        db.execute(
            """UPDATE artifacts SET state = 'COMMITTED', size = ?, file_count = ?, updated_at = ?
                WHERE id = ?""",
            (size, len(entries), now(), artifact_id),
        )
        member = _join(store, artifact["sequence_id"], artifact_id)
        _set_aliases(store, member, [LATEST, *json.loads(artifact["wanted_aliases"])])
    return artifact_by_id(store, artifact_id)


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


def update_artifact(
    store: Store,
    artifact_id: int,
    *,
    description: str | None = None,
    metadata: str | None = None,
    aliases: Iterable[str] | None = None,
    ttl_seconds: int | None = None,
    tags_to_add: Iterable[str] = (),
    tags_to_delete: Iterable[str] = (),
) -> sqlite3.Row:
    """Changes what is given; `aliases` are all that the version then has in its own sequence."""
    with store.write() as db:
        artifact = artifact_by_id(store, artifact_id)
        kept = [tag for tag in json.loads(artifact["tags"]) if tag not in set(tags_to_delete)]
        changes: dict[str, Any] = {
            "tags": json.dumps(list(dict.fromkeys([*kept, *tags_to_add]))),
            "updated_at": now(),
        }
        given = {"description": description, "metadata": metadata, "ttl_seconds": ttl_seconds}
        changes |= {column: value for column, value in given.items() if value is not None}
        store.update("artifacts", artifact_id, changes)
        if aliases is not None and (member := source_version(store, artifact)):
            db.execute("DELETE FROM aliases WHERE membership_id = ?", (member["membership_id"],))
            _set_aliases(store, member, aliases)
    return artifact_by_id(store, artifact_id)


def change_alias(
    store: Store, artifact_id: int, collection: sqlite3.Row | None, alias: str, add: bool
) -> None:
    """Adds or removes the alias that a version has in a collection."""
    member = collection and member_of(store, collection["id"], artifact_id)
    if not member:
        raise NotFoundError("The artifact is not a version of that collection.")
    with store.write() as db:
        if add:
            _set_aliases(store, member, [alias])
        else:
            db.execute(
                "DELETE FROM aliases WHERE membership_id = ? AND alias = ?",
                (member["membership_id"], alias),
            )


def link_artifact(
    store: Store, artifact: sqlite3.Row, project: sqlite3.Row, name: str, aliases: Iterable[str]
) -> sqlite3.Row:
    """Puts a version into a portfolio, which is made if it is new; returns its place there."""
    if artifact["state"] != "COMMITTED":
        raise RequestError("Only a complete artifact can be linked; wait for it first.")
    with store.write():
        type_ = sequence_of(store, artifact["id"])["type"]
        portfolio = _collection(store, project["id"], "PORTFOLIO", name, type_)
        member = member_of(store, portfolio["id"], artifact["id"])
        member = member or _join(store, portfolio["id"], artifact["id"])
        _set_aliases(store, member, [LATEST, *aliases])
    return member


def unlink_artifact(store: Store, artifact_id: int, collection_id: int) -> None:
    """Takes a version out of a portfolio."""
    with store.write() as db:
        if collection_by_id(store, collection_id)["kind"] != "PORTFOLIO":
            raise RequestError("A version cannot leave its own sequence; delete it instead.")
        db.execute(
            "DELETE FROM memberships WHERE collection_id = ? AND artifact_id = ?",
            (collection_id, artifact_id),
        )


def use_artifact(store: Store, run: sqlite3.Row, artifact_id: int, used_as: str | None) -> None:
    """Notes that a run used an artifact: one edge of the lineage."""
    with store.write() as db:
        artifact_by_id(store, artifact_id)
        db.execute(
            "INSERT OR REPLACE INTO uses VALUES (?, ?, ?)", (run["id"], artifact_id, used_as)
        )


def delete_artifact(store: Store, artifact_id: int, with_aliases: bool) -> None:
    """Deletes a version and its links, and frees the blobs that nothing else refers to.

    The version's number is not given again. Raises RequestError if it has an alias, unless
    `with_aliases`.
    """
    with store.write() as db:
        artifact_by_id(store, artifact_id)
        query = """SELECT alias FROM aliases JOIN memberships ON memberships.id = membership_id
            WHERE artifact_id = ?"""
        aliases = [row["alias"] for row in store.rows(query, artifact_id)]
        if aliases and not with_aliases:
            raise RequestError(
                f"The artifact has the alias {aliases[0]!r}; remove it, or delete aliases too."
            )
        db.execute("DELETE FROM artifacts WHERE id = ?", (artifact_id,))
    store.free_unused_blobs()


def delete_collection(store: Store, collection_id: int) -> None:
    """Deletes a collection: a sequence with all its versions, or a portfolio with its links."""
    with store.write() as db:
        collection_by_id(store, collection_id)
        db.execute("DELETE FROM collections WHERE id = ?", (collection_id,))
    store.free_unused_blobs()


def hex_digest(md5: object) -> str:
    """The MD5 that the SDK writes in base64, in hex. Raises RequestError for another text."""
    try:
        raw = b64decode(md5, validate=True) if isinstance(md5, str) else b""
    except (Base64Error, ValueError):
        raw = b""
    if len(raw) != 16:
        raise RequestError(f"{str(md5)[:80]!r} is not an MD5 digest in base64.")
    return raw.hex()


def _check_reference(path: str, reference: str) -> None:
    """A reference must be a URL; one to another artifact must stay inside that artifact."""
    url = urlsplit(reference)
    if not url.scheme:
        raise RequestError(f"The reference of {path!r} is not a URL.")
    if url.scheme in ("wandb-artifact", "wandb-client-artifact"):
        checked_path(url.path.lstrip("/"))


def _checked_draft(store: Store, artifact_id: int) -> None:
    if artifact_by_id(store, artifact_id)["state"] != "PENDING":
        raise RequestError("The artifact is a version already; its files cannot change.")


def _collection(store: Store, project_id: int, kind: str, name: str, type_: str) -> sqlite3.Row:
    """The SEQUENCE or PORTFOLIO with this name, which is made if it is new."""
    checked_name(type_, "An artifact's type")
    checked_name(name, "An artifact's name")
    time = now()
    with store.write() as db:
        db.execute(
            """INSERT OR IGNORE INTO collections
                (project_id, kind, type, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)""",
            (project_id, kind, type_, name, time, time),
        )
    found = collection_of(store, project_id, name)
    if found["kind"] != kind or found["type"] != type_:
        raise RequestError(
            f"{name} already exists as a {found['kind'].lower()} of type {found['type']}; "
            f"give the {kind.lower()} of type {type_} another name."
        )
    return found


def _join(store: Store, collection_id: int, artifact_id: int) -> sqlite3.Row:
    """Gives an artifact the next version number of a collection."""
    with store.write() as db:
        index = collection_by_id(store, collection_id)["next_version"]
        time = now()
        db.execute(
            "UPDATE collections SET next_version = ?, updated_at = ? WHERE id = ?",
            (index + 1, time, collection_id),
        )
        db.execute(
            """INSERT INTO memberships (collection_id, artifact_id, version_index, created_at)
                VALUES (?, ?, ?, ?)""",
            (collection_id, artifact_id, index, time),
        )
    return version_of(store, collection_id, f"v{index}")


def _set_aliases(store: Store, member: sqlite3.Row, aliases: Iterable[Any]) -> None:
    """Gives a version aliases; another version of the collection that had one loses it."""
    with store.write() as db:
        for alias in dict.fromkeys(checked_alias(alias) for alias in aliases):
            db.execute(
                """INSERT INTO aliases (membership_id, collection_id, alias) VALUES (?, ?, ?)
                    ON CONFLICT (collection_id, alias) DO UPDATE
                    SET membership_id = excluded.membership_id""",
                (member["membership_id"], member["collection_id"], alias),
            )
