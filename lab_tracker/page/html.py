"""HTML that is safe by construction: text is escaped, and only elements made here are markup.

A run called `<script>` is text."""

from html import escape
from urllib.parse import quote


class Html(str):
    """Markup that is ready to be sent; every other string is text."""

    __slots__ = ()


_VOID = {"img", "link", "meta"}


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """`<name ...>children</name>`. `class_` gives `class`, `aria_label` gives `aria-label`;
    attributes and children that are None are left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip("_").replace("_", "-")
            parts.append(f' {key}="{escape(str(value))}"' if value is not True else f" {key}")
    parts.append(">")
    if name not in _VOID:
        parts += [joined(*children), f"</{name}>"]
    return Html("".join(parts))


def joined(*children: object) -> Html:
    """Children one after the other; a list is its items."""
    out = []
    for child in children:
        if isinstance(child, list | tuple):
            out.append(joined(*child))
        elif child is not None:
            out.append(child if isinstance(child, Html) else escape(str(child)))
    return Html("".join(out))


def link(text: object, *path: object, **attributes: object) -> Html:
    """A link to a page of the tracker; the parts of its path are quoted."""
    return element("a", text, href=address(*path), **attributes)


def address(*path: object) -> str:
    """The path of a page from its parts."""
    return "/" + "/".join(quote(str(part), safe="") for part in path)


def document(title: str, trail: list[Html], *content: object) -> Html:
    """A whole page; `trail` leads to it from the top."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · Lab tracker"),
        element("link", rel="stylesheet", href="/-/style.css"),
    )
    steps = [element("li", step) for step in [link("Lab tracker", "", class_="home"), *trail]]
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", element("nav", element("ol", *steps), aria_label="Breadcrumb")),
        element("main", *content, id="content"),
        element(
            "footer",
            element("p", "What the wandb SDK has logged, kept by the lab's own tracker."),
        ),
    )
    return Html(f"<!doctype html>{element('html', head, body, lang='en')}")


def table(caption: str, headings: list[str], rows: list[list[object]], numbers: int = 0) -> Html:
    """A table whose first column heads its rows; its last `numbers` columns are numbers."""

    def align(column: int) -> str | None:
        return "number" if column >= len(headings) - numbers else None

    head = [element("th", h, scope="col", class_=align(i)) for i, h in enumerate(headings)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=align(i)) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *body),
    )
    return scrolled(inner, caption)


def scrolled(inner: Html, label: str) -> Html:
    """Something that may be wider than the screen: it scrolls alone, also by keyboard."""
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)
