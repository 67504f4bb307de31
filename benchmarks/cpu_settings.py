"""The settings that `cpu_tuning.py` tries, each in a process of its own that answers on a pipe.

A setting changes one thing of the model that `torch.jit.load` has loaded, or of PyTorch.
"""

import argparse
from collections.abc import Callable

import torch
from page_readers import Contestant, ReadPages, main

from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.weights import load_paragraph_reader

READS = ["read_lines", "find_lines", "read_found"]
"""What the recognizer asks of a model: lines are to be read side by side in all ways."""

Change = Callable[[ParagraphTextRecognizer], None]


def nothing(recognizer: ParagraphTextRecognizer) -> None:
    """What the recognizer does by itself."""


def freeze(recognizer: ParagraphTextRecognizer) -> None:
    """Weights become constants, which the compiler may fold and reorder."""
    recognizer.model = torch.jit.freeze(recognizer.model, READS)


def optimize_for_inference(recognizer: ParagraphTextRecognizer) -> None:
    """Frozen, and convolutions joined with what follows them, in oneDNN's layouts."""
    recognizer.model = torch.jit.optimize_for_inference(recognizer.model, READS)


def never_specialize(recognizer: ParagraphTextRecognizer) -> None:
    """The executor that profiles specializes on shapes, and each page has its own."""
    torch._C._jit_set_profiling_executor(False)


def channels_last(recognizer: ParagraphTextRecognizer) -> None:
    for parameter in recognizer.model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def one_inter_op_thread(recognizer: ParagraphTextRecognizer) -> None:
    torch.set_num_interop_threads(1)


def flush_denormal(recognizer: ParagraphTextRecognizer) -> None:
    torch.set_flush_denormal(True)


def without_onednn(recognizer: ParagraphTextRecognizer) -> None:
    torch.backends.mkldnn.enabled = False


def bfloat16(recognizer: ParagraphTextRecognizer) -> None:
    """Matrix products and convolutions in bfloat16, for the rest of the process."""
    torch.set_autocast_dtype("cpu", torch.bfloat16)
    torch.set_autocast_enabled("cpu", True)


def int8_linear_layers(recognizer: ParagraphTextRecognizer) -> None:
    """Linear layers in int8, of the packaged weights: a loaded script cannot be changed so."""
    reader = load_paragraph_reader()
    torch.ao.quantization.quantize_dynamic(
        reader.reader, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
    )
    recognizer.model = torch.jit.script(reader.eval())


CHANGES: dict[str, Change] = {
    change.__name__: change
    for change in (
        nothing,
        freeze,
        optimize_for_inference,
        never_specialize,
        channels_last,
        one_inter_op_thread,
        flush_denormal,
        without_onednn,
        bfloat16,
        int8_linear_layers,
    )
}


def contestant(change: Change) -> Contestant:
    """A reader of one page after the other, with the change."""

    def start(options: argparse.Namespace) -> ReadPages:
        torch.set_num_threads(options.threads)
        recognizer = ParagraphTextRecognizer(options.model, language_model="none")
        change(recognizer)
        return lambda files, lengths: [recognizer.predict(file) for file in files]

    return start


if __name__ == "__main__":
    main({name: contestant(change) for name, change in CHANGES.items()})
