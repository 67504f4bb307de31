"""The templates of pages and drawings, and how they show numbers, sizes and times.

Everything that is put into them is escaped: a run called `<script>` is text."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab_tracker.wording import counted


def address(*path: object) -> str:
    """The path of a page from its parts."""
    return "/" + "/".join(quote(str(part), safe="") for part in path)


def version_address(version: Any) -> str:
    """The page of a version."""
    path = (version["entity"], version["project"], "artifacts", version["type"])
    return address(*path, version["collection"], f"v{version['version_index']}")


def render(template: str, **values: object) -> Markup:
    """A template of `templates/`, filled in: markup that other templates take as it is."""
    return Markup(_environment().get_template(template).render(values))


def number(value: float) -> str:
    """Four significant digits: 0.1234, 1.5e-05, 12000."""
    is_whole = math.isfinite(value) and abs(value) < 1e15 and value == int(value)
    return str(int(value)) if is_whole else f"{value:.4g}"


def _lasted(run: Mapping[str, Any]) -> str:
    """How long a run went on: 45 s, 3 min, 2.5 h."""
    start, end = (datetime.fromisoformat(run[key]) for key in ("created_at", "heartbeat_at"))
    seconds = (end - start).total_seconds()
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _shown(item: object) -> str:
    """Any value of a config, summary or metadata, on one line where it can."""
    if isinstance(item, int | float) and not isinstance(item, bool):
        return number(item)
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return text if len(text) <= 500 else f"{text[:499]}…"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lab_tracker"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"address": address, "version_address": version_address}
    made.filters |= {
        "lasted": _lasted,
        "shown": _shown,
        "parsed": json.loads,
        "counted": counted,
    }
    return made
