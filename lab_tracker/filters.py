"""The filters and orders of `wandb.Api().runs(...)`: a subset of MongoDB's query language.

Runs are filtered in Python: a project of this lab has hundreds of them, not millions."""

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from lab_tracker.errors import RequestError
from lab_tracker.limits import spend
from lab_tracker.names import snake_case
from lab_tracker.runs import plain_config, state_of
from lab_tracker.storage import Row

_COLUMNS = "name display_name job_type group created_at heartbeat_at notes description host".split()


def matching(runs: list[Row], filters: Any) -> list[Row]:
    """The runs that fit; every comparison is spent. Raises RequestError for an operator or a field
    that is not known."""
    return [run for run in runs if _fits(run, "$and", [filters])]


def ordered(runs: list[Row], order: str | None) -> list[Row]:
    """The runs by a field, `+created_at` or `-summary_metrics.loss`; runs without it come last."""
    order = order or "+created_at"
    pairs = [(run, _value(run, order.lstrip("+-"))) for run in runs]
    have = [pair for pair in pairs if pair[1] is not None]
    lack = [run for run, value in pairs if value is None]
    have.sort(key=lambda pair: _sortable(pair[1]), reverse=order.startswith("-"))
    return [run for run, _ in have] + lack


def _value(run: Row, name: str) -> Any:
    """A field of a run; what is looked up in its JSON is spent by its length."""
    spend(1)
    head, _, rest = name.partition(".")
    head = snake_case(head)
    if head == "config":
        spend(len(run["config"]) // 100)
        return _inside(plain_config(run["config"]), rest.removesuffix(".value"))
    if head in ("summary", "summary_metrics"):
        spend(len(run["summary"]) // 100)
        return _inside(json.loads(run["summary"]), rest)
    if head == "state":
        return state_of(run)
    if head == "tags":
        return json.loads(run["tags"])
    if head in _COLUMNS:
        return run["group_name" if head == "group" else head]
    raise RequestError(
        f"Runs cannot be filtered or ordered by {name[:200]!r} here, only by "
        f"{', '.join(_COLUMNS)}, state, tags, config.KEY and summary_metrics.KEY."
    )


def _inside(values: Any, path: str) -> Any:
    """A value, or None, by its key, which may itself have dots, or by the keys on the way to it."""
    while isinstance(values, Mapping):
        if path in values:
            return values[path]
        head, _, path = path.partition(".")
        values = values.get(head) if path else None
    return None


def _fits(run: Row, key: str, wanted: Any) -> bool:
    if key in ("$and", "$or"):
        if not isinstance(wanted, list) or not all(isinstance(part, Mapping) for part in wanted):
            raise RequestError(f"{key} takes a list of filters.")
        fitting = (all(_fits(run, *item) for item in part.items()) for part in wanted)
        return all(fitting) if key == "$and" else any(fitting)
    value = _value(run, key)
    if not (isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted)):
        wanted = {"$eq": wanted}
    return all(_compare(value, name, operand) for name, operand in wanted.items())


def _compare(value: Any, name: str, operand: Any) -> bool:
    """Whether a value fits `$gt: 1` and the like; one that can't be compared doesn't."""
    spend(1 + (len(operand) if isinstance(operand, list) else 0))
    if name not in _OPERATORS:
        raise RequestError(f"The operator {name} is not known here.")
    try:
        return _OPERATORS[name](value, operand)
    except TypeError:
        return False


def _equal(value: Any, wanted: Any) -> bool:
    is_among = isinstance(value, list) and not isinstance(wanted, list)
    return wanted in value if is_among else value == wanted


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, operand: any(_equal(value, item) for item in operand),
    "$exists": lambda value, operand: (value is not None) is bool(operand),
}


def _sortable(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return not is_number, value if is_number else str(value)
