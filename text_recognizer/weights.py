"""The packaged weights: safetensors files, half precision, no pickle."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from text_recognizer.errors import ModelFileError
from text_recognizer.files import replacing, sha256
from text_recognizer.model_file import DIGESTS, is_as_noted
from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_reader import CHANNELS, LineReader
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.places import project_folder

MOST_WIDTH = 8
"""A wider reader is none that this code has trained, and would take all of the memory."""
FINDER, READER = "line_finder.safetensors", "line_reader.safetensors"


def packaged_weights() -> Path:
    """The folder of the weights that come with the project."""
    return project_folder() / "data" / "weights"


def save_weights(state: dict[str, torch.Tensor], path: Path) -> Path:
    """Writes a state dict in half precision, whole or not at all."""
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    with replacing(path) as partial:
        save_file(half, partial)
    return path


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Fills a module from a safetensors file; raises ModelFileError if that can't be.

    The packaged files have to be the ones whose digests are noted beside them.
    """
    again = "get the repository's data/weights folder again"
    try:
        if not is_as_noted(path):
            raise ModelFileError(
                f"The weights {path.name} are not those that were packaged; {again}, or note new "
                "ones with `python -m text_recognizer.compile`."
            )
        state = load_file(path)
    except FileNotFoundError:
        raise ModelFileError(f"The weights {path.name} are missing: {again}.") from None
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(f"The weights {path.name} are damaged: {again}.") from error
    if not all(bool(weight.isfinite().all()) for weight in state.values()):
        raise ModelFileError(f"The weights {path.name} are not finite; train again, or {again}.")
    try:
        module.load_state_dict({k: v.float() for k, v in state.items()})
    except RuntimeError as error:
        raise ModelFileError(
            f"The weights {path.name} belong to another network: train again, or {again}."
        ) from error


def record_digests(folder: Path | None = None) -> Path:
    """Notes the digests of a folder's weights (the packaged one's) beside them; returns it."""
    folder = folder or packaged_weights()
    files = sorted(
        [*folder.glob("*.safetensors"), *folder.glob("*.ngrams"), *folder.glob("words.txt")]
    )
    digests = {path.name: sha256(path) for path in files}
    with replacing(folder / DIGESTS) as partial:
        partial.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return folder


def export_checkpoint(checkpoint: Path, stem: Path) -> Path:
    """The network of a training checkpoint as safetensors, without the optimizer's state."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    prefix = stem.name.removeprefix("line_") + "."
    network = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return save_weights(network, stem.with_suffix(".safetensors"))


def load_paragraph_reader(folder: Path | None = None) -> ParagraphReader:
    """The finder and the reader of a weights folder (the packaged one) as one module, in
    evaluation mode. Raises ModelFileError where a file is missing or damaged."""
    folder = folder or packaged_weights()
    finder = LineFinder()
    load_weights(finder, folder / FINDER)
    return ParagraphReader(finder, load_line_reader(folder / READER)).eval()


def load_line_reader(path: Path) -> LineReader:
    """The line reader of a safetensors file, as wide as the weights say.

    Raises ModelFileError where the file is missing, damaged or of another network.
    """
    reader = LineReader(width=_width(path))
    load_weights(reader, path)
    return reader


def _width(path: Path) -> int:
    """How many times as wide as the packaged one a line reader is; 1 where that can't be read."""
    try:
        with safe_open(path, "pt") as file:
            channels = file.get_slice("head.weight").get_shape()[1]
    except (OSError, SafetensorError):
        return 1  # `load_weights` says what is wrong
    return max(1, min(channels // CHANNELS, MOST_WIDTH))
