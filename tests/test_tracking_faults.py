"""kill -9 of the tracker at any moment: what it acknowledged is there, what was half done is not,
and clients go on after a restart."""

import itertools
import json
import os
import random
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import python_process, until
from test_edges import SOAK_SECONDS, state
from tracking_client import Client, Draft, Refused, ServerProcess

from lab_tracker import environment
from lab_tracker.storage import STALE_SECONDS, Store

GONE = (httpx.TransportError, Refused)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))]


def reopened(folder: Path, server: ServerProcess) -> tuple[ServerProcess, Client]:
    again = ServerProcess(folder, server.port)
    assert again.key == server.key
    return again, Client(again.url, again.key)


def test_killed_in_an_upload(tmp_path):
    with ServerProcess(tmp_path) as server:
        client = Client(server.url, server.key)
        client.run()
        content = os.urandom(3_000_000)
        draft = Draft(client, "model", {"weights": content})
        url = draft.upload_url("weights")
        with socket.create_connection(("127.0.0.1", server.port)) as half:
            head = f"PUT {url.removeprefix(server.url)} HTTP/1.1\r\nHost: localhost\r\n"
            half.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode())
            half.sendall(content[:2_000_000])
            parts = tmp_path / "uploads"
            assert until(lambda: sum(p.stat().st_size for p in parts.iterdir()) >= 1_000_000)
            server.kill()
    assert list(tmp_path.glob("blobs/*/*")) == []
    again, client = reopened(tmp_path, server)
    with again:
        assert client.versions("model") == {}
        client.put(url, content)  # the SDK's retry: the same address is still good
        draft.client = client
        draft.upload_manifest()
        draft.commit()
        [version] = client.versions("model").values()
        assert client.get(version["files"][0]["directUrl"]) == content


def test_a_half_upload_is_swept_away_later(tmp_path):
    Store(tmp_path).close()
    old, fresh = tmp_path / "uploads" / "old", tmp_path / "uploads" / "fresh"
    orphan = tmp_path / "blobs" / "ab" / ("ab" * 16)
    orphan.parent.mkdir()
    for path in (old, fresh, orphan):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * STALE_SECONDS,) * 2)
    Store(tmp_path).close()
    assert not old.exists() and fresh.exists() and not orphan.exists()


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_between_any_two_instructions_of_commits(tmp_path, seed):
    """Four writers log versions of two files until the server is killed, at a random moment."""
    chance = random.Random(seed)
    acknowledged: list[tuple[str, bytes]] = []
    with ServerProcess(tmp_path) as server:
        client = Client(server.url, server.key)
        client.run()

        def write(writer: int) -> None:
            for i in range(10_000):
                content = f"{seed} {writer} {i}".encode() * 50
                files = {"a": content, "b": content[::-1]}
                try:
                    acknowledged.append((client.log("model", files, aliases=("best",)), content))
                except GONE:
                    return

        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(0.4 + chance.random() * 0.4)
        server.kill()
        for writer in writers:
            writer.join()
    again, client = reopened(tmp_path, server)
    with again:
        versions = client.versions("model")
        # The numbers have no gaps, and every version is whole and readable.
        assert set(versions) == {f"v{i}" for i in range(len(versions))}
        by_id = {version["id"]: version for version in versions.values()}
        for version in versions.values():
            a, b = (client.get(file["directUrl"]) for file in version["files"])
            assert a == b[::-1] != b"" and version["state"] == "COMMITTED"
        for id, content in acknowledged:
            found = by_id[id]["files"]
            assert client.get(found[0]["directUrl"]) == content
        assert len(acknowledged) <= len(versions) <= len(acknowledged) + 4
        if versions:
            holders = [v for v in versions.values() if {"best", "latest"} & v["aliases"]]
            assert [v["id"] for v in holders] == [versions[f"v{len(versions) - 1}"]["id"]]
        before = len(versions)
        client.log("model", {"a": b"after", "b": b"retfa"})
        assert len(client.versions("model")) == before + 1


@pytest.mark.nightly
def test_a_long_life_costs_nothing(tmp_path):
    """Good and bad requests, again and again: memory, files and threads end as they began."""
    for number in range(256):  # contents lie in folders by their first byte; each is made once
        (tmp_path / "blobs" / f"{number:02x}").mkdir(parents=True)
    with ServerProcess(tmp_path) as server:
        client = Client(server.url, server.key)

        def work(seconds: float) -> None:
            end = time.monotonic() + seconds
            for number in itertools.count():
                if number >= 20 and time.monotonic() > end:
                    break
                client.run()
                lines = [json.dumps({"_step": i, "loss": i}) for i in range(50)]
                client.stream(files={"wandb-history.jsonl": {"content": lines}})
                name = f"model-{number % 7}"
                id = client.log(name, {"a": f"{number}".encode() * 1000})
                for page in ("", "/runs/run", f"/artifacts/model/{name}/latest"):
                    assert client.get(f"/lab/p{page}")
                client.delete(id)
                client.http.post("/graphql", content=b"[" * 50_000)
                client.http.put("/-/uploads/e30.0", content=b"x" * 100_000)
                with pytest.raises(Refused, match="announced"):
                    client.put(Draft(client, "half", {"a": b"right"}).upload_url("a"), b"wrong")

        process = psutil.Process(server.pid)
        work(SOAK_SECONDS / 2)
        before = state(process, tmp_path)
        work(SOAK_SECONDS / 2)
        # The last connections close a little later.
        assert until(lambda: not grown(before, state(process, tmp_path)), 30), (
            before,
            state(process, tmp_path),
        )


def grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What there is more of; memory may grow by 32 MiB."""
    room = {"memory": 32 * 2**20}
    return [what for what in after if after[what] > before[what] + room.get(what, 0)]


_TRAINING = """
import sys
from pathlib import Path
import wandb

with wandb.init(project="p", id="survivor") as run:
    for i in range(300):
        run.log({"i": i})
    artifact = wandb.Artifact("before", type="model")
    artifact.add_file(sys.argv[1])
    run.log_artifact(artifact).wait()
    print("kill", flush=True)
    sys.stdin.readline()
    for i in range(300, 600):
        run.log({"i": i})
    artifact = wandb.Artifact("while-away", type="model")
    artifact.add_file(sys.argv[1])
    run.log_artifact(artifact)
"""


def test_the_sdk_goes_on_after_a_restart(tmp_path, monkeypatch):
    """A run of the real SDK lives through the death of its server, and loses nothing."""
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(100_000))
    server = ServerProcess(tmp_path / "tracker")
    for name in [name for name in os.environ if name.startswith(("WANDB_", "LAB_TRACKING_"))]:
        monkeypatch.delenv(name)
    environment.point_to_tracker(server.url, server.key, tmp_path)
    options = {"variables": {"HOME": str(tmp_path)}, "stdin": subprocess.PIPE}
    with python_process("-c", _TRAINING, weights, **options) as training:
        environment.restore()
        assert training.stdout.readline() == "kill\n"
        server.kill()
        training.stdin.write("go\n")
        training.stdin.flush()
        time.sleep(0.5)
        again, client = reopened(tmp_path / "tracker", server)
        with again:
            training.communicate(timeout=90)
            assert training.returncode == 0
            run = client.of_run("state history(samples: 99999)", "survivor")
            assert [json.loads(line)["i"] for line in run["history"]] == list(range(600))
            assert run["state"] == "finished"
            for name in ("before", "while-away"):
                [version] = client.versions(name).values()
                assert client.get(version["files"][0]["directUrl"]) == weights.read_bytes()
