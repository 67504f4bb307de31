"""Reads the lines of a page with the frames of the reader and what a model knows of English.

The page itself says how far to trust the model: what is read with a gentle model looks like English
prose or it does not, as names, numbers, single words and other languages do not.

A doubtful line comes with two readings. Either may propose a text; both say how likely it is.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from text_recognizer.language_model.beam_search import BeamSearch, Brought, Frame, Search
from text_recognizer.language_model.character_model import BOUNDARY, CharacterModel

MOST_CLASSES, MOST_CLASSES_OF_TWO = 5, 8  # of a frame that are thought of
LEAST_CHANCE, LEAST_CHANCE_OF_TWO = 0.005, 0.002
WIDTH_OF_TWO = 16  # prefixes that are kept if there are two readings
MOST_TEXTS = 6  # that each of two readings proposes
SURELY_BLANK = 0.97  # 0.999 finds the same texts in 1.5 times the time
REMEMBERED = 12  # characters of the line before that the model may look at

GENTLE = Search(weight=0.35, reward=0.5)
# With more weight, the characters say themselves what is no word.
FIRM = replace(GENTLE, weight=0.6, reward=1.0, unknown=-2.5)
QUICK = replace(GENTLE, width=4)
"""Enough to see whether a page is English prose."""
PROSE = 2.6  # nats a character: English prose costs less, names and words in no order more
MOST_SAVED = 2.0
"""Nats a character that a quick search takes off the cost of the likeliest frames, at most: a page
that costs more than that above PROSE, or less than PROSE, needs none. (On 67 pages: up to 1.41.)"""


def likely_classes(
    log_probs: Tensor, most: int = MOST_CLASSES, least: float = LEAST_CHANCE, blank: int = 0
) -> list[Frame]:
    """The classes worth a thought in each frame of a line.

    Args:
        log_probs: (F, C) of the classes in each frame.
        most: how many of a frame at most.
        least: how likely each is at least; the first one is always taken.
    """
    best, classes = log_probs.exp().topk(min(most, log_probs.size(1)), dim=1)
    frames: list[Frame] = []
    for chances, ids in zip(best.tolist(), classes.tolist(), strict=True):
        if ids[0] == blank and chances[0] > SURELY_BLANK:
            frames.append([(blank, chances[0])])
        else:
            # The first one always: the chances of many may all be small.
            likely = [(ids[0], chances[0])]
            likely += [(c, p) for c, p in zip(ids[1:], chances[1:], strict=True) if p > least]
            frames.append(likely)
    return frames


def text_log_probs(log_probs: Tensor, texts: Sequence[Sequence[int]], blank: int = 0) -> Tensor:
    """log P (N,) of texts in the frames (F, C) of a line, over all paths that spell them."""
    lengths = torch.tensor([len(text) for text in texts])
    classes = torch.tensor([one for text in texts for one in text], dtype=torch.long)
    frames = log_probs[:, None].expand(-1, len(texts), -1)
    count = torch.full((len(texts),), log_probs.size(0))
    return -F.ctc_loss(frames, classes, count, lengths, blank, reduction="none")


class Decoder:
    """Finds the texts of lines with a character model.

    Args:
        model: None finds what is likeliest by the frames only.
        tokens: The string of each class; the blank's is not looked at.
        words: Besides, word -> log P.
    """

    def __init__(
        self,
        model: CharacterModel | None,
        tokens: Sequence[str],
        blank: int = 0,
        words: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model
        self.words = words
        self.tokens = tokens
        self.blank = blank
        self._codes = [ord(token) if len(token) == 1 else 0 for token in tokens]
        self._brought: dict[tuple[float, float, float], Brought] = {}

    def page(self, lines: Sequence[Sequence[Tensor]]) -> list[str]:
        """The texts of the lines of one page, from the top; each line goes on from the last.

        Args:
            lines: one or two readings of each, as log-probabilities (F, C) of its frames.
        """
        once = [readings[:1] for readings in lines]
        firsts = [likely_classes(readings[0], blank=self.blank) for readings in lines]
        if self.model is None:
            return self._texts(once, firsts, Search(weight=0.0, reward=0.0))
        asked = cost(self.model, [self._text(_likeliest(frames, self.blank)) for frames in firsts])
        if PROSE <= asked < PROSE + MOST_SAVED:
            asked = cost(self.model, self._texts(once, firsts, QUICK))
        return self._texts(lines, firsts, FIRM if asked < PROSE else GENTLE)

    def cost(self, texts: Sequence[str]) -> float:
        """Nats a character of a page's lines in the model; 0 without one."""
        return cost(self.model, texts) if self.model else 0.0

    def _texts(
        self,
        lines: Sequence[Sequence[Tensor]],
        firsts: Sequence[Sequence[Frame]],
        search: Search,
    ) -> list[str]:
        """The lines' texts; `firsts` are the likely classes of their first readings."""
        texts: list[str] = []
        before = BOUNDARY
        for readings, frames in zip(lines, firsts, strict=True):
            if len(readings) > 1:
                best = self._likeliest_in_all(readings, search, before)
            elif all(len(frame) == 1 for frame in frames):
                best = _likeliest(frames, self.blank)  # there is no other path
            else:
                with closing(self._search(search, before)) as beams:
                    best = beams.find(frames)[0].classes
            text = self._text(best)
            texts.append(text)
            before = _before_next(text, before)
        return texts

    def _likeliest_in_all(
        self, readings: Sequence[Tensor], search: Search, before: str
    ) -> Sequence[int]:
        """The classes of the text that the readings of a line together find likeliest."""
        search = replace(search, width=WIDTH_OF_TWO)
        bonus: dict[tuple[int, ...], float] = {}  # of each text, in the model and by its length
        with closing(self._search(search, before)) as beams:
            for one in readings:
                frames = likely_classes(one, MOST_CLASSES_OF_TWO, LEAST_CHANCE_OF_TWO, self.blank)
                for found in beams.find(frames)[:MOST_TEXTS]:
                    bonus[tuple(found.classes)] = found.score - found.log_prob
        texts = list(bonus)
        if len(texts) == 1:
            return texts[0]
        seen = torch.stack([text_log_probs(one, texts, self.blank) for one in readings])
        return texts[int((seen.mean(0) + torch.tensor(list(bonus.values()))).argmax())]

    def _text(self, classes: Sequence[int]) -> str:
        return "".join(self.tokens[one] for one in classes)

    def _search(self, search: Search, before: str) -> BeamSearch:
        brought = self._brought.setdefault((search.weight, search.reward, search.floor), {})
        return BeamSearch(self._codes, search, self.model, before, self.blank, self.words, brought)


def _likeliest(frames: Sequence[Frame], blank: int) -> list[int]:
    """The classes of the likeliest path."""
    return [one for one, _ in groupby(frame[0][0] for frame in frames) if one != blank]


def cost(model: CharacterModel, texts: Sequence[str]) -> float:
    """Nats a character of a page's lines in a model; infinite for a page without writing."""
    total, count, before = 0.0, 0, BOUNDARY
    for text in texts:
        total -= model.log_prob(text, before)
        count += len(text)
        before = _before_next(text, before)
    return total / count if count else float("inf")


def _before_next(text: str, before: str) -> str:
    """What the model knows of the page before the line after `text`."""
    if not text:
        return before
    if text.endswith("-"):  # A word goes on in the next line.
        return text[:-1][-REMEMBERED:]
    return text[-REMEMBERED:] + " "
