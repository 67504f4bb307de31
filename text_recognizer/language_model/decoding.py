"""Reads the lines of a page with the frames of the reader and what a model knows of English.

The page itself says how far to trust the model: what is read with a gentle model looks like English
prose or it does not, as names, numbers, single words and other languages do not.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from torch import Tensor

from text_recognizer.language_model.beam_search import Frame, Search, beam_search
from text_recognizer.language_model.character_model import BOUNDARY, CharacterModel

MOST_CLASSES = 5  # of a frame that are thought of
LEAST_CHANCE = 0.005
SURELY_BLANK = 0.999
REMEMBERED = 12  # characters of the line before that the model may look at

GENTLE = Search(weight=0.35, reward=0.5)
FIRM = replace(GENTLE, weight=0.6, reward=1.0)
PROSE = 2.6  # nats a character: English prose costs less, names and words in no order more


def likely_classes(log_probs: Tensor, lengths: Tensor, blank: int = 0) -> list[list[Frame]]:
    """The classes worth a thought in each frame of each line.

    Args:
        log_probs: (N, F, C) of the classes in each frame.
        lengths: (N,) frames of each line.
    """
    best, classes = log_probs.exp().topk(min(MOST_CLASSES, log_probs.size(2)), dim=2)
    lines: list[list[Frame]] = []
    for length, chances, ids in zip(lengths.tolist(), best.tolist(), classes.tolist(), strict=True):
        frames: list[Frame] = []
        for chance, one in zip(chances[:length], ids[:length], strict=True):
            if one[0] == blank and chance[0] > SURELY_BLANK:
                frames.append([(blank, chance[0])])
            else:
                # The first one always: the chances of many may all be small.
                likely = [(one[0], chance[0])]
                likely += [
                    (c, p) for c, p in zip(one[1:], chance[1:], strict=True) if p > LEAST_CHANCE
                ]
                frames.append(likely)
        lines.append(frames)
    return lines


class Decoder:
    """Finds the texts of lines with a character model.

    Args:
        model: None finds what is likeliest by the frames alone.
        tokens: The string of each class; the blank's is not looked at.
    """

    def __init__(self, model: CharacterModel | None, tokens: Sequence[str], blank: int = 0) -> None:
        self.model = model
        self.tokens = tokens
        self.blank = blank
        self._codes = [ord(token) if len(token) == 1 else 0 for token in tokens]

    def pages(self, log_probs: Tensor, lengths: Tensor, line_page: Tensor) -> list[str]:
        """The texts of the lines that `ParagraphReader.read_frames` returns, in their order."""
        frames = likely_classes(log_probs, lengths, self.blank)
        texts: list[str] = []
        for _, lines in groupby(zip(line_page.tolist(), frames, strict=True), itemgetter(0)):
            texts += self.page([line for _, line in lines])
        return texts

    def page(self, lines: Sequence[Sequence[Frame]]) -> list[str]:
        """The texts of the lines of one page, from the top; each line goes on from the last."""
        if self.model is None:
            return self._texts(lines, Search(weight=0.0, reward=0.0))
        texts = self._texts(lines, GENTLE)
        if cost(self.model, texts) < PROSE:
            texts = self._texts(lines, FIRM)
        return texts

    def _texts(self, lines: Sequence[Sequence[Frame]], search: Search) -> list[str]:
        texts: list[str] = []
        before = BOUNDARY
        for frames in lines:
            best = beam_search(frames, self._codes, search, self.model, before, self.blank)[0]
            text = "".join(self.tokens[one] for one in best.classes)
            texts.append(text)
            before = _before_next(text, before)
        return texts


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
