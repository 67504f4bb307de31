"""The words that people write most, in English and, without accents, in French.

A character model knows how words are spelled in general; this list knows which ones there are, and
how common each one is.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from text_recognizer.errors import ModelFileError
from text_recognizer.files import replacing
from text_recognizer.model_file import is_as_noted
from text_recognizer.places import project_folder

STEP = 0.25  # nats to which logarithms are rounded in the file


def words_path() -> Path:
    """The list that comes with the project. Each of its lines has words that are about as common:
    minus the logarithm of their share of all words, then the words."""
    return project_folder() / "data" / "weights" / "words.txt"


def load_words(path: str | os.PathLike) -> dict[str, float]:
    """Word -> log P; raises ModelFileError where the file is missing or damaged."""
    path = Path(path)
    words: dict[str, float] = {}
    try:
        if not is_as_noted(path):
            raise ValueError("digest")
        for line in path.read_text(encoding="ascii").splitlines():
            cost, *own = line.split()
            words.update(dict.fromkeys(own, -float(cost)))
    except (OSError, ValueError):
        raise ModelFileError(
            f"The list of words {path} is missing or damaged; get the repository's data/weights "
            "folder again, or read without a language model."
        ) from None
    return words


def save_words(shares: Mapping[str, float], path: Path) -> Path:
    """Writes a list from the words' shares, whole or not at all."""
    lines: dict[float, list[str]] = {}
    for word, share in shares.items():
        lines.setdefault(round(-math.log(share) / STEP) * STEP, []).append(word)
    text = "".join(f"{cost:g} {' '.join(sorted(own))}\n" for cost, own in sorted(lines.items()))
    with replacing(path) as partial:
        partial.write_text(text, encoding="ascii")
    return path


def word_log_prob(letters: str, words: Mapping[str, float]) -> float | None:
    """log P of a word that is written in lower case, with one capital or in capitals; None where
    letters are no word of the list."""
    low = letters.lower()
    return words.get(low) if letters[1:] == low[1:] or letters.isupper() else None
