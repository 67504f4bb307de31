"""One folder holds everything: a SQLite database in WAL mode and blobs named by their content.

Several servers may share the folder (two notebooks at once), since all state is in it: SQLite's
write lock is the only lock, blobs appear by rename, and what is acknowledged is on the disk."""

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from lab_tracker.errors import NotFoundError, RequestError, TrackingError
from lab_tracker.limits import MIN_FREE_BYTES, spend

SCHEMA_VERSION = 1
STALE_SECONDS = 86_400  # an upload or a draft that nobody has touched for a day is given up
BUSY_SECONDS = 20


def now() -> str:
    """The time as the SDK reads it: ISO 8601, UTC, with microseconds so that it sorts."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """The database and the blobs below `folder`, which is made if it is missing.

    Used from one thread at a time. Every row that is read is spent.
    Raises TrackingError if the folder can't be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        try:
            for name in ("blobs", "uploads"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._db = _open_database(self.folder / "tracking.sqlite")
        except (OSError, sqlite3.Error) as error:
            raise TrackingError(
                f"The tracker cannot use {self.folder} ({error}); "
                "give it a folder that can be written, or free disk space."
            ) from None
        self.key: str = self.value("SELECT key FROM keys")
        self._sweep()

    def close(self) -> None:
        self._db.close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        cursor = self._db.execute(query, values)
        found: list[sqlite3.Row] = []
        while some := cursor.fetchmany(1000):
            spend(len(some))
            found += some
        return found

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        spend(1)
        return self._db.execute(query, values).fetchone()

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        row = self.row(query, *values)
        return row[0] if row else None

    def find(self, table: str, **values: Any) -> sqlite3.Row | None:
        """The row of a table that has these values, or None."""
        where = " AND ".join(f"{column} = ?" for column in values)
        return self.row(f"SELECT * FROM {table} WHERE {where}", *values.values())

    def all(self, table: str, order: str = "id", **values: Any) -> list[sqlite3.Row]:
        """The rows of a table or view that have these values, by a column."""
        where = " AND ".join(f"{column} = ?" for column in values) or "1"
        return self.rows(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", *values.values())

    def get(self, table: str, number: int) -> sqlite3.Row:
        """The row with this id. Raises NotFoundError."""
        if found := self.find(table, id=number):
            return found
        raise NotFoundError(f"The {table.removesuffix('s')} does not exist; was it deleted?")

    def insert(self, table: str, **values: Any) -> sqlite3.Row:
        """Adds a row and returns it; part of a transaction."""
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
        return self.get(table, self._db.execute(query, tuple(values.values())).lastrowid)

    def update(self, table: str, number: int, **changes: Any) -> None:
        """Sets columns of one row; part of a transaction."""
        columns = ", ".join(f"{column} = ?" for column in changes)
        self._db.execute(f"UPDATE {table} SET {columns} WHERE id = ?", (*changes.values(), number))

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from the start: all of it happens, or nothing."""
        if self._db.in_transaction:  # part of a larger one
            yield self._db
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def blob_path(self, digest: str) -> Path:
        """Where the blob with this MD5 (hex) lies, or would lie."""
        return self.folder / "blobs" / digest[:2] / digest

    def has_blob(self, digest: str) -> bool:
        return self.row("SELECT 1 FROM blobs WHERE digest = ?", digest) is not None

    def free_unused_blobs(self) -> None:
        """Deletes the blobs that nothing refers to any more. Not called inside a transaction: a
        file is deleted only after what referred to it is gone for good."""
        assert not self._db.in_transaction
        unused = """DELETE FROM blobs WHERE
            NOT EXISTS (SELECT 1 FROM entries WHERE entries.digest = blobs.digest)
            AND NOT EXISTS (SELECT 1 FROM run_files WHERE run_files.digest = blobs.digest)
            AND NOT EXISTS (SELECT 1 FROM artifacts WHERE manifest_digest = blobs.digest)
            RETURNING digest"""
        with self.write() as db:
            freed = [row["digest"] for row in db.execute(unused).fetchall()]
        # A second transaction, since the first must be on the disk before a file goes; under the
        # lock, since an upload of the same bytes may have put one of them back.
        with self.write():
            for digest in freed:
                if not self.has_blob(digest):
                    self.blob_path(digest).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Forgets what killed servers and runs have left half done."""
        limit = time.time() - STALE_SECONDS
        for path in (self.folder / "uploads").iterdir():
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
        oldest = datetime.fromtimestamp(limit, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        draft = "state = 'PENDING' AND updated_at < ?"
        if self.row(f"SELECT 1 FROM artifacts WHERE {draft}", oldest):
            with self.write() as db:
                db.execute(f"DELETE FROM artifacts WHERE {draft}", (oldest,))
            self.free_unused_blobs()
        with self.write() as db:  # a server that died between a rename and its commit
            known = {row["digest"] for row in db.execute("SELECT digest FROM blobs")}
            for path in (self.folder / "blobs").glob("??/*"):
                if path.name not in known:
                    path.unlink(missing_ok=True)


class Upload:
    """Bytes on their way into the store: written aside, and visible only when they are complete."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._path = store.folder / "uploads" / secrets.token_hex(16)
        self._file = self._path.open("wb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = self._checked_free = 0
        self.digest = ""
        """The MD5 in hex, once the upload is finished."""

    def write(self, chunk: bytes) -> None:
        """Adds bytes. Raises RequestError over the limit or when the disk is about to be full."""
        self._size += len(chunk)
        if self._size > self._limit:
            raise RequestError(f"The upload has more than {self._limit} bytes.", status=413)
        if self._size >= self._checked_free:
            step = MIN_FREE_BYTES // 4
            if shutil.disk_usage(self._store.folder).free < MIN_FREE_BYTES + step:
                raise RequestError("The tracker's disk is full; free space and run again.", 413)
            self._checked_free = self._size + step
        self._file.write(chunk)
        self._md5.update(chunk)

    def finish(self) -> str:
        """Puts the bytes on the disk, still aside; returns their MD5 in hex."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.digest = self._md5.hexdigest()
        return self.digest

    @contextmanager
    def keep(self) -> Iterator[sqlite3.Connection]:
        """Makes the blob part of the store, in one transaction with what the body then records."""
        target = self._store.blob_path(self.digest or self.finish())
        target.parent.mkdir(exist_ok=True)
        with self._store.write() as db:
            os.replace(self._path, target)
            _sync_folder(target.parent)
            db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (self.digest, self._size))
            yield db

    def drop(self) -> None:
        """Forgets the bytes, unless they were kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _open_database(path: Path) -> sqlite3.Connection:
    """The database, which is made if it is missing, with the folder's key: 40 characters, as the
    SDK wants. Only its owner can read it."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        db.execute(f"PRAGMA {setting}")
    db.execute("BEGIN IMMEDIATE")  # two servers may start at once
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        db.close()
        raise TrackingError(
            f"{path} was written by another version of the tracker; give it a new folder."
        )
    schema = resources.files("lab_tracker").joinpath("schema.sql").read_text("utf-8")
    for statement in re.sub("--.*", "", schema).split(";"):
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO keys VALUES (1, ?)", (secrets.token_hex(20),))
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
    return db


def _sync_folder(folder: Path) -> None:
    """Puts a rename on the disk, if the system can (Windows can't)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
