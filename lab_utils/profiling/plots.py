"""Draws a profile against the batch size: time and pages a second, and how busy the device was."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lab_utils.figures import draw_curves, panels
from lab_utils.profiling.profile import TOO_LARGE, Profile, ProfileError

_BUSY = {
    "threads at work": "cpu_utilization",
    "GPU utilization": "gpu_utilization",
    "SM efficiency": "sm_efficiency",
    "achieved occupancy": "achieved_occupancy",
}


def latency_and_throughput(profile: Profile) -> Figure:
    """Draws what a batch takes and what it gives.

    Left: the median time of a batch, and p95. Right: pages a second, and pages for each second that
    their users wait in all. Sizes that did not fit the memory are named below.

    Raises:
        ProfileError: no batch size fits the memory.
    """
    figure, (times, rates) = _figure(profile, (10, 3.9), 2)
    own = {batch.batch_size: batch for batch in profile.measured}
    p50 = {size: 1000 * batch.p50 for size, batch in own.items()}
    p95 = {size: 1000 * batch.p95 for size, batch in own.items()}
    draw_curves(times, {"p50": p50, "p95": p95})
    given = {size: batch.pages_per_second for size, batch in own.items()}
    waited = {size: batch.pages_per_user_second for size, batch in own.items()}
    draw_curves(rates, {"pages a second": given, "pages a second that users wait": waited})
    for axes, unit in ((times, "time of a batch in ms"), (rates, "pages a second")):
        axes.set(yscale="log", ylabel=unit)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter("")
        axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    if too_large := [str(b.batch_size) for b in profile.batches if not b.seconds]:
        figure.supxlabel(f"{TOO_LARGE}: {', '.join(too_large)} pages", fontsize=9)
    return figure


def utilization(profile: Profile) -> Figure:
    """Draws how busy the device was: of a GPU utilization, SM efficiency and achieved occupancy
    from the traces, of a processor the share of its threads' time in which they were at work.

    Raises:
        ProfileError: no batch size fits the memory.
    """
    figure, (axes,) = _figure(profile, (6.5, 3.6), 1)
    is_cpu = profile.device.get("kind") == "cpu"
    curves = {}
    for label, name in _BUSY.items():
        shares = {batch.batch_size: getattr(batch, name) for batch in profile.measured}
        points = {size: 100 * share for size, share in shares.items() if share is not None}
        if points and is_cpu == (name == "cpu_utilization"):
            curves[label] = points
    draw_curves(axes, curves)
    axes.set(ylim=(0, 105), ylabel="share of the time or the device in %")
    axes.set_title(str(profile.device.get("name")), fontsize=10)
    return figure


def _figure(profile: Profile, size: tuple[float, float], count: int) -> tuple[Figure, list[Axes]]:
    """A figure whose axes have the batch sizes to the right, each twice as far as half of it."""
    if not profile.measured:
        raise ProfileError("No batch size fits the memory; take a profile with smaller ones.")
    sizes = [batch.batch_size for batch in profile.measured]
    figure, every = panels(*size, columns=count)
    for axes in every:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set(xlim=(sizes[0] / 1.2, sizes[-1] * 1.2), xlabel="pages in a batch")
    return figure, every
