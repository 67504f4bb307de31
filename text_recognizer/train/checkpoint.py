"""From a checkpoint file back to the module that wrote it, without trusting the file."""

import warnings
from pathlib import Path

import torch

from text_recognizer.errors import ModelFileError
from text_recognizer.model_file import problem
from text_recognizer.train.reader import ReaderTraining


def load_reader_checkpoint(path: Path) -> ReaderTraining:
    """The `ReaderTraining` of a Lightning checkpoint, rebuilt from its hyper-parameters, in
    evaluation mode on the processor.

    Only tensors and plain values are unpickled (`weights_only`): the file cannot run code. Raises
    ModelFileError where it is no checkpoint, of another model, or its weights are not finite.
    """
    try:
        if wrong := problem(path):
            raise ValueError(wrong)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about the file is reported below
            checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
        state, config = checkpoint["state_dict"], checkpoint["hyper_parameters"]
    except FileNotFoundError:
        raise ModelFileError(f"There is no checkpoint at {path}; train one.") from None
    except Exception:  # A damaged archive raises nearly anything, from C++ and from Python.
        raise ModelFileError(
            f"{path.name} is no Lightning checkpoint, is damaged, or holds more than weights and "
            "plain values; give a checkpoint of the line reader."
        ) from None
    try:
        training = ReaderTraining(**config)
        training.load_state_dict(state)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        raise ModelFileError(
            f"{path.name} is a checkpoint of another model; give one of the line reader."
        ) from None
    if not all(bool(weight.isfinite().all()) for weight in training.parameters()):
        raise ModelFileError(
            f"The weights in {path.name} are not finite: the training diverged; "
            "give another checkpoint, or train with a lower learning rate."
        )
    return training.eval()
