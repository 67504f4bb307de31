"""Takes what `benchmarks/on_a_gpu.py` brought home into the project, if it is better.

The traces are what they are: they go to `data/traces` with their card. The weights are measured
again on this machine, on the validation pages, beside the packaged ones.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from lab_utils.profiling.profile import PROFILE_NAME, RECORDINGS, Profile, replaced_profile
from lab_utils.profiling.trace import read_trace
from text_recognizer import weights
from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate import evaluate
from text_recognizer.evaluate.labels import Item
from text_recognizer.files import replacing
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

RESULT, LAUNCHES = "result.json", "launches.json"
READER = "line_reader.safetensors"
GROUPS = ("unipen", "copiste")
LANGUAGE_MODELS = ("none", "english")
WORSE = 0.002
"""CER by which one group may get worse with the language model, while the mean gets better."""
SLOWER = 1.25
"""Times the seconds a page of the packaged model."""
MOST_MB = 16  # of the TorchScript file
RULE = (
    "Rule: new weights are packaged if, on the validation pages of UNIPEN and Copiste, their mean "
    "CER is lower without the language model and not higher with it, no group's CER with it rises "
    f"by more than {WORSE}, a page takes at most {SLOWER} times as long, and the TorchScript file "
    f"has at most {MOST_MB} MB."
)


class Result(BaseModel):
    """The part of `result.json` that is needed here."""

    format: Literal["lab-gpu/1"]
    command: str
    steps: dict[str, dict[str, Any]]


def read_result(folder: Path) -> Result:
    """The folder's `result.json`; raises RecognizerError where it is missing or damaged."""
    try:
        return Result.model_validate_json((folder / RESULT).read_bytes())
    except (OSError, ValidationError):
        raise RecognizerError(
            f"{folder / RESULT} is missing, damaged or of another version; name the folder that "
            "on_a_gpu.py made."
        ) from None


def adopt_traces(folder: Path, result: Result, recordings: Path = RECORDINGS) -> Path | None:
    """Copies profile and traces to the recordings, with a card; None where there is no profile.

    The recording of the same kind of device that was there before is replaced, whole. Raises
    ProfileError or TraceError for a damaged one: nothing is changed then.
    """
    if not (folder / PROFILE_NAME).is_file():
        return None
    out = recordings / Profile.load(folder).device["kind"]
    with replaced_profile(out) as partial:
        for path in sorted(folder.glob("batch_size_*.pt.trace.json.gz")):
            read_trace(path)
            place, _, name = path.name.partition(".")
            (partial / place).mkdir(exist_ok=True)
            shutil.copyfile(path, partial / place / name)
        shutil.copyfile(folder / PROFILE_NAME, partial / PROFILE_NAME)
        if ways := result.steps.get("launches", {}).get("ways"):
            (partial / LAUNCHES).write_text(json.dumps(ways, indent=1) + "\n", encoding="utf-8")
        found = Profile.load(partial)  # with the traces that have come along
        (partial / "README.md").write_text(card(found, result), encoding="utf-8")
    return out


def card(profile: Profile, result: Result) -> str:
    """What a recording was made on and how, as Markdown."""
    sizes = [str(batch.batch_size) for batch in profile.measured if batch.trace]
    rows = {
        "device": profile.device.get("name"),
        "driver": profile.device.get("driver"),
        **profile.versions,
        "date": profile.date,
        "command": f"`{result.command}`",
        "commit": result.steps.get("check", {}).get("commit") or profile.commit,
        "pages": profile.pages,
        "traces of batches of": ", ".join(sizes),
    }
    lines = [f"| {name} | {value or 'not known'} |" for name, value in rows.items()]
    return "# A recorded profile\n\n| what | value |\n|---|---|\n" + "\n".join(lines) + "\n"


def joined_reader(folder: Path, out: Path) -> Path | None:
    """The reader's weights at `out`, joined from their parts if there are any; None without them.

    Raises RecognizerError where a part is missing.
    """
    whole = folder / READER
    parts = [whole] if whole.is_file() else sorted(folder.glob(f"{READER}.part*"))
    numbers = [path.name.removeprefix(f"{READER}.part") for path in parts]
    if parts != [whole] and numbers != [str(n + 1) for n in range(len(parts))]:
        raise RecognizerError(f"A part of {READER} is missing in {folder}; bring the folder again.")
    out.write_bytes(b"".join(path.read_bytes() for path in parts))
    return out if parts else None


def measure(model: Path, items: Sequence[Item]) -> dict[str, float]:
    """How a TorchScript file reads the validation pages on this machine: the CER of each group
    without ("none") and with the language model, seconds a page without it, and the file's MB."""
    found: dict[str, float] = {}
    for language_model in LANGUAGE_MODELS:
        recognizer = ParagraphTextRecognizer(model, language_model=language_model)
        recognizer.predict_batch([items[0].path, items[0].path])  # warm
        start = time.perf_counter()
        groups = evaluate(recognizer, items).groups
        found.setdefault("seconds", (time.perf_counter() - start) / len(items))
        found |= {f"{name}, {language_model}": rate.cer for name, rate in groups.items()}
    return found | {"MB": model.stat().st_size / 1e6}


def objections(new: dict[str, float], old: dict[str, float]) -> list[str]:
    """What speaks against packaging the new weights, by RULE; empty if they are better."""

    def mean(found: dict[str, float], language_model: str) -> float:
        return statistics.mean(found[f"{group}, {language_model}"] for group in GROUPS)

    found = []
    if mean(new, "none") >= mean(old, "none"):
        found.append("the mean CER without the language model is not lower")
    if mean(new, "english") > mean(old, "english"):
        found.append("the mean CER with the language model is higher")
    for group in GROUPS:
        if new[f"{group}, english"] > old[f"{group}, english"] + WORSE:
            found.append(f"{group} is read worse with the language model")
    if new["seconds"] > SLOWER * old["seconds"]:
        found.append(f"a page takes {new['seconds'] / old['seconds']:.2f} times as long")
    if new["MB"] > MOST_MB:
        found.append(f"the TorchScript file has {new['MB']:.1f} MB")
    return found


def compare(reader: Path, items: Sequence[Item]) -> tuple[dict[str, float], dict[str, float]]:
    """New weights and packaged ones on the same pages. Raises ModelFileError for damaged ones."""
    with tempfile.TemporaryDirectory(prefix="lab-adopt-") as scratch:
        folder = Path(scratch, "weights")
        folder.mkdir()
        shutil.copyfile(reader, folder / READER)
        shutil.copyfile(weights.packaged_weights() / weights.FINDER, folder / weights.FINDER)
        new = compile_paragraph_reader(Path(scratch, "new.pt"), folder)
        old = compile_paragraph_reader(Path(scratch, "packaged.pt"))
        return measure(new, items), measure(old, items)


def package(reader: Path) -> Path:
    """Makes weights the packaged ones, whole or not at all, and notes their digest."""
    with replacing(weights.packaged_weights() / READER) as partial:
        shutil.copyfile(reader, partial)
    weights.record_digests()
    return weights.packaged_weights() / READER
