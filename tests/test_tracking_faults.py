"""kill -9 of the tracker at any moment: what it acknowledged is there, what was half done is not,
and clients go on after a restart."""

import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracking_client import Client, Refused, ServerProcess

from lab_tracker.storage import STALE_SECONDS, Store
from text_recognizer.places import project_folder

GONE = (OSError, Refused)
SOAK_SECONDS = float(os.environ.get("LAB_SOAK_SECONDS", 600))
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
        draft = client.draft("model", {"weights": content})
        url = draft.upload_url("weights")
        with socket.create_connection(("127.0.0.1", server.port)) as half:
            path = url.split(client.address)[1]
            head = f"PUT {path} HTTP/1.1\r\nHost: {client.address}\r\n"
            half.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode())
            half.sendall(content[:2_000_000])
            while sum(p.stat().st_size for p in tmp_path.glob("uploads/*")) < 1_000_000:
                time.sleep(0.01)
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
        assert client.request("GET", version["files"][0]["directUrl"])[2] == content


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
                    draft = client.log("model", files, aliases=("best",))
                except GONE:
                    return
                acknowledged.append((draft, content))

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
            parts = {
                file["displayName"]: client.request("GET", file["directUrl"])[2]
                for file in version["files"]
            }
            assert parts["a"] == parts["b"][::-1] != b"" and version["state"] == "COMMITTED"
        for id, content in acknowledged:
            found = by_id[id]["files"]
            assert client.request("GET", found[0]["directUrl"])[2] == content
        assert len(acknowledged) <= len(versions) <= len(acknowledged) + 4
        if versions:
            holders = [v for v in versions.values() if {"best", "latest"} & v["aliases"]]
            assert [v["id"] for v in holders] == [versions[f"v{len(versions) - 1}"]["id"]]
        before = len(versions)
        client.log("model", {"a": b"after", "b": b"retfa"})
        assert len(client.versions("model")) == before + 1


def resources(server: ServerProcess, folder: Path) -> dict[str, int]:
    process = Path("/proc", str(server.pid))
    status = process.joinpath("status").read_text()
    return {
        "KiB": int(re.search(r"VmRSS:\s+(\d+)", status)[1]),
        "files": len(list(process.joinpath("fd").iterdir())),
        "threads": len(list(process.joinpath("task").iterdir())),
        "uploads": len(list(folder.joinpath("uploads").iterdir())),
        "blobs": len(list(folder.glob("blobs/*/*"))),
    }


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads /proc")
def test_a_long_life_costs_nothing(tmp_path):
    """Good and bad requests, again and again: memory, files and threads end as they began."""
    with ServerProcess(tmp_path) as server:
        client = Client(server.url, server.key)

        def work(seconds: float) -> None:
            until = time.monotonic() + seconds
            for number in itertools.count():
                if number >= 20 and time.monotonic() > until:
                    break
                client.run()
                lines = [json.dumps({"_step": i, "loss": i}) for i in range(50)]
                client.stream("run", files={"wandb-history.jsonl": {"offset": 0, "content": lines}})
                name = f"model-{number % 7}"
                id = client.log(name, {"a": f"{number}".encode() * 1000})
                for page in ("", "/runs/run", f"/artifacts/model/{name}/latest"):
                    assert client.request("GET", f"/lab/p{page}")[0] == 200
                deleted = {"artifactID": id, "deleteAliases": True}
                client.mutate("deleteArtifact", "{ artifact { id } }", **deleted)
                client.request("POST", "/graphql", b"[" * 50_000)
                client.request("PUT", "/-/uploads/e30.0", b"x" * 100_000)
                with pytest.raises(Refused, match="announced"):
                    client.put(client.draft("half", {"a": b"right"}).upload_url("a"), b"wrong")

        work(SOAK_SECONDS / 2)
        before = resources(server, tmp_path)
        work(SOAK_SECONDS / 2)
        for _ in range(300):  # the last connections close a little later
            after = resources(server, tmp_path)
            if after["files"] <= before["files"] and after["threads"] <= before["threads"]:
                break
            time.sleep(0.1)
        print(before, after)
        assert after["KiB"] < before["KiB"] + 32 * 1024
        assert all(after[what] <= before[what] for what in after if what != "KiB")


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


def test_the_sdk_goes_on_after_a_restart(tmp_path):
    """A run of the real SDK lives through the death of its server, and loses nothing."""
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(100_000))
    server = ServerProcess(tmp_path / "tracker")
    kept = {k: v for k, v in os.environ.items() if not re.match("WANDB_|LAB_TRACKING", k)}
    variables = {"DIR": "dir", "CACHE_DIR": "cache", "DATA_DIR": "data", "CONFIG_DIR": "config"}
    for name, folder in variables.items():
        (tmp_path / folder).mkdir()
        kept[f"WANDB_{name}"] = str(tmp_path / folder)
    kept |= {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    kept |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key, "HOME": str(tmp_path)}
    training = subprocess.Popen(
        [sys.executable, "-c", _TRAINING, str(weights)],
        env=kept | {"PYTHONPATH": f"{project_folder()}{os.pathsep}{kept.get('PYTHONPATH', '')}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert training.stdout.readline() == "kill\n"
        server.kill()
        training.stdin.write("go\n")
        training.stdin.flush()
        time.sleep(0.5)
        again, client = reopened(tmp_path / "tracker", server)
        with again:
            training.communicate(timeout=90)
            assert training.returncode == 0
            query = """query H { project(name: "p") { run(name: "survivor") {
                state history(samples: 99999) } } }"""
            run = client.graphql(query)["project"]["run"]
            assert [json.loads(line)["i"] for line in run["history"]] == list(range(600))
            assert run["state"] == "finished"
            for name in ("before", "while-away"):
                [version] = client.versions(name).values()
                content = client.request("GET", version["files"][0]["directUrl"])[2]
                assert content == weights.read_bytes()
    finally:
        training.kill()
