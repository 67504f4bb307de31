"""Draws profiles against the batch size: time and pages a second, and how busy the device was.

Series differ in marker and line style; a colour comes on top.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, LINE_STYLES, MARKERS
from lab_utils.profiling.profile import BatchFigures, Profile, ProfileError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LENGTH = 28
_LOG_RATIO = 8
"""Largest to smallest value of an axis from which on it is logarithmic."""


def latency_and_throughput(profiles: Sequence[Profile]) -> "Figure":
    """Draws what a batch takes and what it gives, for one or several devices.

    Left: the median time of a batch, with a bar up to p95. Right: pages a second, and pages for
    each second that their users wait in all. Sizes that did not fit the memory are named below.

    Raises:
        ProfileError: there is no profile, or none of a batch size that fits the memory.
    """
    _check(profiles)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.9))
    figure.set_layout_engine("constrained", wspace=0.06)
    times, rates = figure.subplots(1, 2)
    for number, profile in enumerate(profiles):
        name = _name(profile, profiles)
        colour, marker = (each[number % len(each)] for each in (COLOURS, MARKERS))
        look = {"color": colour, "marker": marker, "markersize": 6}
        sizes = [batch.batch_size for batch in profile.measured]
        p50 = [1000 * batch.p50 for batch in profile.measured]
        up = [1000 * (batch.p95 - batch.p50) for batch in profile.measured]
        # With very few repeats an interpolated p95 can't be below the median, but for rounding.
        bars = [[0.0] * len(up), [max(one, 0.0) for one in up]]
        label = f"{name}p50, bar up to p95"
        style = LINE_STYLES[number % len(LINE_STYLES)]
        times.errorbar(sizes, p50, bars, linestyle=style, capsize=4, label=label, **look)
        for style, filled, label, value in (
            ("-", True, "pages a second", "pages_per_second"),
            ("--", False, "pages a second that users wait", "pages_per_user_second"),
        ):
            rates.plot(
                sizes,
                [getattr(batch, value) for batch in profile.measured],
                linestyle=style,
                markerfacecolor=colour if filled else "white",
                label=f"{name}{label}",
                **look,
            )
    times.set_ylabel("time of a batch in ms")
    times.set_yscale("log")
    rates.set_ylabel("pages a second")
    values = [value for line in rates.lines for value in line.get_ydata()]
    if max(values) > _LOG_RATIO * min(values):
        rates.set_yscale("log")
    else:
        rates.set_ylim(0, 1.25 * max(values))
    for axes in (times, rates):
        _finish(axes, profiles)
        _plain_ticks(axes)
        _legend_above(axes)
    _name_too_large(figure, profiles)
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
        series = _busy_series(profile)
        for number, (label, value) in enumerate(series.items()):
            points = [
                (b.batch_size, 100 * value(b)) for b in profile.measured if value(b) is not None
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=COLOURS[number],
                    marker=MARKERS[number],
                    linestyle=LINE_STYLES[number],
                    label=label,
                )
        axes.set_ylim(0, 105)
        axes.set_title(_short(profile), fontsize=10)
        _finish(axes, [profile])
        if axes.lines:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center")
    every[0].set_ylabel("share of the time or the device in %")
    return figure


def _busy_series(profile: Profile) -> dict[str, Callable[[BatchFigures], float | None]]:
    if profile.device.get("kind") == "cpu":
        return {"threads at work": lambda batch: batch.cpu_utilization}
    return {
        "GPU utilization": lambda batch: batch.gpu_utilization,
        "SM efficiency": lambda batch: batch.sm_efficiency,
        "achieved occupancy": lambda batch: batch.achieved_occupancy,
    }


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


def _legend_above(axes: "Axes") -> None:
    """Above the axes, where it hides nothing."""
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0))


def _plain_ticks(axes: "Axes") -> None:
    """Numbers instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        few = high < 100 * low
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _name_too_large(figure: "Figure", profiles: Sequence[Profile]) -> None:
    told = []
    for profile in profiles:
        sizes = [b.batch_size for b in profile.batches if b not in profile.measured]
        if sizes:
            told.append(f"{_short(profile)}: {', '.join(map(str, sizes))} pages")
    if told:
        figure.supxlabel(f"does not fit the memory: {'; '.join(told)}", fontsize=9)


def _name(profile: Profile, profiles: Sequence[Profile]) -> str:
    """What stands before a label where the device is not clear."""
    return f"{_short(profile)}: " if len(profiles) > 1 else ""


def _short(profile: Profile) -> str:
    name = str(profile.device.get("name") or profile.device.get("kind"))
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
