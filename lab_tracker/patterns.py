"""Patterns that clients send, matched at a cost that is known before: no pattern can make a regular
expression backtrack for minutes."""

import re
from fnmatch import fnmatchcase

from lab_tracker.errors import RequestError
from lab_tracker.limits import spend

_MAX_PATTERN = 200  # characters
_COST_PER_UNIT = 100  # steps of a regular expression in one unit of the budget


def fits_like(pattern: str, text: str) -> bool:
    """SQL's LIKE: `%` is any text, `_` any character. fnmatch does not go back over a `*`."""
    if len(pattern) > _MAX_PATTERN:
        raise RequestError(f"A pattern may have at most {_MAX_PATTERN} characters.")
    special = {"[": "[[]", "*": "[*]", "?": "[?]", "%": "*", "_": "?"}
    return fnmatchcase(text, "".join(special.get(letter, letter) for letter in pattern))


def fits_regex(pattern: object, text: str) -> bool:
    """Whether the pattern is found in the text.

    Only single characters and classes can be repeated, so matching takes at most n^(k + 1) steps
    for n characters and k choices (repeats and alternatives), which are spent first. Raises
    RequestError for other patterns.
    """
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN:
        raise RequestError(f"$regex takes a text of at most {_MAX_PATTERN} characters.")
    if re.search(r"\)[*+?{]|\\[1-9]|\(\?(?![i:])", pattern):
        raise RequestError("$regex can repeat single characters only, not groups.")
    choices = sum(pattern.count(letter) for letter in "*+?{|")
    spend(max(2, len(text)) ** (choices + 1) // _COST_PER_UNIT)
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        raise RequestError(f"{pattern!r} is not a regular expression.") from None
