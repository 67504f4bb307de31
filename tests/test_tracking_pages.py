"""The tracker's pages: they show what was logged, as text, and load nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser

import pytest
from tracking_client import running

from lab_tracker.charts import chart

EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Checks that a page is well-formed, and keeps its elements and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        assert self.open == [], "elements are left open"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def links(self) -> list[str]:
        return [a["href"] for tag, a in self.elements if tag == "a"]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running(tmp_path_factory.mktemp("tracker")) as client:
        fill(client)
        yield client


def fill(client) -> None:
    steps = [{"_step": i, "loss": 1 / (i + 1), EVIL: i, "odd": "NaN"} for i in range(20)]
    texts = {"displayName": EVIL, "notes": EVIL, "tags": [EVIL], "jobType": EVIL}
    config = json.dumps({EVIL: {"value": EVIL}})
    for name in ("train", "other"):
        given = {"modelName": "p", "name": name, "config": config}
        client.mutate("upsertBucket", "{ bucket { id } }", **given, **texts)
        files = {
            "wandb-history.jsonl": {"content": [json.dumps(step) for step in steps]},
            "wandb-summary.json": {"content": [json.dumps({EVIL: EVIL, "loss": 1})]},
            "output.log": {"content": [EVIL]},
        }
        client.stream(name, files=files, complete=True, exitcode=0)
    source = client.log("checkpoint", {f"{EVIL.replace('/', '')}.bin": b"x"}, run="train")
    client.mutate("updateArtifact", "{ artifact { id } }", artifactID=source, description=EVIL)
    where = {"entityName": "lab", "projectName": "p", "runName": "other"}
    client.mutate("useArtifact", "{ artifact { id } }", artifactID=source, **where)
    client.log("staged", {"model.pt": b"y"}, run="other", aliases=("production",))


def page(client, path: str) -> Page:
    answer = client.http.get(path, auth=None)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return Page(answer.text)


PAGES = [
    "/",
    "/lab/p",
    "/lab/p/runs/train",
    "/lab/p/runs/other",
    "/lab/p/artifacts/model/checkpoint",
    "/lab/p/artifacts/model/checkpoint/v0",
    "/lab/p/artifacts/model/checkpoint/latest/lineage",
    "/lab/p/artifacts/model/staged/production",
]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_whole_and_safe(client, path):
    found = page(client, path)
    tags = [tag for tag, _ in found.elements]
    assert "script" not in tags and "style" not in tags
    assert tags.count("h1") == 1 and tags.count("main") == 1 and "nav" in tags
    for tag, attributes in found.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        address = attributes.get("href") or attributes.get("src") or ""
        assert address == "" or address.startswith(("/", "#")), "something is loaded from elsewhere"
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or "aria-label" in attributes
    for address in found.links():
        if address.startswith("/"):
            assert client.get(address)


def test_a_run_shows_what_it_logged(client):
    found = page(client, "/lab/p/runs/train")
    assert EVIL in found.text and "finished" in found.text
    labels = [a["aria-label"] for tag, a in found.elements if a.get("class") == "chart"]
    assert any(re.match("loss over the step: from 1 to 0.05", text) for text in labels)
    assert "checkpoint:v0" in found.text


def test_the_lineage_leads_both_ways(client):
    for version in ("checkpoint/v0", "staged/v0"):
        found = page(client, f"/lab/p/artifacts/model/{version}")
        nodes = [a for tag, a in found.elements if a.get("class", "").startswith("node")]
        assert [a["href"] for a in nodes] == [
            "/lab/p/runs/train",
            "/lab/p/artifacts/model/checkpoint/v0",
            "/lab/p/runs/other",
            "/lab/p/artifacts/model/staged/v0",
        ]
        assert [a["href"] for a in nodes if a.get("aria-current")] == [
            f"/lab/p/artifacts/model/{version}"
        ]


@pytest.mark.parametrize(
    "points",
    [
        [(0, 1)],
        [(0, -1e300), (1, 1e300)],
        [(0, 1e-300), (1, 2e-300)],
        [(0, float("nan")), (1, float("inf"))],
    ],
)
def test_odd_series_are_drawn(points):
    drawn = chart("odd", points)
    Page(drawn)
    assert "nan" not in drawn and "inf" not in drawn
