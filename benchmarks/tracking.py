"""The tracker of the lab: the speed of files, of many runs at once, and of a long list.

1. A large file up and down, over HTTP, beside copying it twice through a file (read, write and
   fsync, since the tracker acknowledges what is on the disk). The target is half that speed.
2. Many runs with the real SDK from several processes at once, each with its own tracker over one
   folder, as notebooks have: the seconds, and how many of the steps are missing afterwards.
3. The versions of one artifact, listed through `wandb.Api()`.

Run it on an otherwise idle machine:

    python benchmarks/tracking.py
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

MB = 1_000_000
PIECE = 2**20
SPEED_TARGET = 0.5  # of the speed of two copies
LIST_TARGET_S = 1.0

_SERVER = """
import sys
from pathlib import Path
from lab_tracker.server import TrackingServer

server = TrackingServer(Path(sys.argv[1]))
print(server.url, server.key, flush=True)
server.run()
"""

_RUNS = """
import sys
from pathlib import Path
import lab_tracker as tracking

tracking.connect(Path(sys.argv[1]))
import wandb

for number in range(int(sys.argv[2]), int(sys.argv[3])):
    with wandb.init(project="load", id=f"run-{number}", settings={"x_disable_stats": True}) as run:
        for i in range(int(sys.argv[4])):
            run.log({"loss": 1 / (i + 1), "number": number})
"""

_LISTING = """
import sys, time
from pathlib import Path
import lab_tracker as tracking

tracking.connect(Path(sys.argv[1]))
import wandb

api = wandb.Api()
start = time.perf_counter()
listed = [artifact.version for artifact in api.artifacts("model", "list/many", per_page=1000)]
print(time.perf_counter() - start, len(set(listed)))
"""


def copy_twice(source: Path, folder: Path) -> float:
    """Seconds for reading, writing and putting on the disk, two times."""
    start = time.perf_counter()
    for i in range(2):
        with source.open("rb", buffering=0) as read, (folder / f"{i}").open("wb") as write:
            while piece := read.read(PIECE):
                write.write(piece)
            write.flush()
            os.fsync(write.fileno())
    return time.perf_counter() - start


def up_and_down(url: str, key: str, source: Path, target: Path) -> tuple[float, float]:
    """Seconds for sending a file to the tracker, and for fetching it to another file."""
    name = hashlib.sha256(os.urandom(8)).hexdigest()
    query = f"""mutation M {{
        upsertBucket(input: {{modelName: "files", name: "run"}}) {{ inserted }}
        createRunFiles(input: {{projectName: "files", runName: "run", files: ["{name}"]}}) {{
            files {{ uploadUrl }} }} }}"""
    made = graphql(url, key, query)["createRunFiles"]["files"][0]["uploadUrl"]
    connection = http.client.HTTPConnection(urlsplit(url).netloc, blocksize=PIECE)
    start = time.perf_counter()
    with source.open("rb", buffering=0) as file:
        headers = {"Content-Length": str(source.stat().st_size)}
        connection.request("PUT", urlsplit(made).path, file, headers)
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 200, answer.status
    up = time.perf_counter() - start
    query = f"""query Q {{ project(name: "files") {{ run(name: "run") {{
        files(names: ["{name}"]) {{ edges {{ node {{ directUrl }} }} }} }} }} }}"""
    edges = graphql(url, key, query)["project"]["run"]["files"]["edges"]
    start = time.perf_counter()
    connection.request("GET", urlsplit(edges[0]["node"]["directUrl"]).path)
    answer = connection.getresponse()
    with target.open("wb") as file:
        while piece := answer.read(PIECE):
            file.write(piece)
    down = time.perf_counter() - start
    assert target.stat().st_size == source.stat().st_size
    return up, down


def graphql(url: str, key: str, query: str) -> dict:
    """The data of an answer."""
    pair = b64encode(f"api:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
    return json.loads(connection.getresponse().read())["data"]


def measure_files(folder: Path, megabytes: int, repeats: int) -> dict[str, float]:
    """Medians of the seconds for two copies, an upload and a download."""
    source, target = folder / "source", folder / "target"
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(folder / "files")], stdout=subprocess.PIPE, text=True
    )
    times: dict[str, list[float]] = {"copy_twice": [], "up": [], "down": []}
    try:
        url, key = server.stdout.readline().split()
        for _ in range(repeats):
            source.write_bytes(os.urandom(megabytes * MB))
            times["copy_twice"].append(copy_twice(source, folder))
            up, down = up_and_down(url, key, source, target)
            times["up"].append(up)
            times["down"].append(down)
    finally:
        server.kill()
        server.wait()
    return {name: round(median(values), 3) for name, values in times.items()}


def measure_runs(folder: Path, runs: int, steps: int, processes: int) -> dict[str, float]:
    """Seconds for all the runs, and the steps that are missing afterwards."""
    from lab_tracker import runs as stored
    from lab_tracker.storage import Store
    from lab_tracker.streams import history

    shares = [round(i * runs / processes) for i in range(processes + 1)]
    start = time.perf_counter()
    workers = [
        python(_RUNS, folder / "runs", shares[i], shares[i + 1], steps) for i in range(processes)
    ]
    failed = sum(worker.wait() != 0 for worker in workers)
    seconds = time.perf_counter() - start
    store = Store(folder / "runs")
    project = stored.project_of(store, None, "load")
    missing = runs * steps
    for run in store.all("runs", project_id=project["id"]):
        number = int(run["name"].removeprefix("run-"))
        rows = [(row["_step"], row["number"]) for row in history(store, run["id"])]
        is_right = rows == [(i, number) for i in range(steps)] and run["state"] == "finished"
        missing -= steps if is_right else len(set(rows) & {(i, number) for i in range(steps)})
    store.close()
    return {"seconds": round(seconds, 1), "missing_steps": missing, "failed_processes": failed}


def measure_listing(folder: Path, versions: int) -> float:
    """Seconds for listing the versions of an artifact with the SDK, its start left out."""
    from lab_tracker import artifacts
    from lab_tracker.names import to_id
    from lab_tracker.storage import Store, Upload

    store = Store(folder / "list")
    digest = b64encode(hashlib.md5(b"the same for all").digest()).decode()
    manifest = {"contents": {"a": {"digest": digest, "ref": "https://example.org/a"}}}
    upload = Upload(store, MB)
    upload.write(json.dumps(manifest).encode())
    upload.finish()
    check = hashlib.md5(f"wandb-artifact-manifest-v1\na:{digest}\n".encode()).hexdigest()
    with upload.keep() as db:
        for i in range(versions):
            draft = artifacts.create_artifact(
                store,
                project_name="list",
                artifact_type_name="model",
                artifact_collection_names=["many"],
                digest=check,
                metadata=json.dumps({"score": i}),
            )
            values = (upload.digest, draft["id"])
            db.execute("UPDATE artifacts SET manifest_digest = ? WHERE id = ?", values)
            artifacts.commit_artifact(store, artifact_id=to_id("Artifact", draft["id"]))
    store.close()
    listing = python(_LISTING, folder / "list", stdout=subprocess.PIPE)
    seconds, found = listing.communicate()[0].split()
    assert int(found) == versions, f"{found} of {versions} versions are listed"
    return round(float(seconds), 2)


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen:
    """A Python process without W&B variables."""
    kept = {k: v for k, v in os.environ.items() if not re.match("WANDB_|LAB_TRACKING", k)}
    project = str(Path(__file__).resolve().parents[1])
    kept["PYTHONPATH"] = os.pathsep.join([project, kept.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=kept, text=True, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="of the file (100)")
    parser.add_argument("--repeats", type=int, default=5, help="of its way up and down (5)")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1000, help="of each run (1000)")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--versions", type=int, default=1000)
    options = parser.parse_args(arguments)
    if min(vars(options).values()) < 1:
        parser.error("all options are whole numbers of 1 or more")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = measure_files(folder, options.megabytes, options.repeats)
        runs = measure_runs(folder, options.runs, options.steps, options.processes)
        listing_s = measure_listing(folder, options.versions)
    speed = round(files["copy_twice"] / (files["up"] + files["down"]), 2)
    print(f"{'two copies':24} {files['copy_twice']:8.3f} s")
    print(f"{'up':24} {files['up']:8.3f} s")
    print(f"{'down':24} {files['down']:8.3f} s")
    print(f"{'speed beside two copies':24} {speed:8.2f}")
    print(f"{f'{options.runs} runs at once':24} {runs['seconds']:8.1f} s")
    print(f"{'steps that are missing':24} {runs['missing_steps']:8d}")
    print(f"{f'{options.versions} versions':24} {listing_s:8.2f} s")
    met = {
        "speed": speed >= SPEED_TARGET,
        "runs": not runs["missing_steps"] and not runs["failed_processes"],
        "listing": listing_s < LIST_TARGET_S,
    }
    result = {
        "files_s": files,
        "speed_beside_two_copies": speed,
        "runs": runs,
        "listing_s": listing_s,
        "met": met,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
