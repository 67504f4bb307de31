"""The lineage of an artifact as a graph: what it was made from, and what was made of it.

Artifacts are rounded boxes, runs are hexagons; the way goes from left to right, and every node is
a link."""

import sqlite3
from dataclasses import dataclass, field

from lab_tracker import artifacts
from lab_tracker.page.html import Html, address, element, scrolled
from lab_tracker.storage import Store

MAX_NODES = 80
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 176, 46, 38, 18

Key = tuple[str, int]  # ("run" or "artifact", number of the row)


@dataclass
class Graph:
    """Nodes with what each shows, and the edges in the direction of the work."""

    nodes: dict[Key, tuple[str, str, str]] = field(default_factory=dict)  # name, kind, address
    edges: list[tuple[Key, Key]] = field(default_factory=list)
    is_cut: bool = False


def lineage_of(store: Store, artifact: sqlite3.Row) -> Graph:
    """Every ancestor and every descendant of an artifact, at most `MAX_NODES` of them."""
    graph = Graph()
    start: Key = ("artifact", artifact["id"])
    _add(store, graph, start)
    for neighbours, is_forward in ((_before, False), (_after, True)):
        front, seen = [start], {start}
        while front:
            node = front.pop(0)
            for other in neighbours(store, node):
                if other not in graph.nodes and len(graph.nodes) >= MAX_NODES:
                    graph.is_cut = True
                    continue
                _add(store, graph, other)
                edge = (node, other) if is_forward else (other, node)
                if edge not in graph.edges and edge[::-1] not in graph.edges:
                    graph.edges.append(edge)
                if other not in seen:
                    seen.add(other)
                    front.append(other)
    return graph


def drawing(graph: Graph, chosen: Key) -> Html:
    """The graph as SVG, in columns."""
    places = _layout(graph)
    width = max(x for x, _ in places.values()) + _WIDTH + 8
    height = max(y for _, y in places.values()) + _HEIGHT + 8
    arrow = element(
        "marker",
        element("path", d="M0 0L8 4L0 8Z", class_="arrow"),
        id="arrow",
        markerWidth=8,
        markerHeight=8,
        refX=8,
        refY=4,
        orient="auto",
    )
    edges = [_edge(places[a], places[b]) for a, b in graph.edges]
    nodes = [_node(graph.nodes[key], key, place, key == chosen) for key, place in places.items()]
    svg = element(
        "svg",
        element("defs", arrow),
        *edges,
        *nodes,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="group",
        aria_label="Lineage: artifacts are rounded boxes, runs are hexagons",
        class_="lineage",
    )
    return scrolled(svg, "Lineage graph")


def _before(store: Store, node: Key) -> list[Key]:
    kind, number = node
    if kind == "run":
        return [("artifact", row["id"]) for row in artifacts.inputs_of(store, number)]
    run = artifacts.logged_by(store, artifacts.artifact_by_id(store, number))
    return [("run", run["id"])] if run else []


def _after(store: Store, node: Key) -> list[Key]:
    kind, number = node
    if kind == "run":
        return [("artifact", row["id"]) for row in artifacts.outputs_of(store, number)]
    return [("run", row["id"]) for row in artifacts.used_by(store, number)]


def _add(store: Store, graph: Graph, key: Key) -> None:
    if key in graph.nodes:
        return
    kind, number = key
    project = "SELECT * FROM projects WHERE id = ?"
    if kind == "run":
        run = store.row("SELECT * FROM runs WHERE id = ?", number)
        parent = store.row(project, run["project_id"])
        path = (parent["entity"], parent["name"], "runs", run["name"])
        shown = run["display_name"], f"run · {run['job_type'] or 'no job type'}"
    else:
        row = artifacts.artifact_by_id(store, number)
        sequence = artifacts.collection_by_id(store, row["sequence_id"])
        parent = store.row(project, sequence["project_id"])
        version = f"v{artifacts.source_version(store, row)['version_index']}"
        where = (parent["entity"], parent["name"], "artifacts", sequence["type"])
        path = (*where, sequence["name"], version)
        shown = f"{sequence['name']}:{version}", f"artifact · {sequence['type']}"
    graph.nodes[key] = (*shown, address(*path))


def _layout(graph: Graph) -> dict[Key, tuple[int, int]]:
    """Columns by the longest way from a source; in each, the order of the left neighbours."""
    before: dict[Key, list[Key]] = {key: [] for key in graph.nodes}
    for a, b in graph.edges:
        before[b].append(a)
    depth: dict[Key, int] = {}

    def measure(key: Key, way: tuple[Key, ...]) -> int:
        if key not in depth:
            # A run that uses what it logged makes a circle: the edge back is not followed.
            ways = [measure(a, (*way, key)) for a in before[key] if a not in way and a != key]
            depth[key] = 1 + max(ways, default=-1)
        return depth[key]

    for key in graph.nodes:
        measure(key, ())
    columns: dict[int, list[Key]] = {}
    for key in graph.nodes:
        columns.setdefault(depth[key], []).append(key)
    rows: dict[Key, float] = {}
    places = {}
    tallest = max(len(column) for column in columns.values())
    for x in sorted(columns):
        column = columns[x]
        column.sort(key=lambda key: _mean([rows[a] for a in before[key] if a in rows]))
        top = (tallest - len(column)) / 2
        for i, key in enumerate(column):
            rows[key] = top + i
            places[key] = (8 + x * (_WIDTH + _GAP_X), int(8 + rows[key] * (_HEIGHT + _GAP_Y)))
    return places


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(start: tuple[int, int], end: tuple[int, int]) -> Html:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0] - 2, end[1] + _HEIGHT // 2
    bend = max(_GAP_X // 2, abs(x2 - x1) // 2)
    path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return element("path", d=path, class_="edge", marker_end="url(#arrow)")


def _node(shown: tuple[str, str, str], key: Key, place: tuple[int, int], chosen: bool) -> Html:
    name, kind, href = shown
    if key[0] == "run":
        w, h, cut = _WIDTH, _HEIGHT, 14
        corners = f"{cut},0 {w - cut},0 {w},{h / 2:g} {w - cut},{h} {cut},{h} 0,{h / 2:g}"
        shape = element("polygon", points=corners)
    else:
        shape = element("rect", width=_WIDTH, height=_HEIGHT, rx=14)
    short = name if len(name) <= 20 else f"{name[:13]}…{name[-6:]}"  # the version stays
    texts = [
        element("text", short, x=_WIDTH // 2, y=20, class_="name"),
        element("text", kind[:24], x=_WIDTH // 2, y=36, class_="kind"),
    ]
    return element(
        "a",
        element("title", f"{name} ({kind})"),
        shape,
        *texts,
        href=href,
        class_=f"node {key[0]}{' chosen' if chosen else ''}",
        aria_current="page" if chosen else None,
        transform=f"translate({place[0]} {place[1]})",
    )
