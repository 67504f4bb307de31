"""Requests that ask for far more than they seem to, and values that no page could show: each is
refused before the work is done, and the server answers others meanwhile."""

import gzip
import json
import threading
from concurrent.futures import Future

import pytest
from tracking_client import Refused, running

from lab_tracker import limits

HISTORY = "wandb-history.jsonl"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
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
def test_a_query_is_measured_before_it_is_answered(client, query, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 100_000)
    with pytest.raises(Refused):
        client.graphql(query)


def test_aliases_and_specs_share_one_budget(client, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WORK", 20_000)
    assert client.graphql(of_the_run("history(samples: 9999)"))
    with pytest.raises(Refused, match="too much"):
        client.graphql(of_the_run(" ".join(f"h{i}: history(samples: 9999)" for i in range(50))))
    query = """query S($specs: [JSONString!]!) { project(name: "p") { run(name: "run") {
        sampledHistory(specs: $specs) } } }"""
    spec = json.dumps({"keys": ["loss"]})
    assert client.graphql(query, specs=[spec])
    with pytest.raises(Refused, match="too much"):
        client.graphql(query, specs=[spec] * 1000)
    with pytest.raises(Refused, match="too much"):
        filters = json.dumps({"$or": [{"config.a": 1}] * 30_000})
        client.graphql(
            'query R($f: JSONString) { project(name: "p") { runCount(filters: $f) } }', f=filters
        )


def test_a_pattern_or_an_operator_that_could_take_long_is_refused(client):
    files = 'query F($p: String) { project(name: "p") { run(name: "run") { files(pattern: $p) '
    with pytest.raises(Refused, match="A pattern"):
        client.graphql(files + "{ totalCount } } } }", p="%" * 300)
    for operator in ("$regex", "$where"):
        filters = json.dumps({"name": {operator: "(a+)+$"}})
        with pytest.raises(Refused, match="is not known"):
            client.graphql(
                'query R($f: JSONString) { project(name: "p") { runCount(filters: $f) } }',
                f=filters,
            )


@pytest.mark.parametrize("behind", [b"x", gzip.compress(b"{}", mtime=0), b"\0" * 100_000])
def test_nothing_may_follow_the_gzip(client, behind):
    headers = client.headers | {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"files": {}}') + behind
    assert client.request("POST", "/files/lab/p/run/file_stream", body, headers)[0] == 400


def test_a_busy_request_stops_nobody_from_asking_whether_it_lives(client):
    """As long as one request keeps the store's thread, the others that need it wait."""
    is_over = threading.Event()
    client.server._workers[0]._jobs.put((Future(), lambda: is_over.wait(60)))
    waiting = threading.Thread(target=client.graphql, args=("query V { viewer { id } }",))
    waiting.start()
    try:
        assert client.request("GET", "/healthz")[0] == 200
        assert waiting.is_alive()
    finally:
        is_over.set()
    waiting.join(60)


@pytest.mark.parametrize(
    "line",
    ['{"_step": "1"}', '{"_step": true}', '{"_step": 1, "a": 1e999}', "[1]"]
    + ['{"_step": 1, "a": 1' + "0" * 400 + "}", '{"_step": ' + "9" * 30 + "}"],
)
def test_a_line_that_no_chart_could_show_is_refused(client, line):
    with pytest.raises(Refused, match="400"):
        client.stream("run", files={HISTORY: {"offset": 500, "content": [line]}})
    assert client.request("GET", "/lab/p/runs/run")[0] == 200


@pytest.mark.parametrize("text", ["[1]", '{"a": 1e999}', "{"])
def test_what_must_be_an_object_is_one(client, text):
    given = {"modelName": "p", "name": "run"}
    for field in ("config", "summaryMetrics"):
        with pytest.raises(Refused, match="must be"):
            client.mutate("upsertBucket", "{ bucket { id } }", **given, **{field: text})


def test_nan_is_kept_as_the_word(client):
    """The SDK sends it in histories, and JSON has no such number."""
    files = {HISTORY: {"offset": 0, "content": ['{"_step": 0, "a": NaN, "b": -Infinity}']}}
    client.run("odd")
    client.stream("odd", files=files)
    query = 'query H { project(name: "p") { run(name: "odd") { history } } }'
    [line] = client.graphql(query)["project"]["run"]["history"]
    assert json.loads(line, parse_constant=pytest.fail) == {
        "_step": 0,
        "a": "NaN",
        "b": "-Infinity",
    }


def test_old_values_that_cannot_be_drawn_leave_the_page_whole(client):
    """A folder of an earlier version may hold them."""
    run = client.run("old")
    assert run
    huge = "1" + "0" * 400
    lines = [f'{{"_step": {i}, "huge": {huge}, "far": {i}e308, "good": {i}}}' for i in range(2)]
    lines.append('{"_step": "x", "good": 2}')

    def write() -> None:
        client.server._store._db.executemany(
            "INSERT INTO lines SELECT id, ?, ?, NULL, ? FROM runs WHERE name = 'old'",
            [(HISTORY, i, line) for i, line in enumerate(lines)],
        )

    client.server._workers[0]._jobs.put((Future(), write))
    status, _, body = client.request("GET", "/lab/p/runs/old")
    assert status == 200 and b"good over the step" in body
    assert client.request("GET", "/lab/p")[0] == 200
