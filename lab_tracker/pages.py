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
from lab_tracker.signing import Signer
from lab_tracker.storage import Store
from lab_tracker.templating import address, render, version_address

MAX_CHARTS = 24
MAX_NODES = 80  # of a lineage
MAX_ROWS = 500
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")

Do = Callable[..., Any]
Values = dict[str, Any]


def router(store: Store, signer: Signer, do: Do) -> APIRouter:
    """The routes of the pages over a store; `await do(function, ...)` runs a function beside the
    event loop."""
    routes = APIRouter()
    style = resources.files("lab_tracker").joinpath("templates/style.css").read_text("utf-8")
    always = {"store": store, "signer": signer, "runs": runs, "artifacts": artifacts}

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
    add("/{entity}/{project}/artifacts/{type}/{name}", _collection, "collection.html")
    version = "/{entity}/{project}/artifacts/{type}/{name}/{alias}"
    add(version, _version, "version.html")
    add(version + "/{tab}", _version, "version.html")
    return routes


# Each page: from the parts of its address to what its template shows


def _projects(store: Store) -> Values:
    """All projects, the newest first."""
    return {"title": "Projects", "projects": runs.all_projects(store)}


def _project(store: Store, entity: str, project: str) -> Values:
    """The runs of a project with their numbers beside each other, and the artifacts."""
    parent = runs.find_project(store, entity, project)
    found = store.all("runs", project_id=parent["id"])[::-1]
    summaries = [_numbers(run["summary"]) for run in found[:MAX_ROWS]]
    keys = dict.fromkeys(key for summary in summaries for key in summary)
    return {
        "title": parent["name"],
        "project": parent,
        "run_count": len(found),
        "listed": list(zip(found[:MAX_ROWS], summaries, strict=True)),
        "keys": list(keys)[:5],
        "collections": artifacts.collections_of(store, parent["id"]),
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
    versions = artifacts.Versions(store, found["id"])[:MAX_ROWS]
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


def _numbers(summary: str) -> dict[str, float]:
    """The numbers of a run's summary, without W&B's own."""
    found = json.loads(summary).items()
    return {k: v for k, v in found if streams.is_number(v) and not k.startswith("_")}


# The lineage


def _lineage(
    store: Store, artifact: Any
) -> tuple[dict[str, lineage.Node], list[tuple[str, str]], bool]:
    """Every ancestor and every descendant of an artifact, at most `MAX_NODES`: the nodes, the
    edges in the direction of the work, and whether any were left out."""
    start = ("artifact", artifact["id"])
    nodes = {start: _node(store, *start, look="chosen")}
    edges: dict[tuple[Any, Any], None] = {}
    is_cut = False
    for is_forward in (False, True):
        front = [start]
        for node in front:  # it grows meanwhile
            for other in _neighbours(store, *node, is_forward):
                if other not in nodes:
                    if len(nodes) >= MAX_NODES:
                        is_cut = True
                        continue
                    nodes[other] = _node(store, *other)
                edge = (node, other) if is_forward else (other, node)
                if edge[::-1] not in edges:
                    edges[edge] = None
                if other not in front:
                    front.append(other)
    return nodes, list(edges), is_cut


def _neighbours(store: Store, kind: str, number: int, is_forward: bool) -> list[tuple[str, int]]:
    if kind == "artifact" and is_forward:
        return [("run", row["id"]) for row in store.all("users", used_id=number)]
    if kind == "artifact":
        maker = store.get("artifacts", number)["created_by"]
        return [("run", maker)] if maker else []
    if is_forward:
        return [("artifact", row["id"]) for row in store.all("outputs", created_by=number)]
    return [("artifact", row["id"]) for row in store.all("inputs", user_id=number)]


def _node(store: Store, kind: str, number: int, look: str = "") -> lineage.Node:
    if kind == "run":
        run = store.get("runs", number)
        project = store.get("projects", run["project_id"])
        line = f"run · {run['job_type'] or 'no job type'}"
        where = address(project["entity"], project["name"], "runs", run["name"])
        return lineage.Node(run["display_name"], (line,), True, where, look)
    version = artifacts.source_version(store, store.get("artifacts", number))
    title = f"{version['collection']}:v{version['version_index']}"
    where = version_address(version)
    return lineage.Node(title, (f"artifact · {version['type']}",), False, where, look)
