"""The character model and the beam search against what they stand for: sums and brute force."""

import itertools
import math
import shutil

import numpy as np
import pytest
import torch

from text_recognizer.errors import ModelFileError
from text_recognizer.language_model import english_model_path
from text_recognizer.language_model.beam_search import BeamSearch, Search
from text_recognizer.language_model.character_model import BOUNDARY, load_model, save_model
from text_recognizer.language_model.decoding import Decoder, text_log_probs
from text_recognizer.language_model.estimation import ALPHABET, estimate
from text_recognizer.language_model.words import load_words, save_words, words_path
from text_recognizer.model_file import DIGESTS
from text_recognizer.vocabulary import NEWLINE, TOKENS, encode

CLASSES = TOKENS[:NEWLINE]
TEXTS = ["the cat sat on the mat", "a cat ate the hat", "at the end that cat sat"] * 3


@pytest.fixture(scope="module")
def english():
    return load_model(english_model_path())


@pytest.fixture(scope="module")
def small():
    return estimate(TEXTS, order=4)


def chance_of(model, state, code: int) -> float:
    return math.exp(model.step(state, code)[0])


# The model


@pytest.mark.parametrize("size", [None, 150, "english"])
def test_chances_sum_to_one_after_any_text(english, size):
    model = english if size == "english" else estimate(TEXTS, order=4, size=size)
    generator = np.random.default_rng(3)
    texts = ["", BOUNDARY, "the c", "cat s", "qqq", "~~ cat", "\nDear Mr", "in the middle of t"]
    texts += ["".join(generator.choice(list(ALPHABET), 9)) for _ in range(20)]
    for before in texts:
        state = model.start(before)
        total = sum(chance_of(model, state, ord(character)) for character in ALPHABET)
        assert total == pytest.approx(1, abs=0.06), before  # stored in steps of 5 %


def test_a_long_context_says_what_the_counts_say():
    model = estimate(["abab"] * 50, order=3)
    state = model.start("ab")
    # Of 100 times that "ab" was seen, "a" followed 50 times and the end 50 times, two kinds of
    # followers: Witten-Bell takes 2 / 102 from both.
    assert chance_of(model, state, ord("a")) == pytest.approx(50 / 102, rel=0.05)
    assert chance_of(model, state, ord("\n")) == pytest.approx(50 / 102, rel=0.05)
    assert chance_of(model, state, ord("z")) < 0.001


def test_the_same_texts_give_the_same_file(tmp_path, small):
    one = save_model(small, tmp_path / "one").read_bytes()
    assert save_model(estimate(TEXTS, order=4), tmp_path / "other").read_bytes() == one
    again = load_model(tmp_path / "one")
    assert again.levels == small.levels
    assert again.log_prob("a mat at the end") == small.log_prob("a mat at the end")


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-20] + bytes([content[-20] ^ 4]) + content[-19:],
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, small, harm):
    path = save_model(small, tmp_path / "model.ngrams")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ModelFileError, match=r"model.ngrams is not a language model or is dam"):
        load_model(path)


# The search

BLANK, A, T, SPACE = 0, 1, 2, 3
CODES = [0, ord("a"), ord("t"), ord(" ")]
WORDS = {"at": -2.0, "tat": -5.0}


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one for one, _ in itertools.groupby(path) if one != BLANK)


def brought_by_words(text: str, search: Search) -> float:
    total = 0.0
    for word in text.split():
        if word in WORDS:
            total += search.weight_of_words * (WORDS[word] + search.reward_of_words * len(word))
        elif len(word) > 1:
            total += search.unknown
    return total


def by_brute_force(
    frames: np.ndarray, search: Search, model, with_words: bool
) -> dict[tuple[int, ...], float]:
    """The score of every text that any path of classes through the frames collapses to."""
    chances: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        chance = math.prod(frame[one] for frame, one in zip(frames, path, strict=True))
        chances[collapsed(path)] = chances.get(collapsed(path), 0.0) + chance
    scores = {}
    for text, chance in chances.items():
        score = math.log(chance) + search.reward * len(text)
        if model is not None and text:
            floor = search.floor / len(model.alphabet)
            state = model.start()
            for one in text:
                log_prob, state = model.step(state, CODES[one])
                kept = (1 - search.floor) * math.exp(log_prob) + floor
                score += search.weight * math.log(kept)
            ends = sum(chance_of(model, state, ord(end)) for end in " \n")
            score += search.weight * math.log((1 - search.floor) * ends + 2 * floor)
            if with_words:
                score += brought_by_words("".join(chr(CODES[one]) for one in text), search)
        scores[text] = score
    return scores


@pytest.mark.parametrize("asked", ["nothing", "model", "model and words"])
@pytest.mark.parametrize("seed", range(2))
def test_a_wide_search_is_brute_force(small, asked, seed):
    generator = np.random.default_rng(seed)
    frames = generator.dirichlet([0.5] * 4, size=6)
    model = small if asked != "nothing" else None
    words = WORDS if asked == "model and words" else None
    search = Search(width=10_000, margin=1e9, weight=0.7, reward=0.4, floor=0.1)
    given = [[(one, float(frame[one])) for one in range(4)] for frame in frames]
    found = BeamSearch(CODES, search, model, words=words).find(given)
    wanted = by_brute_force(frames, search, model, words is not None)
    assert {tuple(one.classes) for one in found} == set(wanted)
    for one in found:
        assert one.score == pytest.approx(wanted[tuple(one.classes)], abs=1e-9)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


# Reading


def frames_of(text: str, doubts: dict[int, str] | None = None, sure: float = 0.98) -> torch.Tensor:
    """Log-probabilities (1, F, C) of a text: two frames a character and a blank between. At the
    places in `doubts`, another character is a little likelier than the right one."""
    rows = []
    for place, one in enumerate(encode(text)):
        row = torch.full((NEWLINE,), (1 - sure) / (NEWLINE - 1))
        row[one] = sure
        if doubts and place in doubts:
            row[one], row[encode(doubts[place])[0]] = 0.42 * sure, 0.58 * sure
        gap = torch.full((NEWLINE,), 1e-6)
        gap[0] = 1 - 1e-4
        rows += [row, row, gap]
    return torch.stack(rows).log()[None]


def decoded(decoder: Decoder, *pages: torch.Tensor) -> list[str]:
    return [text for page in pages for text in decoder.page([[line] for line in page])]


def test_doubtful_letters_become_english(english):
    doubts = {1: "b", 9: "o", 16: "c", 23: "v"}
    page = frames_of("the weather has been very fine", doubts)
    assert decoded(Decoder(None, CLASSES), page) == ["tbe weathor has ceen vevy fine"]
    assert decoded(Decoder(english, CLASSES), page) == ["the weather has been very fine"]


@pytest.mark.parametrize(
    "text",
    [
        "Ma chere mere, je vous ecris de la campagne ou il pleut",
        "Xk7#pQ2 zzgrt 0x3F --; WQRT 4711 / 0815 = 5,78 @ 19:45",
    ],
)
def test_what_is_no_english_is_left_as_it_was_written(english, text):
    assert decoded(Decoder(english, CLASSES), frames_of(text)) == [text]


@pytest.mark.parametrize(
    "wanted, doubts",
    [
        ("quit arc spline", {3: "c", 12: "b"}),  # words in no order
        ("Oak ZINC", {1: "p", 7: "y"}),
        ("un jour gris", {3: "d", 9: "n"}),
    ],
)
def test_doubtful_letters_become_words(english, wanted, doubts):
    page = frames_of(wanted, doubts)
    assert decoded(Decoder(english, CLASSES), page) != [wanted]
    words = load_words(words_path())
    assert decoded(Decoder(english, CLASSES, words=words), page) == [wanted]


def test_a_word_that_goes_on_in_the_next_line_is_one(small):
    """Both halves of "tat" are no words of the list, and cost as much as nothing."""
    search = Search(weight=0.0, reward=0.0)
    codes = [0, *map(ord, "abt-")]
    frames = [[(3, 1.0)], [(1, 0.5), (2, 0.5)], [(4, 1.0)]]
    halves = BeamSearch(codes, search, small, words=WORDS).find(frames)
    assert {round(one.score - one.log_prob, 9) for one in halves} == {0.0}
    rest = BeamSearch(codes, search, small, before="ta", words=WORDS).find([[(2, 0.6), (3, 0.4)]])
    assert rest[0].classes == [3]


def test_a_list_of_words_is_kept_whole_or_refused(tmp_path):
    path = save_words({"the": 0.05, "zinc": 2e-6, "a": 0.04}, tmp_path / "words.txt")
    words = load_words(path)
    assert words.keys() == {"the", "zinc", "a"}
    assert words["zinc"] == pytest.approx(math.log(2e-6), abs=0.13)
    for harm in ("the 3\n", "\xe9", None):
        path.unlink() if harm is None else path.write_text(harm)
        with pytest.raises(ModelFileError, match="words.txt is missing or damaged"):
            load_words(path)


def test_a_page_of_nothing(english):
    decoder = Decoder(english, CLASSES)
    assert decoder.page([]) == []
    blank = torch.full((1, 30, NEWLINE), -20.0)
    blank[:, :, 0] = 0.0
    assert decoded(decoder, blank) == [""]
    assert decoder.page([[blank[0], blank[0]]]) == [""]


def test_two_readings_mend_each_other(english):
    """What English cannot know, the other reading may, and the likelier one counts."""
    decoder = Decoder(english, CLASSES)
    text = "Xk7#pQ2 4711"
    first, second = frames_of(text, {2: "1"}), frames_of(text, {8: "9"})
    assert decoded(decoder, first, second) == ["Xk1#pQ2 4711", "Xk7#pQ2 9711"]
    assert decoder.page([[first[0], second[0]]]) == [text]


def test_the_chance_of_a_text_is_that_of_all_its_paths():
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]])
    of_text: dict[tuple, float] = {}
    for path in itertools.product(range(3), repeat=3):
        text = tuple(one for one, _ in itertools.groupby(path) if one)
        chance = math.prod(float(row[one]) for row, one in zip(chances, path, strict=True))
        of_text[text] = of_text.get(text, 0.0) + chance
    found = text_log_probs(chances.log(), list(of_text))
    assert found.exp().tolist() == pytest.approx(list(of_text.values()), rel=1e-4)
    assert text_log_probs(chances.log(), [(1, 1, 1)]).tolist() == [-math.inf], "needs five frames"


@pytest.mark.parametrize(
    "load, packaged", [(load_model, english_model_path()), (load_words, words_path())]
)
def test_another_file_in_a_packaged_ones_place_is_refused(tmp_path, load, packaged):
    path = shutil.copy(packaged, tmp_path)
    shutil.copy(packaged.with_name(DIGESTS), tmp_path)
    load(path)
    noted = tmp_path / DIGESTS
    noted.write_text(noted.read_text().replace(packaged.name, "other"))
    with pytest.raises(ModelFileError, match="data/weights folder again"):
        load(path)
