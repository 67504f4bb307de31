"""Brings PP-OCRv6 small's weights from the ONNX file of the `rapidocr` wheel into `LineReader`.

Training starts here; neither the wheel nor ONNX is needed to use the recognizer afterwards.
"""

import argparse
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from text_recognizer.files import sha256
from text_recognizer.models.line_reader import LineReader
from text_recognizer.vocabulary import CHARACTERS

ONNX_NAME = "PP-OCRv6_rec_small.onnx"


def find_onnx() -> Path:
    """The recognizer's ONNX file in the installed `rapidocr` package, which is not imported.

    Raises:
        FileNotFoundError: the package or the file is not there.
    """
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "Install rapidocr 3.10.0 (pip install --no-deps rapidocr==3.10.0) or give --onnx PATH."
        )
    path = Path(spec.submodule_search_locations[0]) / "models" / ONNX_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"This rapidocr has no {ONNX_NAME}; install rapidocr 3.10.0 or give --onnx PATH."
        )
    return path


def line_reader_from_onnx(path: str | Path) -> LineReader:
    """A `LineReader` in eval mode that reads as the ONNX file does, cut to our characters.

    Two changes keep the function the same on gray strips: the first convolution's weights are
    summed over the three colour channels, and the batch norms that the export left are folded
    into the convolutions before them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not that network.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; give the path of {ONNX_NAME}.")
    try:
        model = onnx.load(str(path))
        weights = list(_weights_in_order_of_use(model.graph))
        classes = _classes_to_keep(model)
        return _fill(LineReader(len(classes)), weights, classes).eval()
    except (DecodeError, LookupError) as error:
        raise ValueError(f"{path} is not PP-OCRv6 small's recognizer: {error}") from error


def _weights_in_order_of_use(graph: Any) -> Iterator[tuple[str, Tensor]]:
    """Each weight array once, in the order in which the graph's nodes use them.

    Left out are integers (shapes and axes) and single numbers (the constants of GELU, of the
    attention's scale and of the norms' epsilon), which the modules have in their code.
    """
    from onnx import numpy_helper

    arrays = {initializer.name: initializer for initializer in graph.initializer}
    for node in graph.node:
        for name in node.input:
            if name in arrays:
                array = torch.from_numpy(numpy_helper.to_array(arrays.pop(name)).copy())
                if array.is_floating_point() and array.numel() > 1:
                    yield name, array
    if arrays:
        raise LookupError(f"no node uses {sorted(arrays)[0]}")


def _classes_to_keep(model: Any) -> list[int]:
    """Where the blank and our characters are among the file's classes."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    # Class 0 is the blank; the space, which the list lacks, comes last.
    names = ["<blank>", *properties["character"].rstrip("\n").split("\n"), " "]
    places = {name: place for place, name in enumerate(names)}
    missing = [character for character in CHARACTERS if character not in places]
    if missing:
        raise LookupError(f"its vocabulary lacks {''.join(missing)!r}")
    return [0, *(places[character] for character in CHARACTERS)]


def _fill(reader: LineReader, weights: list[tuple[str, Tensor]], classes: list[int]) -> LineReader:
    """Puts the file's weights into the reader's layers, each weight once.

    Both run their layers in the same order, so the first layer takes the first weights. Shapes
    are checked here; that the outcome computes the same is for a comparison on images to show.
    """
    queue = iter(weights)
    layers = [m for m in reader.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.LayerNorm)]
    with torch.no_grad():
        for layer in layers:
            weight_name, weight = next(queue, ("", torch.empty(0)))
            bias_name, bias = next(queue, ("", torch.empty(0)))
            if bias_name.startswith("batch_norm"):
                statistics = [array for _, array in itertools.islice(queue, 3)]
                weight, bias = _folded(weight, bias, *statistics)
            if isinstance(layer, nn.Linear):
                weight = weight.T
            if layer is reader.backbone.stem.first:
                weight = weight.sum(dim=1, keepdim=True)
            if layer is reader.head:
                weight, bias = weight[classes], bias[classes]
            bias = bias.flatten()  # the file keeps the convolutions' as (1, C, 1, 1)
            if (weight.shape, bias.shape) != (layer.weight.shape, layer.bias.shape):
                raise LookupError(f"{weight_name} and {bias_name} do not fit {layer}")
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    left_over = next(queue, None)
    if left_over is not None:
        raise LookupError(f"{left_over[0]} has no place in LineReader")
    return reader


def _folded(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution without bias that does the batch norm after it, too."""
    scale = gamma / torch.sqrt(variance + 1e-5)
    return weight * scale.view(-1, 1, 1, 1), beta - mean * scale


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--onnx", type=Path, help=f"{ONNX_NAME}; default: the installed rapidocr's")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    arguments = parser.parse_args(argv)
    from safetensors.torch import save_file

    try:
        onnx_path = arguments.onnx or find_onnx()
        reader = line_reader_from_onnx(onnx_path)
    except ModuleNotFoundError as error:
        print(f"Install {error.name} to read the ONNX file (pip install onnx).", file=sys.stderr)
        return 2
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    # One entry: safetensors writes several in an order that changes from run to run.
    origin = {"origin": f"{ONNX_NAME}, Apache-2.0, SHA-256 {sha256(onnx_path)}"}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in reader.state_dict().items()}
    save_file(state, arguments.out, metadata=origin)
    count = sum(parameter.numel() for parameter in reader.parameters())
    print(f"Wrote {arguments.out}: {count:,} parameters from {onnx_path.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
