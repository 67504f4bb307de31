"""Follows a recipe from the start weights to the judged weights folder, and goes on after a kill.

Every stage keeps what it has in its own folder. What is done is not done again; what was
begun goes on; what was begun otherwise than the recipe now says is refused.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.evaluate import evaluate
from text_recognizer.evaluate.validation import REAL_GROUPS, write_pages
from text_recognizer.files import replacing
from text_recognizer.models.import_line_reader import find_onnx, line_reader_from_onnx
from text_recognizer.pages.fonts import fetch_fonts
from text_recognizer.pages.handwriting import handwriting_source
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.train.fit import SCORES, fit
from text_recognizer.train.recipe import Recipe, RecipeError, Stage
from text_recognizer.train.trainer import quiet
from text_recognizer.weights import FINDER, READER, packaged_weights, save_weights

Say = Callable[[str], None]
FILES = {"reader": READER, "finder": FINDER}


class Pace(pl.Callback):
    """Says at each validation how far a stage is, and how long it still takes."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.stage, self.say = stage, say

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._began, self._first_step = time.monotonic(), trainer.global_step

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.state.fn != "fit":
            return
        step, steps = trainer.global_step, self.stage.settings.steps
        seconds = (time.monotonic() - self._began) / max(step - self._first_step, 1)
        scores = ", ".join(
            f"{name} {float(value):.4f}"
            for name, value in trainer.callback_metrics.items()
            if name in SCORES.values()
        )
        self.say(
            f"{self.stage.name}: step {step} of {steps}, {scores}, {seconds:.2f} s a step, "
            f"{seconds * (steps - step) / 3600:.2f} h left"
        )


def follow(recipe: Recipe, out: Path, say: Say = print) -> dict[str, Any]:
    """Does what the recipe says in the folder `out`, or what is left of it.

    Returns {"weights": folder, "model": TorchScript file, "scores": stage -> score, "cer": group ->
    CER}; the same is in `out/result.json`.

    Raises RecipeError where `out` holds another training, HandwritingMissingError or
    NpmError where the pages cannot be made, KeyboardInterrupt at Ctrl-C.
    """
    for stage in recipe.stages:
        settings = stage.settings
        mix = ", ".join(f"{kind} {share:g}" for kind, share in settings.mix.items())
        say(f"{stage.name}: {settings.steps} steps, batches of {settings.batch} ({mix})")
    kinds = {kind for stage in recipe.stages for kind in stage.settings.mix}
    if kinds & {"pen", "scan"} or set(recipe.evaluation.groups) & set(REAL_GROUPS):
        handwriting_source()  # reports what is missing before hours are spent
    if "font" in kinds or "font" in recipe.evaluation.groups:
        fetch_fonts()
    out.mkdir(parents=True, exist_ok=True)
    weights = _start_weights(recipe, out, say)
    scores = {}
    for stage in recipe.stages:
        network = stage.network
        done = _follow_stage(stage, weights[network], out / stage.name, say)
        weights[network], scores[stage.name] = out / stage.name / FILES[network], done["score"]
    folder = out / "weights"
    folder.mkdir(exist_ok=True)
    for network, file in FILES.items():
        shutil.copyfile(weights[network] or packaged_weights() / file, folder / file)
    model = compile_paragraph_reader(out / "paragraph_reader.pt", folder)
    say(f"weights in half precision: {folder}")
    say(f"the model to read with: {model}")
    result = {"weights": str(folder), "model": str(model), "scores": scores}
    result["cer"] = _judge(recipe, model, out / "validation", say)
    _write(out / "result.json", result)
    return result


def _start_weights(recipe: Recipe, out: Path, say: Say) -> dict[str, Path | None]:
    """Network -> the file that its first stage starts from; None for random weights."""
    weights: dict[str, Path | None] = {}
    used = {stage.network for stage in recipe.stages}
    for network, file in FILES.items():
        start = getattr(recipe.start, network) if network in used else "packaged"
        if start == "packaged":
            weights[network] = packaged_weights() / file
        elif start == "new":
            weights[network] = None
        else:
            weights[network] = out / "start" / file
            if not weights[network].exists():
                say("start: PP-OCRv6 small's recognizer, from the installed rapidocr")
                try:
                    reader = line_reader_from_onnx(find_onnx())
                except ModuleNotFoundError as error:
                    raise RecipeError(
                        f"Install {error.name} to import the start weights (pip install onnx "
                        "rapidocr==3.10.0), or let the recipe start from packaged ones."
                    ) from None
                except (FileNotFoundError, ValueError) as error:
                    raise RecipeError(str(error)) from None
                save_weights(reader.state_dict(), weights[network])
    return weights


def _follow_stage(stage: Stage, start: Path | None, folder: Path, say: Say) -> dict[str, Any]:
    """The result of a stage: that of an earlier start where it was finished."""
    settings = {"network": stage.network, **stage.settings.model_dump()}
    begun, done = folder / "settings.json", folder / "done.json"
    if begun.exists() and (before := json.loads(begun.read_text())) != settings:
        changed = sorted(key for key in settings if before.get(key) != settings[key])
        raise RecipeError(
            f"{folder} was begun with another recipe ({', '.join(changed)} changed): give --out "
            "another folder, or remove this one."
        )
    if done.exists():
        result = json.loads(done.read_text())
        say(f"{stage.name}: was done before, {result['monitored']} {result['score']:.4f}")
        return result
    folder.mkdir(parents=True, exist_ok=True)
    _write(begun, settings)
    say(f"{stage.name}: {'goes on' if (folder / 'last.ckpt').exists() else 'begins'}")
    with quiet():
        fitted = fit(
            stage.network,
            stage.settings,
            folder,
            start,
            callbacks=[Pace(stage, say)],
            progress=sys.stdout.isatty(),
        )
    result = {"score": fitted.score, "monitored": fitted.monitored}
    _write(done, result)
    say(f"{stage.name}: done, best {fitted.monitored} {fitted.score:.4f}")
    return result


def _judge(recipe: Recipe, model: Path, folder: Path, say: Say) -> dict[str, float]:
    """CER of the finished weights on the validation pages, by group."""
    groups = recipe.evaluation.groups
    if not groups:
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = ParagraphTextRecognizer(model, device, language_model="none")
    read = evaluate(trained, write_pages(folder, groups))
    for name, rates in read.groups.items():
        say(f"{name}: CER {rates.cer:.4f} on {rates.images} validation pages")
    return {name: rates.cer for name, rates in read.groups.items()}


def _write(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all: a kill leaves what was there before."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
