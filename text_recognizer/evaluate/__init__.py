"""How well a recognizer reads pages whose text is known: CER and WER, by group and page by page.

A reading is compared with its label exactly as both are written (case, punctuation, newlines,
runs of spaces), after spaces at line ends and empty lines at the end of the text are dropped.
A newline is one character. Rates of a group are all edits over all characters (or words).

The command is `lab evaluate`; `labels` finds what to read, `report` leaves table and pictures.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tqdm.auto import tqdm

from text_recognizer.evaluate.labels import Item, LabelsError, load_items
from text_recognizer.metrics import Edits, character_edits, word_edits

__all__ = [
    "Evaluation",
    "Item",
    "LabelsError",
    "Rates",
    "Recognizer",
    "Result",
    "evaluate",
    "load_items",
]

WORST_SHOWN = 10


@dataclass(frozen=True)
class Result:
    """One item, what was read in it, and how far apart the two are."""

    item: Item
    reading: str
    characters: Edits
    words: Edits


@dataclass(frozen=True)
class Rates:
    """Error rates over all images of a group, as edits over lengths in all."""

    cer: float
    wer: float
    images: int


@dataclass(frozen=True)
class Evaluation:
    """The results in the order of the items, and the time that reading took (s per page)."""

    results: list[Result]
    seconds_per_page: float

    @property
    def overall(self) -> Rates:
        return _rates(self.results)

    @property
    def groups(self) -> dict[str, Rates]:
        names = sorted({result.item.group for result in self.results})
        return {name: _rates([r for r in self.results if r.item.group == name]) for name in names}

    def worst(self, count: int = WORST_SHOWN) -> list[Result]:
        """The results with the highest CER first; of equal ones, that with more edits."""
        order = sorted(
            self.results, key=lambda r: (r.characters.rate, r.characters.errors), reverse=True
        )
        return order[:count]

    def summary(self) -> dict[str, Any]:
        """What the command prints as JSON."""
        return {
            **asdict(self.overall),
            "seconds_per_page": self.seconds_per_page,
            "groups": {name: asdict(rates) for name, rates in self.groups.items()},
        }


class Recognizer(Protocol):
    """Anything that reads a batch of images, as ParagraphTextRecognizer does."""

    def predict_batch(self, images: Sequence[Any]) -> list[str]: ...


def evaluate(
    recognizer: Recognizer, items: Sequence[Item], batch_size: int = 8, progress: bool = True
) -> Evaluation:
    """Reads all items, `batch_size` files at a time, and compares the readings with the labels.

    The time covers opening and reading the files and leaves out one reading before the first,
    which pays for the script's optimization, and the comparison.
    """
    recognizer.predict_batch([items[0].path])
    results: list[Result] = []
    seconds = 0.0
    bar = tqdm(total=len(items), unit="page", disable=not progress, file=sys.stderr)
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        began = time.perf_counter()
        readings = recognizer.predict_batch([item.path for item in batch])
        seconds += time.perf_counter() - began
        for item, reading in zip(batch, readings, strict=True):
            results.append(
                Result(
                    item,
                    reading,
                    character_edits(reading, item.text),
                    word_edits(reading, item.text),
                )
            )
        bar.update(len(batch))
    bar.close()
    return Evaluation(results, seconds / len(items))


def _rates(results: Sequence[Result]) -> Rates:
    return Rates(
        Edits.total(result.characters for result in results).rate,
        Edits.total(result.words for result in results).rate,
        len(results),
    )
