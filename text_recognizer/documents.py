"""The pages of a PDF or of a TIFF, one after another. Everything is measured before it is rendered:
a small file may hold hundreds of pages, or one picture that fills the memory."""

import io
import threading

from PIL import Image

from text_recognizer.errors import ImageError, ImageTooLargeError
from text_recognizer.limits import MAX_DOCUMENT_PAGES, MAX_IMAGE_PIXELS

PDF = b"%PDF-"
PDF_SIDE = 2400  # px of a rendered page's longer side
_LARGEST_OBJECTS = 10_000  # of a page
_PDFIUM = threading.Lock()
"""PDFium may not be called from two threads at once."""


def is_pdf(start: bytes) -> bool:
    """Whether a file that starts so is a PDF."""
    return PDF in start[:1024]


def is_document(start: bytes) -> bool:
    """Whether a file that starts so may have several pages: a PDF or a TIFF."""
    return is_pdf(start) or start[:4] in (b"II*\0", b"MM\0*")


def document_page(data: bytes, name: str, number: int) -> tuple[Image.Image, int]:
    """A page of a PDF or TIFF, and how many there are. PDFs are rendered, their longer side
    PDF_SIDE px; a TIFF's page is not decoded yet.

    Args:
        data: the document's file.
        name: what errors call the document.
        number: the page's, from 0.

    Raises:
        ImageError: pypdfium2 is missing; the file is damaged or has a password.
        ImageTooLargeError: it has too many pages, or a page holds a picture of too many pixels.
    """
    if is_pdf(data):
        return _pdf_page(data, name, number)
    image = Image.open(io.BytesIO(data), formats=("TIFF",))
    count = getattr(image, "n_frames", 1)
    _check_count(count, name)
    image.seek(number)
    return image, count


def _pdf_page(data: bytes, name: str, number: int) -> tuple[Image.Image, int]:
    try:
        import pypdfium2
    except ImportError:
        raise ImageError(
            f"{name} is a PDF, which needs pypdfium2: run "
            "`pip install -e '.[pdf]' -c constraints.txt`, or save the page as PNG."
        ) from None
    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError:
            raise ImageError(
                f"{name} is damaged or protected by a password; save it without one."
            ) from None
        try:
            count = len(document)
            _check_count(count, name)
            return _rendered(pypdfium2, document[number], f"Page {number + 1} of {name}"), count
        finally:
            document.close()


def _rendered(pypdfium2, page, name: str) -> Image.Image:
    _check_pictures(pypdfium2, page, name)
    longest = max(page.get_size())
    if not 1 <= longest < 20_000:  # points: a page of seven metres
        raise ImageError(f"{name} has no usual size; save it as PNG.")
    return page.render(scale=PDF_SIDE / longest, grayscale=True).to_pil()


def _check_pictures(pypdfium2, page, name: str) -> None:
    for count, item in enumerate(page.get_objects(max_depth=4)):
        if count > _LARGEST_OBJECTS:
            raise ImageTooLargeError(f"{name} holds too much to be rendered; save it as PNG.")
        if isinstance(item, pypdfium2.PdfImage):
            width, height = item.get_px_size()
            if width * height > MAX_IMAGE_PIXELS:
                raise ImageTooLargeError(
                    f"{name} holds a picture of {width} x {height} pixels, and at most "
                    f"{MAX_IMAGE_PIXELS // 10**6} million are read; make it smaller."
                )


def _check_count(count: int, name: str) -> None:
    if count > MAX_DOCUMENT_PAGES:
        raise ImageTooLargeError(
            f"{name} has {count} pages, and at most {MAX_DOCUMENT_PAGES} are read; split it."
        )
    if count == 0:
        raise ImageError(f"{name} has no pages.")
