"""Checks of notebook 02: a promotion, a walk back, a rule, a download, a walk forward, what may go.

Only the promotion asks a server, the tracker. For the rest, a made-up history answers as the API's
artifacts and runs would.
"""

import atexit
import hashlib
import itertools
import math
import os
import random
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import wandb

import lab_tracker
from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_raises,
    expect_result,
    expect_type,
    fail,
    saying,
)

go_on = partial(checking.go_on, "staging_with_wandb")


@dataclass(frozen=True)
class _RunRecord:
    job_type: str
    used: list[str]
    logged: list[str]


@dataclass
class History:
    """What a tracker remembers: artifacts by name, and runs that used and logged them."""

    types: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, _RunRecord] = field(default_factory=dict)

    def add(self, name: str, type: str, *aliases: str) -> None:
        """An artifact without a record of which run logged it."""
        self.types[name], self.aliases[name] = type, list(aliases)

    def run(self, id: str, job_type: str, uses: Iterable[str], logs: dict[str, str]) -> None:
        """A run, and the artifacts (name: type) that it logged."""
        for name, type in logs.items():
            self.add(name, type)
        self.runs[id] = _RunRecord(job_type, list(uses), list(logs))

    def __getitem__(self, name: str) -> "Artifact":
        return Artifact(self, name)


class Artifact:
    """Has what `wandb.Artifact` has for a walk; every answer is made of new objects."""

    entity = source_entity = "student"
    project = source_project = "lab"
    state, description, tags = "COMMITTED", None, ()

    def __init__(self, history: History, name: str) -> None:
        self._history = history
        self.name = self.source_name = name
        self.collection_name, _, self.version = name.rpartition(":")
        self.source_version = self.version
        self.qualified_name = self.source_qualified_name = f"{self.entity}/{self.project}/{name}"
        self.id = hashlib.md5(name.encode()).hexdigest()
        self.digest = hashlib.md5(b"content of " + name.encode()).hexdigest()
        self.type = history.types[name]
        self.aliases = list(history.aliases[name])
        self.metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<artifact {self.name}>"

    def logged_by(self) -> "Run | None":
        runs = self._history.runs
        return next(
            (Run(self._history, i) for i, run in runs.items() if self.name in run.logged), None
        )

    def used_by(self) -> "list[Run]":
        runs = self._history.runs
        return [Run(self._history, i) for i, run in runs.items() if self.name in run.used]


class Run:
    """Has what a run of `wandb.Api` has for a walk."""

    entity, project, state = "student", "lab", "finished"

    def __init__(self, history: History, id: str) -> None:
        self._history, self._record = history, history.runs[id]
        self.id = self.name = self.display_name = id
        self.path = [self.entity, self.project, id]
        self.job_type = self._record.job_type
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<run {self.id}, job_type {self.job_type}>"

    def used_artifacts(self, per_page: int = 100) -> list[Artifact]:
        return [self._history[name] for name in self._record.used]

    def logged_artifacts(self, per_page: int = 100) -> list[Artifact]:
        return [self._history[name] for name in self._record.logged]


@cache
def _own_folder(process: int) -> Path:
    """The folder of a tracker that is started for the checks of a process."""
    folder = Path(tempfile.mkdtemp(prefix="lab-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _open_run() -> Iterator[wandb.Run]:
    """A run at the tracker that is connected, else at one that is started for checks."""
    with mock.patch.dict(os.environ):
        if not (os.environ.get("WANDB_BASE_URL") or os.environ.get("WANDB_API_KEY")):
            lab_tracker.connect(_own_folder(os.getpid()))
        settings = wandb.Settings(silent=True, console="off")
        with (
            tempfile.TemporaryDirectory() as folder,
            wandb.init(
                project="lab-exercises", dir=folder, settings=settings, reinit="create_new"
            ) as run,
        ):
            yield run


@check
def promote(function: Answer) -> str:
    """Two versions are in the tracker, and the alias is at the second."""
    function.uses_a_tool()
    alias = f"chosen-{secrets.token_hex(4)}"
    with _open_run() as run, tempfile.TemporaryDirectory() as folder:
        full = f"{run.entity}/{run.project}/my-reader"
        versions = []
        for name, score in (("first.pt", 0.25), ("second.pt", 0.125)):
            path = Path(folder, name)
            path.write_bytes(secrets.token_bytes(64))
            result = attempt(function, run, path, score, alias)
            expect_type(result, wandb.Artifact, "promote")
            versions.append(_expect_version(full, alias, path, score, result))
        first = wandb.Api().artifact(f"{full}:{versions[0]}")
        expect(
            versions[0] != versions[1] and alias not in first.aliases,
            f"the alias is still at {versions[0]}; it should have moved to the second version.",
        )
        expect(
            first.logged_by().id == run.id,
            "the artifact was not logged with the run that promote was given.",
        )
    return "two versions were logged, and the alias moved to the second."


def _expect_version(full: str, alias: str, path: Path, score: float, result: Any) -> str:
    """Looks the alias up in the tracker; returns the version that it is at."""
    try:
        found = wandb.Api().artifact(f"{full}:{alias}")
    except (wandb.errors.CommError, ValueError):
        fail(f"the tracker has no version of my-reader with the alias {alias!r}.")
    expect(
        list(found.manifest.entries) == [path.name],
        f"the version with the alias holds {list(found.manifest.entries)}, not {path.name!r}: "
        "is it the one that was just logged?",
    )
    expect(found.type == "model", f'the artifact has the type {found.type!r}, not "model".')
    expect(
        found.metadata.get("score") == score,
        f'the metadata is {found.metadata}: keep the score {score} there, as "score".',
    )
    expect("latest" in found.aliases, f"the new version is not the latest: {found.aliases}.")
    expect(
        result.version == found.version and alias in result.aliases,
        f"promote returned {result.name}, but the alias is at {found.version}: return what "
        "wandb.Api finds by the alias.",
    )
    return found.version


@check
def training_run(function: Answer) -> str:
    """The nearest training behind a model, over steps between, past data sets, or LookupError."""
    history = History()
    history.add("pages:v0", "dataset")
    history.add("gift:v0", "prod-ready")
    history.add("upload:v0", "model")
    for id, job_type, used, logged, type in (
        ("t1", "train", ["pages:v0"], "reader:v0", "model"),
        ("t2", "train", ["pages:v0"], "reader:v1", "model"),
        ("s1", "stage", ["reader:v1"], "staged:v0", "prod-ready"),
        ("t3", "train", [], "made-pages:v0", "dataset"),
        ("s2", "stage", ["made-pages:v0", "reader:v0"], "staged:v1", "prod-ready"),
        ("s7", "stage", ["reader:v0", "made-pages:v0"], "staged:v6", "prod-ready"),
        ("q1", "quantize", ["reader:v1"], "reader-int8:v0", "model"),
        ("s3", "stage", ["reader-int8:v0"], "staged:v2", "prod-ready"),
        ("f1", "train", ["reader:v0"], "reader:v2", "model"),
        ("s4", "stage", ["reader:v2"], "staged:v3", "prod-ready"),
        ("q2", "shrink-trained", ["staged:v0"], "small:v0", "prod-ready"),
        ("s5", "stage", ["pages:v0"], "staged:v4", "prod-ready"),
        ("s6", "stage", ["upload:v0"], "staged:v5", "prod-ready"),
    ):
        history.run(id, job_type, used, {logged: type})
    for name, wanted, why in (
        ("staged:v0", "t2", "its staging run used reader:v1, and t2 logged that"),
        ("reader:v0", "t1", "a training run logged this one itself: stop there"),
        ("staged:v1", "t1", "its staging run used a data set as well: look at the types"),
        ("staged:v6", "t1", "its staging run used a data set as well, after the model"),
        ("staged:v2", "t2", "go on until a run's job_type is train; this one was made smaller"),
        ("staged:v3", "f1", "f1 went on training reader:v0: stop at the first training run"),
        ("small:v0", "t2", "weights come from anything that is not a data set, whatever its type"),
    ):
        with saying(f"from {name}"):
            result = expect_type(attempt(function, history[name]), Run, "training_run")
            expect(result.id == wanted, f"training_run returned {result}, not {wanted}: {why}.")
    for name, why in {
        "gift:v0": "nobody knows who logged it, so logged_by() returns None",
        "staged:v4": "its staging run used no model",
        "staged:v5": "nobody knows who logged its checkpoint, so logged_by() returns None",
    }.items():
        error = expect_raises(function, LookupError, history[name], when=f"from {name}", why=why)
        expect(
            not isinstance(error, IndexError) and bool(str(error)),
            f"from {name}, the error says {str(error)!r}: raise LookupError with a sentence.",
        )
    return "every model leads to its training, or to a LookupError."


@check
def may_replace(function: Answer) -> str:
    """Lower is better; equal, unknown or measured elsewhere is no reason to change."""

    def metadata(score: float | None, lines: str = "a1") -> dict[str, Any]:
        return {"score": score, "data": {"validation_sha256": lines, "pages": next(pages)}}

    pages = itertools.count(3)  # they were trained on different pages
    missing = {"data": {"validation_sha256": "a1", "pages": 2}}
    better, worse, perfect, empty, nan = map(metadata, (0.05, 0.09, 0, None, math.nan))
    other, infinite = metadata(0.05, "b2"), metadata(math.inf)
    first = "the row about production without a score comes before the one about the lines"
    for candidate, production, wanted, why in (
        (better, worse, True, "lower is better"),
        (worse, better, False, "lower is better"),
        (better, None, True, "nothing is in production yet, so there is nothing to be worse than"),
        (better, better, False, "both have the same score: the change gains nothing"),
        (perfect, better, True, "a CER of 0 is a score, the best there is; 0 is false in Python"),
        (better, perfect, False, "production's CER is 0, a score, too: 0 is false in Python"),
        (missing, worse, False, "the candidate has no score"),
        (missing, None, False, "the candidate has no score, and unknown is never good enough"),
        (empty, worse, False, "the candidate's score is None: nobody measured it"),
        (nan, worse, False, "the candidate's score is NaN"),
        (nan, None, False, "the candidate's score is NaN, even if nothing is in production"),
        (better, missing, True, "production has no score, and a measured model may replace it"),
        (better, empty, True, "production's score is None, and a measured model may replace it"),
        (better, nan, True, "production's score is NaN, and a measured model may replace it"),
        (missing, missing, False, "neither has a score"),
        (other, worse, False, "they were measured on different validation lines"),
        (other, missing, True, first),
        (other, empty, True, first),
        (other, nan, True, first),
        (infinite, nan, True, "infinity is a score, and production has none"),
    ):
        given = f"for {_shown(candidate)} in place of {_shown(production)}"
        expect_result(function, (candidate, production), wanted, why, given)
    return "production changes only for a model that is known to be better."


def _shown(metadata: dict | None) -> str:
    if metadata is None:
        return "nothing"
    return f"score {metadata['score']}" if "score" in metadata else "no score"


@check
def put_in_place(function: Answer) -> str:
    """Right bytes replace the file in one step; wrong or missing ones change nothing."""
    made = random.Random(2)
    pieces = [made.randbytes(2**20) for _ in range(4)]
    content = b"".join(pieces)
    right = hashlib.sha256(content).hexdigest()
    flipped = bytes([pieces[1][0] ^ 1]) + pieces[1][1:]
    with tempfile.TemporaryDirectory(prefix="lab-check-") as folder:
        target = Path(folder, "model.pt")
        watched = _Watched(pieces, target)
        why = "return the number of bytes"
        expect_result(function, (watched, right, target), len(content), why)
        _expect_place(target, content, "all pieces came and the digest is right")
        expect(
            watched.on_the_way >= 2**20,
            "when three of four pieces of 1 MiB had arrived, none of them was in the target's "
            "folder: write each piece to a file there as it comes, and keep none in memory.",
        )
        for given, error, what in (
            ([pieces[0], flipped, *pieces[2:]], None, "one bit of 4 MiB is wrong"),
            (pieces[:-1], None, "the last piece is missing"),
            ([pieces[1], pieces[0], *pieces[2:]], None, "two pieces changed places"),
            (pieces, ConnectionError("reset"), "the connection breaks"),
            (pieces, KeyboardInterrupt(), "somebody presses Ctrl-C"),
        ):
            watched = _Watched(given, target, error)
            wanted = type(error) if error else ValueError
            expect_raises(function, wanted, watched, right, target, when=f"if {what}")
            _expect_place(target, content, what)
            expect(
                watched.untouched,
                "while a new file arrived, the old one changed: a service that loads it now gets "
                "half a model. Write to another file, and replace the old one when all is right.",
            )
        _expect_one_step(function, target)
        _expect_two_at_once(function, pieces, right, target)
    return "right bytes replace the file in one step, and wrong ones leave it alone."


class _Watched:
    """Pieces that come one by one, and what the target's folder looks like meanwhile."""

    def __init__(
        self, pieces: list[bytes], target: Path, error: BaseException | None = None
    ) -> None:
        self._pieces, self._target, self._error = pieces, target, error
        self._before = self._content()
        self.on_the_way, self.untouched = 0, True

    def _content(self) -> bytes:
        return self._target.read_bytes() if self._target.is_file() else b""

    def __iter__(self) -> Iterator[bytes]:
        expect(self._pieces is not None, "put_in_place went over the pieces twice: they come once.")
        pieces, self._pieces = self._pieces, None
        yield from pieces[:3]
        self.untouched = self._content() == self._before
        files = [path for path in self._target.parent.rglob("*") if path.is_file()]
        self.on_the_way = sum(path.stat().st_size for path in files)
        self.on_the_way -= len(self._before) if self.untouched else 0
        if self._error:
            raise self._error
        yield from pieces[3:]


def _expect_place(target: Path, wanted: bytes, what: str) -> None:
    """The target holds these bytes, and nothing is beside it."""
    expect(
        target.is_file() and target.read_bytes() == wanted,
        f"if {what}, the target does not hold the bytes that belong there: only right bytes may "
        "replace it.",
    )
    left = sorted(path.name for path in target.parent.iterdir() if path != target)
    expect(
        not left,
        f"if {what}, {', '.join(left)} is left beside the target: remove what was written on "
        "the way, whatever happened (look at try ... finally).",
    )


def _expect_one_step(function: Answer, target: Path) -> None:
    """At no moment is there no file: a service might look for it just then."""
    old, new = target.read_bytes(), b"a newer model"
    _watch_removals()
    _watching.append([])
    try:
        with target.open("rb") as opened:
            attempt(function, [new], hashlib.sha256(new).hexdigest(), target)
            read = opened.read()
    finally:
        removed = _watching.pop()
    expect(
        read == old,
        "the bytes of the old file were written over, and a service that is reading it gets half "
        "a model: put another file in its place in one step (see Path.replace).",
    )
    _expect_place(target, new, "a newer file comes")
    expect(
        os.fspath(target) not in removed,
        "for a moment there was no file at the target, since the old one was removed before the "
        "new one came: replace it in one step (see Path.replace).",
    )


_watching: list[list[str]] = []
"""Where removed and renamed files are written down; empty most of the time, since a hook stays."""


@cache
def _watch_removals() -> None:
    def hook(event: str, arguments: tuple) -> None:
        if _watching and event in ("os.remove", "os.rename"):
            _watching[-1].append(os.path.abspath(os.fsdecode(arguments[0])))

    sys.addaudithook(hook)


def _expect_two_at_once(function: Answer, pieces: list[bytes], right: str, target: Path) -> None:
    """While one download is under way, another one of the same file starts and ends."""
    other = b"another version"

    def interrupted() -> Iterator[bytes]:
        yield from pieces[:2]
        function([other], hashlib.sha256(other).hexdigest(), target)
        yield from pieces[2:]

    what = "another download of the same file starts and ends meanwhile"
    with saying(f"if {what}"):
        attempt(function, interrupted(), right, target)
    _expect_place(target, b"".join(pieces), what)


@check
def staged_from(function: Answer) -> str:
    """All staged models downstream of a data set, each once, and no others."""
    history = History()
    for number in range(4):
        history.add(f"pages:v{number}", "dataset")

    def stages(id: str, reader: str, staged: str) -> None:
        history.run(id, "stage", [reader], {staged: "prod-ready"})

    def returns(name: str, wanted: list[str], why: str) -> None:
        expect_result(function, (history[name],), wanted, why, f"from {name}")

    history.run("t1", "train", ["pages:v0"], {"reader:v0": "model"})
    stages("s1", "reader:v0", "staged:v0")
    logged = {"history-t2:v0": "wandb-history", "reader:v1": "model"}
    history.run("t2", "train", ["pages:v1"], logged)
    stages("s2", "reader:v1", "staged:v1")
    why = "one training used it, one staging followed; return the names of the type prod-ready"
    returns("pages:v0", ["staged:v0"], why)
    returns("pages:v2", [], "no run used it, so it reached no staged model")
    returns(
        "pages:v1", ["staged:v1"], "its run logged a table before the model: follow all artifacts"
    )
    history.run("t3", "train", ["pages:v0"], {"reader:v2": "model"})
    stages("s3", "reader:v2", "staged:v2")
    stages("s4", "reader:v2", "staged:v3")
    why = "two trainings used it, and one of the checkpoints was staged twice; sort the names"
    returns("pages:v0", ["staged:v0", "staged:v2", "staged:v3"], why)
    history.run("t4", "train", ["reader:v1", "pages:v2"], {"reader:v3": "model"})
    stages("s5", "reader:v3", "staged:v4")
    why = "a second training went on from its checkpoint: follow until nothing new comes"
    returns("pages:v1", ["staged:v1", "staged:v4"], why)
    history.run("t5", "train", ["pages:v3"], {"reader:v5": "model", "reader:v6": "model"})
    history.run("a1", "average", ["reader:v5", "reader:v6"], {"reader:v7": "model"})
    stages("s6", "reader:v7", "staged:v5")
    history.run("q1", "quantize", ["staged:v5"], {"small:v0": "prod-ready"})
    why = "two checkpoints were averaged, and the staged model made smaller: each counts once"
    returns("pages:v3", ["small:v0", "staged:v5"], why)
    history.run("c1", "clean", ["pages:v3"], {"pages:v4": "dataset"})
    history.run("t6", "train", ["pages:v4"], {"reader:v8": "model"})
    stages("s7", "reader:v8", "staged:v6")
    why = "another data set was made from it and trained on: follow every type"
    returns("pages:v3", ["small:v0", "staged:v5", "staged:v6"], why)
    return "everything that a data set reached is found, each once."


@check
def deletable(function: Answer) -> str:
    """What has no alias, and nothing with an alias descends from."""
    history = History()
    history.add("pages:v0", "dataset")
    history.add("pages:v1", "dataset", "latest")
    for id, job_type, used, logged, type in (
        ("t1", "train", "pages:v0", "reader:v0", "model"),
        ("t2", "train", "pages:v0", "reader:v1", "model"),
        ("s1", "stage", "reader:v0", "staged:v0", "prod-ready"),
        ("s2", "stage", "reader:v1", "staged:v1", "prod-ready"),
    ):
        history.run(id, job_type, [used], {logged: type})

    def returns(wanted: list[str], why: str) -> None:
        expect_result(function, ([history[name] for name in history.types],), wanted, why)

    history.aliases["staged:v1"] += ["production", "latest"]
    why = "what staged:v1, which has an alias, descends from is needed; keep the order"
    returns(["reader:v0", "staged:v0"], why)
    history.aliases["staged:v0"].append("the-one-for-the-fair")
    returns([], "any alias keeps a version, no matter who gave it or what it says")
    history.aliases["staged:v0"].clear()
    history.run("t3", "train", ["reader:v0", "pages:v1"], {"reader:v2": "model"})
    history.run("t4", "train", ["pages:v0"], {"reader:v4": "model"})
    history.run("a1", "average", ["reader:v2", "reader:v4"], {"reader:v3": "model"})
    history.aliases["reader:v3"].append("best")
    why = (
        "reader:v3 was averaged from two, one of them from reader:v0: walk until nothing new comes"
    )
    returns(["staged:v0"], why)
    for aliases in history.aliases.values():
        aliases.clear()
    returns(list(history.types), "no version has an alias, so none is needed")
    return "what is needed stays, with all that it descends from."
