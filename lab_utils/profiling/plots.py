"""Draws profiles against the batch size: time and pages a second, and how busy the device was.

Series differ in marker and line style; a colour comes on top.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, LINE_STYLES, MARKERS
from lab_utils.profiling.profile import TOO_LARGE, Profile, ProfileError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LENGTH = 28
_BUSY = {
    "threads at work": "cpu_utilization",
    "GPU utilization": "gpu_utilization",
    "SM efficiency": "sm_efficiency",
    "achieved occupancy": "achieved_occupancy",
}


def latency_and_throughput(profiles: Sequence[Profile]) -> "Figure":
    """Draws what a batch takes and what it gives, for one or several devices.

    Left: the median time of a batch, with a bar up to p95. Right: pages a second, and pages for
    each second that their users wait in all. Sizes that did not fit the memory are named below.

    Raises:
        ProfileError: there is no profile, or none of a batch size that fits the memory.
    """
    _check(profiles)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.9), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    times, rates = figure.subplots(1, 2)
    for number, profile in enumerate(profiles):
        name = f"{_short(profile)}: " if len(profiles) > 1 else ""
        colour, marker, line = (
            each[number % len(each)] for each in (COLOURS, MARKERS, LINE_STYLES)
        )
        look = {"color": colour, "marker": marker, "markersize": 6}
        sizes = [batch.batch_size for batch in profile.measured]
        p50 = [1000 * batch.p50 for batch in profile.measured]
        # With very few repeats an interpolated p95 can't be below the median, but for rounding.
        up = [max(1000 * (batch.p95 - batch.p50), 0.0) for batch in profile.measured]
        bars = [[0.0] * len(up), up]
        label = f"{name}p50, bar up to p95"
        times.errorbar(sizes, p50, bars, linestyle=line, capsize=4, label=label, **look)
        given = [batch.pages_per_second for batch in profile.measured]
        rates.plot(sizes, given, label=f"{name}pages a second", **look)
        waited = [batch.pages_per_user_second for batch in profile.measured]
        look |= {"linestyle": "--", "markerfacecolor": "white"}
        rates.plot(sizes, waited, label=f"{name}pages a second that users wait", **look)
    times.set_ylabel("time of a batch in ms")
    rates.set_ylabel("pages a second")
    for axes in (times, rates):
        _finish(axes, profiles)
        axes.set_yscale("log")
        _plain_ticks(axes)
        axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    if too_large := [f"{_short(p)}: {sizes} pages" for p in profiles if (sizes := _too_large(p))]:
        figure.supxlabel(f"does not fit the memory: {'; '.join(too_large)}", fontsize=9)
    return figure


def utilization(profiles: Sequence[Profile]) -> "Figure":
    """Draws how busy each device was: of a GPU utilization, SM efficiency and achieved occupancy
    from the traces, of a processor the share of its threads' time in which they were at work.

    Raises:
        ProfileError: there is no profile, or none of a batch size that fits the memory.
    """
    _check(profiles)
    from matplotlib.figure import Figure

    width = 6.5 if len(profiles) == 1 else 4.6 * len(profiles)
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    every = figure.subplots(1, len(profiles), sharey=True, squeeze=False)[0]
    for axes, profile in zip(every, profiles, strict=True):
        is_cpu = profile.device.get("kind") == "cpu"
        for number, (label, figure_name) in enumerate(_BUSY.items()):
            shares = {b.batch_size: getattr(b, figure_name) for b in profile.measured}
            points = [(size, 100 * share) for size, share in shares.items() if share is not None]
            if points and is_cpu == (figure_name == "cpu_utilization"):
                look = {"color": COLOURS[number], "marker": MARKERS[number], "label": label}
                axes.plot(*zip(*points, strict=True), linestyle=LINE_STYLES[number], **look)
        axes.set_ylim(0, 105)
        axes.set_title(_short(profile), fontsize=10)
        _finish(axes, [profile])
        if axes.lines:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center")
    every[0].set_ylabel("share of the time or the device in %")
    return figure


def _check(profiles: Sequence[Profile]) -> None:
    if not profiles or not all(profile.measured for profile in profiles):
        raise ProfileError(
            "There is nothing to draw: no batch size fits the memory; take a profile with smaller "
            "ones."
        )


def _finish(axes: "Axes", profiles: Sequence[Profile]) -> None:
    from matplotlib.ticker import NullLocator

    sizes = sorted({batch.batch_size for profile in profiles for batch in profile.measured})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    if len(sizes) == 1:
        axes.set_xlim(sizes[0] / 2, sizes[0] * 2)
    axes.set_xlabel("pages in a batch")
    axes.grid(alpha=0.3)


def _plain_ticks(axes: "Axes") -> None:
    """Numbers instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _too_large(profile: Profile) -> str:
    return ", ".join(str(b.batch_size) for b in profile.batches if b.status == TOO_LARGE)


def _short(profile: Profile) -> str:
    name = str(profile.device.get("name") or profile.device.get("kind"))
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
