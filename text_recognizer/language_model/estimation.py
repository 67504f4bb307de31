"""Makes a character model of texts: counts, Witten-Bell smoothing, pruning, backoff weights.

With characters instead of words, Witten-Bell keeps up with Kneser-Ney, and unlike it suffers
little from pruning (Siivola et al., IEEE TASLP 15(5), 2007).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from text_recognizer.language_model.character_model import (
    BOUNDARY,
    NO_BACKOFF,
    STEP,
    CharacterModel,
    Level,
)
from text_recognizer.vocabulary import CHARACTERS

ALPHABET = BOUNDARY + CHARACTERS
BITS = 7  # of a character's place in the alphabet, plus one; so a key of nine fits 63 bits
LONGEST = 63 // BITS


@dataclass
class _Grams:
    """The n-grams of one length in the order of their keys."""

    keys: np.ndarray
    counts: np.ndarray
    log_probs: np.ndarray


def estimate(
    texts: Iterable[str],
    order: int = 7,
    least_counts: Sequence[int] = (1, 1, 1, 1, 2, 2, 2, 2, 2),
    size: int | None = None,
    about: dict | None = None,
) -> CharacterModel:
    """A model of n-grams up to `order` characters.

    Args:
        texts: Each gets a boundary at both ends and contains none; characters are ALPHABET's.
        least_counts: By length, how often an n-gram is seen at least to be counted at all.
        size: About how many n-grams are kept: those that the model would miss most, by their
            count times what they add to the log-probability (Seymore and Rosenfeld 1996).
    """
    symbols = _symbols(texts)
    levels = [_unigrams(symbols)]
    keys = symbols.copy()
    for length in range(2, order + 1):
        # Keys of the n-grams that start at each place; the text's last ones are cut.
        keys = (keys[:-1] << BITS) | symbols[length - 1 :]
        levels.append(_smoothed(keys, levels[-1], least_counts[length - 1]))
    kept = _pruned(levels, size)
    return _with_backoffs(levels, kept, about)


def _symbols(texts: Iterable[str]) -> np.ndarray:
    table = np.zeros(256, np.int64)
    for place, character in enumerate(ALPHABET):
        table[ord(character)] = place + 1
    joined = BOUNDARY + BOUNDARY.join(texts) + BOUNDARY
    symbols = table[np.frombuffer(joined.encode("latin-1", "replace"), np.uint8)]
    if not symbols.all() or not joined.isascii():
        raise ValueError("the texts hold characters that are not in the alphabet")
    return symbols


def _unigrams(symbols: np.ndarray) -> _Grams:
    keys = np.arange(1, len(ALPHABET) + 1)
    counts = np.bincount(symbols, minlength=len(ALPHABET) + 1)[1:]
    # One more of each: every character can come.
    return _Grams(keys, counts, np.log((counts + 1) / (counts.sum() + len(ALPHABET))))


def _smoothed(keys: np.ndarray, shorter: _Grams, least: int) -> _Grams:
    """Witten-Bell: (N(hc) + T(h) p(c|h')) / (N(h) + T(h)), T(h) the different ones seen after h."""
    keys, counts = np.unique(keys, return_counts=True)
    context = keys >> BITS
    starts = np.flatnonzero(np.diff(context, prepend=-1))
    sizes = np.diff(np.append(starts, len(keys)))
    totals = np.repeat(np.add.reduceat(counts, starts), sizes)
    types = np.repeat(sizes, sizes)
    seen = counts >= least
    keys, counts, totals, types = keys[seen], counts[seen], totals[seen], types[seen]
    suffix = keys & ((1 << BITS * _length(shorter)) - 1)
    backed_off = np.exp(shorter.log_probs[_places(shorter.keys, suffix)])
    return _Grams(keys, counts, np.log((counts + types * backed_off) / (totals + types)))


def _length(grams: _Grams) -> int:
    return (int(grams.keys[-1]).bit_length() + BITS - 1) // BITS


def _places(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where the wanted keys stand; -1 for those that are not there."""
    places = np.searchsorted(keys, wanted)
    places[places == len(keys)] = 0
    return np.where(keys[places] == wanted, places, -1)


def _pruned(levels: list[_Grams], size: int | None) -> list[np.ndarray]:
    """Which n-grams of each level are kept; with an n-gram, all that it begins with."""
    gains = [np.full(len(levels[0].keys), np.inf)]
    for shorter, grams in zip(levels, levels[1:], strict=False):
        suffix = grams.keys & ((1 << BITS * _length(shorter)) - 1)
        gains.append(
            grams.counts * (grams.log_probs - shorter.log_probs[_places(shorter.keys, suffix)])
        )
    least = -np.inf
    if size is not None and size < sum(map(len, gains)):
        # Beginnings are kept besides, so look for the threshold.
        low, high = 0.0, float(max(gain[np.isfinite(gain)].max(initial=0) for gain in gains))
        for _ in range(20):
            least = (low * high) ** 0.5 if low > 0 else high / 1e6
            count = sum(int(k.sum()) for k in _kept(levels, gains, least))
            low, high = (least, high) if count > size else (low, least)
        least = high
    return _kept(levels, gains, least)


def _kept(levels: list[_Grams], gains: list[np.ndarray], least: float) -> list[np.ndarray]:
    kept = [np.abs(gain) >= least for gain in gains]
    for index in range(len(levels) - 1, 0, -1):
        contexts = levels[index].keys[kept[index]] >> BITS
        contexts = contexts[np.diff(contexts, prepend=-1) > 0]
        kept[index - 1][_places(levels[index - 1].keys, contexts)] = True
    return kept


def _with_backoffs(
    levels: list[_Grams], kept: list[np.ndarray], about: dict | None
) -> CharacterModel:
    """The kept n-grams as a model, rounded, with the weights that make each context sum to one."""
    keys = [grams.keys[mask] for grams, mask in zip(levels, kept, strict=True)]
    costs = [
        np.clip(np.round(grams.log_probs[mask] / -STEP), 0, 255).astype(np.uint8)
        for grams, mask in zip(levels, kept, strict=True)
    ]
    backoffs = [np.full(len(level), NO_BACKOFF, np.uint8) for level in keys]

    def log_probs(length: int, wanted: np.ndarray) -> np.ndarray:
        """What the model says of n-grams of a length."""
        places = _places(keys[length - 1], wanted)
        found = -STEP * costs[length - 1][places].astype(np.float64)
        missing = places < 0
        if missing.any():
            contexts = _places(keys[length - 2], wanted[missing] >> BITS)
            weight = STEP * (NO_BACKOFF - backoffs[length - 2][contexts].astype(np.float64))
            weight[contexts < 0] = 0.0
            shorter = wanted[missing] & ((1 << BITS * (length - 1)) - 1)
            found[missing] = weight + log_probs(length - 1, shorter)
        return found

    columns = []
    for index in range(len(keys)):
        children = np.zeros(len(keys[index]), np.uint8)
        if index + 1 < len(keys) and len(keys[index + 1]):
            longer = keys[index + 1]
            contexts, starts, sizes = np.unique(
                longer >> BITS, return_index=True, return_counts=True
            )
            places = _places(keys[index], contexts)
            children[places] = sizes
            own = np.exp(-STEP * costs[index + 1].astype(np.float64))
            suffix = longer & ((1 << BITS * (index + 1)) - 1)
            lower = np.exp(log_probs(index + 1, suffix))
            left = 1 - np.add.reduceat(own, starts)
            left_lower = 1 - np.add.reduceat(lower, starts)
            weight = np.log(np.clip(left, 1e-5, 1) / np.clip(left_lower, 1e-5, 1))
            backoffs[index][places] = np.clip(np.round(NO_BACKOFF - weight / STEP), 0, 255)
        codes = np.frombuffer(ALPHABET.encode(), np.uint8)
        last = codes[(keys[index] & ((1 << BITS) - 1)) - 1]
        columns.append((last, costs[index], backoffs[index], children))
    packed = [Level(*(column.tobytes() for column in level)) for level in columns]
    return CharacterModel(packed, about)
