"""The filters and orders of `wandb.Api().runs(...)`: a subset of MongoDB's query language.

Runs are filtered in Python: a project of this lab has hundreds of them, not millions."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab_tracker.errors import RequestError
from lab_tracker.runs import plain_config, state_of

_COLUMNS = {
    "name": "name",
    "displayname": "display_name",
    "display_name": "display_name",
    "jobtype": "job_type",
    "job_type": "job_type",
    "group": "group_name",
    "createdat": "created_at",
    "created_at": "created_at",
    "heartbeatat": "heartbeat_at",
    "heartbeat_at": "heartbeat_at",
    "notes": "notes",
    "description": "description",
    "host": "host",
}
_MISSING = object()


def matching(runs: Iterable[sqlite3.Row], filters: Any) -> list[sqlite3.Row]:
    """The runs that fit; raises RequestError for an operator or a field that is not known."""
    if not isinstance(filters, Mapping):
        raise RequestError("filters must be a JSON object.")
    return [run for run in runs if _fits(run, filters)] if filters else list(runs)


def ordered(runs: list[sqlite3.Row], order: str | None) -> list[sqlite3.Row]:
    """The runs by a field, `+created_at` or `-summary_metrics.loss`; runs without it come last."""
    order = order or "+created_at"
    field, descending = order.lstrip("+-"), order.startswith("-")
    have = [(run, value) for run in runs if (value := _field(run, field)) not in (None, _MISSING)]
    lack = [run for run in runs if _field(run, field) in (None, _MISSING)]
    have.sort(key=lambda pair: _sortable(pair[1]), reverse=descending)
    return [run for run, _ in have] + lack


def _fits(run: sqlite3.Row, filters: Mapping[str, Any]) -> bool:
    for key, wanted in filters.items():
        if key in ("$and", "$or", "$nor"):
            if not isinstance(wanted, list) or not all(isinstance(f, Mapping) for f in wanted):
                raise RequestError(f"{key} takes a list of filters.")
            results = [_fits(run, inner) for inner in wanted]
            fits = all(results) if key == "$and" else any(results) is (key == "$or")
        elif key == "$not" and isinstance(wanted, Mapping):
            fits = not _fits(run, wanted)
        else:
            fits = _compare(_field(run, key), wanted)
        if not fits:
            return False
    return True


def _field(run: sqlite3.Row, name: str) -> Any:
    head, _, rest = name.partition(".")
    if name == "state":
        return state_of(run)
    if name == "tags":
        return json.loads(run["tags"])
    if head == "config":
        rest = rest.removesuffix(".value")
        return _inside(plain_config(run["config"]), rest)
    if head in ("summary", "summary_metrics", "summaryMetrics"):
        return _inside(json.loads(run["summary"]), rest)
    if column := _COLUMNS.get(name.lower()):
        return run[column]
    raise RequestError(f"Runs cannot be filtered or ordered by {name!r} here.")


def _inside(values: Any, path: str) -> Any:
    """A value by its key, which may itself have dots, or by the keys on the way to it."""
    if isinstance(values, Mapping):
        if path in values:
            return values[path]
        head, _, rest = path.partition(".")
        if rest and head in values:
            return _inside(values[head], rest)
    return _MISSING


def _compare(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted)):
        return _equal(value, wanted)
    for operator, operand in wanted.items():
        if operator not in _OPERATORS:
            raise RequestError(f"The operator {operator} is not known here.")
        try:
            if not _OPERATORS[operator](value, operand):
                return False
        except (TypeError, re.error):
            return False
    return True


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, list) and not isinstance(wanted, list):
        return wanted in value
    return (None if value is _MISSING else value) == wanted


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$gt": lambda value, operand: value > operand,
    "$gte": lambda value, operand: value >= operand,
    "$lt": lambda value, operand: value < operand,
    "$lte": lambda value, operand: value <= operand,
    "$in": lambda value, operand: any(_equal(value, item) for item in operand),
    "$nin": lambda value, operand: not any(_equal(value, item) for item in operand),
    "$exists": lambda value, operand: (value is not _MISSING) is bool(operand),
    "$regex": lambda value, operand: re.search(operand, value) is not None,
}


def _sortable(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return not is_number, value if is_number else str(value)
