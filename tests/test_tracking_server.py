"""The tracker as a broken or hostile client sees it: keys, origins, paths, sizes, odd requests."""

import base64
import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import threading
from concurrent.futures import Future

import pytest
from tracking_client import Client, Draft, Refused, artifact_digest, md5, running

from lab_tracker import limits, storage
from lab_tracker.errors import TrackingError

HISTORY = "wandb-history.jsonl"
STREAM = "/files/lab/p/run/file_stream"
RUNS = 'query R($f: JSONString) { project(name: "p") { runCount(filters: $f) } }'


@pytest.fixture
def client(tmp_path):
    with running(tmp_path / "tracker") as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A client of a server for all the tests that leave nothing behind; its run has a history."""
    with running(tmp_path_factory.mktemp("shared")) as client:
        client.stream(files=history(500))
        yield client


def history(count: int, start: int = 0) -> dict:
    lines = [json.dumps({"_step": start + i, "loss": i, "text": "x" * 200}) for i in range(count)]
    return {HISTORY: {"offset": start, "content": lines}}


def kept(client) -> set[str]:
    """The names of the blobs; no upload is left half done."""
    assert list(client.server.folder.glob("uploads/*")) == []
    return {path.name for path in client.server.folder.glob("blobs/*/*")}


# Requests that it does not know


def test_an_unknown_feature_of_a_known_object_is_named_and_a_plain_field_is_null(shared):
    with pytest.raises(Refused, match=r"Deep: .*'sweep' of Project"):
        shared.graphql('query Deep { project(name: "p") { sweep(sweepName: "s") { id } } }')
    found = shared.graphql('query New { project(name: "p") { name somethingNew } }')
    assert found["project"] == {"name": "p", "somethingNew": None}


# Who may ask


def test_the_key_is_needed_and_is_its_owners_only(shared):
    server = shared.server
    assert (server.folder / "tracking.sqlite").stat().st_mode & 0o077 == 0
    assert re.fullmatch("[0-9a-f]{40}", server.key)
    for key in ("0" * 40, "", "é"):
        stranger = Client(server.url, key)
        with pytest.raises(Refused, match="401"):
            stranger.graphql("query V { viewer { id } }")
        with pytest.raises(Refused, match="401"):
            stranger.stream()
    assert shared.http.post("/graphql", content="{}", auth=None).status_code == 401


def test_a_scheme_may_be_in_small_letters_and_no_packing_may_be_named(shared):
    """RFC 9110: the scheme's letters may be of either case, and `identity` is no packing."""
    token = base64.b64encode(f"api:{shared.server.key}".encode()).decode()
    for scheme in ("Basic", "basic", "BASIC"):
        for encoding in ("identity", "Identity"):
            headers = {"Authorization": f"{scheme} {token}", "Content-Encoding": encoding}
            asked = {"json": {"query": "query V { viewer { id } }"}, "headers": headers}
            assert shared.http.post("/graphql", auth=None, **asked).status_code == 200
    for wrong in (f"Bearer {token}", token, "basic"):
        answer = shared.http.post("/graphql", auth=None, headers={"Authorization": wrong})
        assert answer.status_code == 401


def test_only_this_machine_and_no_other_sites_page_may_ask(shared):
    """Neither under a name of its own (DNS rebinding), nor writing from its origin."""
    with socket.socket() as other:
        other.settimeout(2)  # a loopback address, but not the one that it is bound to
        assert other.connect_ex(("127.0.0.2", shared.server.port)) != 0
    for host, status in (("evil.example", 403), ("localhost:1", 200)):
        assert shared.http.get("/", headers={"Host": host}).status_code == status
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        query = {"query": "query V { viewer { id } }"}
        answer = shared.http.post("/graphql", json=query, headers={"Origin": origin})
        assert answer.status_code == 403
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_addresses_of_files_cannot_be_guessed(shared):
    shared.log("guessed", {"a": b"bytes"})
    url = shared.versions("guessed")["v0"]["files"][0]["directUrl"]
    answer = shared.http.get(url, auth=None)
    assert answer.content == b"bytes"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-type"] == "application/octet-stream"
    text, signature = url.split("/-/blobs/")[1].split("/")[0].split(".")
    for wrong in (f"{text}.{'0' * 64}", f"{text}.{signature[:-1]}x", text, "é.é"):
        assert shared.http.get(f"/-/blobs/{wrong}/a").status_code == 403
    url = Draft(shared, "other", {"b": b"more bytes"}).upload_url("b")
    assert shared.http.put(url[:-4] + "0000", content=b"more bytes").status_code == 403


# The folder


def test_a_folder_of_a_newer_tracker_is_refused_and_left_as_it_is(tmp_path):
    storage.Store(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "tracking.sqlite")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        database.execute("PRAGMA user_version = 2")
        with pytest.raises(TrackingError, match=r"newer version .*tracking\.sqlite; give it"):
            storage.Store(tmp_path)
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_database_that_others_could_read_is_closed_to_them(tmp_path):
    storage.Store(tmp_path).close()
    database = tmp_path / "tracking.sqlite"
    database.chmod(0o644)
    storage.Store(tmp_path).close()
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_blobs_new_name_is_on_the_disk_before_it_is_recorded(client, monkeypatch):
    synced = []

    def fsync(descriptor: int, really=os.fsync) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.extend(kept(client))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    client.put(Draft(client, "model", {"a": b"x"}).upload_url("a"), b"x")
    assert synced == [hashlib.md5(b"x").hexdigest()]


# Names and files


@pytest.mark.parametrize("name", ["", "a/b", "..", "a:b", "x" * 200, "a\nb"])
def test_names_that_would_break_an_address_are_refused(shared, name):
    for make in (
        lambda: shared.run(name),
        lambda: shared.run(project=name or " "),
        lambda: Draft(shared, name, {}),
        lambda: Draft(shared, "model", {}, aliases=("v7",)),  # it names a version
    ):
        with pytest.raises(Refused):
            make()


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "..\\a", "C:/a", "a\0b", "a" * 2000, ""])
def test_a_path_that_leaves_its_folder_is_refused(shared, name):
    draft = Draft(shared, "model", {name: b"x"})
    with pytest.raises(Refused):
        shared.mutate("createRunFiles", "{ runID }", files=[name], **draft.where)
    with pytest.raises(Refused):
        draft.upload_url(name)
    draft.upload_manifest()  # a client that does not announce the file
    with pytest.raises(Refused):
        draft.commit()


@pytest.mark.parametrize(
    "entry",
    [
        {"digest": "x", "ref": "no url"},
        {"digest": "x", "ref": "wandb-artifact://abc/../../etc/passwd"},
        {"size": 1},
        {"digest": "not base64", "size": 1},
        {"digest": md5(b"x"), "size": -1},
        1,
    ],
)
def test_a_broken_manifest_is_refused(shared, entry):
    whole = artifact_digest({"a": {"digest": "x"}})
    draft = Draft(shared, "model", {}, contents={"a": entry}, digest=whole)
    draft.upload_manifest()
    with pytest.raises(Refused):
        draft.commit()
    assert shared.versions("model") == {}


def test_a_version_needs_its_manifest_its_files_and_its_digest(client):
    draft = Draft(client, "model", {"a": b"one", "b": b"two"}, aliases=("best",))
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
    [version] = client.versions("model").values()
    assert version["aliases"] == {"best", "latest"}
    lying = Draft(client, "model", {"a": b"one"}, digest="0" * 32)
    lying.upload_manifest()
    with pytest.raises(Refused, match="digest"):
        lying.commit()


def test_other_bytes_than_announced_are_refused(client):
    draft = Draft(client, "model", {"a": b"right"})
    with pytest.raises(Refused, match="announced"):
        client.put(draft.upload_url("a"), b"wrong")
    with pytest.raises(Refused, match="announced"):
        draft.upload_manifest(b"{}")
    assert kept(client) == set()


def test_equal_bytes_are_stored_once_and_freed_with_their_last_user(client):
    first = client.log("one", {"a": b"shared", "b": b"own"})
    draft = Draft(client, "two", {"c": b"shared"})
    assert draft.upload_url("c") is None
    stored = kept(client)
    client.delete(first)
    assert len(stored - kept(client)) == 2  # `own`, and the manifest
    draft.upload_manifest()
    draft.commit()  # what the draft counted on is still there
    [version] = client.versions("two").values()
    assert client.get(version["files"][0]["directUrl"]) == b"shared"
    client.delete(version["id"])
    assert kept(client) == set()


def test_deleting_a_run_frees_its_files_and_what_it_logged_only_if_asked(client):
    runs = {name: client.run(name) for name in ("kept", "gone")}
    for run in runs:
        where = {"entityName": "lab", "projectName": "p", "runName": run}
        fields = "{ files { uploadUrl } }"
        made = client.mutate("createRunFiles", fields, files=["notes/a.txt"], **where)
        client.put(made["files"][0]["uploadUrl"], f"of {run}".encode())
        client.log(run, {"a": f"artifact of {run}".encode()}, run=run)
    assert len(kept(client)) == 6
    client.mutate("deleteRun", "{ success }", id=runs["gone"], deleteArtifacts=True)
    assert len(kept(client)) == 3 and client.versions("gone") == {}
    client.mutate("deleteRun", "{ success }", id=runs["kept"])
    assert len(kept(client)) == 2 and set(client.versions("kept")) == {"v0"}


# Sizes, and what is full


def test_too_many_bytes_are_refused(client, monkeypatch):
    url = Draft(client, "model", {"a": b"x" * 2000}).upload_url("a")
    for limit, path in (("MAX_STREAM_BYTES", STREAM), ("MAX_REQUEST_BYTES", "/graphql")):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, 1000)
            assert client.http.post(path, content=b" " * 2000).status_code == 413
        bomb = gzip.compress(b" " * 50_000_000)
        answer = client.http.post(path, content=bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 415
    monkeypatch.setattr(limits, "MAX_BLOB_BYTES", 1000)
    with pytest.raises(Refused, match="413"):
        client.put(url, b"x" * 2000)
    assert kept(client) == set()


def test_a_full_disk_is_named_and_nothing_is_kept(client, monkeypatch):
    url = Draft(client, "model", {"a": b"x"}).upload_url("a")
    full = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        with pytest.raises(Refused, match="413.*full"):
            client.put(url, b"x")
    assert kept(client) == set()
    client.put(url, b"x")  # and later it goes on


def test_a_full_database_is_named_and_nothing_is_kept(client):
    def limit(pages: int) -> None:
        client.server._store._db.execute(f"PRAGMA max_page_count = {pages}")

    client.stream(files=history(1000))
    limit(1)  # SQLite takes what it has already
    with pytest.raises(Refused, match="413.*full"):
        client.stream(files=history(4000, start=1000))
    limit(2**30)
    assert client.of_run("historyLineCount") == {"historyLineCount": 1000}
    client.stream(files=history(1000, start=1000))
    assert client.of_run("historyLineCount") == {"historyLineCount": 2000}


def test_a_database_that_another_program_holds_is_worth_another_try(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.1)
    with running(tmp_path) as client:
        other = sqlite3.connect(tmp_path / "tracking.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match="429"):  # the SDK tries again after this one
            client.run()
        other.execute("ROLLBACK")
        client.run()
        other.close()


# Streams


def test_a_chunk_that_is_sent_again_lands_on_its_place(client):
    whole = history(10)
    lines = whole[HISTORY]["content"]
    for start, end in ((0, 6), (0, 6), (4, 10)):
        client.stream(files={HISTORY: {"offset": start, "content": lines[start:end]}})
    assert client.of_run("history(samples: 99)") == {"history": lines}


@pytest.mark.parametrize(
    "files",
    [
        [],
        {HISTORY: {"offset": -1, "content": []}},
        {"wandb-summary.json": {"content": ["[]"]}},
        {"output.log": {"content": [""] * (limits.MAX_STREAM_LINES + 1)}},
        *(
            {HISTORY: {"offset": 500, "content": [line]}}
            for line in (
                5,
                "no json",
                "[1]",
                '{"_step": "1"}',
                '{"_step": true}',
                '{"_step": ' + "9" * 30 + "}",
                '{"_step": 1, "a": 1e999}',
                '{"_step": 1, "a": 1' + "0" * 400 + "}",
            )
        ),
    ],
)
def test_a_broken_chunk_changes_nothing(shared, files):
    shared.stream(files={"wandb-summary.json": {"content": ['{"a": 1}']}})
    with pytest.raises(Refused, match="400"):
        shared.stream(files=files)
    with pytest.raises(Refused, match="must be"):  # as must what a run is made with
        given = {"modelName": "p", "name": "run", "summaryMetrics": '{"a": 2}', "config": "[1]"}
        shared.mutate("upsertBucket", "{ bucket { id } }", **given)
    assert shared.of_run("summaryMetrics historyLineCount") == {
        "summaryMetrics": '{"a": 1}',
        "historyLineCount": 500,
    }


def test_old_values_that_cannot_be_drawn_leave_the_page_whole(shared):
    """A folder of an earlier version may hold them."""
    shared.run("old")
    huge = "1" + "0" * 400
    lines = [f'{{"_step": {i}, "huge": {huge}, "far": {i}e308, "good": {i}}}' for i in range(2)]
    rows = [(HISTORY, i, line) for i, line in enumerate([*lines, '{"_step": "x", "good": 2}'])]
    query = "INSERT INTO lines SELECT id, ?, ?, NULL, ? FROM runs WHERE name = 'old'"
    with sqlite3.connect(shared.server.folder / "tracking.sqlite") as database:
        database.executemany(query, rows)
    assert b"good over the step" in shared.get("/lab/p/runs/old")
    assert shared.get("/lab/p")


# Requests that ask for far more than they seem to


def nested_fragments(levels: int, width: int) -> str:
    parts = [f"fragment F{i} on Run {{ {f'...F{i + 1} ' * width} }}" for i in range(levels)]
    query = 'query Q { project(name: "p") { run(name: "run") { ...F0 } } }'
    return f"{query} {' '.join(parts)} fragment F{levels} on Run {{ name }}"


@pytest.mark.parametrize(
    "query",
    [
        nested_fragments(18, 9),
        "query Q { viewer { ...A } } fragment A on User { ...B } fragment B on User { ...A }",
        f"query Q {{ viewer {{ {' '.join(f'n{i}: name' for i in range(3000))} }} }}",
        "query Q " + "{ viewer " * 5000 + "}" * 5000,
        "query Q { viewer { id } } #" + "x" * 200_000,
    ],
)
def test_a_query_is_measured_before_it_is_answered(shared, query, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 100_000)
    with pytest.raises(Refused):
        shared.graphql(query)


def test_aliases_and_specs_share_one_budget(shared, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 20_000)
    assert shared.of_run("history(samples: 9999)")
    spec, sampled = json.dumps({"keys": ["loss"]}), "sampledHistory(specs: $specs)"
    assert shared.of_run(sampled, specs=[spec])
    filters = json.dumps({"$or": [{"config.a": 1}] * 30_000})
    for ask in (
        lambda: shared.of_run(" ".join(f"h{i}: history(samples: 9999)" for i in range(50))),
        lambda: shared.of_run(sampled, specs=[spec] * 1000),
        lambda: shared.graphql(RUNS, f=filters),
    ):
        with pytest.raises(Refused, match="too much"):
            ask()


def test_a_long_gap_and_many_keys_are_paid_for(client, monkeypatch):
    """The client says how far away its last line is, and how many keys a line must have."""
    client.stream(files={HISTORY: {"offset": 2**53 - 100, "content": ['{"_step": 0}']}})
    client.run("short")
    client.stream("short", files=history(100))
    monkeypatch.setattr(limits, "MAX_WORK", 20_000)
    sampled = "sampledHistory(specs: $specs)"
    for ask in (
        lambda: client.of_run("history(samples: 20000)"),
        lambda: client.of_run("events history(samples: 1000000000)"),
        *(
            lambda keys=keys: client.of_run(sampled, "short", specs=[json.dumps({"keys": keys})])
            for keys in ([str(i) for i in range(200)], ["loss", *(f"a{i}" for i in range(200))])
        ),
    ):
        with pytest.raises(Refused, match="too much"):
            ask()
    assert client.of_run("history(samples: 5)")["history"] == ['{"_step": 0}']
    repeated = json.dumps({"keys": ["_step", "loss", "loss"] * 1000, "samples": 2})
    [[_, last]] = client.of_run(sampled, "short", specs=[repeated])["sampledHistory"]
    assert last == {"_step": 99, "loss": 99}


@pytest.mark.parametrize("order", ["", "+", "-", ".", "a.b", "id", "displayname", "x" * 9999])
def test_an_order_that_is_not_known_is_answered_with_what_is(shared, order):
    query = 'query R($o: String) { project(name: "p") { runs(order: $o) { totalCount } } }'
    known = ["group", "display_name", "description", "-displayName", "state", "tags", "config.a.b"]
    for possible in known:
        assert shared.graphql(query, o=possible)["project"]["runs"]["totalCount"] >= 1
    if order == "":  # none is given
        assert shared.graphql(query, o=order)["project"]["runs"]["totalCount"] >= 1
    else:
        with pytest.raises(Refused, match=r"only by name, .*, config\.KEY and summary_metrics"):
            shared.graphql(query, o=order)


def test_a_pattern_or_an_operator_that_could_take_long_is_refused(shared):
    with pytest.raises(Refused, match="by a pattern"):
        shared.of_run('files(pattern: "%a%a%b") { totalCount }')
    for operator in ("$regex", "$where"):
        with pytest.raises(Refused, match="is not known"):
            shared.graphql(RUNS, f=json.dumps({"name": {operator: "(a+)+$"}}))


def test_a_busy_request_stops_nobody_from_asking_whether_it_lives(shared):
    """As long as one request keeps the store's thread, the others that need it wait."""
    is_over = threading.Event()
    shared.server._workers[0]._jobs.put((Future(), lambda: is_over.wait(60)))
    waiting = threading.Thread(target=shared.graphql, args=("query V { viewer { id } }",))
    waiting.start()
    try:
        assert shared.get("/healthz")
        assert waiting.is_alive()
    finally:
        is_over.set()
    waiting.join(60)
