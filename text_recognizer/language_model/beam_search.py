"""CTC prefix beam search with a character model and words: the likeliest text, not frames.

In plain Python: most frames of a line leave no doubt about their class, so there is little to do in
each. What a prefix brings in the model is multiplied into its chances as soon as it grows, so that
no logarithm is needed on the way.
"""

import heapq
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from text_recognizer.language_model.character_model import BOUNDARY, CharacterModel, State
from text_recognizer.language_model.words import word_log_prob

Frame = Sequence[tuple[int, float]]
"""The likely classes of one frame with their probabilities, the likeliest first."""

SMALLEST, LARGEST = 1e-100, 1e100
"""Chances beyond these are divided by the best one, so that none vanishes."""


@dataclass(frozen=True)
class Search:
    """How a line is searched: log P_ctc + weight * log P_model + reward * characters.

    (Graves 2012, "Supervised Sequence Labelling", 7.5; Hannun et al., arXiv 1408.2873.)
    """

    width: int = 12
    """Prefixes that are kept after each frame."""
    weight: float = 0.35
    reward: float = 0.5
    floor: float = 0.05
    """Share of the model that any character has, so that an unseen one stays possible."""
    margin: float = 6.0
    """How far (nats) behind the best one a prefix is given up."""
    weight_of_words: float = 0.25
    """A word of two letters or more brings weight_of_words * (log P + reward_of_words * letters)
    where there is a list of words,"""
    reward_of_words: float = 2.0
    unknown: float = -3.3
    """or this (nats) if it is not in the list: a name, another language, or misread."""


class Prefix:
    """The beginning of a text, as a node of the tree of all that were considered.

    `by_blank` and `by_last` are its chances of ending in a blank and of ending in its last class,
    times what the model, the words and the length bring.
    """

    __slots__ = "by_blank by_last children factor frame last letters parent state".split()

    def __init__(
        self, parent: "Prefix | None", last: int, state: State | None, factor: float, letters: str
    ) -> None:
        self.parent = parent
        self.last = last  # its last class; the blank for the empty prefix
        self.state = state
        self.factor = factor  # what its last class brings
        self.letters = letters  # at its end, since what is no letter
        self.children: dict[int, Prefix] | None = None
        self.by_blank = self.by_last = 0.0
        self.frame = -1  # the last frame that gave it a chance

    def path(self) -> list["Prefix"]:
        """The prefixes of one class, of two, and so on to this one."""
        found: list[Prefix] = []
        prefix = self
        while prefix.parent is not None:
            found.append(prefix)
            prefix = prefix.parent
        return found[::-1]


@dataclass(frozen=True)
class Found:
    """A text as classes, log P_ctc of it, and its score with what the model brings."""

    classes: list[int]
    log_prob: float
    score: float


Brought = dict[tuple[State, int], tuple[float, State]]
"""What a class brings after a state, and the state then, for one weight, reward and floor."""
MOST_BROUGHT = 100_000
"""Of these are remembered, some 20 MB."""


class BeamSearch:
    """Searches readings of one line; what was asked of the model is remembered between them.

    Args:
        codes: The code point of each class; that of the blank is not looked at.
        model: None searches only by the frames.
        before: What was written before the line.
        words: Word -> log P (see `words`); None for no list. Without a model it is not looked at.
        brought: What lines before this one have asked of the model.
    """

    def __init__(
        self,
        codes: Sequence[int],
        search: Search,
        model: CharacterModel | None = None,
        before: str = BOUNDARY,
        blank: int = 0,
        words: Mapping[str, float] | None = None,
        brought: Brought | None = None,
    ) -> None:
        self._codes, self._search, self._model, self._blank = codes, search, model, blank
        self._words = words
        self._letters = [chr(code) if chr(code).isalpha() else "" for code in codes]
        state = model.start(before) if model else None
        self._start = Prefix(None, blank, state, 1.0, _last_letters(before))
        self._floor = search.floor / len(model.alphabet) if model else 0.0
        self._most = math.exp(search.reward)  # the most that a class can bring but for a word
        self._brought = {} if brought is None else brought
        if len(self._brought) > MOST_BROUGHT:
            self._brought.clear()
        self._frame = 0  # counts on from one reading to the next

    def find(self, frames: Sequence[Frame]) -> list[Found]:
        """The best texts of a reading, the best first."""
        start = self._start
        start.by_blank, start.by_last = 1.0, 0.0
        beam = [start]
        best = 1.0  # the best prefix's chance
        scale = 0.0  # log of what the chances were divided by
        for frame in frames:
            if len(frame) == 1 and frame[0][0] == self._blank:
                scale += math.log(frame[0][1])
                for prefix in beam:
                    prefix.by_blank += prefix.by_last
                    prefix.by_last = 0.0
                continue
            beam, best = self._kept(self._grown(beam, best, frame))
            if not SMALLEST < best < LARGEST:
                scale += math.log(best)
                for prefix in beam:
                    prefix.by_blank /= best
                    prefix.by_last /= best
                best = 1.0
        return self._finished(beam, scale)

    def close(self) -> None:
        """Takes the tree of prefixes apart, whose rings would wait long for Python's collector."""
        prefixes = [self._start]
        while prefixes:
            prefix = prefixes.pop()
            if prefix.children:
                prefixes += prefix.children.values()
                prefix.children = None

    def _grown(self, beam: list[Prefix], best: float, frame: Frame) -> list[Prefix]:
        """What the prefixes of a beam become with a frame, with their chances."""
        self._frame += 1
        now, width, most = self._frame, self._search.width, self._most
        chances = dict(frame)
        by_pause = chances.pop(self._blank, 0.0)
        grown: list[Prefix] = []
        # A prefix that has less than this is not worth its place, nor asking the model.
        least, behind = 0.0, math.exp(-self._search.margin)
        leaders: list[float] = []  # the chances of the best so far
        # First what each had: growing changes the chances of prefixes in the beam.
        had = [(prefix, prefix.by_blank, prefix.by_last) for prefix in beam]
        for prefix, by_blank, by_last in had:
            total, last = by_blank + by_last, prefix.last
            again = chances.get(last)
            if by_pause or again:
                if prefix.frame != now:
                    prefix.frame, prefix.by_blank, prefix.by_last = now, 0.0, 0.0
                    grown.append(prefix)
                prefix.by_blank += total * by_pause
                prefix.by_last += by_last * (again or 0.0)
                least = max(least, _chance(prefix) * behind)
            for one, chance in chances.items():
                if total * chance * most <= least:
                    break  # those after it are less likely
                extended = (by_blank if one == last else total) * chance
                if extended * most <= least:
                    continue
                child = prefix.children.get(one) if prefix.children else None
                factor, state = self._brings(prefix, one) if child is None else (child.factor, None)
                extended *= factor
                if extended <= least and (child is None or child.frame != now):
                    continue
                if child is None:
                    letter = self._letters[one]
                    letters = prefix.letters + letter if letter else ""
                    child = Prefix(prefix, one, state, factor, letters)
                    prefix.children = prefix.children or {}
                    prefix.children[one] = child
                if child.frame != now:
                    child.frame, child.by_blank, child.by_last = now, 0.0, 0.0
                    grown.append(child)
                    heapq.heappush(leaders, extended)
                    if len(leaders) > width:
                        least = max(least, heapq.heappop(leaders))
                child.by_last += extended
                least = max(least, extended * behind)
        return grown

    def _kept(self, grown: list[Prefix]) -> tuple[list[Prefix], float]:
        """The prefixes worth keeping after a frame, the best first, and the chance of the best."""
        grown.sort(key=_chance, reverse=True)
        best = _chance(grown[0])
        least = best * math.exp(-self._search.margin)
        return [one for one in grown[: self._search.width] if _chance(one) >= least], best

    def _brings(self, prefix: Prefix, one: int) -> tuple[float, State | None]:
        """What a class brings after a prefix, and the model's state then."""
        search, model = self._search, self._model
        if model is None:
            return self._most, None
        known = self._brought.get((prefix.state, one))
        if known is None:
            log_prob, state = model.step(prefix.state, self._codes[one])
            share = (1.0 - search.floor) * math.exp(log_prob) + self._floor
            known = self._brought[prefix.state, one] = self._most * share**search.weight, state
        factor, state = known
        if prefix.letters and not self._letters[one]:
            factor *= math.exp(self._of_word(prefix))
        return factor, state

    def _of_word(self, prefix: Prefix) -> float:
        """What the letters at the end of a prefix bring (nats) if they end there."""
        letters, search = prefix.letters, self._search
        if self._words is None or len(letters) < 2:
            return 0.0
        known = word_log_prob(letters, self._words)
        if known is None:
            return search.unknown
        return search.weight_of_words * (known + search.reward_of_words * len(letters))

    def _finished(self, beam: list[Prefix], scale: float) -> list[Found]:
        """The texts of a beam, the best first, with what the end of the line says of their last
        word: after it, there is a space or nothing."""
        search, model, found = self._search, self._model, []
        for prefix in beam:
            score = math.log(prefix.by_blank + prefix.by_last) + scale
            path = prefix.path()
            log_prob = score - sum(math.log(one.factor) for one in path)
            if model and prefix.parent is not None:
                ends = [model.step(prefix.state, ord(end))[0] for end in (" ", BOUNDARY)]
                share = (1.0 - search.floor) * sum(map(math.exp, ends))
                share += 2 * self._floor
                score += search.weight * math.log(share)
                if self._codes[prefix.last] == ord("-"):  # the word may go on in the next line
                    score -= self._of_word(prefix.parent)
                else:
                    score += self._of_word(prefix)
            found.append(Found([one.last for one in path], log_prob, score))
        return sorted(found, key=lambda one: one.score, reverse=True)


def _last_letters(text: str) -> str:
    return text[len(text.rstrip(string.ascii_letters)) :]


def _chance(prefix: Prefix) -> float:
    return prefix.by_blank + prefix.by_last
