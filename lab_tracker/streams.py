"""What a run sends while it lasts (history, system metrics, console, summary), and how it is read.

A chunk says at which line it starts, so one that is sent again after a fault lands on its place."""

import json
import math
from typing import Annotated, Any

from pydantic import BaseModel, Field, Json

from lab_tracker.errors import RequestError
from lab_tracker.limits import MAX_STREAM_LINES, spend
from lab_tracker.names import checked, checked_object, load_json
from lab_tracker.runs import find_run
from lab_tracker.storage import Store, now

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
OUTPUT = "output.log"
SUMMARY = "wandb-summary.json"
_MOST_READ = 100_000  # lines of a history on a page
_MAX_STEP = 2**53

Count = Annotated[int, Field(strict=True, ge=0, lt=_MAX_STEP)]


class Part(BaseModel):
    """Lines of one stream, from line `offset` on."""

    offset: Count = 0
    content: list[Annotated[str, Field(strict=True)]] = Field(max_length=MAX_STREAM_LINES)


class Chunk(BaseModel):
    """One request of a run's stream."""

    files: dict[str, Part] | None = None
    complete: bool | None = None
    exitcode: int | None = Field(None, ge=-(2**31), lt=2**32)


class Spec(BaseModel):
    """What one request for a sampled history asks for."""

    keys: list[str] = []
    samples: int = Field(500, ge=1, lt=_MAX_STEP)
    minStep: float = -math.inf
    maxStep: float = math.inf


def receive_stream(store: Store, path: tuple[str, str, str], body: bytes) -> None:
    """Stores one request of a run's stream completely or not at all.

    Args:
        path: the run's entity, project and name.
    """
    run = find_run(store, *path)
    chunk = Chunk.model_validate(load_json(body, "The request's body"))
    changes: dict[str, Any] = {"heartbeat_at": now()}
    if chunk.complete:
        code = chunk.exitcode or 0
        changes |= {"state": "failed" if code else "finished", "exit_code": code}
    elif chunk.files:  # a run that was finished, and is resumed
        changes |= {"state": "running", "exit_code": None}
    with store.write() as db:
        for name, part in (chunk.files or {}).items():
            if name == SUMMARY and part.content:
                changes["summary"] = checked_object(part.content[-1], "The summary")
            elif name in (HISTORY, EVENTS, OUTPUT):
                lines = [_line(name, text) for text in part.content]
                rows = [(run["id"], name, i, *line) for i, line in enumerate(lines, part.offset)]
                db.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?)", rows)
        store.update("runs", run["id"], **changes)


def _line(stream: str, text: str) -> tuple[int | None, str]:
    """The step of a line, if it is one of the history, and its text."""
    if stream != HISTORY:
        return None, text
    text = checked_object(text, "A line of the history")
    step = json.loads(text).get("_step")
    if step is None or (type(step) is int and abs(step) < _MAX_STEP):
        return step, text
    raise RequestError("`_step` in a line of the history must be a whole number.")


def line_count(store: Store, run_id: int, stream: str) -> int:
    """How many lines a stream has; a gap counts, since the next line goes behind the last."""
    query = "SELECT max(number) + 1 FROM lines WHERE run_id = ? AND stream = ?"
    return store.rows(query, run_id, stream)[0][0] or 0


def tail(store: Store, run_id: int, stream: str, count: int = 1) -> list[str]:
    """The last lines, in order."""
    return _texts(store, run_id, stream, "ORDER BY number DESC LIMIT ?", count)[::-1]


def history(store: Store, run_id: int) -> list[dict[str, Any]]:
    """What the run logged: one dict for each step, with `_step`."""
    return [json.loads(line) for line in _texts(store, run_id, HISTORY)]


@checked
def chosen_lines(
    store: Store,
    run_id: int,
    stream: str,
    samples: Count = 500,
    min_step: int = 0,
    max_step: int = _MAX_STEP,
) -> list[str]:
    """At most `samples` lines: evenly spread with the last one, or, of the history, the first ones
    whose step is in [min_step, max_step)."""
    if min_step or max_step != _MAX_STEP:
        within = "AND step >= ? AND step < ? ORDER BY number LIMIT ?"
        return _texts(store, run_id, stream, within, min_step, max_step, samples or 500)
    total = line_count(store, run_id, stream)
    if total <= samples:
        return _texts(store, run_id, stream)
    spend(samples)  # a gap may be as long as a client says, so this many numbers are made
    numbers = json.dumps(thinned(range(total), samples or 500))
    chosen = "AND number IN (SELECT value FROM json_each(?)) ORDER BY number"
    return _texts(store, run_id, stream, chosen, numbers)


@checked
def sampled_histories(
    store: Store, run_id: int, specs: list[Json[Spec]]
) -> list[list[dict[str, Any]]]:
    """For each spec, the steps that have all its keys: evenly spread, or, if it gives a range from
    `minStep` to `maxStep` (inclusive), the first ones."""
    spend(len(specs) * (1 + line_count(store, run_id, HISTORY)))
    rows = history(store, run_id)
    found = []
    for spec in specs:
        keys = dict.fromkeys(spec.keys).keys()
        spend(len(keys) * len(rows))
        chosen = [
            {key: row[key] for key in keys}
            for row in rows
            if spec.minStep <= row.get("_step", 0) <= spec.maxStep and row.keys() >= keys
        ]
        is_open = (spec.minStep, spec.maxStep) == (-math.inf, math.inf)
        found.append(thinned(chosen, spec.samples) if is_open else chosen[: spec.samples])
    return found


def history_keys(store: Store, run_id: int) -> dict[str, Any]:
    """The last step, which is all that the SDK reads of it."""
    query = "SELECT max(step) FROM lines WHERE run_id = ? AND stream = ?"
    last = store.rows(query, run_id, HISTORY)[0][0]
    return {"lastStep": -1 if last is None else last}


def thinned(items: Any, count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, with the last."""
    if len(items) <= count or count < 1:
        return list(items)
    return [items[(i + 1) * len(items) // count - 1] for i in range(count)]


def metric_series(store: Store, run_id: int) -> dict[str, list[tuple[float, float]]]:
    """Points (step, value) of every number that a run logged, by key, without W&B's own keys; of a
    long history, evenly spread lines are read."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in chosen_lines(store, run_id, HISTORY, _MOST_READ):
        row = json.loads(line)
        step = row.get("_step")
        for key, value in row.items():
            if not key.startswith("_") and is_number(step) and is_number(value):
                series.setdefault(key, []).append((float(step), float(value)))
    return series


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a number that fits a float; a bool is not one."""
    return type(value) is float or (type(value) is int and abs(value) < 1e308)


def _texts(
    store: Store, run_id: int, stream: str, chosen: str = "ORDER BY number", *values: Any
) -> list[str]:
    """Lines of a stream, all of them or those that an SQL clause says; their length is spent."""
    query = f"SELECT text FROM lines WHERE run_id = ? AND stream = ? {chosen}"
    found = [row["text"] for row in store.rows(query, run_id, stream, *values)]
    spend(sum(map(len, found)) // 100)
    return found
