"""One folder holds everything: a SQLite database in WAL mode and blobs named by their content.

Several servers may share the folder (two notebooks at once), since all state is in it: SQLite's
write lock is the only lock, blobs appear by rename, and what is acknowledged is on the disk."""

import hashlib
import os
import queue
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from lab_tracker.errors import RequestError, TrackingError
from lab_tracker.limits import MIN_FREE_BYTES

SCHEMA_VERSION = 1
STALE_SECONDS = 86_400  # an upload or a draft that nobody has touched for a day is given up
BUSY_SECONDS = 20
_HASHED_AT_ONCE = 2**20


def now() -> str:
    """The time as the SDK reads it: ISO 8601, UTC, with microseconds so that it sorts."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """The database and the blobs below `folder`; made where it is missing.

    Used from one thread at a time. Raises TrackingError where the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        try:
            for name in ("blobs", "uploads"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self.key = _lasting_secret(self.folder / "key")
            self._db = _open_database(self.folder / "tracking.sqlite")
        except (OSError, sqlite3.Error) as error:
            raise TrackingError(
                f"The tracker cannot use {self.folder} ({error}); "
                "give it a folder that can be written, or free disk space."
            ) from None
        self._sweep()
        self._hasher = _Hasher()

    def close(self) -> None:
        self._hasher.stop()
        self._db.close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._db.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        return self._db.execute(query, values).fetchone()

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row; None where there is no row."""
        row = self.row(query, *values)
        return row[0] if row else None

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

    def receive(self, limit: int) -> "Upload":
        """A new blob of at most `limit` bytes that are on their way."""
        return Upload(self, self._hasher, limit)

    def free_unused_blobs(self) -> int:
        """Deletes the blobs that nothing refers to any more; returns how many. Not called inside a
        transaction: files go only after what referred to them is gone for good."""
        assert not self._db.in_transaction
        unused = """SELECT digest FROM blobs WHERE
            NOT EXISTS (SELECT 1 FROM entries WHERE entries.digest = blobs.digest)
            AND NOT EXISTS (SELECT 1 FROM run_files WHERE run_files.digest = blobs.digest)
            AND NOT EXISTS (SELECT 1 FROM artifacts WHERE manifest_digest = blobs.digest)"""
        with self.write() as db:
            freed = [row["digest"] for row in db.execute(unused)]
            db.executemany("DELETE FROM blobs WHERE digest = ?", ((digest,) for digest in freed))
        # A second transaction, since the first must be on the disk before a file goes; under the
        # lock, since an upload of the same bytes may have put one of them back.
        with self.write():
            for digest in freed:
                if not self.has_blob(digest):
                    self.blob_path(digest).unlink(missing_ok=True)
        return len(freed)

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
    """Bytes on their way into the store: written aside, and visible only when whole."""

    def __init__(self, store: Store, hasher: "_Hasher", limit: int) -> None:
        self._store = store
        self._hasher = hasher
        self._limit = limit
        self._path = store.folder / "uploads" / secrets.token_hex(16)
        self._file = self._path.open("wb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._waiting: list[bytes] = []
        self._waiting_size = self._size = self._checked_free = 0
        self._digest: str | None = None

    def write(self, chunk: bytes) -> None:
        """Adds bytes. Raises RequestError over the limit or when the disk is about to be full."""
        self._waiting.append(chunk)
        self._waiting_size += len(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            raise RequestError(f"The upload has more than {self._limit} bytes.", status=413)
        if self._size >= self._checked_free:
            step = MIN_FREE_BYTES // 4
            if shutil.disk_usage(self._store.folder).free < MIN_FREE_BYTES + step:
                raise RequestError("The tracker's disk is full; free space and run again.", 413)
            self._checked_free = self._size + step
        if self._waiting_size >= _HASHED_AT_ONCE:
            self._pass_on()

    def finish(self) -> str:
        """Puts the bytes on the disk, still aside; returns their MD5 in hex."""
        self._pass_on()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._hasher.catch_up()
        self._digest = self._md5.hexdigest()
        return self._digest

    @contextmanager
    def keep(self) -> Iterator[sqlite3.Connection]:
        """Makes the blob part of the store, in one transaction with what the body then records."""
        digest = self._digest or self.finish()
        self._file.close()
        target = self._store.blob_path(digest)
        target.parent.mkdir(exist_ok=True)
        with self._store.write() as db:
            os.replace(self._path, target)
            _sync_folder(target.parent)
            db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (digest, self._size))
            yield db

    def drop(self) -> None:
        """Forgets the bytes, unless they were kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _pass_on(self) -> None:
        self._hasher.update(self._md5, self._waiting)
        for chunk in self._waiting:
            self._file.write(chunk)
        self._waiting, self._waiting_size = [], 0


class _Hasher:
    """A thread that hashes beside the writing, which makes a large upload a third faster."""

    def __init__(self) -> None:
        # Bounded: bytes that wait to be hashed are in memory.
        self._work: queue.Queue[tuple[Any, list[bytes]] | threading.Event | None] = queue.Queue(16)
        threading.Thread(target=self._run, name="tracker-hasher", daemon=True).start()

    def update(self, md5: Any, chunks: list[bytes]) -> None:
        self._work.put((md5, chunks))

    def catch_up(self) -> None:
        """Waits until all is hashed."""
        done = threading.Event()
        self._work.put(done)
        done.wait()

    def stop(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while work := self._work.get():
            if isinstance(work, threading.Event):
                work.set()
                continue
            md5, chunks = work
            for chunk in chunks:
                md5.update(chunk)


def _open_database(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("BEGIN IMMEDIATE")  # two servers may start at once
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in _statements():
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
    if version not in (0, SCHEMA_VERSION):
        db.close()
        raise TrackingError(
            f"{path} is of another version of the lab; give the tracker a new folder."
        )
    return db


def _statements() -> list[str]:
    text = resources.files("lab_tracker").joinpath("schema.sql").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


def _lasting_secret(path: Path) -> str:
    """The folder's key, made once; 40 characters, as the SDK wants. Readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_secret(path)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(20))
    return path.read_text()


def _read_secret(path: Path) -> str:
    for _ in range(100):  # another server may be writing it just now
        if len(key := path.read_text()) == 40:
            return key
        time.sleep(0.01)
    raise TrackingError(f"{path} is damaged; delete it, and start the tracker again.")


def _sync_folder(folder: Path) -> None:
    """Puts a rename on the disk, where the system can (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
