"""Tries the ways out of Python that PyTorch offers on the recognizer, and reports what each does.

TorchScript takes it whole and is deprecated, so it is worth knowing what its successors take.
"""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from text_recognizer.compile import script_paragraph_reader
from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.places import project_folder

WHOLE, READER, FINDER = "whole recognizer", "line reader", "line finder"
WORKS, FAILS, MISSING = "works", "fails", "not tried"


@dataclass(frozen=True)
class Outcome:
    """What one route did with one part of the recognizer."""

    route: str
    part: str
    result: str
    """WORKS, FAILS or MISSING (something that it needs is not installed)."""
    note: str = ""
    """The error's one important line, or what is missing."""
    size: int | None = None
    """Bytes of the file that it wrote."""
    difference: float | None = None
    """The largest from what the module itself computes, on inputs of another shape than those it
    was exported with."""


def traced(function: Callable, *example: Tensor) -> tuple[torch.jit.ScriptFunction, list[str]]:
    """A function or module as `torch.jit.trace` records it on one example, and the tracer's
    warnings that the record depends on the example's values."""
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        recorded = torch.jit.trace(function, example, check_trace=False)
    tracer = [note for note in caught if issubclass(note.category, torch.jit.TracerWarning)]
    return recorded, [str(note.message) for note in tracer]


def torchscript_whole(reader: ParagraphReader, page: Tensor) -> Outcome:
    """`torch.jit.script` on pages (B, 1, H, W); the difference is in token ids."""

    def go(path: Path) -> float:
        script_paragraph_reader(reader).save(path)
        with torch.inference_mode():
            one, other = reader(page), torch.jit.load(path)(page)
        return _largest_difference(one, other)

    return _tried("TorchScript (script)", WHOLE, go)


def export_whole(reader: ParagraphReader, page: Tensor) -> Outcome:
    """`torch.export` on the shape of this one page."""

    def go(path: Path) -> float:
        program = torch.export.export(reader, (page,))
        torch.export.save(program, path)
        return _largest_difference(reader(page), program.module()(page))

    return _tried("torch.export", WHOLE, go)


def export_line_reader(reader: LineReader) -> Outcome:
    """`torch.export` for any number of strips of any width."""

    def go(path: Path) -> float:
        program = torch.export.export(reader, _strips(3, 320), dynamic_shapes=_any_strips())
        torch.export.save(program, path)
        return _compared(reader, torch.export.load(path).module(), _strips(5, 640))

    return _tried("torch.export", READER, go)


def onnx_whole(reader: ParagraphReader, page: Tensor) -> Outcome:
    """`torch.onnx`, which traces the module first.

    Raises ValueError for a page without lines: PyTorch 2.13's exporter then divides by zero in C++,
    which ends the process.
    """
    with torch.inference_mode():
        if reader(page).numel() == 0:
            raise ValueError("Give a page with at least one line.")

    def go(path: Path) -> float:
        _onnx_export(reader, (page,), path)
        return _onnx_difference(path, reader, (page,))

    return _tried("ONNX", WHOLE, go)


def onnx_line_reader(reader: LineReader) -> Outcome:
    """`torch.onnx` for any number of strips of any width."""

    def go(path: Path) -> float:
        _onnx_export(
            reader, _strips(3, 320), path, {"strips": {0: "n", 3: "w"}, "widths": {0: "n"}}
        )
        return _onnx_difference(path, reader, _strips(5, 640))

    return _tried("ONNX", READER, go)


def aotinductor_line_finder(finder: LineFinder) -> Outcome:
    """`torch.export`, then AOTInductor: C++ compiled into one file, for overviews of any size.

    The C++ compiler takes its time: 10 s and more.
    """
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        return Outcome("AOTInductor", FINDER, MISSING, f"needs a C++ compiler ({compiler})")

    def go(path: Path) -> float:
        from torch._inductor import aoti_compile_and_package, aoti_load_package

        rows, columns = (torch.export.Dim(name, min=2, max=144) for name in ("rows", "columns"))
        program = torch.export.export(
            finder, _overview(512, 640), dynamic_shapes=({2: 8 * rows, 3: 8 * columns}, None)
        )
        # Half of the time goes into what no page is read faster by: an optimized wrapper around
        # the kernels, compiled headers for next time, a trial of each vector instruction set.
        options = {
            "aot_inductor.compile_wrapper_opt_level": "O0",
            "aot_inductor.precompile_headers": False,
            "cpp.vec_isa_ok": True,
            "compile_threads": 1,
        }
        # Inductor's own files go away with the folder.
        with mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(path.parent / "inductor")):
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
        return _compared(finder, aoti_load_package(str(path)), _overview(448, 800))

    return _tried("AOTInductor", FINDER, go)


def _tried(route: str, part: str, go: Callable[[Path], float]) -> Outcome:
    """Runs `go` on the path of a file to write, quietly; it returns the largest difference."""
    with tempfile.TemporaryDirectory() as folder, _quiet(), torch.no_grad():
        path = Path(folder) / "model.pt2"
        try:
            difference = go(path)
        except Exception as error:  # a compiler may raise anything: that is what is to be told
            return Outcome(route, part, FAILS, important_line(error))
        return Outcome(route, part, WORKS, "", path.stat().st_size, difference)


def important_line(error: Exception) -> str:
    """The line of the project's code at which an export stopped; else the error's first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0] if lines else type(error).__name__
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(project_folder() / "text_recognizer" / "models")
    ]
    if "data-dependent" in message and own:
        return f"depends on the data: {own[-1].line} ({Path(own[-1].filename).name})"
    return message if len(message) <= 120 else message[:117] + "..."


def _onnx_export(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, axes: dict | None = None
) -> None:
    """By the exporter of old, which needs the package onnx; the new one, on top of `torch.export`,
    also needs onnxscript."""
    names = list(axes) if axes else None
    torch.onnx.export(
        module, inputs, str(path), dynamo=False, input_names=names, dynamic_axes=axes or {}
    )


def _onnx_difference(path: Path, module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return _largest_difference(module(*inputs), torch.from_numpy(session.run(None, feed)[0]))


def _strips(count: int, width: int) -> tuple[Tensor, Tensor]:
    """Noise (count, 1, 48, width) in [-1, 1], the same at every call, all of it written."""
    generator = torch.Generator().manual_seed(count)
    strips = torch.rand(count, 1, 48, width, generator=generator) * 2 - 1
    return strips, torch.full([count], width)


def _any_strips() -> tuple[dict, dict]:
    lines = torch.export.Dim("lines", min=1, max=64)
    frames = torch.export.Dim("frames", min=2, max=400)
    return {0: lines, 3: 8 * frames}, {0: lines}


def _overview(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Noise (1, 1, height, width) in [0, 1], the same at every call, and its size."""
    generator = torch.Generator().manual_seed(height)
    return torch.rand(1, 1, height, width, generator=generator), torch.tensor([[height, width]])


def _compared(module: Callable, compiled: Callable, inputs: tuple[Tensor, ...]) -> float:
    one, other = module(*inputs), compiled(*inputs)
    if isinstance(one, Tensor):
        one, other = (one,), (other,)
    return max(_largest_difference(a, b) for a, b in zip(one, other, strict=True))


def _largest_difference(one: Tensor, other: Tensor) -> float:
    """inf where the shapes differ or a value is none."""
    if one.shape != other.shape:
        return float("inf")
    difference = (one.double() - other.double()).abs()
    return float(difference.nan_to_num(float("inf")).max()) if difference.numel() else 0.0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on stdout and stderr, by whatever way: where compilers give up they print whole
    graphs, from Python and from C++."""
    disabled = logging.root.manager.disable
    sys.stdout.flush(), sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            open(os.devnull, "w") as nothing,
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
        ):
            for number, _ in kept:
                os.dup2(nothing.fileno(), number)
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        logging.disable(disabled)
