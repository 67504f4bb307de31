"""Many programs at once, and one tracker for a long time."""

import gzip
import json
import os
import time
from pathlib import Path

import pytest
from tracking_client import Client, Refused, ServerProcess

SOAK_SECONDS = float(os.environ.get("LAB_SOAK_SECONDS", "600"))
GROWTH = 32 * 2**20  # bytes that caches and the allocator may still take in the second half


def good_requests(client: Client, number: int) -> None:
    """A run is resumed and streams the same lines again; a version is logged, read and deleted."""
    client.run()
    lines = [json.dumps({"_step": i, "loss": i}) for i in range(50)]
    client.stream("run", files={"wandb-history.jsonl": {"offset": 0, "content": lines}})
    name = f"model-{number % 7}"
    id = client.log(name, {"a": f"{number}".encode() * 1000})
    [version] = client.versions(name).values()
    assert client.request("GET", version["files"][0]["directUrl"])[0] == 200
    for page in ("/", "/lab/p", "/lab/p/runs/run", f"/lab/p/artifacts/model/{name}/latest"):
        assert client.request("GET", page)[0] == 200
    client.mutate("deleteArtifact", "{ artifact { id } }", artifactID=id, deleteAliases=True)


def bad_requests(client: Client) -> None:
    """Each is refused with a 4xx, or an error in GraphQL."""
    gzipped = client.headers | {"Content-Encoding": "gzip"}
    stream = "/files/lab/p/run/file_stream"
    for method, path, body, headers in (
        ("POST", "/graphql", b"{", client.headers),
        ("POST", "/graphql", b"[" * 50_000, client.headers),
        ("POST", "/graphql", b"{}", {}),
        ("POST", stream, b'{"files": 5}', client.headers),
        ("POST", stream, gzip.compress(b"{}")[:-9], gzipped),
        ("PUT", "/-/uploads/e30.0", b"x" * 100_000, {}),
        ("GET", "/lab/none", None, {}),
        ("GET", "/", None, {"Host": "evil.example"}),
    ):
        status, _, answer = client.request(method, path, body, headers)
        assert 400 <= status < 500 or json.loads(answer)["errors"]
    draft = client.draft("half", {"a": b"right"})
    with pytest.raises(Refused, match="announced"):
        client.put(draft.upload_url("a"), b"wrong")
    with pytest.raises(Refused, match="manifest"):
        draft.commit()


def resources(server: ServerProcess, folder: Path) -> dict[str, int]:
    process = Path("/proc", str(server.pid))
    [memory] = [
        line for line in process.joinpath("status").read_text().splitlines() if "VmRSS" in line
    ]
    return {
        "bytes": int(memory.split()[1]) * 1024,
        "files": len(list(process.joinpath("fd").iterdir())),
        "threads": len(list(process.joinpath("task").iterdir())),
        "uploads": len(list(folder.joinpath("uploads").iterdir())),
        "blobs": len(list(folder.glob("blobs/*/*"))),
    }


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads /proc")
def test_a_long_life_costs_nothing(tmp_path):
    """Good and bad requests for LAB_SOAK_SECONDS: memory, files and threads end as they began."""
    with ServerProcess(tmp_path) as server:
        client = Client(server.url, server.key)

        def work(seconds: float, least: int) -> None:
            end, number = time.monotonic() + seconds, 0
            while number < least or time.monotonic() < end:
                good_requests(client, number)
                bad_requests(client)
                number += 1

        work(SOAK_SECONDS / 2, least=20)
        before = resources(server, tmp_path)
        work(SOAK_SECONDS / 2, least=20)
        for _ in range(300):  # the last connections close a little later
            after = resources(server, tmp_path)
            if all(after[what] <= before[what] for what in ("files", "threads")):
                break
            time.sleep(0.1)
        print(before, after)
        assert after["bytes"] < before["bytes"] + GROWTH
        assert all(after[what] <= before[what] for what in after if what != "bytes")
