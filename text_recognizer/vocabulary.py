"""What the recognizer can write, and the number that stands for each piece.

Every other module takes its token ids from here, and the TorchScript file carries `TOKENS` along.
CTC needs no start or end token, so there is none.
"""

import unicodedata

BLANK = 0  # CTC's "no character here"
CHARACTERS = "".join(chr(code) for code in range(32, 127))  # the 95 printable ASCII characters
NEWLINE = len(CHARACTERS) + 1
PADDING = NEWLINE + 1

TOKENS = ["<blank>", *CHARACTERS, "\n", "<pad>"]
IGNORED = [BLANK, PADDING]  # tokens that leave no trace in the text
NUM_READER_CLASSES = len(CHARACTERS) + 1  # a line holds no newline and no padding: blank + 95

_IDS = {token: index for index, token in enumerate(TOKENS)}

# What Unicode's compatibility decomposition leaves alone and a keyboard writes otherwise.
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u2032\u00b4\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00e6": "ae",
        "\u00c6": "AE",
        "\u00df": "ss",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u0141": "L",
        "\u00d7": "x",
        "\u2022": "*",
    }
)


def encode(text: str) -> list[int]:
    """Token ids of a text of printable ASCII and newlines.

    Raises ValueError on any other character; `to_printable_ascii` folds what can be folded.
    """
    try:
        return [_IDS[character] for character in text]
    except KeyError as error:
        raise ValueError(
            f"{error.args[0]!r} is not in the vocabulary; fold the text with to_printable_ascii()"
        ) from None


def decode(ids: list[int]) -> str:
    """The text that token ids stand for, without blanks and padding (no CTC collapse)."""
    return "".join(TOKENS[index] for index in ids if index not in IGNORED)


def to_printable_ascii(text: str) -> str:
    """The text with accents removed and typographic signs folded; what is left over is dropped."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_FOLDED))
    decomposed = decomposed.replace("\u2044", "/")  # the slash that it writes fractions with
    return "".join(c for c in decomposed if c == "\n" or c in CHARACTERS)
