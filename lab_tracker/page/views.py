"""The pages: projects, a project, a run, an artifact, one version of it and its lineage.

Each is a function from rows to HTML, with what a reader asks first at the top."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from lab_tracker import artifacts, runs, streams
from lab_tracker.page import formats
from lab_tracker.page.charts import MAX_SERIES, Series, chart
from lab_tracker.page.html import Html, document, element, joined, link, table
from lab_tracker.page.lineage import MAX_NODES, drawing, lineage_of
from lab_tracker.signing import Signer
from lab_tracker.storage import Store

MAX_CHARTS = 24
MAX_ROWS = 500
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


def projects_page(store: Store) -> Html:
    """All projects, the newest first."""
    cards = []
    for project in runs.all_projects(store):
        found = runs.runs_of(store, project["id"])
        collections = artifacts.collections_of(store, project["id"])
        told = f"{_counted(len(found), 'run')}, {_counted(len(collections), 'artifact')}"
        last = f"Last run {formats.moment(found[-1]['created_at'])}" if found else "No run yet"
        name = link(project["name"], project["entity"], project["name"])
        cards.append(element("li", name, element("p", told), element("p", last)))
    content = element("ul", *cards, class_="cards")
    if not cards:
        content = element("p", "Nothing is here yet. The first wandb.init() makes a project.")
    return document("Projects", [], element("h1", "Projects"), content)


def project_page(store: Store, project: sqlite3.Row) -> Html:
    """The runs of a project, their metrics beside each other, and the artifacts."""
    found = runs.runs_of(store, project["id"])[::-1]
    shown = found[:MAX_ROWS]
    lines: dict[str, list[Series]] = {}
    for run in found[: 4 * MAX_SERIES]:
        for key, points in streams.metric_series(streams.history(store, run["id"])).items():
            if len(points) > 1 and len(lines.setdefault(key, [])) < MAX_SERIES:
                lines[key].append(Series(run["display_name"], points))
    compared = [chart(key, series) for key, series in sorted(lines.items()) if series]
    collections = artifacts.collections_of(store, project["id"])
    return document(
        project["name"],
        [link(project["name"], project["entity"], project["name"], aria_current="page")],
        element("h1", project["name"]),
        element(
            "p",
            f"{_counted(len(found), 'run')}, {_counted(len(collections), 'artifact')}",
            class_="lead",
        ),
        _section(
            "Metrics", element("div", *compared[:MAX_CHARTS], class_="charts"), bool(compared)
        ),
        _section("Runs", _runs_table(project, shown), bool(shown)),
        _section("Artifacts", _collections_table(store, project, collections), bool(collections)),
    )


def run_page(store: Store, signer: Signer, project: sqlite3.Row, run: sqlite3.Row) -> Html:
    """One run: state, metrics, summary, config, lineage, pictures, files and console."""
    state = runs.state_of(run)
    series = streams.metric_series(streams.history(store, run["id"]))
    charts = [chart(key, [Series(key, points)]) for key, points in sorted(series.items())]
    files = runs.files_of(store, run["id"])
    pictures = [f for f in files if f["name"].lower().endswith(_PICTURES)]
    inputs = _versions_table(store, "Used", artifacts.inputs_of(store, run["id"]))
    outputs = _versions_table(store, "Logged", artifacts.outputs_of(store, run["id"]))
    console = "\n".join(streams.tail(store, run["id"], streams.OUTPUT, 200))
    summary = {k: v for k, v in json.loads(run["summary"]).items() if not k.startswith("_")}
    return document(
        run["display_name"],
        [
            link(project["name"], project["entity"], project["name"]),
            element("span", run["display_name"], aria_current="page"),
        ],
        element("h1", run["display_name"]),
        element("p", run["notes"], class_="lead") if run["notes"] else None,
        _facts(
            State=_state(state),
            Job=run["job_type"] or "none",
            Started=_time(run["created_at"]),
            Lasted=formats.duration(run["created_at"], run["heartbeat_at"]),
            Id=element("code", run["name"]),
            Group=run["group_name"],
            Tags=_badges(json.loads(run["tags"]), "tag"),
        ),
        _section("Metrics", element("div", *charts[:MAX_CHARTS], class_="charts"), bool(charts)),
        _section(
            "Artifacts", element("div", inputs, outputs, class_="pairs"), bool(inputs or outputs)
        ),
        _section(
            "Values",
            element(
                "div",
                _values("Summary", summary),
                _values("Config", runs.plain_config(run["config"])),
                class_="pairs",
            ),
            bool(summary or runs.plain_config(run["config"])),
        ),
        _section("Pictures", _gallery(signer, pictures), bool(pictures)),
        _section(
            "Console",
            element(
                "pre", console, class_="console", tabindex="0", role="region", aria_label="Console"
            ),
            bool(console),
        ),
        _section("Files", _files_table(signer, [(f, f["size"]) for f in files]), bool(files)),
    )


def collection_page(store: Store, project: sqlite3.Row, collection: sqlite3.Row) -> Html:
    """All versions of an artifact."""
    versions = artifacts.versions_of(store, collection["id"], first=MAX_ROWS)
    return document(
        collection["name"],
        [
            link(project["name"], project["entity"], project["name"]),
            element("span", collection["name"], aria_current="page"),
        ],
        element("h1", collection["name"]),
        element("p", f"Artifact of type {collection['type']}", class_="lead"),
        _section("Versions", _members_table(store, project, collection, versions), bool(versions)),
    )


def version_page(
    store: Store,
    signer: Signer,
    project: sqlite3.Row,
    collection: sqlite3.Row,
    version: sqlite3.Row,
) -> Html:
    """One version: aliases, where it comes from, metadata, files, and the lineage graph."""
    label = f"{collection['name']}:v{version['version_index']}"
    maker = artifacts.logged_by(store, version)
    metadata = json.loads(version["metadata"])
    entries = artifacts.entries_of(store, version["id"])
    graph = lineage_of(store, version)
    cut = f"Only the {MAX_NODES} nearest nodes are drawn." if graph.is_cut else None
    users = [_run_link(store, run) for run in artifacts.used_by(store, version["id"])]
    return document(
        label,
        [
            link(project["name"], project["entity"], project["name"]),
            link(
                collection["name"],
                *_artifact_path(project, collection),
            ),
            element("span", f"v{version['version_index']}", aria_current="page"),
        ],
        element("h1", label),
        element("p", version["description"], class_="lead") if version["description"] else None,
        _facts(
            Type=collection["type"],
            Aliases=_aliases(store, version["membership_id"]) or "none",
            Size=formats.size(version["size"]),
            Files=version["file_count"],
            Created=_time(version["created_at"]),
            Logged_by=_run_link(store, maker) if maker else "a deleted run",
            Used_by=_listed(users) if users else "no run yet",
            Tags=_badges(json.loads(version["tags"]), "tag"),
            Digest=element("code", version["digest"]),
        ),
        _section(
            "Lineage",
            joined(
                drawing(graph, ("artifact", version["id"])),
                element("p", cut, class_="lead") if cut else None,
            ),
        ),
        _section("Metadata", _values("By name", metadata), bool(metadata)),
        _section("Files", _entries_table(signer, entries), bool(entries)),
    )


def message_page(title: str, text: str) -> Html:
    """A page with one thing to say."""
    return document(title, [], element("h1", title), element("p", text))


def _section(title: str, content: Html, is_shown: bool = True) -> Html | None:
    return element("section", element("h2", title), content) if is_shown else None


def _facts(**facts: object) -> Html:
    rows = [
        element("div", element("dt", name.replace("_", " ")), element("dd", value))
        for name, value in facts.items()
        if value not in (None, "")
    ]
    return element("dl", *rows, class_="facts")


def _runs_table(project: sqlite3.Row, found: list[sqlite3.Row]) -> Html:
    summaries = {run["id"]: json.loads(run["summary"]) for run in found}
    keys: dict[str, None] = {}
    for summary in summaries.values():
        keys |= {k: None for k, v in summary.items() if _is_number(v) and not k.startswith("_")}
    keys = dict.fromkeys(list(keys)[:5])
    rows: list[list[object]] = []
    for run in found:
        rows.append(
            [
                link(run["display_name"], project["entity"], project["name"], "runs", run["name"]),
                _state(runs.state_of(run)),
                run["job_type"] or "",
                _time(run["created_at"]),
                formats.duration(run["created_at"], run["heartbeat_at"]),
                *(_number_cell(summaries[run["id"]].get(key)) for key in keys),
            ]
        )
    headings = ["Run", "State", "Job", "Started", "Lasted", *keys]
    return table("Runs, newest first", headings, rows, numbers=len(keys) + 1)


def _collections_table(store: Store, project: sqlite3.Row, collections: list[sqlite3.Row]) -> Html:
    rows: list[list[object]] = []
    for collection in collections[:MAX_ROWS]:
        newest = artifacts.versions_of(store, collection["id"], first=1)[0]
        count = "SELECT count(*) FROM memberships WHERE collection_id = ?"
        rows.append(
            [
                link(
                    collection["name"],
                    *_artifact_path(project, collection),
                ),
                collection["type"] + (" (links)" if collection["kind"] == "PORTFOLIO" else ""),
                link(
                    f"v{newest['version_index']}",
                    *_artifact_path(project, collection, newest),
                ),
                _aliases(store, newest["membership_id"]),
                _time(newest["created_at"]),
                store.value(count, collection["id"]),
                formats.size(newest["size"]),
            ]
        )
    headings = ["Artifact", "Type", "Newest", "Aliases", "Created", "Versions", "Size"]
    return table("Artifacts by name", headings, rows, numbers=2)


def _members_table(
    store: Store, project: sqlite3.Row, collection: sqlite3.Row, versions: list[sqlite3.Row]
) -> Html:
    rows: list[list[object]] = []
    for version in versions:
        maker = artifacts.logged_by(store, version)
        rows.append(
            [
                link(f"v{version['version_index']}", *_artifact_path(project, collection, version)),
                _aliases(store, version["membership_id"]),
                _run_link(store, maker) if maker else "a deleted run",
                _time(version["created_at"]),
                element("code", version["digest"][:12]),
                version["file_count"],
                formats.size(version["size"]),
            ]
        )
    headings = ["Version", "Aliases", "Logged by", "Created", "Digest", "Files", "Size"]
    return table("Versions, newest first", headings, rows, numbers=2)


def _versions_table(store: Store, caption: str, found: list[sqlite3.Row]) -> Html | None:
    rows: list[list[object]] = []
    for row in found[:MAX_ROWS]:
        sequence = artifacts.collection_by_id(store, row["sequence_id"])
        project = store.row("SELECT * FROM projects WHERE id = ?", sequence["project_id"])
        version = artifacts.source_version(store, row)
        label = f"{sequence['name']}:v{version['version_index']}"
        rows.append(
            [
                link(label, *_artifact_path(project, sequence, version)),
                sequence["type"],
                _aliases(store, version["membership_id"]),
                formats.size(row["size"]),
            ]
        )
    return (
        table(caption, ["Artifact", "Type", "Aliases", "Size"], rows, numbers=1) if rows else None
    )


def _values(caption: str, values: Mapping[str, Any]) -> Html | None:
    rows: list[list[object]] = [[key, _shown(value)] for key, value in sorted(values.items())]
    return table(caption, ["Name", "Value"], rows) if rows else None


def _shown(value: Any) -> object:
    if isinstance(value, Mapping) and "_type" in value:
        return value["_type"]
    return formats.value(value)


def _files_table(signer: Signer, files: list[tuple[sqlite3.Row, int]]) -> Html:
    rows: list[list[object]] = [
        [
            element("a", row["name"], href=signer.blob_url(row["digest"], row["name"])),
            formats.size(count),
        ]
        for row, count in files[:MAX_ROWS]
    ]
    return table("Files by name", ["Name", "Size"], rows, numbers=1)


def _entries_table(signer: Signer, entries: list[sqlite3.Row]) -> Html:
    rows: list[list[object]] = []
    for entry in entries[:MAX_ROWS]:
        name: object = entry["path"]
        if entry["digest"]:
            name = element("a", name, href=signer.blob_url(entry["digest"], entry["path"]))
        digest = entry["digest"] or f"refers to {entry['reference']}"
        rows.append([name, element("code", digest), formats.size(entry["size"])])
    caption = "Files by name"
    if len(entries) > MAX_ROWS:
        caption += f", the first {MAX_ROWS} of {len(entries)}"
    return table(caption, ["Name", "MD5", "Size"], rows, numbers=1)


def _gallery(signer: Signer, files: list[sqlite3.Row]) -> Html:
    figures = [
        element(
            "figure",
            element("figcaption", f["name"]),
            element(
                "img", src=signer.blob_url(f["digest"], f["name"]), alt=f["name"], loading="lazy"
            ),
        )
        for f in files[:MAX_CHARTS]
    ]
    return element("div", *figures, class_="charts")


def _artifact_path(
    project: sqlite3.Row, collection: sqlite3.Row, version: sqlite3.Row | None = None
) -> list[str]:
    path = [project["entity"], project["name"], "artifacts", collection["type"], collection["name"]]
    return path + ([f"v{version['version_index']}"] if version else [])


def _run_link(store: Store, run: sqlite3.Row) -> Html:
    project = store.row("SELECT * FROM projects WHERE id = ?", run["project_id"])
    return link(run["display_name"], project["entity"], project["name"], "runs", run["name"])


def _aliases(store: Store, membership_id: int) -> Html | None:
    return _badges([row["alias"] for row in artifacts.aliases_of(store, membership_id)], "alias")


def _badges(texts: list[str], kind: str) -> Html | None:
    badges = [element("span", text, class_=f"badge {kind}") for text in texts]
    return element("span", *badges, class_="badges") if badges else None


def _state(state: str) -> Html:
    known = state if state in ("running", "finished", "failed", "crashed", "killed") else ""
    return element("span", state, class_=f"badge {known}")


def _listed(items: list[Html]) -> Html:
    return joined(*[(", ", item) if i else item for i, item in enumerate(items)])


def _time(stored: str) -> Html:
    return element("time", formats.moment(stored), datetime=stored)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _number_cell(value: Any) -> str:
    return formats.value(value) if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
