"""The templates of pages and drawings. Everything that is put into them is escaped: a run called
`<script>` is text."""

from functools import lru_cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab_tracker import formats


def address(*path: object) -> str:
    """The path of a page from its parts."""
    return "/" + "/".join(quote(str(part), safe="") for part in path)


def render(template: str, **values: object) -> Markup:
    """A template of `templates/`, filled in: markup that other templates take as it is."""
    return Markup(_environment().get_template(template).render(values))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lab_tracker"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["address"] = address
    made.filters |= {
        "bytes": formats.size,
        "moment": formats.moment,
        "shown": formats.value,
        "counted": lambda count, noun: f"{count} {noun}{'' if count == 1 else 's'}",
    }
    return made
