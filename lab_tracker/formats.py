"""Numbers, sizes and times as a reader wants them."""

import json
from datetime import UTC, datetime


def number(value: float) -> str:
    """Four significant digits: 0.1234, 1.5e-05, 12000."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}"


def size(count: int) -> str:
    """Bytes in the unit that suits: 12 B, 3.4 kB, 56 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def moment(time: str) -> str:
    """A stored time for people, in UTC: 2026-11-22 14:03."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(start: str, end: str) -> str:
    """How long: 45 s, 3 min, 2.5 h."""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def value(item: object) -> str:
    """Any value of a config, summary or metadata, on one line where it can."""
    if isinstance(item, bool) or item is None:
        return json.dumps(item)
    if isinstance(item, int | float):
        return number(item) if item == item and abs(item) != float("inf") else str(item)
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return text if len(text) <= 500 else f"{text[:499]}…"
