"""The tracker's pages, under the same addresses as at wandb.ai: what a student would see there."""

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from lab_tracker import artifacts, runs
from lab_tracker.errors import NotFoundError
from lab_tracker.page import views
from lab_tracker.signing import Signer
from lab_tracker.storage import Store


def router(store: Store, signer: Signer) -> APIRouter:
    """The routes of the pages over a store."""
    routes = APIRouter(default_response_class=HTMLResponse)
    style = resources.files("lab_tracker.page").joinpath("style.css").read_text("utf-8")

    @routes.get("/-/style.css")
    async def stylesheet() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})

    @routes.get("/")
    async def projects() -> HTMLResponse:
        return HTMLResponse(views.projects_page(store))

    @routes.get("/{entity}")
    async def entity(entity: str) -> Response:
        if not runs.all_projects(store, entity):
            return _missing(f"There is nothing at /{entity}.")
        return RedirectResponse("/")

    @routes.get("/{entity}/{project}")
    async def project(entity: str, project: str) -> HTMLResponse:
        found = runs.project_of(store, entity, project)
        if not found:
            return _missing(f"There is no project {entity}/{project}.")
        return HTMLResponse(views.project_page(store, found))

    @routes.get("/{entity}/{project}/runs/{run}")
    async def run(entity: str, project: str, run: str) -> HTMLResponse:
        try:
            found = runs.find_run(store, entity, project, run)
        except NotFoundError as error:
            return _missing(str(error))
        parent = runs.project_of(store, entity, project)
        return HTMLResponse(views.run_page(store, signer, parent, found))

    @routes.get("/{entity}/{project}/artifacts/{type}/{name}")
    async def collection(entity: str, project: str, type: str, name: str) -> HTMLResponse:
        parent = runs.project_of(store, entity, project)
        found = artifacts.collection_of(store, parent["id"], name) if parent else None
        if not found:
            return _missing(f"There is no artifact {entity}/{project}/{name}.")
        return HTMLResponse(views.collection_page(store, parent, found))

    @routes.get("/{entity}/{project}/artifacts/{type}/{name}/{alias}")
    @routes.get("/{entity}/{project}/artifacts/{type}/{name}/{alias}/{tab}")
    async def version(
        entity: str, project: str, type: str, name: str, alias: str, tab: str = ""
    ) -> HTMLResponse:
        parent = runs.project_of(store, entity, project)
        found = artifacts.collection_of(store, parent["id"], name) if parent else None
        member = artifacts.version_of(store, found["id"], alias) if found else None
        if not member:
            return _missing(f"There is no artifact {entity}/{project}/{name}:{alias}.")
        return HTMLResponse(views.version_page(store, signer, parent, found, member))

    return routes


def _missing(text: str) -> HTMLResponse:
    return HTMLResponse(views.message_page("Not here", text), status_code=404)
