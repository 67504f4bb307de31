"""What dynamic batching is worth: the same requests against one page at a time, and in batches.

Each contestant is the same Ray Serve application on this machine; they differ in replicas, in
PyTorch's threads for each, and in the pages that a batch may have. Requests come in an open loop
(Poisson, at rising rates): at the same moments for each contestant, whether or not it keeps up. A
latency counts from the moment at which the request should have been sent, so a service that holds
up its clients gains nothing by it (no "coordinated omission").

Then the parts: what a page costs in this process, decoded, its lines found and read, in batches of
1 to 8 with one thread; and what HTTP, Ray and waiting for a batch add to a single page.

Run it on an otherwise idle machine:

    python benchmarks/service_load.py
"""

import argparse
import base64
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, quantiles
from typing import TYPE_CHECKING

import httpx

from lab_utils.model import model_file
from lab_utils.net import free_port, http_client
from lab_utils.service.open_loop import send_open_loop
from lab_utils.service.queueing import poisson_arrivals
from lab_utils.service.ray_environment import prepare_ray
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES, lab_folder

if TYPE_CHECKING:
    from lab_utils.service.ray_service import RaySettings

RATIO_TARGET = 1.3
SHARES = (0.3, 0.5, 0.7, 0.85, 1.0, 1.25, 1.6, 2.0)
"""Offered rates, as shares of the pages a second that this process reads one at a time."""

ALONE_S = 1.0
"""Between the requests with which the cost of the way is measured, so that none meets another."""


@dataclass(frozen=True)
class Contestant:
    name: str
    settings: "RaySettings"


@dataclass(frozen=True)
class Step:
    """What a contestant did at one rate."""

    offered: float
    """Requests a second."""
    answered: float
    """Answers a second, until the last one was there."""
    shed: float
    """Share that was refused with 503."""
    p50_s: float
    p95_s: float
    p99_s: float
    batch: float
    """Pages in the batch that a page was read with, on average."""


class ShedError(RecognizerError):
    """The service refused a request."""


class Client:
    """Sends the sample pages in turn, in a seeded order, and remembers the batches."""

    def __init__(self, url: str, bodies: Sequence[bytes], seed: int = 0) -> None:
        order = random.Random(seed).sample(bodies, len(bodies))
        self._url, self._bodies = url, itertools.cycle(order)
        # However many are under way: none waits here for another one.
        self._client = http_client(120, local=True, limits=httpx.Limits(max_connections=None))
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def ask(self) -> dict:
        """The answer; ShedError for 503, and for what failed, which `failure` then keeps."""
        try:
            status, batch, document = self._exchange()
            if status not in (200, 503):
                raise RuntimeError(f"{status}: {document}")
        except Exception as error:
            self.failure = error
            raise ShedError("failed") from error
        if status == 503:
            raise ShedError("busy")
        self.batches.append(int(batch))
        return document

    def _exchange(self) -> tuple[int, str, dict]:
        # A connection for each request, as users have.
        answer = self._client.post(
            self._url, content=next(self._bodies), headers={"Connection": "close"}
        )
        return answer.status_code, answer.headers.get("x-batch", ""), answer.json()


def sample_pages() -> list[bytes]:
    """The files of the pages to show."""
    return [path.read_bytes() for path in sorted(SAMPLE_PAGES.glob("show_font_*.jpg"))]


def body(page: bytes, lines: bool = False) -> bytes:
    return json.dumps({"image": base64.b64encode(page).decode(), "lines": lines}).encode()


def contestants(model: str, cores: int, queue_size: int, max_wait_ms: float) -> list[Contestant]:
    """One page at a time with all cores, batches with all cores, and both with a core each."""
    from lab_utils.service.ray_service import RaySettings

    single = RaySettings(model, 1, 1, 0.0, queue_size, cores)
    batched = replace(single, max_batch=8, max_wait_ms=max_wait_ms)
    found = [
        Contestant(f"one at a time, {cores} threads", single),
        Contestant(f"batches of 8, {cores} threads", batched),
    ]
    if cores > 1:
        each = {"replicas": cores, "threads": 1, "queue_size": queue_size}
        found += [
            Contestant(f"one at a time, {cores} replicas", replace(single, **each)),
            Contestant(f"batches of 8, {cores} replicas", replace(batched, **each)),
        ]
    return found


def measure_step(url: str, bodies: Sequence[bytes], rate: float, seconds: float) -> Step:
    client = Client(url, bodies)
    count = max(8, round(rate * seconds))
    results = send_open_loop(client.ask, poisson_arrivals(rate, count, seed=1))
    if client.failure is not None:
        raise client.failure
    done = [(arrival, end) for arrival, _, end in results if end is not None]
    latencies = [end - arrival for arrival, end in done]
    cuts = quantiles(latencies, n=100, method="inclusive")
    return Step(
        offered=round(rate, 2),
        answered=round(len(done) / max(end for _, end in done), 2),
        shed=round(1 - len(done) / count, 3),
        p50_s=round(cuts[49], 3),
        p95_s=round(cuts[94], 3),
        p99_s=round(cuts[98], 3),
        batch=round(mean(client.batches), 2),
    )


def measure_way(url: str, pages: Sequence[bytes], count: int) -> float:
    """Median s that HTTP, Ray and waiting for others add to a single page."""
    client = Client(url, [body(page, lines=True) for page in pages])
    added = []
    for _ in range(count):
        start = time.perf_counter()
        document = client.ask()
        added.append(time.perf_counter() - start - document["seconds"])
        time.sleep(ALONE_S / 10)
    return round(median(added), 4)


def measure_contestant(
    contestant: Contestant, pages: Sequence[bytes], rates: Sequence[float], seconds: float
) -> tuple[list[Step], float]:
    """Its steps, and the s that the way adds to a single page."""
    from lab_utils.service.ray_service import serving

    bodies = [body(page) for page in pages]
    with serving(contestant.settings, free_port()) as url:
        for _ in range(2 * contestant.settings.replicas):  # the first pages compile the script
            measure_step(url, bodies, rate=20.0, seconds=0.4)
        way = measure_way(url, pages, count=max(3, round(seconds / 3)))
        steps = []
        for rate in rates:
            steps.append(measure_step(url, bodies, rate, seconds))
            print_step(contestant.name, steps[-1])
    return steps, way


def measure_parts(model: str, pages: Sequence[bytes], threads: Sequence[int]) -> dict:
    """Seconds a page in this process: decoding, finding lines, reading them; and whole batches."""
    import torch

    from text_recognizer.images import load_image
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(model)
    start = time.perf_counter()
    loaded = [load_image(page) for page in pages]
    parts: dict = {"decode_s": round((time.perf_counter() - start) / len(pages), 4)}
    images = [one.page for one in loaded]
    for count in threads:
        torch.set_num_threads(count)
        recognizer.read_batch(images[:4])
        for size in (1, 2, 4, 8):
            start, used = time.perf_counter(), time.process_time()
            for first in range(0, len(images), size):
                recognizer.read_batch(images[first : first + size])
            parts[f"threads_{count}_batch_{size}_s"] = round(
                (time.perf_counter() - start) / len(images), 4
            )
            # On a busy machine the processor's time still tells what a page costs.
            parts[f"threads_{count}_batch_{size}_cpu_s"] = round(
                (time.process_time() - used) / len(images), 4
            )
    torch.set_num_threads(1)
    with torch.inference_mode():
        start = time.perf_counter()
        for one in loaded:
            recognizer.model.find_lines(*recognizer.to_tensors([one]))
        parts["threads_1_find_lines_s"] = round((time.perf_counter() - start) / len(images), 4)
    return parts


def print_step(name: str, step: Step) -> None:
    print(
        f"{name:28} {step.offered:8.2f} {step.answered:9.2f} {step.shed:6.0%}"
        f" {step.p50_s:8.2f} {step.p95_s:8.2f} {step.p99_s:8.2f} {step.batch:6.1f}",
        flush=True,
    )


def plot(steps: dict[str, list[Step]], target: Path) -> None:
    """Throughput and p95 latency against the offered rate, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from lab_utils.figures import COLOURS, LINE_STYLES, MARKERS

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for i, (name, own) in enumerate(steps.items()):
        style = {"marker": MARKERS[i], "linestyle": LINE_STYLES[i % 4], "color": COLOURS[i]}
        offered = [step.offered for step in own]
        left.plot(offered, [step.answered for step in own], label=name, **style)
        right.plot(offered, [step.p95_s for step in own], label=name, **style)
    highest = max(step.offered for own in steps.values() for step in own)
    left.plot([0, highest], [0, highest], color="0.6", linewidth=0.8, label="as offered")
    left.set(xlabel="offered, pages/s", ylabel="answered, pages/s", title="Throughput")
    right.set(xlabel="offered, pages/s", ylabel="s", title="Latency, p95", yscale="log")
    left.legend()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def judge(found: Sequence[Contestant], steps: dict[str, list[Step]]) -> dict:
    """The best throughput of each, and batching beside one page at a time."""
    best = {name: max(step.answered for step in own) for name, own in steps.items()}
    batched = [one.name for one in found if one.settings.max_batch > 1]
    reference = found[0].name
    winner = max(batched, key=best.__getitem__)
    alike = next(
        one.name
        for one in found
        if one.settings.max_batch == 1
        and one.settings.replicas == _named(found, winner).settings.replicas
    )
    return {
        "pages_per_s": best,
        "best_batching": winner,
        "ratio": round(best[winner] / best[reference], 2),
        "ratio_with_the_same_replicas": round(best[winner] / best[alike], 2),
    }


def _named(found: Sequence[Contestant], name: str) -> Contestant:
    return next(one for one in found if one.name == name)


def main(arguments: Sequence[str] | None = None) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="at each rate (30)")
    parser.add_argument("--cores", type=int, default=cores, help="to share out (all)")
    parser.add_argument("--queue-size", type=int, default=32)
    parser.add_argument("--max-wait-ms", type=float, default=10)
    parser.add_argument("--model", type=Path, help="TorchScript file (the packaged weights)")
    parser.add_argument(
        "--plot", type=Path, default=lab_folder() / "service_load.png", help="a PNG"
    )
    parser.add_argument(
        "--short", action="store_true", help="two contestants, two rates, a moment at each"
    )
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.cores < 1 or options.queue_size < 1:
        parser.error("--seconds, --cores and --queue-size are positive")
    prepare_ray(allow_open_ports=True)
    model, pages = str(model_file(options.model)), sample_pages()
    seconds = 1.0 if options.short else options.seconds
    threads = [1] if options.short else sorted({1, options.cores})
    parts = measure_parts(model, pages[:4] if options.short else pages, threads)
    capacity = 1 / (parts["decode_s"] + min(parts[f"threads_{n}_batch_1_s"] for n in threads))
    shares = (SHARES[0], SHARES[-1]) if options.short else SHARES
    rates = [round(share * capacity, 2) for share in shares]
    found = contestants(model, options.cores, options.queue_size, options.max_wait_ms)
    found = found[:2] if options.short else found
    head = ("pages/s:", "offered", "answered", "shed", "p50 s", "p95 s", "p99 s", "batch")
    print("{:28} {:>8} {:>9} {:>6} {:>8} {:>8} {:>8} {:>6}".format(*head))
    steps, ways = {}, {}
    for contestant in found:
        steps[contestant.name], ways[contestant.name] = measure_contestant(
            contestant, pages, rates, seconds
        )
    plot(steps, options.plot)
    verdict = judge(found, steps)
    for name, value in parts.items():
        print(f"{name:28} {value:8.4f}")
    for name, value in ways.items():
        print(f"{'the way, ' + name:40} {value:8.4f} s")
    result = {
        **verdict,
        "steps": {name: [vars(step) for step in own] for name, own in steps.items()},
        "way_s": ways,
        "parts_s": parts,
        "met": {"ratio": verdict["ratio"] >= RATIO_TARGET},
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
