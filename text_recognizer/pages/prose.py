"""What the font pages say: old prose in the public domain, and notes such as people write today.

Passages are from books and speeches of before 1900 whose authors died before 1926; the notes are
put together from parts.
"""

import functools
from pathlib import Path

import numpy as np

PASSAGES = Path(__file__).with_name("passages.txt")
NOTE_WORDS = Path(__file__).with_name("note_words.txt")


@functools.cache
def _words() -> dict[str, list[str]]:
    """What notes are put together from: names, places, streets, months, things, words."""
    lists = {}
    for part in NOTE_WORDS.read_text(encoding="utf-8").split("\n\n"):
        name, _, words = part.partition(":\n")
        lists[name] = words.split()
    return lists


def _choice(rng: np.random.Generator, options: list[str]) -> str:
    return options[rng.integers(len(options))]


def _one(rng: np.random.Generator, kind: str) -> str:
    return _choice(rng, _words()[kind])


def _date(rng: np.random.Generator) -> str:
    months = _words()["months"]
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1900, 2030)
    return _choice(
        rng,
        [
            f"{months[month - 1]} {day}, {year}",
            f"{day}/{month}/{year % 100:02d}",
            f"{year}-{month:02d}-{day:02d}",
            f"{day} {months[month - 1]}",
        ],
    )


def _note(rng: np.random.Generator) -> str:
    """One short thing as people write it in a letter, a list or a notebook."""
    name, other = _one(rng, "names"), _one(rng, "names")
    number = int(rng.integers(1, 10 ** rng.integers(1, 5)))
    price = f"${rng.integers(1, 400)}.{rng.integers(0, 100):02d}"
    word = _one(rng, "words")
    hour = f"{rng.integers(1, 13)}:{rng.integers(0, 60):02d} {_choice(rng, ['am', 'pm'])}"
    return _choice(
        rng,
        [
            f"Dear {name},",
            f"Call {name} at {hour} (555-{number:04d})",
            f"{_one(rng, 'things')}, {_one(rng, 'things')} & {_one(rng, 'things')}: {price}",
            f"{number} {_one(rng, 'streets')} St., {_one(rng, 'places')} {number:05d}",
            f'{name} said: "{_random_words(rng, 5)}!"',
            f"- {number} x {_one(rng, 'things')} @ {price}",
            f"{_date(rng)} - {_random_words(rng, 4)}",
            f"meet {name} and {other} on {_date(rng)}; bring {_one(rng, 'things')}",
            f"{number} + {number // 3} = {number + number // 3}",
            f"{rng.integers(1, 100)}% of {number} is {number / 7:.2f}?",
            f"{name.lower().strip('.')}{number}@{_one(rng, 'places').lower()}.org",
            f"#{number} [{word}] *{_one(rng, 'words')}* {word}_{number} `{word}`",
            f"{{{word}}} <{_one(rng, 'words')}> | ~{number} ^ {word}\\{number}",
            f"Yours truly, {name} {other}",
            f"P.S. {_random_words(rng, 6)}...",
            _random_words(rng, 8).upper(),
        ],
    )


def _random_words(rng: np.random.Generator, count: int) -> str:
    return " ".join(_one(rng, "words") for _ in range(count))


class Prose:
    """Text for pages, in lines. The same generator state gives the same text."""

    def __init__(self, share_of_notes: float = 0.3, share_of_words: float = 0.3) -> None:
        self.share_of_notes = share_of_notes
        self.share_of_words = share_of_words
        self.passages = [p for p in PASSAGES.read_text().split("\n") if p]

    def words(self, rng: np.random.Generator, count: int) -> list[str]:
        """At least `count` words of one kind: old prose, notes, or words in any order."""
        kind = rng.random()
        if kind < self.share_of_notes:
            words: list[str] = []
            while len(words) < count:
                words += _note(rng).split()
            return words
        if kind < self.share_of_notes + self.share_of_words:
            return _random_words(rng, count).split()
        words = _choice(rng, self.passages).split()
        start = int(rng.integers(max(len(words) - count, 1)))
        words = words[start:]
        while len(words) < count:
            words += _choice(rng, self.passages).split()
        return words

    def lines(self, rng: np.random.Generator, count: int) -> list[str]:
        """`count` lines of about one length (14 to 60 characters), the last one often short."""
        length = int(rng.integers(14, 60))
        words = self.words(rng, count * (length // 3 + 2))[::-1]
        lines = []
        for index in range(count):
            wanted = length * rng.uniform(0.85, 1.1)
            if index == count - 1 or rng.random() < 0.1:
                wanted *= rng.uniform(0.15, 1.0)
            line = words.pop()
            while len(line) + 1 + len(words[-1]) <= wanted:
                line += " " + words.pop()
            lines.append(line)
        return lines
