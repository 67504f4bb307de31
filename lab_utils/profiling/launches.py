"""What a program that is bound by its launches can do: batches, CUDA graphs, `torch.compile`.

A GPU is done with a small kernel before the processor has launched the next. So launch less (lines
in a batch), launch all at once (a recorded graph), or let a compiler join the kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.benchmark import Timer

from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.strips import cut_strips
from text_recognizer.train.sample_lines import page_tensor
from text_recognizer.vocabulary import decode
from text_recognizer.weights import load_paragraph_reader

REPEATS, WARM_UPS = 20, 3
Read = Callable[[], Tensor]


@dataclass(frozen=True)
class Way:
    """A way to run the reader on the lines of one page.

    pages_per_second and equal (whether the texts are those of the first way) are None where the
    way does not work on this device; `note` says why.
    """

    name: str
    pages_per_second: float | None
    equal: bool | None
    note: str = ""


def compare_ways(
    reader: LineReader, strips: Tensor, widths: Tensor, repeats: int = REPEATS
) -> list[Way]:
    """Reads the lines of a page in each way; the first is one line after the other.

    Args:
        reader: in evaluation mode, on the device.
        strips: (N, 1, 48, W) of one page, on the device; W is a multiple of 8.
        widths: (N,) px.
    """
    ways = {
        "one line after the other": _one_by_one,
        "all lines in a batch": _batch,
        "a batch as a CUDA graph": _as_graph,
        'a batch, torch.compile(mode="reduce-overhead")': _compiled,
    }
    found: list[Way] = []
    first: list[str] = []
    for name, prepare in ways.items():
        if strips.device.type != "cuda" and prepare in (_as_graph, _compiled):
            found.append(Way(name, None, None, "needs a GPU"))
            continue
        try:
            with torch.inference_mode():
                rate, texts = _measured(prepare(reader, strips, widths), widths, repeats)
        except Exception as error:  # a compiler fails in many ways; the others go on
            reason = str(error).partition("\n")[0][:120]
            found.append(Way(name, None, None, f"{type(error).__name__}: {reason}"))
            continue
        first = first or texts
        found.append(Way(name, rate, texts == first))
    return found


def _one_by_one(reader: LineReader, strips: Tensor, widths: Tensor) -> Read:
    own = [strips[n : n + 1, :, :, :width] for n, width in enumerate(widths.tolist())]
    frames = strips.size(3) // reader.pixels_per_frame

    def read() -> Tensor:
        lines = [reader(strip)[0] for strip in own]
        return torch.stack([F.pad(line, (0, 0, 0, frames - len(line))) for line in lines])

    return read


def _batch(reader: LineReader, strips: Tensor, widths: Tensor) -> Read:
    return lambda: reader(strips, widths)


def _as_graph(reader: LineReader, strips: Tensor, widths: Tensor) -> Read:
    """All launches recorded once; `replay` hands them to the GPU in one call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is set up at a first run must not be recorded
        for _ in range(WARM_UPS):
            reader(strips, widths)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = reader(strips, widths)

    def read() -> Tensor:
        graph.replay()
        return logits

    return read


def _compiled(reader: LineReader, strips: Tensor, widths: Tensor) -> Read:
    compiled = torch.compile(reader, mode="reduce-overhead", dynamic=False)
    # The graph's output is written over by the next call, so each result is copied.
    return lambda: compiled(strips, widths).clone()


def _measured(read: Read, widths: Tensor, repeats: int) -> tuple[float, list[str]]:
    """Pages a second, and the texts. A compiler and its graph take the first three runs."""
    logits = read().cpu()
    # It runs two more to warm up, and waits for the GPU before and after.
    timer = Timer("read()", globals={"read": read}, num_threads=torch.get_num_threads())
    seconds = timer.timeit(repeats).mean
    frames = ((widths + 7) // 8).tolist()
    texts = [
        decode(torch.unique_consecutive(line[:count].argmax(1)).tolist())
        for line, count in zip(logits, frames, strict=True)
    ]
    return 1 / seconds, texts


def strips_of_page(path: Path) -> tuple[Tensor, Tensor]:
    """Strips (N, 1, 48, W) and widths (N,) in px of a page's lines, as the packaged finder cuts
    them, on the processor."""
    finder = load_paragraph_reader()
    with torch.inference_mode():
        ink, paths, edges, reach, _ = finder.find_lines(page_tensor(path), None)[0]
        strips, widths = cut_strips(ink, paths, edges[0], edges[1], reach[0], reach[1])
    return strips.clone(), widths
