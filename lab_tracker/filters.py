"""The filters and orders of `wandb.Api().runs(...)`: a subset of MongoDB's query language.

Runs are filtered in Python: a project of this lab has hundreds of them, not millions."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from lab_tracker.errors import RequestError
from lab_tracker.patterns import fits_regex
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

Spend = Callable[[int], None]


def matching(runs: list[sqlite3.Row], filters: Any, spend: Spend) -> list[sqlite3.Row]:
    """The runs that fit; every comparison is spent. Raises RequestError for an operator or a field
    that is not known."""
    if not isinstance(filters, Mapping):
        raise RequestError("filters must be a JSON object.")
    return [run for run in runs if _fits(_Fields(run, spend), filters)] if filters else runs


def ordered(runs: list[sqlite3.Row], order: str | None, spend: Spend) -> list[sqlite3.Row]:
    """The runs by a field, `+created_at` or `-summary_metrics.loss`; runs without it come last."""
    order = order or "+created_at"
    field, descending = order.lstrip("+-"), order.startswith("-")
    pairs = [(run, _Fields(run, spend).value(field)) for run in runs]
    have = [pair for pair in pairs if pair[1] not in (None, _MISSING)]
    lack = [run for run, value in pairs if value in (None, _MISSING)]
    have.sort(key=lambda pair: _sortable(pair[1]), reverse=descending)
    return [run for run, _ in have] + lack


class _Fields:
    """The fields of one run; what is looked up in its JSON is spent by its length."""

    def __init__(self, run: sqlite3.Row, spend: Spend) -> None:
        self._run = run
        self.spend = spend

    def value(self, name: str) -> Any:
        self.spend(1)
        run = self._run
        head, _, rest = name.partition(".")
        if name == "state":
            return state_of(run)
        if name == "tags":
            return json.loads(run["tags"])
        if head == "config":
            self.spend(len(run["config"]) // 100)
            return _inside(plain_config(run["config"]), rest.removesuffix(".value"))
        if head in ("summary", "summary_metrics", "summaryMetrics"):
            self.spend(len(run["summary"]) // 100)
            return _inside(json.loads(run["summary"]), rest)
        if column := _COLUMNS.get(name.lower()):
            return run[column]
        raise RequestError(f"Runs cannot be filtered or ordered by {name!r} here.")


def _fits(fields: _Fields, filters: Mapping[str, Any]) -> bool:
    for key, wanted in filters.items():
        if key in ("$and", "$or", "$nor"):
            if not isinstance(wanted, list) or not all(isinstance(f, Mapping) for f in wanted):
                raise RequestError(f"{key} takes a list of filters.")
            results = [_fits(fields, inner) for inner in wanted]
            fits = all(results) if key == "$and" else any(results) is (key == "$or")
        elif key == "$not" and isinstance(wanted, Mapping):
            fits = not _fits(fields, wanted)
        else:
            fits = _compare(fields.value(key), wanted, fields.spend)
        if not fits:
            return False
    return True


def _inside(values: Any, path: str) -> Any:
    """A value by its key, which may itself have dots, or by the keys on the way to it."""
    while isinstance(values, Mapping):
        if path in values:
            return values[path]
        head, _, path = path.partition(".")
        values = values.get(head) if path else None
    return _MISSING


def _compare(value: Any, wanted: Any, spend: Spend) -> bool:
    if not (isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted)):
        return _equal(value, wanted)
    for operator, operand in wanted.items():
        spend(1 + (len(operand) if isinstance(operand, list) else 0))
        if operator == "$regex":
            fits = isinstance(value, str) and fits_regex(operand, value, spend)
        elif operator in _OPERATORS:
            try:
                fits = _OPERATORS[operator](value, operand)
            except TypeError:
                fits = False
        else:
            raise RequestError(f"The operator {operator} is not known here.")
        if not fits:
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
}


def _sortable(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return not is_number, value if is_number else str(value)
