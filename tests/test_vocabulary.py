"""The vocabulary: which number stands for which character, and what can't be written."""

import pytest

from text_recognizer import vocabulary
from text_recognizer.vocabulary import CHARACTERS, TOKENS, decode, encode, to_printable_ascii


def test_ids_are_the_documented_ones():
    """Files that were trained and compiled earlier depend on these numbers."""
    assert vocabulary.BLANK == 0
    assert encode(" ") == [1]
    assert encode("~") == [95]
    assert encode("".join(map(chr, range(32, 127)))) == list(range(1, 96))
    assert (vocabulary.NEWLINE, encode("\n")) == (96, [96])
    assert vocabulary.PADDING == 97
    assert vocabulary.NUM_READER_CLASSES == 96
    assert len(TOKENS) == len(set(TOKENS)) == 98
    assert TOKENS[0] == "<blank>" and TOKENS[97] == "<pad>"


@pytest.mark.parametrize("text", ["é", "a\tb", "\x7f"])
def test_other_characters_are_refused_by_name(text):
    with pytest.raises(ValueError, match="is not in the vocabulary"):
        encode(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("café naïve Ångström señor", "cafe naive Angstrom senor"),
        ("l’été ‘a’ “b” «c» 5′", "l'ete 'a' \"b\" \"c\" 5'"),
        ("1914–1918 — a‐b −3", "1914-1918 - a-b -3"),
        ("œuvre Æsop Straße Łódź øre", "oeuvre AEsop Strasse Lodz ore"),
        ("ﬁn… x² ½", "fin... x2 1/2"),
        ("a\u00a0b", "a b"),
        ("one\ntwo", "one\ntwo"),
        ("日本 ok €", " ok "),
    ],
)
def test_folding_to_ascii(text, folded):
    assert to_printable_ascii(text) == folded


def test_folded_text_can_be_encoded():
    every = "".join(map(chr, range(0x20, 0x2FFF)))
    folded = to_printable_ascii(every)
    assert decode(encode(folded)) == folded
    assert to_printable_ascii(CHARACTERS) == CHARACTERS
