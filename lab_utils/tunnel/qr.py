"""The link as a QR code, so that a phone opens it without typing: for a terminal and a notebook."""

from io import BytesIO, StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import segno
    from PIL import Image

_MARGIN = 2  # modules in the terminal; the standard's 4 cost a third of the window
# White on black whatever the terminal's own colours are: some cameras do not read it inverted.
_WHITE_ON_BLACK, _RESET = "\x1b[97;40m", "\x1b[0m"


def qr_text(url: str) -> str:
    """The code as lines of half blocks, two modules to a character, with ANSI colours."""
    out = StringIO()
    _code(url).terminal(out, border=_MARGIN, compact=True)
    return "\n".join(f"{_WHITE_ON_BLACK}{line}{_RESET}" for line in out.getvalue().splitlines())


def qr_picture(url: str, module: int = 8) -> "Image.Image":
    """The code as a gray picture, `module` px to a module."""
    from PIL import Image

    out = BytesIO()
    _code(url).save(out, kind="png", scale=module)
    return Image.open(out).convert("L")


def _code(url: str) -> "segno.QRCode":
    import segno

    return segno.make(url, error="m", micro=False, boost_error=False)
