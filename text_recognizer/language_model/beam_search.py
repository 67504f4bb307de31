"""CTC prefix beam search with a character model: the likeliest text, not the likeliest frames.

In plain Python: nearly all frames of a line are certain of one class, so there is little to do in
each, and it is little that changes from step to step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from text_recognizer.language_model.character_model import BOUNDARY, CharacterModel, State

Frame = Sequence[tuple[int, float]]
"""The classes of one frame that are worth a thought, with their probabilities."""


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
    """Share of the model that any character has: what it never saw does not cost everything."""
    margin: float = 7.0
    """How far (nats) behind the best one a prefix is given up."""


class Prefix:
    """The beginning of a text, as a node of the tree of all that were thought of."""

    __slots__ = ("bonus", "last", "parent", "state")

    def __init__(
        self, parent: "Prefix | None", last: int, state: State | None, bonus: float
    ) -> None:
        self.parent = parent
        self.last = last  # its last class; the blank for the empty prefix
        self.state = state
        self.bonus = bonus  # what the model and the length bring

    def classes(self) -> list[int]:
        found: list[int] = []
        prefix = self
        while prefix.parent is not None:
            found.append(prefix.last)
            prefix = prefix.parent
        return found[::-1]


Beam = list[tuple[Prefix, float, float]]


@dataclass(frozen=True)
class Found:
    """A text as classes, log P_ctc of it, and its score with what the model brings."""

    classes: list[int]
    log_prob: float
    score: float


def beam_search(
    frames: Sequence[Frame],
    codes: Sequence[int],
    search: Search,
    model: CharacterModel | None = None,
    before: str = BOUNDARY,
    blank: int = 0,
) -> list[Found]:
    """The best texts of a line, the best first.

    Args:
        frames: For each frame its likely classes with their probabilities.
        codes: The code point of each class; that of the blank is not looked at.
        model: None searches by the frames alone.
        before: What was written before the line.
    """
    start = Prefix(None, blank, model.start(before) if model else None, 0.0)
    # Each prefix with its chances of ending in a blank and of ending in its last class.
    beam: Beam = [(start, 1.0, 0.0)]
    best = 0.0  # the best prefix's score
    scale = 0.0  # log of what the chances were divided by, so that none vanishes
    tree: dict[tuple[Prefix, int], Prefix] = {}
    for frame in frames:
        if len(frame) == 1 and frame[0][0] == blank:
            chance = frame[0][1]
            beam = [(prefix, (b + e) * chance, 0.0) for prefix, b, e in beam]
            best += math.log(chance)
        else:
            # Even with what the model may bring, less than this is not worth asking it.
            least = best + math.log(max(chance for _, chance in frame)) - search.margin
            grown: dict[Prefix, list[float]] = {}
            for prefix, by_blank, by_last in beam:
                both = by_blank + by_last
                for one, chance in frame:
                    if one == blank:
                        known = grown.get(prefix)
                        if known is None:
                            grown[prefix] = [both * chance, 0.0]
                        else:
                            known[0] += both * chance
                        continue
                    extended = both * chance
                    if one == prefix.last:
                        known = grown.get(prefix)
                        if known is None:
                            grown[prefix] = [0.0, by_last * chance]
                        else:
                            known[1] += by_last * chance
                        extended = by_blank * chance
                    if extended <= 0.0 or math.log(extended) + prefix.bonus < least:
                        continue
                    child = tree.get((prefix, one))
                    if child is None:
                        child = tree[prefix, one] = _child(prefix, one, codes, search, model)
                    known = grown.get(child)
                    if known is None:
                        grown[child] = [0.0, extended]
                    else:
                        known[1] += extended
            beam, best = _best(grown, search)
        largest = max(b + e for _, b, e in beam)
        if largest < 1e-100:
            scale += math.log(largest)
            best -= math.log(largest)
            beam = [(prefix, b / largest, e / largest) for prefix, b, e in beam]
    return _finished(beam, scale, search, model)


def _child(
    prefix: Prefix, one: int, codes: Sequence[int], search: Search, model: CharacterModel | None
) -> Prefix:
    bonus, state = prefix.bonus + search.reward, None
    if model:
        log_prob, state = model.step(prefix.state, codes[one])
        floor = search.floor / len(model.alphabet)
        bonus += search.weight * math.log((1.0 - search.floor) * math.exp(log_prob) + floor)
    return Prefix(prefix, one, state, bonus)


def _best(grown: dict[Prefix, list[float]], search: Search) -> tuple[Beam, float]:
    """The prefixes worth keeping after a frame, and the score of the best."""
    log = math.log
    scored = [
        (log(chances[0] + chances[1]) + prefix.bonus, index, prefix, chances)
        for index, (prefix, chances) in enumerate(grown.items())
        if chances[0] + chances[1] > 0.0
    ]
    scored.sort(reverse=True)
    best = scored[0][0]
    least = best - search.margin
    kept = scored[: search.width]
    return [(prefix, *chances) for score, _, prefix, chances in kept if score >= least], best


def _finished(
    beam: Beam,
    scale: float,
    search: Search,
    model: CharacterModel | None,
) -> list[Found]:
    """The texts of a beam, the best first, with what the end of the line says of their last word:
    after it, there is a space or nothing."""
    found = []
    for prefix, by_blank, by_last in beam:
        log_prob = math.log(by_blank + by_last) + scale
        bonus = prefix.bonus
        if model and prefix.parent is not None:
            ends = [model.step(prefix.state, ord(end))[0] for end in (" ", BOUNDARY)]
            share = (1.0 - search.floor) * sum(map(math.exp, ends))
            bonus += search.weight * math.log(share + 2 * search.floor / len(model.alphabet))
        found.append(Found(prefix.classes(), log_prob, log_prob + bonus))
    return sorted(found, key=lambda one: one.score, reverse=True)
