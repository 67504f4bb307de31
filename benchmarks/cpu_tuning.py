"""Which settings make reading faster on a CPU, and what do they change in what is read?

Each setting of `cpu_settings.py` runs in a process of its own and reads the same pages, one at a
time, in turns with the others, so that a busy minute hits all alike. A setting's ratio is the
median over the rounds of its time against that of `nothing` in the same round; above 1 is faster.

    python benchmarks/cpu_tuning.py --threads 2
    python benchmarks/cpu_tuning.py --against OLD.pt      # another model file as one more row
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import cpu_settings
import torch
from page_readers import ReaderProcess
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.evaluate import Item, load_items
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.places import lab_folder, project_folder
from text_recognizer.vocabulary import to_printable_ascii

BASELINE = "nothing"
AGAINST = "against"


def main() -> None:
    options = arguments()
    items = load_items(project_folder() / "data" / "pages", kind="paragraph")
    items = [item for item in items if Path(item.path).name.startswith("show_")]
    try:
        letters = load_items(handwriting_folder() / "stanford.json", kind="paragraph")
    except HandwritingMissingError as missing:
        print(f"sample pages only: {missing}")
        letters = []
    model = options.model or compile_paragraph_reader(lab_folder() / "models" / "tuning.pt")
    names = [BASELINE, *(name for name in options.settings if name != BASELINE)]
    models = {name: model for name in names}
    if options.against:
        models[AGAINST] = options.against
    processes = {}
    try:
        for name, file in models.items():
            processes[name] = ReaderProcess(
                BASELINE if name == AGAINST else name,
                options.threads,
                model=file,
                program=cpu_settings.__file__,
            )
        rows = measure(processes, items, letters, options.rounds)
    finally:
        for process in processes.values():
            process.close()
    print(
        f"{'setting':24}{'s a page':>9}{'ratio':>7}{'CER':>8}{'letters':>9}  {'texts':8}{'MB':>6}"
    )
    for name, row in rows.items():
        letters_cer = "" if row["cer_letters"] is None else f"{row['cer_letters']:.4f}"
        equal = "equal" if row["equal"] else f"{row['changed']} differ"
        print(
            f"{name:24}{row['seconds']:9.3f}{row['ratio']:7.2f}{row['cer']:8.4f}{letters_cer:>9}"
            f"  {equal:8}{row['peak_mb']:6.0f}"
        )
    print(
        json.dumps(
            {
                "benchmark": "cpu_tuning",
                "threads": options.threads,
                "processor": torch.backends.cpu.get_cpu_capability(),
                "pages": len(items) + len(letters),
                "load_average": os.getloadavg()[0],
                "rows": rows,
            }
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--settings",
        type=lambda text: text.split(","),
        default=list(cpu_settings.CHANGES),
        help=f"of {', '.join(cpu_settings.CHANGES)} (all)",
    )
    parser.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    parser.add_argument("--against", type=Path, help="TorchScript file of one more row")
    options = parser.parse_args()
    for name in options.settings:
        if name not in cpu_settings.CHANGES:
            parser.error(f"{name!r} is none of {', '.join(cpu_settings.CHANGES)}")
    return options


def measure(
    processes: dict[str, ReaderProcess], items: list[Item], letters: list[Item], rounds: int
) -> dict[str, dict[str, Any]]:
    """A row for each process; the pages of the first round warm up and are not counted."""
    pages = [*items, *letters]
    files, lengths = [item.path for item in pages], [len(item.text) for item in pages]
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    texts: dict[str, list[str]] = {}
    peaks: dict[str, float] = {}
    for turn in tqdm(range(rounds + 1), desc="rounds"):
        # Another one begins each time: none always runs on what another has heated.
        order = list(processes)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        for name in order:
            taken, texts[name], peaks[name] = processes[name].read(files, lengths)
            if turn:
                seconds[name].append(taken / len(pages))
    base = seconds[BASELINE]
    return {
        name: {
            "seconds": statistics.median(own),
            "ratio": statistics.median(b / o for b, o in zip(base, own, strict=True)),
            "cer": cer(texts[name][: len(items)], items),
            "cer_letters": cer(texts[name][len(items) :], letters) if letters else None,
            "equal": texts[name] == texts[BASELINE],
            "changed": sum(a != b for a, b in zip(texts[name], texts[BASELINE], strict=True)),
            "peak_mb": peaks[name],
        }
        for name, own in seconds.items()
    }


def cer(texts: list[str], items: list[Item]) -> float:
    pairs = zip(texts, items, strict=True)
    return Edits.total(
        character_edits(to_printable_ascii(text), item.text) for text, item in pairs
    ).rate


if __name__ == "__main__":
    main()
