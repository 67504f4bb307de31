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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from lab_tracker.errors import NotFoundError, RequestError, TrackingError
from lab_tracker.limits import MIN_FREE_BYTES, spend
from lab_tracker.signing import Signer

STALE_SECONDS = 86_400  # an upload or a draft that nobody has touched for a day is given up
BUSY_SECONDS = 20

Row = sqlite3.Row


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
        self.key: str = self.get("keys", 1)["key"]
        self.signer = Signer(self.key)
        self._sweep()

    def close(self) -> None:
        self._db.close()

    def rows(self, query: str, *values: Any) -> list[Row]:
        """All rows of a query."""
        cursor = self._db.execute(query, values)
        found: list[Row] = []
        while some := cursor.fetchmany(1000):
            spend(len(some))
            found += some
        return found

    def all(self, table: str, order: str = "id", most: int = -1, **values: Any) -> list[Row]:
        """The rows of a table or view that have these values, by a column; at most `most`."""
        query = f"SELECT * FROM {table} WHERE {_equal(values)} ORDER BY {order} LIMIT ?"
        return self.rows(query, *values.values(), most)

    def find(self, table: str, **values: Any) -> Row | None:
        """The row of a table or view that has these values, or None."""
        return next(iter(self.all(table, "1", 1, **values)), None)

    def get(self, table: str, number: int) -> Row:
        """The row with this id. Raises NotFoundError."""
        if found := self.find(table, id=number):
            return found
        raise NotFoundError(f"The {table.removesuffix('s')} does not exist; was it deleted?")

    def insert(self, table: str, **values: Any) -> Row:
        """Adds a row and returns it; part of a transaction."""
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING *"
        return self._db.execute(query, tuple(values.values())).fetchall()[0]

    def update(self, table: str, number: int, **changes: Any) -> Row:
        """Sets columns of one row and returns it; part of a transaction."""
        columns = ", ".join(f"{column} = ?" for column in changes)
        query = f"UPDATE {table} SET {columns} WHERE id = ? RETURNING *"
        return self._db.execute(query, (*changes.values(), number)).fetchall()[0]

    def delete(self, table: str, **values: Any) -> None:
        """Deletes the rows with these values and what belongs to them; part of a transaction."""
        self._db.execute(f"DELETE FROM {table} WHERE {_equal(values)}", tuple(values.values()))

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
        return self.find("blobs", digest=digest) is not None

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
        with self.write() as db:
            drafts = "DELETE FROM artifacts WHERE state = 'PENDING' AND updated_at < ?"
            db.execute(drafts, (oldest,))
        self.free_unused_blobs()
        with self.write():  # a server that died between a rename and its commit
            known = {row["digest"] for row in self.all("blobs", "digest")}
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
        self.digest = ""  # the MD5 in hex, once the upload is finished

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

    def finish(self) -> None:
        """Puts the bytes on the disk, still aside."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.digest = self._md5.hexdigest()

    @contextmanager
    def keep(self) -> Iterator[sqlite3.Connection]:
        """Makes the blob part of the store, in one transaction with what the body then records."""
        target = self._store.blob_path(self.digest)
        target.parent.mkdir(exist_ok=True)
        with self._store.write() as db:
            os.replace(self._path, target)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # puts the rename on the disk
            finally:
                os.close(folder)
            db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (self.digest, self._size))
            yield db

    def drop(self) -> None:
        """Forgets the bytes, unless they were kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _equal(values: Iterable[str]) -> str:
    """The SQL condition that columns have given values."""
    return " AND ".join(f"{column} = ?" for column in values) or "1"


def _open_database(path: Path) -> sqlite3.Connection:
    """The database, which is made if it is missing, with the folder's key: 40 characters, as the
    SDK wants. Only its owner can read it."""
    path.touch(mode=0o600)
    path.chmod(0o600)  # also a copy that others could read
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory = Row
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        db.execute(f"PRAGMA {setting}")
    db.execute("BEGIN IMMEDIATE")  # two servers may start at once
    if db.execute("PRAGMA user_version").fetchone()[0] > 1:  # the schema sets it
        db.close()
        raise TrackingError(f"A newer version of the tracker wrote {path}; give it a new folder.")
    schema = resources.files("lab_tracker").joinpath("schema.sql").read_text("utf-8")
    for statement in re.sub("--.*", "", schema).split(";"):
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO keys VALUES (1, ?)", (secrets.token_hex(20),))
    db.execute("COMMIT")
    return db
