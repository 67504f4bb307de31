"""The whole way: a browser and a program use the real app through a link, by way of the stand-in
for ngrok's agent."""

import pytest
from app_serving import call, png, run, serving, uri
from test_app_browser import ARGUMENTS, MOST_MS, PAGE, browser, button, upload, wait_for_text
from tunnel_serving import DOMAIN, Edge, open_tunnel, resolve_localhost

from lab_utils.predictors import LocalPredictor

assert browser and ARGUMENTS  # a fixture that comes with the import


@pytest.fixture(scope="module")
def link(stand_in_path, tmp_path_factory):
    """An open link to the app over the stand-in reader: (edge, tunnel)."""
    edge = Edge(tmp_path_factory.mktemp("edge"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in edge.variables.items():
            patch.setenv(name, value)
        resolve_localhost(patch)
        folder = tmp_path_factory.mktemp("feedback")
        with (
            serving(LocalPredictor(stand_in_path), folder) as (frontend, _),
            open_tunnel(frontend.server_port, domain=DOMAIN) as tunnel,
        ):
            yield edge, tunnel


@pytest.fixture
def visit(browser, link):
    """Opens the link in a browser with its password."""
    contexts = []

    def start():
        _, tunnel = link
        login = {"username": tunnel.user, "password": tunnel.password}
        context = browser.new_context(ignore_https_errors=True, http_credentials=login)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MOST_MS)
        return page, page.goto(tunnel.url)

    yield start
    for context in contexts:
        context.close()


def test_a_browser_reads_a_page_through_the_link(visit, link):
    asked, errors = [], []
    page, answer = visit()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert answer.status == 200
    button(page, "read").wait_for()
    upload(page, PAGE)
    button(page, "read").click()
    assert "gray" in wait_for_text(page)
    assert errors == []
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {
        link[1].url.removeprefix("https://")
    }, "the page asked under an address that is not the link's"


def test_a_program_uses_the_api_through_the_link(link):
    edge, tunnel = link
    with edge.client(tunnel.url, auth=(tunnel.user, tunnel.password)) as client:
        image = {"url": uri(png())}
        text = run(client, "predict", image).json()["data"]
        assert "gray" in text[0], "the stand-in's answer"
        assert call(client, "predict", image) == ("complete", text)
        foreign = {"Origin": "https://evil.example"}
        path = "gradio_api/run/predict"
        assert client.post(path, json={"data": [image]}, headers=foreign).status_code == 403
        assert client.get("gradio_api/proxy=http://127.0.0.1/").status_code == 404
    with edge.client(tunnel.url) as stranger:
        assert run(stranger, "predict", image).status_code == 401
