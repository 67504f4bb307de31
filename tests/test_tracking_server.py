"""The tracker as a broken or hostile client sees it: keys, origins, paths, sizes, odd requests."""

import gzip
import json
import re
import socket
import sqlite3
import threading
from concurrent.futures import Future
from urllib.parse import quote

import pytest
from tracking_client import Client, Refused, artifact_digest, md5, running

from lab_tracker import limits, storage
from lab_tracker.errors import TrackingError
from lab_tracker.server import TrackingServer

HISTORY = "wandb-history.jsonl"


@pytest.fixture
def client(tmp_path):
    with running(tmp_path / "tracker") as client:
        yield client


@pytest.fixture
def server(client):
    return client.server


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A client of a server for all the tests that leave nothing behind."""
    with running(tmp_path_factory.mktemp("shared")) as client:
        yield client


def blobs(server) -> set[str]:
    return {path.name for path in server.folder.glob("blobs/*/*")}


def uploads(server) -> list:
    return list(server.folder.glob("uploads/*"))


# Requests that it does not know


def test_an_unknown_feature_of_a_known_object_is_named_and_a_plain_field_is_null(shared):
    with pytest.raises(Refused, match=r"Deep: .*'sweep' of Project"):
        shared.graphql('query Deep { project(name: "p") { sweep(sweepName: "s") { id } } }')
    found = shared.graphql('query New { project(name: "p") { name somethingNew } }')
    assert found["project"] == {"name": "p", "somethingNew": None}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"query": 1}',
        b'{"query": "query {"}',
        b'{"query": "query A { viewer { id } } query B { viewer { id } }"}',
        b'{"query": "query A { viewer { id } }", "variables": []}',
        b'{"query": "query A { project(name: {a: 1}) { runs(first: -1) { edges { cursor } } } }"}',
        b'{"query": "mutation M { createArtifact(input: {digest: 1}) { artifact { id } } }"}',
        b'{"query": "mutation M { createRunFiles { runID } }"}',
        *(
            b'{"query": "mutation M { commitArtifact(input: {artifactID: \\"%s\\"}) { id } }"}' % id
            for id in (b"!", b"UnVuOjE=", b"QXJ0aWZhY3Q6OTk5")
        ),
        b"[" * 100_000,
        json.dumps({"query": "query A " + "{ viewer " * 5000 + "}" * 5000}).encode(),
    ],
)
def test_nonsense_is_refused_and_never_a_server_error(shared, body):
    status, _, answer = shared.request("POST", "/graphql", body)
    assert status == 400 or (status == 200 and json.loads(answer)["errors"])


def test_what_is_not_there_is_a_4xx(shared):
    for method, path in (
        ("GET", "/graphql"),
        ("POST", "/files/lab/p/none/file_stream"),
        ("GET", "/lab/p/artifacts/model/none/v0"),
        ("DELETE", "/lab/p"),
        ("GET", "/a/b/c/d/e/f/g/h"),
        ("PUT", "/-/uploads/runs/notanumber/x/y"),
    ):
        status, _, _ = shared.request(method, path, "{}")
        assert 400 <= status < 500, path


# Who may ask


def test_the_key_is_needed_and_is_its_owners_only(server):
    assert (server.folder / "tracking.sqlite").stat().st_mode & 0o077 == 0
    assert re.fullmatch("[0-9a-f]{40}", server.key)
    for key in ("0" * 40, "", "é"):
        stranger = Client(server.url, key)
        with pytest.raises(Refused, match="401"):
            stranger.graphql("query V { viewer { id } }")
        with pytest.raises(Refused, match="401"):
            stranger.stream("run", files={})
    status, _, _ = Client(server.url, "").request("POST", "/graphql", "{}", headers={})
    assert status == 401


def test_it_listens_on_this_machine_only(server):
    assert server.url.startswith("http://127.0.0.1:")
    with socket.socket() as other:
        other.settimeout(2)
        address = "127.0.0.2"  # a loopback address, but not the one that it is bound to
        assert other.connect_ex((address, server.port)) != 0


def test_another_sites_page_is_refused(shared):
    """Neither under a name of its own (DNS rebinding), nor writing from its origin."""
    for host, status in (("evil.example", 403), ("localhost:1", 200)):
        assert shared.request("GET", "/", headers={"Host": host})[0] == status
    body = json.dumps({"query": "query V { viewer { id } }"})
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        own = shared.headers | {"Origin": origin}
        status, headers, _ = shared.request("POST", "/graphql", body, own)
        assert status == 403
        assert not any(name.startswith("access-control") for name in headers)


def test_addresses_of_files_cannot_be_guessed(client):
    client.log("model", {"a": b"bytes"})
    url = client.versions("model")["v0"]["files"][0]["directUrl"]
    _, headers, content = client.request("GET", url, headers={})
    assert content == b"bytes" and headers["content-disposition"] == "attachment"
    assert headers["content-type"] == "application/octet-stream"
    text, signature = url.split("/-/blobs/")[1].split("/")[0].split(".")
    for wrong in (f"{text}.{'0' * 64}", f"{text}.{signature[:-1]}x", text, quote("é.é")):
        assert client.request("GET", f"/-/blobs/{wrong}/a")[0] == 403
    draft = client.draft("other", {"b": b"more bytes"})
    url = draft.upload_url("b")
    assert client.request("PUT", url[:-4] + "0000", b"more bytes")[0] == 403


# Files


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../../b", "..\\a", "C:/a", "a\x00b", "a" * 2000, ""]
)
def test_a_path_that_leaves_its_folder_is_refused(shared, name):
    where = {"entityName": "lab", "projectName": "p", "runName": "run"}
    with pytest.raises(Refused):
        shared.mutate("createRunFiles", "{ runID }", files=[name], **where)
    with pytest.raises(Refused):
        shared.draft("model", {name: b"x"}).upload_url(name)
    # A shared that does not announce the file, but has it in the manifest.
    draft = shared.draft("model", {name: b"x"})
    draft.upload_manifest()
    with pytest.raises(Refused):
        draft.commit()
    assert shared.versions("model") == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"digest": "x", "ref": "no url"},
        {"digest": "x", "ref": "wandb-artifact://abc/../../etc/passwd"},
        {"size": 1},
        {"digest": "not base64", "size": 1},
        {"digest": md5(b"x"), "size": -1},
        None,
    ],
)
def test_a_broken_manifest_is_refused(shared, entry):
    whole = artifact_digest({"a": {"digest": "x"}})
    draft = shared.draft("model", {}, contents={"a": entry or {"digest": "x"}}, digest=whole)
    if entry is None:
        draft.manifest = b'{"contents": [1]}'
    draft.upload_manifest()
    with pytest.raises(Refused):
        draft.commit()
    assert shared.versions("model") == {}


def test_a_version_needs_its_manifest_its_files_and_its_digest(client):
    draft = client.draft("model", {"a": b"one", "b": b"two"}, aliases=("best",))
    with pytest.raises(Refused, match="manifest"):
        draft.commit()
    draft.upload_manifest()
    draft.upload("a")
    with pytest.raises(Refused, match="'b'"):
        draft.commit()
    assert client.versions("model") == {}
    draft.upload("b")
    draft.commit()
    draft.commit()  # sent again, since the answer was lost
    assert [version["aliases"] for version in client.versions("model").values()] == [
        {"best", "latest"}
    ]
    lying = client.draft("model", {"a": b"one"}, digest="0" * 32)
    lying.upload_manifest()
    with pytest.raises(Refused, match="digest"):
        lying.commit()


def test_other_bytes_than_announced_are_refused(client, server):
    draft = client.draft("model", {"a": b"right"})
    url = draft.upload_url("a")
    with pytest.raises(Refused, match="announced"):
        client.put(url, b"wrong")
    with pytest.raises(Refused, match="announced"):
        client.put(draft.manifest_url(), b"{}")
    assert blobs(server) == set() and uploads(server) == []


def test_equal_bytes_are_stored_once_and_freed_with_their_last_user(client, server):
    first = client.log("one", {"a": b"shared", "b": b"own"})
    draft = client.draft("two", {"c": b"shared"})
    assert draft.upload_url("c") is None
    stored = blobs(server)
    client.mutate("deleteArtifact", "{ artifact { id } }", artifactID=first, deleteAliases=True)
    assert len(stored) - len(blobs(server)) == 2  # `own`, and the manifest
    draft.upload_manifest()
    draft.commit()  # what the draft counted on is still there
    [version] = client.versions("two").values()
    assert client.request("GET", version["files"][0]["directUrl"])[2] == b"shared"
    client.mutate(
        "deleteArtifact", "{ artifact { id } }", artifactID=version["id"], deleteAliases=True
    )
    assert blobs(server) == set()


# Sizes


def test_too_many_bytes_are_refused(client, server, monkeypatch):
    monkeypatch.setattr(limits, "MAX_STREAM_BYTES", 1_000_000)
    headers = client.headers | {"Content-Encoding": "gzip"}
    path = "/files/lab/p/run/file_stream"
    bomb, good = gzip.compress(b" " * 50_000_000), gzip.compress(b'{"files": {}}')
    for body, status in ((bomb, 413), (good, 200), (good[:-9], 400)):
        assert client.request("POST", path, body, headers)[0] == status
    monkeypatch.setattr(limits, "MAX_REQUEST_BYTES", 1000)
    assert client.request("POST", "/graphql", b" " * 2000)[0] == 413
    monkeypatch.undo()
    draft = client.draft("model", {"a": b"x" * 2000})
    url = draft.upload_url("a")
    monkeypatch.setattr(limits, "MAX_BLOB_BYTES", 1000)
    with pytest.raises(Refused, match="413"):
        client.put(url, b"x" * 2000)
    assert uploads(server) == []


def test_a_full_disk_is_named_and_nothing_is_kept(client, server, monkeypatch):
    import shutil

    draft = client.draft("model", {"a": b"x"})
    url = draft.upload_url("a")
    full = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        with pytest.raises(Refused, match="413.*full"):
            client.put(url, b"x")
    assert blobs(server) == set() and uploads(server) == []
    client.put(url, b"x")  # and later it goes on


def test_a_full_database_is_named_and_nothing_is_kept(client, server):
    def limit(pages: int) -> None:
        server._store._db.execute(f"PRAGMA max_page_count = {pages}")

    def chunk(offset: int) -> dict:
        lines = [json.dumps({"_step": offset + i, "text": "x" * 1000}) for i in range(1000)]
        return {HISTORY: {"offset": offset, "content": lines}}

    client.stream("run", files=chunk(0))
    limit(1)  # SQLite takes what it has already
    with pytest.raises(Refused, match="413.*full"):
        client.stream("run", files=chunk(1000))
    with pytest.raises(Refused, match="413.*full"):
        for i in range(1000):
            client.run(f"run {i}")
    limit(2**30)
    query = 'query C { project(name: "p") { run(name: "run") { historyLineCount } } }'
    assert client.graphql(query)["project"]["run"]["historyLineCount"] == 1000
    client.stream("run", files=chunk(1000))
    assert client.graphql(query)["project"]["run"]["historyLineCount"] == 2000


def test_a_database_that_another_program_holds_is_worth_another_try(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.1)
    server = TrackingServer(tmp_path / "tracker")
    server.start()
    client = Client(server.url, server.key)
    other = sqlite3.connect(tmp_path / "tracker" / "tracking.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refused, match="429"):  # the SDK tries again after this one
        client.run()
    other.execute("ROLLBACK")
    client.run()
    other.close()
    server.stop()


def test_deleting_a_run_frees_its_files_and_what_it_logged_only_if_asked(client, server):
    def upload(run: str) -> None:
        where = {"entityName": "lab", "projectName": "p", "runName": run}
        fields = "{ files { uploadUrl } }"
        made = client.mutate("createRunFiles", fields, files=["notes/a.txt"], **where)
        client.put(made["files"][0]["uploadUrl"], f"of {run}".encode())

    kept, gone = client.run("kept"), client.run("gone")
    for run in ("kept", "gone"):
        upload(run)
        client.log(run, {"a": f"artifact of {run}".encode()}, run=run)
    assert len(blobs(server)) == 6
    client.mutate("deleteRun", "{ success }", id=gone, deleteArtifacts=True)
    assert len(blobs(server)) == 3 and client.versions("gone") == {}
    client.mutate("deleteRun", "{ success }", id=kept)
    assert len(blobs(server)) == 2 and set(client.versions("kept")) == {"v0"}


# Streams


def test_a_chunk_that_is_sent_again_lands_on_its_place(client):
    lines = [json.dumps({"_step": i, "loss": i}) for i in range(10)]
    chunk = {"files": {HISTORY: {"offset": 0, "content": lines[:6]}}}
    client.stream("run", **chunk)
    client.stream("run", **chunk)
    client.stream("run", files={HISTORY: {"offset": 4, "content": lines[4:]}})
    query = 'query H { project(name: "p") { run(name: "run") { history(samples: 99) } } }'
    assert client.graphql(query)["project"]["run"]["history"] == lines


@pytest.mark.parametrize(
    "chunk",
    [
        {"files": []},
        {"files": {HISTORY: {"offset": -1, "content": []}}},
        {"files": {HISTORY: {"offset": 0, "content": [5]}}},
        {"files": {HISTORY: {"offset": 0, "content": ["no json"]}}},
        {"files": {"wandb-summary.json": {"offset": 0, "content": ["[]"]}}},
        {"files": {"output.log": {"offset": 0, "content": [""] * (limits.MAX_STREAM_LINES + 1)}}},
    ],
)
def test_a_broken_chunk_changes_nothing(shared, chunk):
    good = {"wandb-summary.json": {"offset": 0, "content": ['{"a": 1}']}}
    shared.stream("run", files=good)
    with pytest.raises(Refused, match="400"):
        shared.stream("run", **chunk)
    query = 'query S { project(name: "p") { run(name: "run") { summaryMetrics } } }'
    assert shared.graphql(query)["project"]["run"]["summaryMetrics"] == '{"a": 1}'


# Names


@pytest.mark.parametrize("name", ["", "a/b", "..", "a:b", "x" * 200, "a\nb"])
def test_names_that_would_break_an_address_are_refused(shared, name):
    for make in (
        lambda: shared.run(name=name),
        lambda: shared.run(project=name or " "),
        lambda: shared.draft(name, {}),
        lambda: shared.draft("model", {}, aliases=("v7",)),  # it names a version
    ):
        with pytest.raises(Refused):
            make()


# Starting


def test_a_file_that_is_not_a_database_is_refused(tmp_path):
    (tmp_path / "tracking.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match="not a database"):
        TrackingServer(tmp_path)


# Requests that ask for far more than they seem to, and values that no page could show


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A client of a server whose run has a history."""
    with running(tmp_path_factory.mktemp("tracker")) as made:
        lines = [json.dumps({"_step": i, "loss": i, "text": "x" * 200}) for i in range(500)]
        made.stream("run", files={HISTORY: {"offset": 0, "content": lines}})
        yield made


def of_the_run(selection: str) -> str:
    return f'query Q {{ project(name: "p") {{ run(name: "run") {{ {selection} }} }} }}'


def nested_fragments(levels: int, width: int) -> str:
    parts = [f"fragment F{i} on Project {{ {f'...F{i + 1} ' * width} }}" for i in range(levels)]
    return f'query Q {{ project(name: "p") {{ ...F0 }} }} {" ".join(parts)} ' + (
        f"fragment F{levels} on Project {{ name }}"
    )


@pytest.mark.parametrize(
    "query",
    [
        nested_fragments(18, 9),
        "query Q { viewer { ...A } } fragment A on User { ...B } fragment B on User { ...A }",
        of_the_run(" ".join(f"h{i}: historyKeys" for i in range(3000))),
        "query Q { viewer { id } } #" + "x" * 200_000,
    ],
)
def test_a_query_is_measured_before_it_is_answered(busy, query, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 100_000)
    with pytest.raises(Refused):
        busy.graphql(query)


def test_aliases_and_specs_share_one_budget(busy, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 20_000)
    assert busy.graphql(of_the_run("history(samples: 9999)"))
    with pytest.raises(Refused, match="too much"):
        busy.graphql(of_the_run(" ".join(f"h{i}: history(samples: 9999)" for i in range(50))))
    query = """query S($specs: [JSONString!]!) { project(name: "p") { run(name: "run") {
        sampledHistory(specs: $specs) } } }"""
    spec = json.dumps({"keys": ["loss"]})
    assert busy.graphql(query, specs=[spec])
    with pytest.raises(Refused, match="too much"):
        busy.graphql(query, specs=[spec] * 1000)
    with pytest.raises(Refused, match="too much"):
        filters = json.dumps({"$or": [{"config.a": 1}] * 30_000})
        busy.graphql(
            'query R($f: JSONString) { project(name: "p") { runCount(filters: $f) } }', f=filters
        )


def test_a_pattern_or_an_operator_that_could_take_long_is_refused(busy):
    files = 'files(pattern: "%a%a%b") { totalCount }'
    with pytest.raises(Refused, match="by a pattern"):
        busy.graphql(of_the_run(files))
    query = 'query R($f: JSONString) { project(name: "p") { runCount(filters: $f) } }'
    for operator in ("$regex", "$where"):
        with pytest.raises(Refused, match="is not known"):
            busy.graphql(query, f=json.dumps({"name": {operator: "(a+)+$"}}))


@pytest.mark.parametrize("behind", [b"x", gzip.compress(b"{}", mtime=0), b"\0" * 100_000])
def test_nothing_may_follow_the_gzip(busy, behind):
    headers = busy.headers | {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"files": {}}') + behind
    assert busy.request("POST", "/files/lab/p/run/file_stream", body, headers)[0] == 400


def test_a_busy_request_stops_nobody_from_asking_whether_it_lives(busy):
    """As long as one request keeps the store's thread, the others that need it wait."""
    is_over = threading.Event()
    busy.server._workers[0]._jobs.put((Future(), lambda: is_over.wait(60)))
    waiting = threading.Thread(target=busy.graphql, args=("query V { viewer { id } }",))
    waiting.start()
    try:
        assert busy.request("GET", "/healthz")[0] == 200
        assert waiting.is_alive()
    finally:
        is_over.set()
    waiting.join(60)


@pytest.mark.parametrize(
    "line",
    ['{"_step": "1"}', '{"_step": true}', '{"_step": 1, "a": 1e999}', "[1]"]
    + ['{"_step": 1, "a": 1' + "0" * 400 + "}", '{"_step": ' + "9" * 30 + "}"],
)
def test_a_line_that_no_chart_could_show_is_refused(busy, line):
    with pytest.raises(Refused, match="400"):
        busy.stream("run", files={HISTORY: {"offset": 500, "content": [line]}})
    assert busy.request("GET", "/lab/p/runs/run")[0] == 200


@pytest.mark.parametrize("text", ["[1]", '{"a": 1e999}', "{"])
def test_what_must_be_an_object_is_one(busy, text):
    for field in ("config", "summaryMetrics"):
        given = {"modelName": "p", "name": "run", field: text}
        with pytest.raises(Refused, match="must be"):
            busy.mutate("upsertBucket", "{ bucket { id } }", **given)


def test_nan_is_kept_as_the_word(busy):
    """The SDK sends it in histories, and JSON has no such number."""
    files = {HISTORY: {"offset": 0, "content": ['{"_step": 0, "a": NaN, "b": -Infinity}']}}
    busy.run("odd")
    busy.stream("odd", files=files)
    query = 'query H { project(name: "p") { run(name: "odd") { history } } }'
    [line] = busy.graphql(query)["project"]["run"]["history"]
    assert json.loads(line, parse_constant=pytest.fail) == {
        "_step": 0,
        "a": "NaN",
        "b": "-Infinity",
    }


def test_old_values_that_cannot_be_drawn_leave_the_page_whole(busy):
    """A folder of an earlier version may hold them."""
    run = busy.run("old")
    assert run
    huge = "1" + "0" * 400
    lines = [f'{{"_step": {i}, "huge": {huge}, "far": {i}e308, "good": {i}}}' for i in range(2)]
    lines.append('{"_step": "x", "good": 2}')

    def write() -> None:
        busy.server._store._db.executemany(
            "INSERT INTO lines SELECT id, ?, ?, NULL, ? FROM runs WHERE name = 'old'",
            [(HISTORY, i, line) for i, line in enumerate(lines)],
        )

    busy.server._workers[0]._jobs.put((Future(), write))
    status, _, body = busy.request("GET", "/lab/p/runs/old")
    assert status == 200 and b"good over the step" in body
    assert busy.request("GET", "/lab/p")[0] == 200
