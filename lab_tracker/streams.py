"""What a run sends while it lasts (history, system metrics, console, summary), and how it is read.

A chunk says at which line it starts, so one that is sent again after a fault lands on its place."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lab_tracker.errors import RequestError
from lab_tracker.runs import checked_object
from lab_tracker.storage import Store, now

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
OUTPUT = "output.log"
SUMMARY = "wandb-summary.json"
_STREAMS = (HISTORY, EVENTS, OUTPUT)


def receive_stream(store: Store, run: sqlite3.Row, chunk: Mapping[str, Any]) -> None:
    """Stores one request of a run's stream, whole or not at all. Raises RequestError."""
    files = {} if chunk.get("files") is None else chunk["files"]
    if not isinstance(files, Mapping):
        raise RequestError("`files` must be an object.")
    changes: dict[str, Any] = {"heartbeat_at": now()}
    if files:  # a run that was finished, and is resumed
        changes |= {"state": "running", "exit_code": None}
    with store.write() as db:
        for name, part in files.items():
            offset, lines, steps = _checked_part(name, part)
            if name == SUMMARY:
                if lines:
                    changes["summary"] = checked_object(lines[-1], "The summary")
            elif name in _STREAMS:
                db.executemany(
                    "INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?)",
                    (
                        (run["id"], name, offset + i, step, line)
                        for i, (step, line) in enumerate(zip(steps, lines, strict=True))
                    ),
                )
        if chunk.get("complete"):
            code = chunk.get("exitcode") or 0
            changes |= {"state": "failed" if code else "finished", "exit_code": int(code)}
        elif chunk.get("preempting"):
            changes["state"] = "preempting"
        columns = ", ".join(f"{column} = ?" for column in changes)
        db.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*changes.values(), run["id"]))


def _checked_part(name: str, part: Any) -> tuple[int, list[str], list[int | None]]:
    """Where a chunk of a stream starts, its lines, and the step of each line of the history."""
    offset = part.get("offset", 0) if isinstance(part, Mapping) else None
    lines = part.get("content") if isinstance(part, Mapping) else None
    if not isinstance(offset, int) or not 0 <= offset < 2**53 or not isinstance(lines, list):
        raise RequestError(f"{name}: `offset` must be a count and `content` a list of lines.")
    if not all(isinstance(line, str) for line in lines):
        raise RequestError(f"{name}: every line must be text.")
    steps: list[int | None] = [None] * len(lines)
    if name == HISTORY:
        steps = [_step(line) for line in lines]
    return offset, lines, steps


def _step(line: str) -> int | None:
    step = json.loads(checked_object(line, "A line of the history")).get("_step")
    return step if isinstance(step, int) and abs(step) < 2**63 else None


def line_count(store: Store, run_id: int, stream: str) -> int:
    """How many lines a stream has; a gap counts, since the next line goes behind the last."""
    query = "SELECT max(number) + 1 FROM lines WHERE run_id = ? AND stream = ?"
    return store.value(query, run_id, stream) or 0


def tail(store: Store, run_id: int, stream: str, count: int = 1) -> list[str]:
    """The last lines, in order."""
    query = "SELECT text FROM lines WHERE run_id = ? AND stream = ? ORDER BY number DESC LIMIT ?"
    return [row["text"] for row in reversed(store.rows(query, run_id, stream, count))]


def all_lines(store: Store, run_id: int, stream: str) -> list[str]:
    """All lines, in order."""
    query = "SELECT text FROM lines WHERE run_id = ? AND stream = ? ORDER BY number"
    return [row["text"] for row in store.rows(query, run_id, stream)]


def history(store: Store, run_id: int) -> list[dict[str, Any]]:
    """What the run logged: one dict a step, with `_step`."""
    return [json.loads(line) for line in all_lines(store, run_id, HISTORY)]


def sampled_lines(store: Store, run_id: int, stream: str, samples: int) -> list[str]:
    """At most `samples` lines, evenly spread, the last one among them."""
    return thinned(all_lines(store, run_id, stream), samples)


def steps_between(store: Store, run_id: int, first: int, stop: int, count: int) -> list[str]:
    """At most `count` lines of the history whose step is in [first, stop)."""
    query = """SELECT text FROM lines WHERE run_id = ? AND stream = ? AND step >= ? AND step < ?
        ORDER BY number LIMIT ?"""
    return [row["text"] for row in store.rows(query, run_id, HISTORY, first, stop, count)]


def sampled_history(store: Store, run_id: int, spec: str) -> list[dict[str, Any]]:
    """The steps that have all the keys of `spec`, a JSON object with `keys` and `samples`: evenly
    spread, or, where it gives a range from `minStep` to `maxStep` (inclusive), the first ones."""
    wanted = json.loads(checked_object(spec, "A spec of sampledHistory"))
    keys = [str(key) for key in wanted.get("keys") or []]
    low, high = wanted.get("minStep"), wanted.get("maxStep")
    rows = [
        {key: row[key] for key in keys}
        for row in history(store, run_id)
        if all(key in row for key in keys)
        and (low is None or row.get("_step", 0) >= low)
        and (high is None or row.get("_step", 0) <= high)
    ]
    samples = int(wanted.get("samples") or 500)
    return thinned(rows, samples) if low is None and high is None else rows[:samples]


def history_keys(store: Store, run_id: int) -> dict[str, Any]:
    """Which keys the history has, of which types, how often, and the last step."""
    types: dict[str, Counter[str]] = {}
    last_step = -1
    for row in history(store, run_id):
        last_step = max(last_step, int(row.get("_step", -1)))
        for key, value in row.items():
            types.setdefault(key, Counter())[_type_name(value)] += 1
    keys = {
        key: {"typeCounts": [{"type": name, "count": n} for name, n in counts.items()]}
        for key, counts in types.items()
    }
    return {"sets": [], "keys": keys, "lastStep": last_step}


def thinned(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, with the last."""
    if len(items) <= count or count < 1:
        return items
    step = len(items) / count
    return [items[min(len(items) - 1, int((i + 1) * step) - 1)] for i in range(count)]


def metric_series(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Points (step, value) of every number that was logged, by key; W&B's own keys are left out."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        step = row.get("_step")
        for key, value in row.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and step is not None and not key.startswith("_"):
                series.setdefault(key, []).append((float(step), float(value)))
    return series


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return str(value.get("_type", "map"))
    return "list" if isinstance(value, list) else "nil"
