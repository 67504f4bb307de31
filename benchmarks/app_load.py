"""The web app under load: what it adds to reading, what many users get, and what a full queue says.

1. A page through the app's API beside `LocalPredictor.predict` in a process of its own, in turns.
   The app may add 60 ms to the median.
2. Eight users at once (Locust), each of whom sends the page again as soon as the text is there. No
   error; the 95th percentile at most 10 times the median of a single user; and the app's memory
   (resident set) in the last third of the time within 5 % of the first third, after a warm-up.
3. More users than the queue takes: some are asked to come again, none gets anything else, and the
   next page is read.

Run it on an otherwise idle machine; LAB_MODEL names another model than the packaged one:

    python benchmarks/app_load.py
"""

import argparse
import base64
import http.client
import io
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
from PIL import Image

from text_recognizer.places import SAMPLE_PAGES, project_folder

MOST_ADDED_MS = 60.0
MOST_RATIO = 10.0
MOST_GROWTH = 0.05

START_SECONDS = 180.0
ANSWER_SECONDS = 120.0
SAMPLE_SECONDS = 0.25
WARM_UP_PAIRS = 3  # TorchScript compiles itself in the first calls
WARM_UP_SHARE = 1 / 4  # of the load's time; memory grows until each thread has read a page

SLOW_SIDE = 8000  # px; a blank page of that size takes long to decode, and is small to send

PATH = "/gradio_api/run/predict"
USERS_FILE = Path(__file__).with_name("app_users.py")

_READER = """
import json, sys, time
from lab_utils.predictors import LocalPredictor

predictor = LocalPredictor()
for line in sys.stdin:
    image = json.loads(line)
    start = time.perf_counter()
    text = predictor.predict(image)
    print(json.dumps([time.perf_counter() - start, text]), flush=True)
"""


class App:
    """`lab app` in a process of its own, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path, queue_size: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.log = folder / f"app-{self.port}.log"
        options = ["app", "--port", str(self.port), "--queue-size", str(queue_size)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lab_utils.cli", *options],
                cwd=project_folder(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._connection = self._connect()

    def wait(self) -> None:
        """Returns when the app listens; raises RuntimeError where it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the app did not start: {self.log.read_text()}")

    def read(self, body: bytes) -> tuple[int, dict]:
        """Status and document of a call, over a connection that is kept."""
        return _call(self._connection, body)

    def read_alone(self, body: bytes) -> tuple[int, dict]:
        """The same over a connection of its own, as another client's; status 0 for no answer."""
        connection = self._connect()
        try:
            return _call(connection, body)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()

    def resident_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def close(self) -> None:
        self._connection.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)


def _call(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, dict]:
    connection.request("POST", PATH, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@contextmanager
def running_app(folder: Path, queue_size: int) -> Iterator[App]:
    app = App(folder, queue_size)
    try:
        app.wait()
        yield app
    finally:
        app.close()


class PlainReader:
    """`LocalPredictor.predict` in a process of its own, as the app's is."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _READER],
            cwd=project_folder(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, uri: str) -> tuple[float, str]:
        """Seconds of the call itself, and the text."""
        self.process.stdin.write(json.dumps(uri) + "\n")
        self.process.stdin.flush()
        seconds, text = json.loads(self.process.stdout.readline())
        return seconds, text

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class MemorySamples(threading.Thread):
    """Samples an app's memory until `stop`."""

    def __init__(self, app: App) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []
        self._app, self._over = app, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.samples.append((time.time(), self._app.resident_mb()))

    def stop(self) -> None:
        self._over.set()
        self.join()

    def mean_mb(self, begin: float, end: float) -> float:
        """Mean over the time between two points, in s since 1970."""
        return statistics.mean(mb for at, mb in self.samples if begin <= at < end)


def request_body(uri: str) -> bytes:
    return json.dumps({"data": [{"url": uri}]}).encode()


def data_uri(image: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def measure_one_user(app: App, uri: str, pairs: int) -> tuple[dict[str, float], str]:
    """Medians in ms of `predict` and of the app's call, in turns, and the text that both gave."""
    body = request_body(uri)

    def through_app() -> tuple[float, str]:
        start = time.perf_counter()
        status, document = app.read(body)
        seconds = time.perf_counter() - start
        if status != 200:
            raise RuntimeError(f"the app answered with status {status}: {document}")
        return seconds, document["data"][0]

    reader = PlainReader()
    try:
        rounds = [(reader.read(uri), through_app()) for _ in range(WARM_UP_PAIRS + pairs)]
    finally:
        reader.close()
    texts = {text for turn in rounds for _, text in turn}
    if len(texts) != 1:
        raise RuntimeError(f"the app and `predict` gave different texts: {texts}")
    plain, app_s = (
        statistics.median(turn[i][0] for turn in rounds[WARM_UP_PAIRS:]) for i in (0, 1)
    )
    found = {
        "pairs": pairs,
        "predict_p50_ms": round(1000 * plain, 1),
        "app_p50_ms": round(1000 * app_s, 1),
        "added_ms": round(1000 * (app_s - plain), 1),
    }
    return found, texts.pop()


def measure_users(
    app: App, folder: Path, uri: str, text: str, users: int, seconds: float
) -> dict[str, float | int | list[str]]:
    """Latencies in ms of users at once, their errors, and the app's memory in MB."""
    warm_up = seconds * WARM_UP_SHARE
    body = folder / "request.json"
    body.write_bytes(request_body(uri))
    command = [sys.executable, "-m", "locust", "-f", str(USERS_FILE), "--headless"]
    command += ["--host", f"http://127.0.0.1:{app.port}", "-u", str(users), "-r", str(users)]
    command += ["-t", f"{math.ceil(warm_up + seconds)}s", "--stop-timeout", "60"]
    command += ["--loglevel", "WARNING", "--only-summary", "--exit-code-on-error", "0"]
    memory = MemorySamples(app)
    done = subprocess.run(
        command,
        env=os.environ | {"APP_LOAD_BODY": str(body), "APP_LOAD_TEXT": text},
        capture_output=True,
        text=True,
    )
    memory.stop()
    if done.returncode != 0:
        raise RuntimeError(f"Locust failed: {done.stderr[-2000:]}")
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    if not found["requests"]:
        raise RuntimeError(f"no request went well: {found['errors'][:3]}")
    begin = min(end - latency for end, latency in found["requests"]) + warm_up
    late = [latency for end, latency in found["requests"] if begin <= end < begin + seconds]
    first = memory.mean_mb(begin, begin + seconds / 3)
    last = memory.mean_mb(begin + seconds * 2 / 3, begin + seconds)
    return {
        "users": users,
        "seconds": seconds,
        "requests": len(late),
        "errors": len(found["errors"]),
        "kinds_of_errors": sorted(set(found["errors"]))[:5],
        "pages_per_s": round(len(late) / seconds, 2),
        "p50_ms": round(1000 * statistics.median(late), 1),
        "p95_ms": round(1000 * percentile(late, 0.95), 1),
        "memory_first_mb": round(first, 1),
        "memory_last_mb": round(last, 1),
        "memory_growth": round(last / first - 1, 4),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def measure_full_queue(app: App, uri: str, text: str, crowd: int) -> dict[str, int | bool | str]:
    """What more at once than the queue takes get, and whether a page is read afterwards."""
    image = io.BytesIO()
    Image.new("1", (SLOW_SIDE, SLOW_SIDE), 1).save(image, "PNG")
    slow = request_body(data_uri(image.getvalue(), "png"))
    with ThreadPoolExecutor(crowd) as threads:
        answers = list(threads.map(app.read_alone, [slow] * crowd))
    refused = [document.get("error") for status, document in answers if status == 503]
    status, document = app.read_alone(request_body(uri))
    return {
        "asked": crowd,
        "read": sum(status == 200 for status, _ in answers),
        "refused": len(refused),
        "other": sum(status not in (200, 503) for status, _ in answers),
        "said": str(refused[0]) if refused else "",
        "recovered": status == 200 and document["data"] == [text],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, default=SAMPLE_PAGES / "show_font_000.jpg")
    parser.add_argument("--pairs", type=int, default=40, help="of one user's calls (40)")
    parser.add_argument("--users", type=int, default=8, help="at once (8)")
    parser.add_argument("--seconds", type=int, default=60, help="of many users' load (60)")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.users, options.seconds) < 1:
        parser.error("all numbers are whole numbers of 1 or more")
    uri = data_uri(options.page.read_bytes(), options.page.suffix.lstrip(".").lower())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The queue holds just the users of the second part.
        with running_app(folder, queue_size=options.users) as app:
            one, text = measure_one_user(app, uri, options.pairs)
            many = measure_users(app, folder, uri, text, options.users, options.seconds)
            queue = measure_full_queue(app, uri, text, 3 * options.users)
    ratio = round(many["p95_ms"] / one["app_p50_ms"], 2)
    print(f"{'predict by itself, p50':28}{one['predict_p50_ms']:10.1f} ms")
    print(f"{'through the app, p50':28}{one['app_p50_ms']:10.1f} ms")
    print(f"{'added by the app':28}{one['added_ms']:10.1f} ms")
    print(f"{f'{options.users} users at once, p50':28}{many['p50_ms']:10.1f} ms")
    print(f"{f'{options.users} users at once, p95':28}{many['p95_ms']:10.1f} ms")
    print(f"{'p95 beside a single user':28}{ratio:10.2f}")
    print(f"{'pages':28}{many['pages_per_s']:10.2f} /s")
    print(f"{'errors':28}{many['errors']:10d}")
    print(f"{'memory, first third':28}{many['memory_first_mb']:10.1f} MB")
    print(f"{'memory, last third':28}{many['memory_last_mb']:10.1f} MB")
    print(f"{'queue full: read, refused':28}{queue['read']:10d}, {queue['refused']}")
    met = {
        "added": one["added_ms"] <= MOST_ADDED_MS,
        "errors": many["errors"] == 0,
        "p95": ratio <= MOST_RATIO,
        "memory": abs(many["memory_growth"]) <= MOST_GROWTH,
        "full_queue": queue["refused"] > 0 and queue["other"] == 0 and queue["recovered"],
    }
    result = {
        "benchmark": "app_load",
        "one_user": one,
        "many_users": many,
        "p95_ratio": ratio,
        "full_queue": queue,
        "load_average": round(os.getloadavg()[0], 1),
        "met": met,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
