"""Right answers to the exercises of notebook 04 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "median_seconds": [
        """
import numpy as np

def median_seconds(work, synchronize, repeats=5, warm_up=2, clock=time.perf_counter):
    def once():
        synchronize()
        before = clock()
        work()
        synchronize()
        return clock() - before
    [work() for _ in range(warm_up)]
    return np.median([once() for _ in range(repeats)])
""",
        """
from itertools import pairwise

def median_seconds(work, synchronize, repeats=5, warm_up=2, clock=time.perf_counter):
    def stamp(done):
        synchronize()
        return clock()
    for _ in range(warm_up):
        work()
    stamps = [stamp(None), *(stamp(work()) for _ in range(repeats))]
    spans = sorted(b - a for a, b in pairwise(stamps))
    return (spans[(repeats - 1) // 2] + spans[repeats // 2]) / 2
""",
        """
import torch

def median_seconds(work, synchronize, repeats=5, warm_up=2, clock=time.perf_counter):
    seconds = torch.zeros(warm_up + repeats, dtype=torch.double)
    for n in range(len(seconds)):
        synchronize()
        start = clock() if n >= warm_up else None
        work()
        if start is not None:
            synchronize()
            seconds[n] = clock() - start
    return torch.quantile(seconds[warm_up:], 0.5)
""",
    ],
    "gpu_utilization": [
        """
def gpu_utilization(kernels, start, end):
    merged = []
    for a, b in sorted((max(a, start), min(b, end)) for a, b in kernels):
        if b <= a:
            continue
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], b)
        else:
            merged.append([a, b])
    return sum(b - a for a, b in merged) / (end - start)
""",
        """
def gpu_utilization(kernels, start, end):
    changes = sorted([(a, 1) for a, _ in kernels] + [(b, -1) for _, b in kernels])
    running, since, busy = 0, start, 0
    for moment, change in changes + [(end, 0)]:
        moment = min(max(moment, start), end)
        busy += (moment - since) * (running > 0)
        running, since = running + change, moment
    return busy / (end - start)
""",
        """
import numpy as np

def gpu_utilization(kernels, start, end):
    edges = np.unique(np.clip([start, end, *[t for k in kernels for t in k]], start, end))
    middle = (edges[1:] + edges[:-1]) / 2
    busy = np.array([any(a < m < b for a, b in kernels) for m in middle], dtype=bool)
    return np.sum(np.diff(edges)[busy]) / (end - start)
""",
    ],
    "waiting_operator": [
        """
from collections import Counter
from itertools import accumulate

def waiting_operator(kernels, operators):
    ordered = sorted(kernels)
    ends = list(accumulate((b for _, b in ordered), max))
    gaps = [(begin - end, end, begin) for end, (begin, _) in zip(ends, ordered[1:])]
    _, left, right = max(gaps)
    time_in = Counter()
    for name, a, b in operators:
        time_in[name] += max(0, min(b, right) - max(a, left))
    return time_in.most_common(1)[0][0]
""",
        """
import numpy as np

def waiting_operator(kernels, operators):
    begins, ends = np.array(sorted(kernels)).T
    ends = np.maximum.accumulate(ends)[:-1]
    i = np.argmax(begins[1:] - ends)
    names, starts, stops = map(np.array, zip(*operators))
    inside = np.clip(np.minimum(stops, begins[i + 1]) - np.maximum(starts, ends[i]), 0, None)
    unique = np.unique(names)
    return unique[np.argmax([inside[names == one].sum() for one in unique])]
""",
        """
def waiting_operator(kernels, operators):
    gaps = []
    for _, end in kernels:
        later = [a for a, b in kernels if b > end]
        if later and min(later) > end:
            gaps.append((min(later) - end, end, min(later)))
    _, left, right = max(gaps)
    def waited(name):
        calls = [(max(a, left), min(b, right)) for one, a, b in operators if one == name]
        return sum(b - a for a, b in calls if b > a)
    return max({name for name, _, _ in operators}, key=waited)
""",
    ],
    "slowest_operator": [
        """
from collections import Counter
from torch.profiler import ProfilerActivity, profile

def slowest_operator(work, path):
    with profile(activities=[ProfilerActivity.CPU]) as run:
        work()
    run.export_chrome_trace(str(path))
    total = Counter()
    for event in json.loads(path.read_bytes())["traceEvents"]:
        total[event["name"]] += event["dur"] if event.get("cat") == "cpu_op" else 0
    return total.most_common(1)[0][0]
""",
        """
import os

def slowest_operator(work, path):
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    profiler.start()
    work()
    profiler.stop()
    profiler.export_chrome_trace(os.fspath(path))
    with open(path) as file:
        calls = [one for one in json.load(file)["traceEvents"] if "cpu_op" == one.get("cat")]
    names = {one["name"] for one in calls}
    return max(names, key=lambda name: sum(one["dur"] for one in calls if one["name"] == name))
""",
        """
import itertools

def slowest_operator(work, path):
    def write(profiler):
        profiler.export_chrome_trace(str(path))
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, on_trace_ready=write, record_shapes=True):
        work()
    events = json.loads(path.read_text())["traceEvents"]
    rows = sorted((one["name"], one["dur"]) for one in events if one.get("cat") == "cpu_op")
    groups = itertools.groupby(rows, key=lambda row: row[0])
    return max((sum(us for _, us in group), name) for name, group in groups)[1]
""",
    ],
    "best_batch_size": [
        """
import numpy as np

def best_batch_size(curve, target, tolerance=0.05):
    sizes = np.array(sorted(n for n, (_, p95) in curve.items() if p95 <= target))
    if not sizes.size:
        raise ValueError("none")
    rates = sizes / np.array([curve[n][0] for n in sizes])
    return sizes[np.argmax((rates.max() - rates) / rates.max() <= tolerance)]
""",
        """
def best_batch_size(curve, target, tolerance=0.05):
    allowed = {n: n / p50 for n, (p50, p95) in curve.items() if not p95 > target}
    peak = max(allowed.values())
    return min(n for n, r in allowed.items() if peak - r <= tolerance * peak)
""",
        """
def best_batch_size(curve, target, tolerance=0.05):
    good = [(n, n / curve[n][0]) for n in sorted(curve) if curve[n][1] <= target]
    if len(good) == 0:
        raise ValueError(target)
    top = sorted(good, key=lambda one: one[1])[-1][1]
    for n, r in good:
        if 1 - r / top <= tolerance:
            return n
""",
    ],
    "longest_wait": [
        """
import numpy as np

def longest_wait(traffic, seconds_of, max_batch, waits, target):
    def p95(arrivals, wait):
        took = np.subtract(simulate_queue(arrivals, seconds_of, max_batch, wait), arrivals)
        return np.percentile(took, 95, method="inverted_cdf")
    good = [w for w in waits if max(p95(one, w) for one in traffic) <= target]
    return np.float64(max(good))
""",
        """
def p95(arrivals, *settings):
    answers = simulate_queue(arrivals, *settings)
    latencies = sorted(b - a for a, b in zip(arrivals, answers))
    return latencies[-(-95 * len(latencies) // 100) - 1]

def longest_wait(traffic, seconds_of, max_batch, waits, target):
    best = None
    for wait in waits:
        worst = max(p95(one, seconds_of, max_batch, wait) for one in traffic)
        if worst <= target and (best is None or wait > best):
            best = wait
    if best is None:
        raise ValueError("no wait")
    return best
""",
        """
def longest_wait(traffic, seconds_of, max_batch, waits, target):
    def late(arrivals, wait):
        answers = simulate_queue(arrivals, seconds_of, max_batch, max_wait=wait)
        return sum(b - a > target for a, b in zip(arrivals, answers))
    for wait in sorted(waits)[::-1]:
        if all(20 * late(one, wait) <= len(one) for one in traffic):
            return wait
    raise ValueError
""",
    ],
}
