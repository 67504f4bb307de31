"""Typical mistakes in the exercises of notebook 04, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

MEDIAN = "return statistics.median(seconds)"
TIMED = "        work()\n        synchronize()\n        seconds"
UNTIMED = "        synchronize()\n        start"
OVERLAP = "max(0.0, min(stop, gap_end) - max(begin, gap_start))"
SUMMED = "seconds[name] = seconds.get(name, 0.0) + inside"
RANK = "math.ceil(0.95 * len(latencies)) - 1"
CHOICE = "return min(size for size, rate in rates.items() if rate >= enough)"
KEPT = "all(p95(arrivals, max_wait) <= target for arrivals in traffic)"

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "median_seconds": [
        (TIMED, TIMED.replace("synchronize()", "pass"), "stop it when the device is done"),
        (
            UNTIMED,
            UNTIMED.replace("synchronize()", "pass"),
            "start the clock when the device is idle",
        ),
        (
            UNTIMED,
            UNTIMED.replace("synchronize()", "pass"),
            "        work()\n    seconds",
            "        work()\n        synchronize()\n    seconds",
            "still busy for 7 s, one repeat, no warm-up",
        ),
        (MEDIAN, "return min(seconds)", "not the mean or the fastest"),
        (MEDIAN, "return sorted(seconds)[len(seconds) // 2]", "the median is their mean"),
        ("range(warm_up)", "range(0)", "range(repeats)", "range(warm_up + repeats)", "warm-up"),
        (
            "        start = clock()\n",
            "        start = time.perf_counter()\n",
            "clock() - start",
            "time.perf_counter() - start",
            "never called `clock`",
        ),
    ],
    "gpu_utilization": [
        ("max(begin, latest), min(stop, end)", "max(begin, start), min(stop, end)", "two run"),
        ("latest = max(latest, stop)", "latest = stop", "remember the latest end so far"),
        ("in sorted(kernels)", "in kernels", "a trace need not be sorted"),
        ("min(stop, end)", "stop", "clip each kernel to the window first"),
        ("busy / (end - start)", "busy / end", "of the window's length, not of its end"),
        ("in sorted(kernels)", "in kernels.sort() or kernels", "changed what it was given"),
    ],
    "waiting_operator": [
        ("in sorted(kernels)", "in kernels", "sort the kernels before you look for gaps"),
        ("latest = max(latest, stop)", "latest = stop", "remember the latest end so far"),
        (SUMMED, "seconds[name] = inside", "add up all calls"),
        (
            OVERLAP,
            "(stop - begin) * (stop > gap_start and begin < gap_end)",
            "count the part of a call",
        ),
        (OVERLAP, "min(stop, gap_end) - max(begin, gap_start)", "no part in the gap counts 0"),
        ("if begin - latest > gap_end - gap_start:", "if gap_end == gap_start:", "longest gap"),
        (
            """
from collections import Counter

def waiting_operator(kernels, operators):
    ordered, gaps, latest = sorted(kernels), [], min(kernels)[1]
    for begin, stop in ordered:
        if begin > latest:
            gaps.append((latest, begin))
        latest = max(latest, stop)
    seconds = Counter()
    for name, begin, stop in operators:
        for left, right in gaps:
            seconds[name] += max(0.0, min(stop, right) - max(begin, left))
    return max(seconds, key=seconds.get)
""",
            "only the longest gap counts",
        ),
    ],
    "slowest_operator": [
        (
            'microseconds.get(name, 0.0) + event["dur"]',
            'max(microseconds.get(name, 0.0), event["dur"])',
            "add up the durations",
        ),
        (
            'if event.get("cat") == "cpu_op":',
            'if "dur" in event:',
            "of the category .cpu_op. by name",
        ),
        (
            """
import torch

def slowest_operator(work, path):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    averages = profiler.key_averages()
    return max(averages, key=lambda one: one.cpu_time_total).key
""",
            "there is no file at `path`",
        ),
        (
            "        work()\n    profiler.export",
            "        torch.ones(2).add(1)\n    work()\n    profiler.export",
            "does not have all operators that work calls",
        ),
    ],
    "best_batch_size": [
        (CHOICE, "return max(rates, key=rates.get)", "reach 96 % of what 16 do"),
        ("size: size / p50", "size: 1 / p50", "the most pages a second"),
        ("if p95 <= target", "if p50 <= target", "p95 is what was promised"),
        (
            "max(rates.values())",
            "max(size / p50 for size, (p50, _) in curve.items())",
            "of the rest|of the best size that meets|stopped with ValueError",
        ),
        ("raise ValueError(f", "return 1 or (f", "returned 1; raise ValueError"),
        ("(1 - tolerance)", "0.95", "tolerance=0"),
    ],
    "longest_wait": [
        (f"latencies[{RANK}]", "sum(latencies) / len(latencies)", "not the mean"),
        (RANK, "-1", "not the mean or the slowest"),
        ("seconds_of, max_batch, max_wait)", "seconds_of, max_batch)", "returned 0.08"),
        (KEPT, "p95(traffic[0], max_wait) <= target", "holds at every rate"),
        ("sorted(waits, reverse=True)", "sorted(waits)", "the longest wait is asked for"),
        ("raise ValueError(f", "return 0.0 or (f", "raise ValueError"),
        (RANK, "int(0.95 * len(latencies)) - 1", "number 0.95 . count, rounded up"),
        ("<= target for", "< target for", "a p95 of exactly the target is good enough"),
    ],
}
