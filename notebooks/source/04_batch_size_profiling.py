# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Batch size: measured on your machine
#
# **Time:** 125 minutes
#
# **You will learn**
#
# - how to measure seconds that mean something: warm-up, synchronization, medians;
# - what you gain on this machine's CPU by reading pages in batches, and where the milliseconds go;
# - how to write a trace and read it: why a GPU idles with one page and with sixteen, and what it
#   waits for;
# - what GPU utilization, SM efficiency and achieved occupancy say, and what they do not;
# - how to choose a batch size and a maximum wait for a latency target, with a simulated queue;
# - what PyTorch's settings do for a CPU, in seconds and in errors.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## Why batches
#
# A **batch** is several pages that go through the network together. Each run has costs that do not
# depend on how many pages are in it: operators are looked up and started, memory is allocated,
# weights are fetched. A batch pays them once.

# %%
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from lab_utils.figures import show, show_table
from lab_utils.lessons.batch_size_profiling import checks
from lab_utils.lessons.batch_size_profiling import figures as draw
from lab_utils.model import packaged_recognizer
from text_recognizer.places import lab_folder

# %%
show(
    draw.one_by_one_and_together(),
    "Figure 1. Four pages one by one and in a batch, where starting costs as much as three pages.",
    "Above, four long and four short pieces alternate; below, one long and four short ones.",
    width=600,
)

# %% [markdown]
# That is the theory. Whether it holds depends on how large the two costs are, the one for each
# batch and the one for each page, and that depends on the machine. A batch also has a price: the
# first page of a batch is done no sooner than the last. "Use batches on a GPU" is a rule of thumb.
# This notebook replaces it with numbers from *your* machine, and with a way to get them on any
# other.

# %% [markdown]
# ## 1. A clock that can be trusted
#
# Load a recognizer and read the same page six times. It is the same work each time: will it take
# the same time? (This notebook measures only the networks, without the language model of notebook
# 03.)

# %% tags=["timing"]
PAGE = "data/pages/show_font_002.jpg"
recognizer = packaged_recognizer(language_model="none")
seconds = []
for _ in range(6):
    start = time.perf_counter()
    recognizer.predict(PAGE)
    seconds.append(time.perf_counter() - start)
print("ms:", *[f"{1000 * one:.0f}" for one in seconds])

# %% [markdown]
# The first two took several times as long as the others. TorchScript watches the first run and
# makes its code faster in the second; memory is requested from the system and then kept; a GPU
# would also load its programs, and some libraries try out several algorithms for each new shape. A
# service pays this once, at start-up, so it shouldn't count in a number that describes normal
# operation. These first runs are called **warm-up** and are left out.
#
# The second trap cannot be seen on a CPU. With a GPU, the CPU only queues the work and carries on.
# This cell imitates that with a thread: `submit` returns before anything is read.

# %%
from concurrent.futures import ThreadPoolExecutor, wait

device, queued = ThreadPoolExecutor(max_workers=1), []


def work() -> None:
    queued.append(device.submit(recognizer.predict, PAGE))


def synchronize() -> None:
    wait(queued)


# %% tags=["timing"]
start = time.perf_counter()
work()
handed_over = time.perf_counter() - start
synchronize()
done = time.perf_counter() - start
print(f"handed over after {1000 * handed_over:.2f} ms, done after {1000 * done:.2f} ms")

# %%
show(
    draw.two_stops(),
    "Figure 2. What the CPU hands over in a moment keeps the device busy long after.",
    "Four short bars of the CPU end at a first dashed line, where work() returns; four long bars "
    "of the device end at a second one, much later, where synchronize() returns.",
    width=600,
)

# %% [markdown]
# With PyTorch, `torch.cuda.synchronize()` waits for the GPU. Without it you measure how fast the
# CPU queues work. If you leave it out *before* starting the clock, you also time work that was
# queued earlier. The third trap is noise: other programs run, too, and one repeat in ten may take
# twice as long. That changes a mean, but not a **median**.

# %% [markdown]
# ### Exercise 1: An honest clock (15 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# First call `work` `warm_up` times without looking at the clock. Then call it `repeats` times, and
# measure each call: look at the clock before and after. Each measurement starts with a device that
# has nothing left to do, and ends when the device is done. Return the median of the repeats.


# %% tags=["exercise"]
def median_seconds(
    work: Callable[[], object],
    synchronize: Callable[[], object],
    repeats: int = 5,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The seconds that one call of `work` keeps the device busy, as the median of `repeats`.

    Args:
        work: hands work to a device; may return before the device is done.
        synchronize: returns when the device has done all that was handed to it.
        repeats: calls that are measured, each on its own.
        warm_up: calls before these, which are not measured.
        clock: the time now, in s.
    """
    ### BEGIN SOLUTION
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(repeats):
        synchronize()
        start = clock()
        work()
        synchronize()
        seconds.append(clock() - start)
    return statistics.median(seconds)
    ### END SOLUTION


# %% tags=["check"]
checks.median_seconds(median_seconds)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two loops. The second has five lines: wait until the device is idle, look at the clock, work, wait
# again, look at the clock again and keep the difference. `statistics.median` also knows what to do
# with an even number of values.
#
# </details>

# %% tags=["timing"]
for name, wait_for in {"without": lambda: None, "with": synchronize}.items():
    print(f"{name} synchronize: {1000 * median_seconds(work, wait_for):.3f} ms a page")

# %% [markdown]
# ## 2. The CPU's batch curve
#
# Now the question itself, on this machine: how long does a batch of 1, 2, 4, 8 pages take?
# `profile_batch_sizes` measures as you did, starting from the pages' pixels, so that opening and
# decoding files does not count; the sizes take turns, so that a busy minute of the machine affects
# all sizes alike. Then it runs one more batch of each size under PyTorch's profiler and keeps what
# the profiler records, for section 3. Here it reads one small page again and again, which makes
# batches of different sizes comparable. In a terminal, `lab profile` does the same with larger
# batches and a page of average length; `--pages data/pages` reads the sample pages.
#
# Guess before you run it: how many times as long as one page does a batch of eight take?

# %% tags=["timing"]
from lab_utils.profiling import profile_batch_sizes

FOLDER, SMALL = lab_folder() / "notebooks" / "04", ["data/pages/show_font_013.jpg"]
cpu = profile_batch_sizes(
    recognizer, "cpu", [1, 2, 4, 8], repeats=5, pages=SMALL, out=FOLDER / "cpu"
)
print(cpu.about)

# %% tags=["timing"]
from lab_utils.profiling.tables import figures_table, operators_table, parts_table

columns, rows = figures_table(cpu)
show_table(rows, columns, "Table 1. Batches on this machine's CPU.")

# %% tags=["timing"]
from lab_utils.profiling.plots import latency_and_throughput

show(
    latency_and_throughput(cpu),
    "Figure 3. The same, as curves.",
    "The time of a batch and the pages a second, against the number of pages in a batch.",
)

# %% [markdown]
# Most likely, a batch of eight takes nearly eight times as long as one page, and the number of
# pages per second hardly rises. That is what a few cores do with this model. A single page already
# keeps them busy with multiplications. Even its lines are read one by one, since a batch of lines
# would only add padding. The cost of starting is small compared to that.
#
# **p50** is the median time of a batch, and **p95** the time that 95 of 100 batches do not exceed;
# with five repeats, p95 is a little below the slowest. *Threads busy* is the share of the time in
# which PyTorch's threads were at work, and *memory* is the most that the batch held at once, not
# counting the weights. Pages per *user-second* are what users see. If eight people wait for one
# batch, they wait eight times its seconds in all. Divide the pages by that, and the largest batch
# scores about an eighth of what a single page does.

# %% [markdown]
# ## 3. Where do the milliseconds go?
#
# A **trace** records what ran when: each operator of PyTorch with its start and its duration. The
# recognizer adds **marks** for its parts, so that you don't have to guess which convolution belongs
# to which part. Below is a batch of one page. Which part will take most of the time, finding the
# lines or reading them? And which operator?

# %% tags=["timing"]
from lab_utils.profiling import read_trace
from lab_utils.profiling.timeline import timeline

show(
    timeline(read_trace(cpu.batches[0].trace)),
    "Figure 4. One page on the CPU, from left to right: the parts, and below them the share of "
    "each moment in which an operator ran.",
    "Finder and reader take most of the width; the reader consists of backbone and encoder.",
)

# %% tags=["timing"]
columns, rows = parts_table(cpu)
show_table(rows, columns, "Table 2. Shares of a batch's time, for each batch size.")

# %% tags=["timing"]
columns, rows = operators_table(cpu.batches[0])
show_table(rows[:6], columns, "Table 3. Operators, not counting what they call in turn; one page.")

# %% [markdown]
# Two things to look for. Which part is worth making faster? If a part takes a twentieth of the
# time, you gain a twentieth at most, however clever you are (Amdahl's law). And how many calls are
# there? Hundreds of operators take a few microseconds each: on a CPU they hide behind the large
# convolutions; on a GPU they will not.

# %% [markdown]
# ### Exercise 2: Write a trace and read it (20 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# `profile_batch_sizes` wrote that trace for you. Now use `torch.profiler` yourself: run `work` once
# under it, recording the CPU's activities, and export the trace to `path`. A trace is JSON: its
# `"traceEvents"` are dictionaries. Those of the **category** `"cpu_op"` (the key `"cat"`) are the
# calls of operators, with `"name"` and `"dur"`, the duration in µs. Others have other categories,
# or none. Read the file back and return the name of the operator whose calls together took the most
# time, including what they called in turn.


# %% tags=["exercise"]
import json

import torch


def slowest_operator(work: Callable[[], object], path: Path) -> str:
    """The operator that takes the most time in one call of `work`, according to a trace.

    Args:
        work: runs operators of PyTorch on the CPU; it is called once.
        path: the trace to write, a file that ends with .json.
    """
    ### BEGIN SOLUTION
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    profiler.export_chrome_trace(str(path))
    microseconds: dict[str, float] = {}
    for event in json.loads(path.read_text())["traceEvents"]:
        if event.get("cat") == "cpu_op":
            name = event["name"]
            microseconds[name] = microseconds.get(name, 0.0) + event["dur"]
    return max(microseconds, key=microseconds.__getitem__)
    ### END SOLUTION


# %% tags=["check"]
checks.slowest_operator(slowest_operator)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:`
# around the call, and `profiler.export_chrome_trace(str(path))` after the block: inside it, the
# trace is not complete. Not every event has a `"cat"`, so look it up with `get`. Add up the
# durations by name in a dictionary.
#
# </details>

# %% [markdown]
# Which operator is it, when the recognizer reads a page? Before you run the cell, look at table 3
# and guess: the table leaves out what an operator calls in turn, but your function does not.

# %% tags=["timing"]
FOLDER.mkdir(parents=True, exist_ok=True)
print(slowest_operator(lambda: recognizer.predict(SMALL[0]), FOLDER / "own.json"))

# %% [markdown]
# ## 4. A GPU: live, recorded, or none
#
# The same curve on a GPU. If PyTorch finds one here, the next cell measures it. If not, it takes
# the recording in [`data/traces`](../data/traces/README.md), made on an NVIDIA H200 with pages of
# real handwriting. If there is neither, it says so, and this section has no figures: made-up ones
# would teach you nothing. Figures about a GPU have letters, the others have numbers.

# %% tags=["nbval-ignore-output"]
gpu, about = draw.gpu_profile(sizes=[1, 2, 4, 8, 16, 32], folder=FOLDER / "gpu")
print(about)

# %% [markdown]
# Before you run the next cell, write down a guess. A GPU multiplies hundreds of times faster than a
# few cores. If it reads 16 pages at once instead of one, how many times as many pages does it read
# a second: 1, 4, or 16?

# %% tags=["nbval-ignore-output"]
if gpu:
    show(
        latency_and_throughput(gpu),
        f"Figure A. The batch curve of {gpu.device['name']}.",
        "The time of a batch and the pages a second, against the number of pages in a batch.",
    )

# %% tags=["nbval-ignore-output"]
if gpu:
    one, many = draw.one_and_many(gpu)
    gain = many.pages_per_second / one.pages_per_second
    print(f"batch of {one.batch_size}: {one.pages_per_second:.1f} pages a second")
    print(
        f"batch of {many.batch_size}: {many.pages_per_second:.1f} pages a second, {gain:.2f} times"
    )
    print(f"the best size of this CPU: {cpu.best.pages_per_second:.1f} pages a second")

# %% [markdown]
# On the H200, 16 pages at once are no faster than one page after the other: the time of a batch
# grows in proportion to its pages, as on the CPU. (The pages differ: the batch of one reads the
# page whose text is of average length, a larger batch a mixture. A few percent more or less mean
# nothing.) So what does that large GPU do all the time?

# %% [markdown]
# ### Exercise 3: GPU utilization (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# A GPU runs **kernels**, small programs that the CPU starts one after the other. **GPU
# utilization** is the share of a time window in which *at least one* kernel ran. Each kernel is
# given by its start and its end. Kernels may overlap, since a GPU can run several at once. They may
# come in any order, and may begin before the window or end after it.


# %% tags=["exercise"]
def gpu_utilization(kernels: list[tuple[float, float]], start: float, end: float) -> float:
    """The share of the window from `start` to `end` in which some kernel ran, in [0, 1].

    Args:
        kernels: start and end of each, in the unit of the window; in any order, maybe none.
    """
    ### BEGIN SOLUTION
    busy, latest = 0.0, start
    for begin, stop in sorted(kernels):
        begin, stop = max(begin, latest), min(stop, end)
        busy += max(stop - begin, 0.0)
        latest = max(latest, stop)
    return busy / (end - start)
    ### END SOLUTION


# %% tags=["check"]
checks.gpu_utilization(gpu_utilization)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through the kernels in the order of their starts, and remember the moment up to which the GPU's
# time has been counted. Of each kernel, only what comes after that moment, and before the window's
# end, is new. A short kernel beside a long one adds nothing, and must not move that moment back.
#
# </details>

# %% [markdown]
# Now apply it to the GPU's traces. Guess first: for what share of a batch's time is the GPU at
# work?

# %% tags=["nbval-ignore-output"]
traces = draw.two_traces(gpu)
for size, trace in traces.items():
    kernels = [(kernel.start, kernel.end) for kernel in trace.kernels]
    share = gpu_utilization(kernels, 0, trace.duration)
    print(f"batch of {size:2}: {len(kernels):,} kernels, utilization {share:.0%}")

# %% [markdown]
# Utilization says *that* something ran, not how much of the GPU it filled: one block of threads on
# one of its **multiprocessors** (SMs) counts like a full GPU. Two more measures look closer:
#
# - **SM efficiency**: the mean share of the multiprocessors that had a block. At each moment, it is
#   the number of blocks of all running kernels for each multiprocessor, but at most 1.
# - **Achieved occupancy**: a multiprocessor hides waiting for memory by switching between
#   **warps**, groups of 32 threads. Occupancy is the number of warps that it holds, as a share of
#   those that it can hold: the mean over the kernels, each weighted by its time. (Both are
#   estimates from the sizes of the kernels, as in torch-tb-profiler. Only counters in the GPU would
#   be exact.)
#
# Which of the three will be the highest, and why is that not good news?

# %% tags=["nbval-ignore-output"]
if gpu:
    from lab_utils.profiling.plots import utilization

    show(
        utilization(gpu),
        "Figure B. How busy the GPU was, in three ways.",
        "Three curves against the number of pages in a batch, SM efficiency below utilization.",
        width=560,
    )

# %% tags=["nbval-ignore-output"]
for one in gpu.measured if gpu else []:
    if one.gpu_utilization is not None:
        print(
            f"batch of {one.batch_size:2}: no kernel runs {1 - one.gpu_utilization:.0%} of the time"
        )
        # While no kernel runs, no multiprocessor has a block.
        assert one.sm_efficiency <= one.gpu_utilization + 1e-9

# %% [markdown]
# The H200 idles for more than four fifths of every batch. A GPU that is twice as fast would change
# little. Occupancy looks much better, because it counts only the moments in which a kernel runs. So
# the question is not how the GPU works, but what it waits for. The traces show it, in the same form
# as figure 4: what is the processor doing while the GPU's row is empty?

# %% tags=["nbval-ignore-output"]
for letter, (size, trace) in zip("CD", traces.items(), strict=False):
    pages = "one page" if size == 1 else f"{size} pages"
    show(
        timeline(trace),
        f"Figure {letter}. A batch of {pages} on {gpu.device['name']}.",
        "Rows for the model's parts, the processor and the GPU. Where the processor's row is full, "
        "the GPU's is mostly low; it is high while the reader reads.",
    )

# %% [markdown]
# In both figures, the processor's row is full and the GPU's is low. There are two reasons, and each
# shows in a different place.
#
# **Launches**, in the reader of figure C. Starting a kernel, with everything that leads up to it,
# costs the CPU tens of µs, however small the kernel is. With one page, most kernels finish sooner
# than that, so the GPU waits for the next launch. Such a program is **launch-bound**. A batch is
# the remedy: in figure D, the lines of 16 pages go through the reader in three batches. One launch
# does the work of many lines, and there the GPU's row is high.
#
# **Python-like code on the CPU**, in the finder. What the figures call `forward` is TorchScript's
# interpreter at work: loops, comparisons, lists of numbers. It follows the lines from column to
# column, page by page, and the GPU has nothing to do meanwhile. For 16 pages it does so 16 times.
# After the decoding come thousands of calls of `_local_scalar_dense`, each of which fetches a
# single number from the GPU (`aten::item` calls it) and waits for it. A larger batch shares none of
# that.
#
# If this is right, then a page costs less time in the reader in figure D than in figure C, but not
# in the finder. By how much, do you think?

# %% tags=["nbval-ignore-output"]
page_ms = {size: draw.milliseconds_of_a_page(trace, size) for size, trace in traces.items()}
if page_ms:
    parts = next(iter(page_ms.values()))
    rows = [[part, *[round(ms.get(part, 0.0), 2) for ms in page_ms.values()]] for part in parts]
    columns = ["part", *[f"ms a page, batch of {size}" for size in page_ms]]
    show_table(rows, columns, "Table A. The processor's time for a page.")
for size, trace in traces.items():
    print(f"batch of {size:2}: {draw.rhythm(trace)}")

# %% tags=["nbval-ignore-output"]
if len(page_ms) == 2:
    one, many = page_ms.values()
    gains = {part: one[part] / many[part] for part in ("reader", "finder")}
    print(f"in a batch, the reader's part of a page is {gains['reader']:.1f} times shorter,")
    print(f"and the finder's {gains['finder']:.1f} times")
    assert gains["reader"] > gains["finder"]

# %% [markdown]
# (The profiler makes everything slower, launches most of all, so don't compare these times with
# those of figure A.) The batch does what it promises, for the reader. But the reader is a small
# part of a page's time, and the part that a batch does not share decides: Amdahl's law again.

# %% [markdown]
# ### Exercise 4: What does the GPU wait for? (15 minutes)
#
# Difficulty ●●●●○ · Importance ●●●○○
#
# A picture can mislead, so let a program look. Find the longest **gap**: a stretch between kernels
# in which none runs. Return the name of the operator in which the CPU spent the most time during
# that gap, all its calls together. What a call did before or after the gap does not count.


# %% tags=["exercise"]
def waiting_operator(
    kernels: list[tuple[float, float]], operators: list[tuple[str, float, float]]
) -> str:
    """The CPU's operator that ran for the most time in the GPU's longest gap.

    Args:
        kernels: start and end of each, in any order, at least two; they may overlap.
        operators: name, start and end of each call; no two run at the same time.
    """
    ### BEGIN SOLUTION
    gap_start = gap_end = latest = min(kernels)[1]
    for begin, stop in sorted(kernels):
        if begin - latest > gap_end - gap_start:
            gap_start, gap_end = latest, begin
        latest = max(latest, stop)
    seconds: dict[str, float] = {}
    for name, begin, stop in operators:
        inside = max(0.0, min(stop, gap_end) - max(begin, gap_start))
        seconds[name] = seconds.get(name, 0.0) + inside
    return max(seconds, key=seconds.__getitem__)
    ### END SOLUTION


# %% tags=["check"]
checks.waiting_operator(waiting_operator)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Again: kernels in the order of their starts, and the latest end so far. A gap is from that end to
# the next start. Two intervals share `min` of their ends minus `max` of their starts, and nothing
# if that is negative. Add these up by name in a dict.
#
# </details>

# %% tags=["nbval-ignore-output"]
from lab_utils.profiling.trace_figures import idle_gaps

for size, trace in traces.items():
    kernels = [(kernel.start, kernel.end) for kernel in trace.kernels]
    name = waiting_operator(kernels, draw.operators_of(trace))
    longest = max(end - start for start, end in idle_gaps(trace)) / 1000
    print(f"batch of {size:2}: {longest:.1f} of {1000 * trace.seconds:.0f} ms, in {name}")

# %% [markdown]
# On the H200 it is `forward`, for one page and for sixteen: the line-following loop of the finder.
# So no larger batch and no faster GPU will help this recognizer much.
#
# This recording led to one change. In the current code, only pictures and networks are on the GPU,
# and the results of a network come back in one copy instead of thousands. A test counts those waits
# on a simulated device; the new code has not been timed on a GPU yet. What else could help:
# following the lines of all pages at once with operators on the GPU, or several processes that
# share the GPU, so that one reads while another follows lines.

# %% [markdown]
# ### What to do about launches
#
# The other reason, launches, has three remedies, and none of them needs a faster GPU:
#
# - **Batches.** One launch does the work of many lines. The text stays the same, since the reader
#   masks the padding.
# - **CUDA graphs.** Record all launches once, then hand them to the GPU in one call. Shapes and
#   addresses are fixed, so a service keeps a graph for each of a few widths.
# - **`torch.compile(mode="reduce-overhead")`.** A compiler fuses small kernels and records a graph
#   of what is left. The first call takes a minute.
#
# The next cell runs only the reader, on the lines of one page, in each way. If there is no GPU, the
# ways that need one say so; if a GPU was recorded, its rows follow. Which way wins on a GPU, and by
# how much? And which on a CPU, where launches cost little?

# %% tags=["nbval-ignore-output"]
ways = draw.launch_ways(Path(PAGE))
show_table(ways, draw.LAUNCH_COLUMNS, "Table 4. The reader on the lines of one page.")
assert all(equal != "no" for *_, equal in ways)

# %% [markdown]
# On the H200, reading the lines in a batch is five times as fast as one after the other, a graph of
# that batch is more than twice as fast again, and the compiled reader gains another fifth: all with
# the same text. That is what a launch-bound program gains. But look back at table A before you
# build it in: of a whole page, it can save no more than the reader's row.

# %% [markdown]
# ## 5. Choose the size
#
# The largest batch is rarely the best. Beyond some size, the number of pages per second hardly
# rises, and everybody in the batch waits longer. And if you promised a latency, the largest batch
# may not keep it.

# %% [markdown]
# ### Exercise 5: The best batch size (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# Of the sizes whose p95 meets the target, find the highest number of pages per second (at p50).
# Return the smallest size that comes within `tolerance` of it: measurements differ by a few percent
# from run to run, and a gain too small to measure is not worth waiting for.


# %% tags=["exercise"]
def best_batch_size(
    curve: dict[int, tuple[float, float]], target: float, tolerance: float = 0.05
) -> int:
    """The smallest batch size that meets the target with nearly the most pages per second.

    Args:
        curve: p50 and p95 of the seconds of a batch, by batch size.
        target: s; a p95 of exactly this much is good enough.
        tolerance: at least 1 - tolerance of the most pages per second is nearly the most.

    Raises:
        ValueError: no size meets the target.
    """
    ### BEGIN SOLUTION
    rates = {size: size / p50 for size, (p50, p95) in curve.items() if p95 <= target}
    if not rates:
        raise ValueError(f"No batch size meets {target} s.")
    enough = (1 - tolerance) * max(rates.values())
    return min(size for size, rate in rates.items() if rate >= enough)
    ### END SOLUTION


# %% tags=["check"]
checks.best_batch_size(best_batch_size)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First leave out what misses the target, then compute the pages per second of what is left, `size /
# p50`, then their maximum, and finally the smallest size that reaches enough of it.
#
# </details>

# %% [markdown]
# Try it on a device where batches pay off. It is **simulated**: its launches take 1.7 ms however
# many pages are in a batch, its kernels 0.27 ms a page, and both run at the same time. Its CPU adds
# 0.3 ms, and 0.06 ms for each page. Which size has nearly the most pages a second?


# %%
def simulated(pages: int) -> float:
    """s of a batch on a device that does not exist."""
    return max(0.0017, 0.00027 * pages) + 0.0003 + 0.00006 * pages


simulated_curve = {size: (simulated(size), simulated(size)) for size in (1, 2, 4, 8, 16, 32)}
for target in (1.0, 0.005, 0.0022):
    size = best_batch_size(simulated_curve, target)
    print(f"simulated device, {1000 * target:g} ms: {size} pages a batch")

# %% tags=["timing"]
cpu_curve = {b.batch_size: (b.p50, b.p95) for b in cpu.measured}
print("this CPU, no promise:", best_batch_size(cpu_curve, math.inf), "pages a batch")
if gpu:
    gpu_curve = {b.batch_size: (b.p50, b.p95) for b in gpu.measured}
    print("GPU, no promise:", best_batch_size(gpu_curve, math.inf), "pages a batch")

# %% [markdown]
# ## 6. The latency that users see
#
# No user sends a batch. Requests come one by one, at random, and a server has to make batches of
# them: it takes up to **max batch** of the waiting requests, and if there are fewer, it may hold
# the first one back for up to **max wait**, until others come. What users feel is the time from
# their request to their answer, waiting included. What you promise them is the p95 of this time: 95
# of 100 requests take no longer.
#
# No load test is needed for a first answer. The measured curve says what a batch takes, arrivals
# can be drawn at random, and the queue can be simulated. `poisson_arrivals` draws the moments at
# which many independent users come, and `simulate_queue` sends them through a server.

# %%
from lab_utils.service.queueing import poisson_arrivals, simulate_queue

few = [0.0, 0.001, 0.004, 0.012]  # moments of arrival, in s
for max_wait in (0.0, 0.003):
    answered = simulate_queue(few, lambda pages: 0.002, max_batch=16, max_wait=max_wait)
    spans = [f"{1000 * (end - start):.0f}" for start, end in zip(few, answered, strict=True)]
    print(f"max wait {1000 * max_wait:.0f} ms: latencies {', '.join(spans)} ms")

# %% [markdown]
# With a wait, the first two requests share a batch, and everybody is answered later. Why would you
# want that? Because fewer batches are less *work*. The next cells show the simulated device at four
# rates of requests. Guess first at which rate a wait saves most:

# %%
RATES, WAITS = [50, 300, 1000, 2000], [n / 1000 for n in range(0, 13)]
traffic = {rate: poisson_arrivals(rate, count=1500, seed=4) for rate in RATES}
played = {
    rate: {wait: draw.play(traffic[rate], simulated, 16, wait) for wait in WAITS} for rate in RATES
}

# %%
show(
    draw.by_wait(played, target=0.010),
    "Figure 5. What waiting costs users and saves in work, on the simulated device; max batch 16.",
    "Above, p95 rises with the max wait at all rates, from below the target to above it; below, "
    "the share of time in which the device is busy falls, from 95 to 34 % at 1,000 a second.",
    width=620,
)

# %% [markdown]
# At 50 requests a second, few requests meet another one, so the wait just makes everybody slower,
# and saves nothing. At 300 and 1,000, a few milliseconds halve the work: that is room for another
# model on the same device, or a smaller bill if it is paid by the second. At 2,000, batches fill by
# themselves while the device is busy; there is less to save, and less time to spare.

# %% [markdown]
# ### Exercise 6: The longest wait (20 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●○
#
# You promised a p95 and want to save as much work as the promise allows. Return the longest of the
# given waits that keeps p95 within the target at *every* rate, at night and in rush hours alike.
#
# To find the p95, sort the latencies and take number `0.95 * count`, rounded up, counting from 1.


# %% tags=["exercise"]
def longest_wait(
    traffic: list[list[float]],
    seconds_of: Callable[[int], float],
    max_batch: int,
    waits: list[float],
    target: float,
) -> float:
    """The longest max wait that keeps p95 within the target, at each rate.

    Args:
        traffic: for each rate, the moments of arrival in s.
        seconds_of: the seconds that a batch of that many pages takes.
        max_batch: pages in a batch, at most.
        waits: s; to choose from, in any order.
        target: s; a p95 of exactly this much is good enough.

    Raises:
        ValueError: no wait meets the target.
    """
    ### BEGIN SOLUTION

    def p95(arrivals: list[float], max_wait: float) -> float:
        answered = simulate_queue(arrivals, seconds_of, max_batch, max_wait)
        latencies = sorted(end - start for start, end in zip(arrivals, answered, strict=True))
        return latencies[math.ceil(0.95 * len(latencies)) - 1]

    for max_wait in sorted(waits, reverse=True):
        if all(p95(arrivals, max_wait) <= target for arrivals in traffic):
            return max_wait
    raise ValueError(f"No wait keeps the p95 within {target} s.")
    ### END SOLUTION


# %% tags=["check"]
checks.longest_wait(longest_wait)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write a helper first: the p95 for one list of arrivals and one wait.
# `simulate_queue(arrivals, seconds_of, max_batch, max_wait)` returns the moments of the answers, in
# the order of arrival. Then go through the waits from long to short, and return the first that
# keeps all rates within the target. Do not stop at the first that fails: now and then a longer wait
# does better than a shorter one.
#
# </details>

# %%
for rates in ([50], [1000], [2000], RATES):
    chosen = [traffic[rate] for rate in rates]
    longest = longest_wait(chosen, simulated, 16, WAITS, target=0.010)
    busy = ", ".join(f"{played[rate][longest].busy:.0%} at {rate}" for rate in rates)
    print(f"{rates}: {1000 * longest:.0f} ms; device busy {busy}")

# %% [markdown]
# And this machine's CPU? On it, the pages of a batch share next to nothing, so waiting cannot save
# anything. The next cell simulates half of the rate that this CPU can handle, with the curve that
# you measured.

# %% tags=["timing"]
on_cpu = draw.between({b.batch_size: b.p50 for b in cpu.measured})
rate = 0.5 / cpu.batches[0].p50
arrivals = poisson_arrivals(rate, count=1500, seed=4)
for max_batch, max_wait in ((1, 0.0), (8, 0.0), (8, 2 * on_cpu(1))):
    one = draw.play(arrivals, on_cpu, max_batch, max_wait)
    setting = f"max batch {max_batch}, max wait {max_wait:.2f} s"
    print(f"{rate:.1f} a second, {setting}: p95 {one.p95:.2f} s, busy {one.busy:.0%}")

# %% [markdown]
# So the rule of thumb, corrected: *batch where a batch costs little more than a page, and measure
# whether it does.* The notebook on the [model service](06_model_service.ipynb) puts the max batch
# and the max wait into a server that gathers batches, and asks what else such a server needs.

# %% [markdown]
# ## 7. A faster CPU
#
# If batches do not help here, other things may. Candidates are threads, TorchScript's
# optimizations, and numbers with fewer bits. Here you measure three ways to run the recognizer, in
# turns, so that a busy moment affects all alike, and with their character error rate (CER, notebook
# 03), because a faster way must not read worse. Which of them do you expect to be faster than the
# lab's default?

# %%
from functools import partial

THREADS = torch.get_num_threads()


def with_threads(count: int, page: str) -> str:
    torch.set_num_threads(count)
    text = recognizer.predict(page)
    torch.set_num_threads(THREADS)
    return text


# %%
def in_bfloat16(page: str) -> str:
    with torch.autocast("cpu", torch.bfloat16):
        return recognizer.predict(page)


ways = {
    "as it comes": recognizer.predict,
    "one thread": partial(with_threads, 1),
    "bfloat16": in_bfloat16,
}

# %% tags=["timing"]
show_table(
    draw.ways_compared(ways),
    ["way", "ms a page", "times as fast", "CER"],
    "Table 5. Ways to run one model on this CPU.",
)

# %% [markdown]
# What to make of it:
#
# - **Threads**: the recognizer lets each thread read separate lines. Two threads are faster than
#   one, but not twice as fast: the lines are found by one thread, and the longest line decides when
#   all are done. A service that reads several pages at once does better with one process per core,
#   each with one thread.
# - **bfloat16** has half as many bits. Processors with instructions for it (AVX512-BF16, AMX) gain;
#   on others, numbers are converted back and forth, and it is slower. The text changes little, but
#   look at the CER and do not take it for granted.
#
# [`benchmarks/cpu_tuning.py`](../benchmarks/cpu_tuning.py) compares more settings: threads within
# and between operators, freezing, `optimize_for_inference`, memory formats, eight bits, each with
# its change in CER over many pages. Of those that leave the text unchanged, none gained anything on
# two cores of a cloud machine, and some made it slower: nearly all of the time goes into matrix
# products, which PyTorch does well by default. So `ParagraphTextRecognizer` changes no setting.
# What made it faster was other *work*: pooling before a projection instead of after it, so that the
# projection has a sixth of the work, and no padding. If a setting can't help, look at table 3 and
# ask which of that work has to be done at all.

# %% [markdown]
# ### Beside other work, and in a container
#
# All of this was measured on a machine with nothing else to do. A service shares its machine, and a
# container has a **quota**: a fixed amount of processor time in every 100 ms, on as many cores as
# it likes. By default PyTorch's threads share each operator, and wait for each other at its end. If
# they wait in a busy loop (OpenMP's `active` policy), they burn time that the thread they wait for
# needs: beside other work that thread is delayed, and within a quota all of them are stopped until
# the next period. If they sleep while they wait (`passive`, which the lab sets before it loads
# PyTorch), they don't, but falling asleep and waking up some thousand times a page takes long, too.
# So the recognizer reads lines *side by side*, each with one thread, and nobody waits before the
# end. Each number below comes from a separate process, since OpenMP reads the setting only once.
# Table 6 reads a page of five lines on the idle machine, then beside one busy loop for each
# processor. How many times as long will the page take beside the loops, in each of the three ways?

# %% tags=["nbval-ignore-output"]
show_table(
    draw.beside_busy_loops(),
    ["beside", "side by side (s a page)", "shared, passive", "shared, active"],
    "Table 6. One page: a thread for each line, or threads that share, and sleep or spin.",
)

# %% [markdown]
# On a machine with one core the three ways are the same: there is no other thread to wait for.
# Elsewhere look at the second row. [`benchmarks/busy_machine.py`](../benchmarks/busy_machine.py)
# also measures two loops for each core and a quota of one processor, if it is allowed to make a
# control group (Linux's way to set a quota).

# %% [markdown]
# ## 8. The same in TensorBoard
#
# TensorBoard shows the same traces with the plugin `torch-tb-profiler`. In a terminal:
#
# ```sh
# lab profile --device cpu --batch-sizes 1,8 --out .lab/profile
# lab profile --tensorboard --out .lab/profile
# ```
#
# Its page loads its charts from the internet and stays empty without it, and PyTorch no longer
# develops the plugin; hence the pictures above. But it computes its tables on this machine, so you
# can get them without the page. Two programs, one trace:

# %% tags=["timing"]
from lab_utils.profiling.tensorboard import plugin_operators
from text_recognizer.errors import RecognizerError

try:
    theirs = plugin_operators(cpu.batches[0].trace)
    for one in cpu.batches[0].operators[:4]:
        own, plugin = 1000 * one.self_seconds, 1000 * theirs[one.name]
        print(f"{one.name}: {own:.2f} ms, plugin {plugin:.2f} ms")
except RecognizerError as error:
    print(error)  # such as: a package is missing

# %% [markdown]
# ## Summary
#
# - Leave out the warm-up, wait for the device before and after, take the median.
# - A batch shares the cost of starting, and nothing else. What the CPU does page by page, it still
#   does for each page of a batch, and the fastest GPU waits for it.
# - A trace says where the time goes. Marks name the parts, gaps name what the GPU waits for.
# - A program that runs many small kernels with gaps between them is launch-bound: use batches, CUDA
#   graphs, a compiler.
# - Utilization says that something ran, SM efficiency how much of the GPU had work, occupancy how
#   well it can hide waiting for memory.
# - The best batch is the smallest that comes close to the most pages per second and keeps the
#   promise.
# - Holding requests back saves work and costs time; a simulated queue says how much, before any
#   load test.
# - Settings are quick to try, and seldom help a model that multiplies matrices; less work does.

# %% [markdown]
# ## What to try next
#
# - On Colab, choose a GPU under *Runtime, Change runtime type*, and run the notebook again. A
#   smaller GPU has a slower CPU beside it, too: is its longest gap in the same operator?
# - Make the simulated device's kernels twice as fast; then, instead, make its launches twice as
#   fast. Which change helps a single page, and which one a batch of 32?
# - `lab profile --device cpu --batch-sizes 1,2,4,8,16,32 --pages data/pages --out .lab/profile`
#   reads sample pages of many sizes. Is the curve the same?
# - **Next:** [A web app and its API with Gradio](05_gradio_app.ipynb), which puts the recognizer in
#   front of people.
