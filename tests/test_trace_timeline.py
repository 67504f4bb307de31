"""The timeline of a batch: rows for what there is, readable without colour, quick to draw."""

import random

import numpy as np
import pytest
from trace_making import BUSY_GPU, kernel, mark, operator, step, write

from lab_utils.profiling.timeline import shares, short_name, timeline
from lab_utils.profiling.trace import TraceError, read_trace


def drawn(path, events):
    figure = timeline(read_trace(write(path / "trace.json", events)))
    figure.canvas.draw()
    return figure


def titles(figure) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes]


def named(figure) -> list[list[str]]:
    legends = [axes.get_legend() for axes in figure.axes]
    return [[text.get_text() for text in one.get_texts()] for one in legends if one]


def test_rows_for_marks_processor_and_gpu(tmp_path):
    figure = drawn(tmp_path, BUSY_GPU)
    assert titles(figure) == ["parts", "", "processor", "GPU"]
    parts, operators, kernels = named(figure)
    assert parts == ["finder", "reader", "encoder"]
    assert operators[0] == "item" and {"gemm", "Memcpy DtoH"} <= set(kernels)
    labels = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"reader", "encoder"} <= labels
    assert figure.axes[-1].get_xlim() == pytest.approx((0, 1.0))  # ms, the processor's end


def test_looks_differ_without_colours(tmp_path):
    events = [step(1, 0, 200)]
    events += [mark(f"part {number}", 20 * number, 20 * number + 20) for number in range(10)]
    events += [operator("_a $x$ name", 0, 100)]  # of neither form does the legend leave it out
    figure = drawn(tmp_path, events)
    patches = figure.axes[0].get_legend().get_patches()
    assert len({patch.get_hatch() for patch in patches}) == len(patches) == 10
    assert "_a $x$ name" in named(figure)[1]


def test_thousands_of_kernels_are_few_shapes_as_high_as_the_time_in_which_they_run(tmp_path):
    chosen = random.Random(0)
    events = [step(1, 0, 40_000)]
    events += [kernel(f"k{chosen.randrange(9)}", 10 * n, 10 * n + 2.5) for n in range(4000)]
    [gpu] = drawn(tmp_path, events).axes
    assert len(gpu.collections) == 6  # five names, and the others
    tops = gpu.collections[-1].get_paths()[0].vertices
    assert tops[:, 1].max() == pytest.approx(0.25, abs=0.02)
    assert np.ptp(tops[:, 0]) == pytest.approx(40)  # ms


def test_a_step_with_nothing_to_draw(tmp_path):
    with pytest.raises(TraceError, match="shows nothing within ProfilerStep#1"):
        drawn(tmp_path, [step(1, 0, 100)])


def test_shares_of_bins():
    result = shares([(5, 10), (8, 25), (39, 60)], 40, 4)
    assert result == pytest.approx([0.5, 1.0, 0.5, 0.1])


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("void at::(anonymous namespace)::softmax_kernel<float, 4>(float*)", "softmax_kernel"),
        (
            "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_nhwckrsc",
            "sm80_xmma…nhwckrsc",
        ),
        ("<built-in method>", "<built-in method>"),
        ("", ""),
    ],
)
def test_short_names(name, short):
    assert len(short_name(name)) <= 34
    assert short_name(name)[:9] == short[:9] and short_name(name)[-5:] == short[-5:]
