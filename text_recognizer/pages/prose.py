"""What the font pages say: old prose in the public domain, and notes such as people write today.

Passages are from books and speeches of before 1900 whose authors died before 1926; the notes are
put together from parts.
"""

from pathlib import Path

import numpy as np

PASSAGES = Path(__file__).with_name("passages.txt")

_NAMES = """
Anna Ben Carla David Emma Frank Grace Henry Ida Jack Kate Liam Maria Nora Oscar Paula Quinn Ruth
Sam Tom Uma Victor Wendy Xavier Yusuf Zoe Mr. Mrs. Dr. Smith Jones Miller Garcia O'Brien Johnson
Wright Ford King
""".split()
_PLACES = """
London Boston Chicago Madrid Oxford Denver Paris Quebec Zurich Vienna Kyoto Jersey Fairview
Hillside Newport
""".split()
_STREETS = """
Park Oak Main Elm Church Queen's High Mill Station Victoria Garden Lake
""".split()
_MONTHS = """
Jan. Feb. March April May June July Aug. Sept. Oct. Nov. Dec.
""".split()
_THINGS = """
milk bread eggs butter coffee apples rice paper stamps batteries flour cheese tea soap tomatoes
onions oil salt sugar lemons pasta yoghurt a pen the keys two tickets light bulbs
""".split()
_WORDS = """
the of and to in is that it was for on are as with they be at one have this from or had by hot
but some what there we can out other were all your when up use word how said an each she which
do their time if will way about many then them would write like so these her long make thing see
him two has look more day could go come did my sound no most number who over know water than
call first people may down side been now find any new work part take get place made live where
after back little only round man year came show every good me give our under name very through
just form much great think say help low line before turn cause same mean differ move right boy
old too does tell sentence set three want air well also play small end put home read hand port
large spell add even land here must big high such follow act why ask men change went light kind
off need house picture try us again animal point mother world near build self earth father head
stand own page should country found answer school grow study still learn plant cover food sun
four thought let keep eye never last door between city tree cross since hard start might story
saw far sea draw left late run don't while press close night real life few stop open seem
together next white children begin got walk example ease paper often always music those both
mark book letter until mile river car feet care second group carry took rain eat room friend
began idea fish mountain north once base hear horse cut sure watch color face wood main enough
plain girl usual young ready above ever red list though feel talk bird soon body dog family
direct pose leave song measure state product black short numeral class wind question happen
complete ship area half rock order fire south problem piece told knew pass farm top whole king
size heard best hour better true during hundred am remember step early hold west ground interest
reach fast five sing listen six table travel less morning ten simple several vowel toward war
lay against pattern slow center love person money serve appear road map science rule govern pull
cold notice voice fall power town fine certain fly unit lead cry dark machine note wait plan
figure star box noun field rest correct able pound done beauty drive stood contain front teach
week final gave green oh quick develop sleep warm free minute strong special mind behind clear
tail produce fact street inch lot nothing course stay wheel full force blue object decide
surface deep moon island foot yet busy test record boat common gold possible plane age dry
wonder laugh thousand ago ran check game shape yes hot miss brought heat snow bed bring sit
perhaps fill east weight language among
""".split()


def _choice(rng: np.random.Generator, options: list[str]) -> str:
    return options[rng.integers(len(options))]


def _date(rng: np.random.Generator) -> str:
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1900, 2030)
    return _choice(
        rng,
        [
            f"{_MONTHS[month - 1]} {day}, {year}",
            f"{day}/{month}/{year % 100:02d}",
            f"{year}-{month:02d}-{day:02d}",
            f"{day} {_MONTHS[month - 1]}",
        ],
    )


def _note(rng: np.random.Generator) -> str:
    """One short thing as it stands in a letter, a list or a notebook."""
    name, other = _choice(rng, _NAMES), _choice(rng, _NAMES)
    number = int(rng.integers(1, 10 ** rng.integers(1, 5)))
    price = f"${rng.integers(1, 400)}.{rng.integers(0, 100):02d}"
    word = _choice(rng, _WORDS)
    hour = f"{rng.integers(1, 13)}:{rng.integers(0, 60):02d} {_choice(rng, ['am', 'pm'])}"
    return _choice(
        rng,
        [
            f"Dear {name},",
            f"Call {name} at {hour} (555-{number:04d})",
            f"{_choice(rng, _THINGS)}, {_choice(rng, _THINGS)} & {_choice(rng, _THINGS)}: {price}",
            f"{number} {_choice(rng, _STREETS)} St., {_choice(rng, _PLACES)} {number:05d}",
            f'{name} said: "{_random_words(rng, 5)}!"',
            f"- {number} x {_choice(rng, _THINGS)} @ {price}",
            f"{_date(rng)} - {_random_words(rng, 4)}",
            f"meet {name} and {other} on {_date(rng)}; bring {_choice(rng, _THINGS)}",
            f"{number} + {number // 3} = {number + number // 3}",
            f"{rng.integers(1, 100)}% of {number} is {number / 7:.2f}?",
            f"{name.lower().strip('.')}{number}@{_choice(rng, _PLACES).lower()}.org",
            f"#{number} [{word}] *{_choice(rng, _WORDS)}* {word}_{number} `{word}`",
            f"{{{word}}} <{_choice(rng, _WORDS)}> | ~{number} ^ {word}\\{number}",
            f"Yours truly, {name} {other}",
            f"P.S. {_random_words(rng, 6)}...",
            _random_words(rng, 8).upper(),
        ],
    )


def _random_words(rng: np.random.Generator, count: int) -> str:
    return " ".join(_choice(rng, _WORDS) for _ in range(count))


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
