"""The filters and orders of `wandb.Api().runs(...)`: a subset of MongoDB's query language.

Runs are filtered in Python: a project of this lab has hundreds of them, not millions."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from lab_tracker.errors import RequestError
from lab_tracker.limits import spend
from lab_tracker.runs import plain_config, state_of

_NAMES = ("name", "display_name", "job_type", "group_name", "created_at", "heartbeat_at")
# Written in any way: displayName, display_name, displayname.
_COLUMNS = {name.replace("_", ""): name for name in (*_NAMES, "notes", "description", "host")}
_COLUMNS["group"] = _COLUMNS.pop("groupname")
_MISSING = object()

Row = sqlite3.Row


def matching(runs: list[Row], filters: Any) -> list[Row]:
    """The runs that fit; every comparison is spent. Raises RequestError for an operator or a field
    that is not known."""
    if not isinstance(filters, Mapping):
        raise RequestError("filters must be a JSON object.")
    return [run for run in runs if _fits(run, filters)] if filters else runs


def ordered(runs: list[Row], order: str | None) -> list[Row]:
    """The runs by a field, `+created_at` or `-summary_metrics.loss`; runs without it come last."""
    order = order or "+created_at"
    pairs = [(run, _value(run, order.lstrip("+-"))) for run in runs]
    have = [pair for pair in pairs if pair[1] not in (None, _MISSING)]
    lack = [run for run, value in pairs if value in (None, _MISSING)]
    have.sort(key=lambda pair: _sortable(pair[1]), reverse=order.startswith("-"))
    return [run for run, _ in have] + lack


def _value(run: Row, name: str) -> Any:
    """A field of a run; what is looked up in its JSON is spent by its length."""
    spend(1)
    head, _, rest = name.partition(".")
    if name == "state":
        return state_of(run)
    if name == "tags":
        return json.loads(run["tags"])
    if head == "config":
        spend(len(run["config"]) // 100)
        return _inside(plain_config(run["config"]), rest.removesuffix(".value"))
    if head in ("summary", "summary_metrics", "summaryMetrics"):
        spend(len(run["summary"]) // 100)
        return _inside(json.loads(run["summary"]), rest)
    if column := _COLUMNS.get(name.lower().replace("_", "")):
        return run[column]
    raise RequestError(f"Runs cannot be filtered or ordered by {name!r} here.")


def _inside(values: Any, path: str) -> Any:
    """A value by its key, which may itself have dots, or by the keys on the way to it."""
    while isinstance(values, Mapping):
        if path in values:
            return values[path]
        head, _, path = path.partition(".")
        values = values.get(head) if path else None
    return _MISSING


def _fits(run: Row, filters: Mapping[str, Any]) -> bool:
    return all(_fits_one(run, key, wanted) for key, wanted in filters.items())


def _fits_one(run: Row, key: str, wanted: Any) -> bool:
    if key not in ("$and", "$or"):
        return _compare(_value(run, key), wanted)
    if not isinstance(wanted, list) or not all(isinstance(inner, Mapping) for inner in wanted):
        raise RequestError(f"{key} takes a list of filters.")
    results = [_fits(run, inner) for inner in wanted]
    return all(results) if key == "$and" else any(results)


def _compare(value: Any, wanted: Any) -> bool:
    """Whether a value fits `{"$gt": 1}` and the like, or is the one that is wanted."""
    if not (isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted)):
        wanted = {"$eq": wanted}
    for operator, operand in wanted.items():
        spend(1 + (len(operand) if isinstance(operand, list) else 0))
        if operator not in _OPERATORS:
            raise RequestError(f"The operator {operator} is not known here.")
        try:
            if not _OPERATORS[operator](value, operand):
                return False
        except TypeError:
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
    "$exists": lambda value, operand: (value is not _MISSING) is bool(operand),
}


def _sortable(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return not is_number, value if is_number else str(value)
