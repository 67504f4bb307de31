"""The tracker's pages, under the same addresses as at wandb.ai: projects, a project, a run, an
artifact, one version of it and its lineage. The templates say how they look, and look up in the
store what belongs to the rows that they are given."""

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from lab_tracker import artifacts, lineage, runs, streams
from lab_tracker.charts import chart
from lab_tracker.errors import NotFoundError
from lab_tracker.storage import Store
from lab_tracker.templating import address, render, version_address

MAX_CHARTS = 24
MAX_NODES = 80  # of a lineage
MAX_ROWS = 500
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")

Values = dict[str, Any]


def router(store: Store, do: Callable[..., Any]) -> APIRouter:
    """The routes of the pages over a store; `await do(function, ...)` runs a function beside the
    event loop."""
    routes = APIRouter()
    style = resources.files("lab_tracker").joinpath("templates/style.css").read_text("utf-8")
    always = {"store": store, "runs": runs}

    @routes.get("/-/style.css")
    async def stylesheet() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})

    def answer(find: Callable[..., Values], template: str, **path: str) -> HTMLResponse:
        try:
            values = find(store, **path)
        except NotFoundError as error:
            text = render("message.html", title="Not here", text=str(error))
            return HTMLResponse(text, status_code=404)
        return HTMLResponse(render(template, most=MAX_ROWS, **always, **values))

    def add(path: str, find: Callable[..., Values], template: str) -> None:
        async def page(request: Request) -> HTMLResponse:
            return await do(lambda: answer(find, template, **request.path_params))

        routes.add_route(path, page, methods=["GET"])

    add("/", _projects, "projects.html")
    add("/{entity}/{project}", _project, "project.html")
    add("/{entity}/{project}/runs/{run}", _run, "run.html")
    name = "/{entity}/{project}/artifacts/{type}/{name}"
    add(name, _collection, "collection.html")
    add(name + "/{alias}", _version, "version.html")
    add(name + "/{alias}/{tab}", _version, "version.html")
    return routes


# Each page: from the parts of its address to what its template shows


def _projects(store: Store) -> Values:
    """All projects, the newest first."""
    return {"title": "Projects", "projects": store.all("projects", "id DESC")}


def _project(store: Store, entity: str, project: str) -> Values:
    """The runs of a project with their numbers beside each other, and the artifacts."""
    parent = runs.find_project(store, entity, project)
    found = store.all("runs", project_id=parent["id"])[::-1]
    summaries = [json.loads(run["summary"]) for run in found[:MAX_ROWS]]
    items = (item for summary in summaries for item in summary.items())
    keys = dict.fromkeys(k for k, v in items if streams.is_number(v) and not k.startswith("_"))
    return {
        "title": parent["name"],
        "project": parent,
        "run_count": len(found),
        "listed": list(zip(found[:MAX_ROWS], summaries, strict=True)),
        "keys": list(keys)[:5],
        "collections": store.all("filled_collections", "name", project_id=parent["id"]),
    }


def _run(store: Store, entity: str, project: str, run: str) -> Values:
    """One run: state, metrics, summary, config, lineage, pictures, files and console."""
    row = runs.find_run(store, entity, project, run)
    series = streams.metric_series(store, row["id"])
    files = store.all("files", "name", run_id=row["id"])
    summary = json.loads(row["summary"]).items()
    return {
        "title": row["display_name"],
        "project": runs.find_project(store, entity, project),
        "run": row,
        "charts": [chart(key, series[key]) for key in sorted(series)[:MAX_CHARTS]],
        "inputs": store.all("inputs", user_id=row["id"])[:MAX_ROWS],
        "outputs": store.all("outputs", created_by=row["id"])[:MAX_ROWS],
        "summary": {key: value for key, value in summary if not key.startswith("_")},
        "config": runs.plain_config(row["config"]),
        "pictures": [f for f in files if f["name"].lower().endswith(_PICTURES)][:MAX_CHARTS],
        "files": files,
        "console": "\n".join(streams.tail(store, row["id"], streams.OUTPUT, 200)),
    }


def _collection(store: Store, entity: str, project: str, type: str, name: str) -> Values:
    """All versions of an artifact."""
    parent = runs.find_project(store, entity, project)
    found = store.find("collections", project_id=parent["id"], name=name)
    if not found:
        raise NotFoundError(f"There is no artifact {entity}/{project}/{name}.")
    versions = store.all("versions", "version_index DESC", MAX_ROWS, collection_id=found["id"])
    return {"title": name, "project": parent, "collection": found, "versions": versions}


def _version(
    store: Store, entity: str, project: str, type: str, name: str, alias: str, tab: str = ""
) -> Values:
    """One version: aliases, where it comes from, metadata, files, and the lineage graph."""
    above = _collection(store, entity, project, type, name)
    version = artifacts.version_of(store, above["collection"]["id"], alias)
    if not version:
        raise NotFoundError(f"There is no artifact {entity}/{project}/{name}:{alias}.")
    nodes, edges, is_cut = _lineage(store, version)
    metadata = json.loads(version["metadata"])
    return above | {
        "title": f"{name}:v{version['version_index']}",
        "version": version,
        "lineage": lineage.draw(
            nodes, edges, "Lineage: artifacts are rounded boxes, runs are hexagons"
        ),
        "cut": MAX_NODES if is_cut else 0,
        "metadata": metadata if isinstance(metadata, dict) else {"metadata": metadata},
        "entries": store.all("entries", "path", artifact_id=version["id"]),
    }


# The edges on the ways to and from a node, at most ?2 nodes on each side: the nearest ones.
_WAYS = """WITH RECURSIVE
    after(key) AS (SELECT ?1 UNION SELECT stop FROM edges JOIN after ON start = key LIMIT ?2),
    before(key) AS (SELECT ?1 UNION SELECT start FROM edges JOIN before ON stop = key LIMIT ?2)
    SELECT start, stop FROM edges WHERE start IN after AND stop IN after
    UNION SELECT start, stop FROM edges WHERE start IN before AND stop IN before"""


def _lineage(
    store: Store, version: Any
) -> tuple[dict[str, lineage.Node], list[tuple[str, str]], bool]:
    """The nearest ancestors and descendants of a version, at most `MAX_NODES`: the nodes, the edges
    in the direction of the work, and whether any may have been left out."""
    start = f"artifact {version['id']}"
    found = store.rows(_WAYS, start, MAX_NODES // 2)
    edges = [(edge["start"], edge["stop"]) for edge in found]
    nodes = {start: _node(store, start, "chosen")}
    nodes |= {key: _node(store, key) for edge in edges for key in edge if key != start}
    return nodes, edges, len(nodes) >= MAX_NODES // 2


def _node(store: Store, key: str, look: str = "") -> lineage.Node:
    kind, _, number = key.partition(" ")
    if kind == "run":
        run = store.get("runs", number)
        project = store.get("projects", run["project_id"])
        line = f"run · {run['job_type'] or 'no job type'}"
        where = address(project["entity"], project["name"], "runs", run["name"])
        return lineage.Node(run["display_name"], (line,), True, where, look)
    version = store.get("sources", number)
    title = f"{version['collection']}:v{version['version_index']}"
    where = version_address(version)
    return lineage.Node(title, (f"artifact · {version['type']}",), False, where, look)
