"""The link as a QR code, so that a phone opens it without typing: for a terminal and a notebook."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_QUIET = 2  # modules of margin in the terminal; the standard's 4 cost a third of the window
_QUIET_PICTURE = 4
# Black on white whatever the terminal's own colours are: some cameras do not read it inverted.
_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"
_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}  # (upper, lower), 1 is dark


def qr_text(url: str) -> str:
    """The code as lines of half blocks, two modules to a character, with ANSI colours."""
    rows = _modules(url, _QUIET)
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = (
        "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in lines)


def qr_picture(url: str, module: int = 8) -> "Image.Image":
    """The code as a gray picture, `module` px to a module."""
    from PIL import Image

    rows = _modules(url, _QUIET_PICTURE)
    picture = Image.new("L", (len(rows[0]), len(rows)))
    picture.putdata([255 * (1 - dark) for row in rows for dark in row])
    return picture.resize((picture.width * module, picture.height * module), Image.NEAREST)


def _modules(url: str, quiet: int) -> list[list[int]]:
    import segno

    code = segno.make(url, error="m", micro=False, boost_error=False)
    return [[int(bool(dark)) for dark in row] for row in code.matrix_iter(border=quiet)]
