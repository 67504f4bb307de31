"""Draws a profile against the batch size: time and pages a second, and how busy the device was.

Series differ in marker and line style; a colour comes on top.
"""

from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, LINE_STYLES, MARKERS
from lab_utils.profiling.folder import ProfileError
from lab_utils.profiling.profile import TOO_LARGE, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BUSY = {
    "cpu": {"threads at work": "cpu_utilization"},
    "cuda": {
        "GPU utilization": "gpu_utilization",
        "SM efficiency": "sm_efficiency",
        "achieved occupancy": "achieved_occupancy",
    },
}


def latency_and_throughput(profile: Profile) -> "Figure":
    """Draws what a batch takes and what it gives.

    Left: the median time of a batch, with a bar up to p95. Right: pages a second, and pages for
    each second that their users wait in all. Sizes that did not fit the memory are named below.

    Raises:
        ProfileError: no batch size fits the memory.
    """
    figure, (times, rates) = _figure(profile, (10, 3.9), 2)
    figure.get_layout_engine().set(wspace=0.06)
    sizes = [batch.batch_size for batch in profile.measured]
    p50 = [1000 * batch.p50 for batch in profile.measured]
    # With very few repeats an interpolated p95 can't be below the median, but for rounding.
    up = [max(1000 * (batch.p95 - batch.p50), 0.0) for batch in profile.measured]
    look = {"color": COLOURS[0], "marker": MARKERS[0], "markersize": 6}
    times.errorbar(sizes, p50, [[0.0] * len(up), up], capsize=4, label="p50, bar up to p95", **look)
    times.set_ylabel("time of a batch in ms")
    given = [batch.pages_per_second for batch in profile.measured]
    rates.plot(sizes, given, label="pages a second", **look)
    waited = [batch.pages_per_user_second for batch in profile.measured]
    look |= {"linestyle": "--", "markerfacecolor": "white"}
    rates.plot(sizes, waited, label="pages a second that users wait", **look)
    rates.set_ylabel("pages a second")
    for axes in (times, rates):
        _log_scale(axes)
        axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    if too_large := [str(b.batch_size) for b in profile.batches if not b.seconds]:
        figure.supxlabel(f"{TOO_LARGE}: {', '.join(too_large)} pages", fontsize=9)
    return figure


def utilization(profile: Profile) -> "Figure":
    """Draws how busy the device was: of a GPU utilization, SM efficiency and achieved occupancy
    from the traces, of a processor the share of its threads' time in which they were at work.

    Raises:
        ProfileError: no batch size fits the memory.
    """
    figure, (axes,) = _figure(profile, (6.5, 3.6), 1)
    kind = profile.device.get("kind")
    for number, (label, name) in enumerate(_BUSY.get(kind, {}).items()):
        shares = {batch.batch_size: getattr(batch, name) for batch in profile.measured}
        points = [(size, 100 * share) for size, share in shares.items() if share is not None]
        if points:
            look = {"color": COLOURS[number], "marker": MARKERS[number], "label": label}
            axes.plot(*zip(*points, strict=True), linestyle=LINE_STYLES[number], **look)
    axes.set(ylim=(0, 105), ylabel="share of the time or the device in %")
    axes.set_title(str(profile.device.get("name") or kind), fontsize=10)
    if axes.lines:
        axes.legend(fontsize=8)
    return figure


def _figure(profile: Profile, size: tuple[float, float], count: int) -> "tuple[Figure, list[Axes]]":
    """A figure whose axes have the batch sizes to the right, each twice as far as half of it."""
    if not profile.measured:
        raise ProfileError("No batch size fits the memory; take a profile with smaller ones.")
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    sizes = [batch.batch_size for batch in profile.measured]
    figure = Figure(figsize=size, layout="constrained")
    every = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in every:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlim=(sizes[0] / 1.2, sizes[-1] * 1.2), xlabel="pages in a batch")
        axes.grid(alpha=0.3)
    return figure, every


def _log_scale(axes: "Axes") -> None:
    """A logarithmic scale with numbers instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
