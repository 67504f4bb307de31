"""The link as a QR code, so that a phone opens it without typing: for a terminal and a notebook."""

from io import BytesIO, StringIO

import segno
from PIL import Image

_LOOK = {"error": "m", "micro": False, "boost_error": False}
# White on black whatever the terminal's own colours are: some cameras do not read it inverted.
_WHITE_ON_BLACK, _RESET = "\x1b[97;40m", "\x1b[0m"


def qr_text(url: str) -> str:
    """The code as lines of half blocks, two modules to a character, with ANSI colours."""
    out = StringIO()
    # The standard's margin of 4 modules would cost a third of the window.
    segno.make(url, **_LOOK).terminal(out, border=2, compact=True)
    return "\n".join(f"{_WHITE_ON_BLACK}{line}{_RESET}" for line in out.getvalue().splitlines())


def qr_picture(url: str) -> Image.Image:
    """The code as a gray picture, 8 px to a module."""
    out = BytesIO()
    segno.make(url, **_LOOK).save(out, kind="png", scale=8)
    return Image.open(out).convert("L")
