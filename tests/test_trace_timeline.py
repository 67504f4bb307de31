"""The timeline of a batch: lanes for what there is, readable without colour, quick to draw."""

import random

import numpy as np
import pytest
from trace_making import (
    TWO_GPUS,
    copy,
    kernel,
    launch,
    mark,
    operator,
    record_cpu_trace,
    step,
    write,
)

from lab_utils.profiling.lane_drawing import shares
from lab_utils.profiling.timeline import short_name, timeline
from lab_utils.profiling.trace import TraceError, read_trace


def drawn(path, events, **options):
    figure = timeline(read_trace(write(path / "trace.json", events)), **options)
    figure.canvas.draw()
    return figure


def titles(figure) -> list[str]:
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    return [label for label in labels if not label.isdigit()]


def named(figure) -> list[list[str]]:
    legends = [axes.get_legend() for axes in figure.axes]
    return [[text.get_text() for text in one.get_texts()] for one in legends if one]


def test_a_row_for_each_thread_and_stream(tmp_path):
    figure = drawn(tmp_path, TWO_GPUS)
    assert titles(figure) == [
        "parts",
        "",
        "processor,\nthread 1",
        "processor,\nthread 2",
        "GPU 0,\nstream 20",
        "GPU 0,\nstream 7",
        "GPU 1,\nstream 7",
    ]
    assert named(figure)[0] == ["finder", "reader", "encoder"]
    assert "copies" in named(figure)[2]
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"reader", "encoder", "item", "gemm"} <= set(labels)
    assert figure.axes[-1].get_xlim() == pytest.approx((0, 1.0))  # ms, the processor's end


def test_without_a_gpu_there_is_no_lane_for_one(tmp_path):
    record_cpu_trace(tmp_path / "tiny.json")
    figure = timeline(read_trace(tmp_path / "tiny.json"))
    assert titles(figure) == ["parts", "", "processor"]
    figure.savefig(tmp_path / "tiny.png")


def test_looks_differ_without_colours(tmp_path):
    events = [step(1, 0, 200)]
    events += [mark(f"part {number}", 20 * number, 20 * number + 20) for number in range(10)]
    figure = drawn(tmp_path, events)
    patches = figure.axes[0].get_legend().get_patches()
    assert len({patch.get_hatch() for patch in patches}) == len(patches) == 10


def test_the_axis_ends_with_the_last_work_that_the_step_launched(tmp_path):
    events = [
        step(1, 0, 100),
        step(2, 100, 200),
        operator("aten::add", 10, 20),
        launch(1, 12, 14),
        kernel("late", 150, 190, correlation=1),
        operator("aten::mul", 110, 120),
    ]
    assert drawn(tmp_path, events, step=0).axes[-1].get_xlim() == pytest.approx((0, 0.19))
    assert drawn(tmp_path, events).axes[-1].get_xlim() == pytest.approx((0, 0.1))


def test_kernels_too_short_to_see_show_how_much_of_the_time_they_run(tmp_path):
    """4000 kernels that run for a quarter of the time: all bars are a quarter high, not none."""
    events = [step(1, 0, 40_000)]
    events += [kernel("k", 10 * number, 10 * number + 2.5) for number in range(4000)]
    gpu = drawn(tmp_path, events).axes[0]
    corners = [path.vertices for bars in gpu.collections for path in bars.get_paths()]
    width = sum(np.ptp(one[:, 0]) for one in corners)
    assert width == pytest.approx(40, rel=0.01)  # ms
    assert {round(np.ptp(one[:, 1]) / 0.84, 2) for one in corners} <= {0.25, 0.38}
    assert len(corners) < 400


def test_thousands_of_events_become_few_bars(tmp_path):
    chosen = random.Random(0)
    events, now = [step(1, 0, 180_000)], 0.0
    for _ in range(5000):
        end = now + chosen.uniform(1, 40)
        name = f"op{chosen.randrange(5)}"
        events += [operator(name, now, end), kernel(name, now, end), copy(end, end + 1)]
        now = end + chosen.choice([1, 30])
    figure = drawn(tmp_path, events)
    bars = sum(len(c.get_paths()) for axes in figure.axes for c in axes.collections)
    assert 100 < bars < 3000
    assert all(len(names) <= 7 for names in named(figure))


def test_a_step_with_nothing_to_draw(tmp_path):
    path = write(tmp_path / "empty.json", [step(1, 0, 100), step(2, 100, 100)])
    with pytest.raises(TraceError, match="ProfilerStep#2 .* has no duration"):
        timeline(read_trace(path))
    with pytest.raises(TraceError, match="shows nothing within ProfilerStep#1"):
        timeline(read_trace(path), step=0)


def test_shares_of_bins():
    result = shares([(5, 10), (8, 25), (39, 60)], 0, 40, 4)
    assert result == pytest.approx([0.5, 1.0, 0.5, 0.1])
    assert shares([], 0, 40, 4) == pytest.approx([0, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("aten::mkldnn_convolution", "mkldnn_convolution"),
        (
            "void at::native::(anonymous namespace)::softmax_kernel<float, 4>(float*)",
            "softmax_kernel",
        ),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_nhwckrsc", "sm80_xmma_fprop_impl…_nhwckrsc"),
        ("<built-in method>", "<built-in method>"),
        ("", ""),
    ],
)
def test_short_names(name, short):
    assert len(short_name(name)) <= 34
    assert short_name(name)[:10] == short[:10] and short_name(name)[-5:] == short[-5:]
