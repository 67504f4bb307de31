"""The tracker's pages, under the same addresses as at wandb.ai: projects, a project, a run, an
artifact, one version of it and its lineage. The templates say how they look."""

import json
import sqlite3
from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from lab_tracker import artifacts, formats, lineage, runs, streams
from lab_tracker.charts import MAX_SERIES, Series, chart
from lab_tracker.errors import NotFoundError
from lab_tracker.signing import Signer
from lab_tracker.storage import Store
from lab_tracker.templating import address, render

MAX_CHARTS = 24
MAX_NODES = 80  # of a lineage
MAX_ROWS = 500
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")

Do = Callable[..., Any]


def router(store: Store, signer: Signer, do: Do) -> APIRouter:
    """The routes of the pages over a store; `await do(function, ...)` runs a function beside the
    event loop."""
    routes = APIRouter()
    pages = Pages(store, signer)
    style = resources.files("lab_tracker").joinpath("templates/style.css").read_text("utf-8")

    async def page(make: Callable[..., str], *path: str) -> HTMLResponse:
        try:
            return HTMLResponse(await do(make, *path))
        except NotFoundError as error:
            text = render("message.html", title="Not here", text=str(error))
            return HTMLResponse(text, status_code=404)

    @routes.get("/-/style.css")
    async def stylesheet() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})

    @routes.get("/")
    async def projects() -> Response:
        return await page(pages.projects)

    @routes.get("/{entity}")
    async def entity(entity: str) -> Response:
        if not await do(runs.all_projects, store, entity):
            return await page(pages.missing, entity)
        return RedirectResponse("/")

    @routes.get("/{entity}/{project}")
    async def project(entity: str, project: str) -> Response:
        return await page(pages.project, entity, project)

    @routes.get("/{entity}/{project}/runs/{run}")
    async def run(entity: str, project: str, run: str) -> Response:
        return await page(pages.run, entity, project, run)

    @routes.get("/{entity}/{project}/artifacts/{type}/{name}")
    async def collection(entity: str, project: str, type: str, name: str) -> Response:
        return await page(pages.collection, entity, project, name)

    @routes.get("/{entity}/{project}/artifacts/{type}/{name}/{alias}")
    @routes.get("/{entity}/{project}/artifacts/{type}/{name}/{alias}/{tab}")
    async def version(
        entity: str, project: str, type: str, name: str, alias: str, tab: str = ""
    ) -> Response:
        return await page(pages.version, entity, project, name, alias)

    return routes


class Pages:
    """Each page as a function from the parts of its address to HTML, and what the templates ask
    about rows. Raises NotFoundError for what does not exist."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self.store = store
        self.signer = signer

    def missing(self, entity: str) -> str:
        raise NotFoundError(f"There is nothing at /{entity}.")

    def projects(self) -> str:
        """All projects, the newest first."""
        cards = [
            (
                project,
                runs.runs_of(self.store, project["id"]),
                artifacts.collections_of(self.store, project["id"]),
            )
            for project in runs.all_projects(self.store)
        ]
        return render("projects.html", title="Projects", cards=cards)

    def project(self, entity: str, name: str) -> str:
        """The runs of a project, their metrics beside each other, and the artifacts."""
        project = self._project(entity, name)
        found = runs.runs_of(self.store, project["id"])[::-1]
        lines: dict[str, list[Series]] = {}
        compared = found[: 4 * MAX_SERIES]
        for run in compared:
            series = streams.metric_series(self.store, run["id"], len(compared))
            for key, points in series.items():
                if len(points) > 1 and len(lines.setdefault(key, [])) < MAX_SERIES:
                    lines[key].append(Series(run["display_name"], points))
        summaries = [_numbers(run["summary"]) for run in found[:MAX_ROWS]]
        keys = dict.fromkeys(key for summary in summaries for key in summary)
        return self._render(
            "project.html",
            project,
            title=project["name"],
            run_count=len(found),
            runs=list(zip(found[:MAX_ROWS], summaries, strict=True)),
            keys=list(keys)[:5],
            charts=[chart(key, lines[key]) for key in sorted(lines) if lines[key]][:MAX_CHARTS],
            collections=artifacts.collections_of(self.store, project["id"]),
        )

    def run(self, entity: str, project_name: str, name: str) -> str:
        """One run: state, metrics, summary, config, lineage, pictures, files and console."""
        store = self.store
        run = runs.find_run(store, entity, project_name, name)
        series = streams.metric_series(store, run["id"], 1)
        files = runs.files_of(store, run["id"])
        summary = json.loads(run["summary"])
        return self._render(
            "run.html",
            self._project(entity, project_name),
            title=run["display_name"],
            run=run,
            charts=[chart(k, [Series(k, series[k])]) for k in sorted(series)][:MAX_CHARTS],
            inputs=artifacts.inputs_of(store, run["id"])[:MAX_ROWS],
            outputs=artifacts.outputs_of(store, run["id"])[:MAX_ROWS],
            summary={k: v for k, v in summary.items() if not k.startswith("_")},
            config=runs.plain_config(run["config"]),
            pictures=[f for f in files if f["name"].lower().endswith(_PICTURES)][:MAX_CHARTS],
            files=files,
            console="\n".join(streams.tail(store, run["id"], streams.OUTPUT, 200)),
        )

    def collection(self, entity: str, project_name: str, name: str) -> str:
        """All versions of an artifact."""
        project, collection = self._collection(entity, project_name, name)
        versions = artifacts.versions_of(self.store, collection["id"], first=MAX_ROWS)
        return self._render(
            "collection.html", project, title=name, collection=collection, versions=versions
        )

    def version(self, entity: str, project_name: str, name: str, alias: str) -> str:
        """One version: aliases, where it comes from, metadata, files, and the lineage graph."""
        project, collection = self._collection(entity, project_name, name)
        version = artifacts.version_of(self.store, collection["id"], alias)
        if not version:
            raise NotFoundError(f"There is no artifact {entity}/{project_name}/{name}:{alias}.")
        nodes, edges, is_cut = self._lineage(version)
        metadata = json.loads(version["metadata"])
        return self._render(
            "version.html",
            project,
            title=f"{name}:v{version['version_index']}",
            collection=collection,
            version=version,
            users=artifacts.used_by(self.store, version["id"]),
            lineage=lineage.draw(
                nodes, edges, "Lineage: artifacts are rounded boxes, runs are hexagons"
            ),
            cut=MAX_NODES if is_cut else 0,
            metadata=metadata if isinstance(metadata, dict) else {"metadata": metadata},
            entries=artifacts.entries_of(self.store, version["id"]),
        )

    def _render(self, template: str, project: sqlite3.Row, **values: Any) -> str:
        return render(template, pages=self, project=project, most=MAX_ROWS, **values)

    def _project(self, entity: str, name: str) -> sqlite3.Row:
        if found := runs.project_of(self.store, entity, name):
            return found
        raise NotFoundError(f"There is no project {entity}/{name}.")

    def _collection(
        self, entity: str, project_name: str, name: str
    ) -> tuple[sqlite3.Row, sqlite3.Row]:
        project = self._project(entity, project_name)
        if found := artifacts.collection_of(self.store, project["id"], name):
            return project, found
        raise NotFoundError(f"There is no artifact {entity}/{project_name}/{name}.")

    # What the templates ask

    def run_address(self, run: sqlite3.Row) -> str:
        project = self.store.get("projects", run["project_id"])
        return address(project["entity"], project["name"], "runs", run["name"])

    def artifact_address(self, collection: sqlite3.Row, index: int | None = None) -> str:
        """The page of a collection, or of one version of it."""
        project = self.store.get("projects", collection["project_id"])
        path = [project["entity"], project["name"], "artifacts", collection["type"]]
        return address(*path, collection["name"], *([] if index is None else [f"v{index}"]))

    def state(self, run: sqlite3.Row) -> str:
        return runs.state_of(run)

    def lasted(self, run: sqlite3.Row) -> str:
        return formats.duration(run["created_at"], run["heartbeat_at"])

    def tags(self, row: sqlite3.Row) -> list[str]:
        return json.loads(row["tags"])

    def aliases(self, member: sqlite3.Row) -> list[str]:
        return [row["alias"] for row in artifacts.aliases_of(self.store, member["membership_id"])]

    def maker(self, artifact: sqlite3.Row) -> sqlite3.Row | None:
        return artifacts.logged_by(self.store, artifact)

    def newest(self, collection: sqlite3.Row) -> sqlite3.Row:
        return artifacts.versions_of(self.store, collection["id"], first=1)[0]

    def version_count(self, collection: sqlite3.Row) -> int:
        return artifacts.version_count(self.store, collection["id"])

    def source(self, artifact: sqlite3.Row) -> tuple[sqlite3.Row, sqlite3.Row]:
        """The sequence of an artifact, and its version there."""
        version = artifacts.source_version(self.store, artifact)
        return self.store.get("collections", artifact["sequence_id"]), version

    # The lineage

    def _lineage(
        self, artifact: sqlite3.Row
    ) -> tuple[dict[str, lineage.Node], list[tuple[str, str]], bool]:
        """Every ancestor and every descendant of an artifact, at most `MAX_NODES`: the nodes, the
        edges in the direction of the work, and whether any were left out."""
        start = ("artifact", artifact["id"])
        nodes = {_key(start): self._node(start, look="chosen")}
        edges: dict[tuple[str, str], None] = {}
        is_cut = False
        for is_forward in (False, True):
            front, seen = [start], {start}
            while front:
                node = front.pop(0)
                for other in self._neighbours(node, is_forward):
                    if _key(other) not in nodes:
                        if len(nodes) >= MAX_NODES:
                            is_cut = True
                            continue
                        nodes[_key(other)] = self._node(other)
                    edge = (_key(node), _key(other)) if is_forward else (_key(other), _key(node))
                    if edge[::-1] not in edges:
                        edges[edge] = None
                    if other not in seen:
                        seen.add(other)
                        front.append(other)
        return nodes, list(edges), is_cut

    def _neighbours(self, node: tuple[str, int], is_forward: bool) -> list[tuple[str, int]]:
        kind, number = node
        if kind == "run":
            found = artifacts.outputs_of if is_forward else artifacts.inputs_of
            return [("artifact", row["id"]) for row in found(self.store, number)]
        if is_forward:
            return [("run", row["id"]) for row in artifacts.used_by(self.store, number)]
        run = self.maker(self.store.get("artifacts", number))
        return [("run", run["id"])] if run else []

    def _node(self, node: tuple[str, int], look: str = "") -> lineage.Node:
        kind, number = node
        if kind == "run":
            run = self.store.get("runs", number)
            line = f"run · {run['job_type'] or 'no job type'}"
            return lineage.Node(run["display_name"], (line,), True, self.run_address(run), look)
        sequence, version = self.source(self.store.get("artifacts", number))
        where = self.artifact_address(sequence, version["version_index"])
        title = f"{sequence['name']}:v{version['version_index']}"
        return lineage.Node(title, (f"artifact · {sequence['type']}",), False, where, look)


def _key(node: tuple[str, int]) -> str:
    return f"{node[0]} {node[1]}"


def _numbers(summary: str) -> dict[str, float]:
    """The numbers of a run's summary, without W&B's own."""
    found = json.loads(summary).items()
    return {k: v for k, v in found if streams.is_number(v) and not k.startswith("_")}
