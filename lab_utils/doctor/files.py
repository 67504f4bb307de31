"""The files that the lab reads: weights, the compiled model, fonts, the emulator, handwriting."""

import hashlib
import os
from pathlib import Path

from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.doctor.probe import Told
from text_recognizer.model_file import (
    compiled_model_path,
    fetched_model_path,
    is_current,
    wrong_weights,
)
from text_recognizer.places import project_folder


def model_path() -> Path:
    """The file that reads; the packaged one may not be there yet."""
    if named := os.environ.get("LAB_MODEL"):
        return Path(named)
    fetched = fetched_model_path()
    return fetched if fetched.is_file() else compiled_model_path()


def check_weights() -> Finding:
    """The packaged weights, from which every model here is made."""
    folder = project_folder() / "data" / "weights"
    wrong = wrong_weights()
    if wrong:
        found = f"{', '.join(wrong)} in {folder}: missing, or not as packaged"
        return fix("weights", found, "git checkout data/weights")
    return ok("weights", f"all in {folder}, with their digests")


def check_model(told: Told) -> Finding:
    """The TorchScript file that reads: is it there, current, and does it load?"""
    path = model_path()
    if named := os.environ.get("LAB_MODEL"):
        if not path.is_file():
            return fix("model", f"LAB_MODEL names {named}, which is not there", "unset LAB_MODEL")
        remedy = "unset LAB_MODEL, or name another file in it"
    else:
        remedy = "lab compile"
        if not path.is_file():
            return note(
                "model", f"{path} is not compiled yet", f"{remedy}, or the first use compiles it"
            )
    if told.model:
        return fix("model", told.model, remedy)
    if told.error:
        return note("model", f"{path} was not loaded, since PyTorch does not start", "see torch")
    if path == compiled_model_path() and not is_current(path):
        found = f"{path} is older than its code"
        return note("model", found, f"{remedy}, or the first use compiles it")
    return ok("model", f"{path} loads")


def check_torch(told: Told) -> Finding:
    """Whether PyTorch can be imported."""
    if told.error:
        return fix(
            "torch",
            f"it does not start ({_short(told.error)})",
            "pip install --force-reinstall --constraint constraints.txt torch",
        )
    kind = f"built for CUDA {told.cuda}" if told.cuda else "built for CPUs"
    return ok("torch", f"{told.torch} starts, {kind}")


def check_fonts() -> Finding:
    """The handwriting fonts, which generated pages need."""
    from text_recognizer.pages import fonts

    names = fonts.TRAINING_FONTS + fonts.UNSEEN_FONTS
    missing = [name for name in names if not fonts.font_path(name).is_file()]
    if missing:
        count = f"{len(missing)} of {len(names)} are not in {fonts.fonts_folder()}"
        return note("fonts", count, "lab fonts (needs npm), before you generate pages")
    return ok("fonts", f"{len(names)} in {fonts.fonts_folder()}")


def check_emulator() -> Finding:
    """AWS's Lambda emulator, which `lab service lambda` and `lab demo` run the model in."""
    from lab_utils.service.emulator_binary import SHA256, cached_path, machine
    from lab_utils.service.errors import ServiceError

    try:
        architecture = machine()
    except ServiceError as error:
        return note("emulator", str(error), "lab demo works without it")
    path = cached_path(architecture)
    if not path.exists():
        return note("emulator", "not downloaded yet", "lab service lambda downloads it (network)")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[architecture]:
        return note("emulator", f"{path} is incomplete", "lab service lambda downloads it again")
    return ok("emulator", str(path))


def check_handwriting() -> Finding:
    """The real handwriting, which is not part of the project."""
    from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder

    try:
        return ok("handwriting", str(handwriting_folder()))
    except HandwritingMissingError:
        found = "the real handwriting is not here; sample pages and fonts don't need it"
        return note("handwriting", found, "for a long training, set LAB_HANDWRITING to its folder")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:160]}..."
