"""A character n-gram model with backoff, read from one small file in plain Python.

It works next to the recognizer with only torch and Pillow installed; `estimation` makes it.
"""

import json
import os
import struct
import zlib
from array import array
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from text_recognizer.errors import ModelFileError
from text_recognizer.files import replacing
from text_recognizer.model_file import DIGESTS, is_as_noted

MAGIC = b"character-model/1\n"
BOUNDARY = "\n"  # stands before and after a text
STEP = 1 / 20  # nats that one stored unit is worth
NO_BACKOFF = 40  # the stored unit that stands for zero, since a few weights are above one
MOST_STATES = 50_000  # remembered at once, some 30 MB


@dataclass(frozen=True)
class Level:
    """The n-grams of one length, one byte each in every column, grouped by their context.

    Those of one context stand side by side, and the contexts in the order of the level before.
    """

    characters: bytes
    """The last character of each."""
    costs: bytes
    """Minus its log-probability after the characters before it, in steps."""
    backoffs: bytes
    """What is added to the next character's log-probability if it is not among its children:
    NO_BACKOFF less this, in steps."""
    children: bytes
    """How many n-grams of the next level begin with it."""


class State:
    """The characters that the next one depends on: a node of the model's trie."""

    __slots__ = ("backoff", "first", "last", "level", "shorter", "steps")

    def __init__(
        self, level: int, first: int, last: int, backoff: float, shorter: "State | None"
    ) -> None:
        self.level = level
        self.first = first  # its children's places in the level of its depth
        self.last = last
        self.backoff = backoff
        self.shorter = shorter
        self.steps: dict[int, tuple[float, State]] = {}


class CharacterModel:
    """Log-probabilities (natural) of a character after those before it.

    A text is walked through from `start` with `step`. States are found when they are first come
    to and remembered, since a beam search asks the same again and again.
    """

    def __init__(self, levels: list[Level], about: dict | None = None) -> None:
        self.levels = levels
        self.about = about or {}
        """What the file says of its making: texts, licences, sizes."""
        self.alphabet = "".join(sorted(map(chr, levels[0].characters)))
        # Of each level; as a list, a million numbers would take 36 MB in place of 4.
        self._starts = [array("I", accumulate(one.children, initial=0)) for one in levels]
        self._forget()

    def _forget(self) -> None:
        self._root = State(0, 0, len(self.levels[0].characters), 0.0, None)
        self._states = 1

    def start(self, before: str = BOUNDARY) -> State:
        """The state after a text, by default at the beginning of one.

        States from before this call stay right, but may be found again as other objects.
        """
        if self._states > MOST_STATES:
            self._forget()
        state = self._root
        for character in before:
            state = self.step(state, ord(character))[1]
        return state

    def step(self, state: State, code: int) -> tuple[float, State]:
        """The log-probability of a character (its code point) in a state, and the state after it.

        Raises KeyError for a character that is not in the alphabet.
        """
        known = state.steps.get(code)
        if known is None:
            known = state.steps[code] = self._find(state, code)
        return known

    def _find(self, state: State, code: int) -> tuple[float, State]:
        level = self.levels[state.level]
        place = level.characters.find(code, state.first, state.last)
        if place < 0:
            if state.shorter is None:
                raise KeyError(chr(code))
            log_prob, following = self.step(state.shorter, code)
            return state.backoff + log_prob, following
        shorter = self._root if state.shorter is None else self.step(state.shorter, code)[1]
        log_prob = -STEP * level.costs[place]
        if state.level + 1 == len(self.levels) or level.children[place] == 0:
            return log_prob, shorter
        starts = self._starts[state.level]
        backoff = STEP * (NO_BACKOFF - level.backoffs[place])
        self._states += 1
        return log_prob, State(state.level + 1, starts[place], starts[place + 1], backoff, shorter)

    def log_prob(self, text: str, before: str = BOUNDARY) -> float:
        """The log-probability of a text after another."""
        state, total = self.start(before), 0.0
        for character in text:
            log_prob, state = self.step(state, ord(character))
            total += log_prob
        return total


def save_model(model: CharacterModel, path: Path) -> Path:
    """Writes a model, whole or not at all: a line of magic, a header in JSON, packed columns."""
    columns = [
        column
        for level in model.levels
        for column in (level.characters, level.costs, level.backoffs, level.children)
    ]
    header = json.dumps(
        {"levels": [len(level.characters) for level in model.levels], "about": model.about}
    ).encode()
    body = zlib.compress(b"".join(columns), 9)
    with replacing(path) as partial:
        partial.write_bytes(MAGIC + struct.pack("<I", len(header)) + header + body)
    return path


def load_model(path: str | os.PathLike) -> CharacterModel:
    """Reads a model; raises ModelFileError where the file is missing, damaged or something else."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError:
        raise ModelFileError(f"There is no language model at {path}; {_cure(path)}.") from None
    try:
        if not is_as_noted(path):
            raise ValueError("digest")
        return _parse(content)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error):
        raise ModelFileError(
            f"{path} is not a language model or is damaged; {_cure(path)}."
        ) from None


def _cure(path: Path) -> str:
    """What to do about a file that can't be used."""
    if path.with_name(DIGESTS).is_file():  # a packaged one
        return "get the repository's data/weights folder again, or read without one"
    return "give english, none, or the path of such a file"


def _parse(content: bytes) -> CharacterModel:
    if not content.startswith(MAGIC):
        raise ValueError("magic")
    begin = len(MAGIC) + 4
    (length,) = struct.unpack("<I", content[len(MAGIC) : begin])
    header = json.loads(content[begin : begin + length])
    # zlib's checksum tells of any byte that is not as it was written.
    body = memoryview(zlib.decompress(content[begin + length :]))
    levels, place = [], 0
    for count in header["levels"]:
        columns = [bytes(body[place + i * count : place + (i + 1) * count]) for i in range(4)]
        levels.append(Level(*columns))
        place += 4 * count
    if place != len(body) or any(
        sum(level.children) != len(deeper.characters)
        for level, deeper in zip(levels, levels[1:], strict=False)
    ):
        raise ValueError("sizes")
    return CharacterModel(levels, header["about"])
