"""Images: every source and pixel format gives the same page, and bad ones a clear error."""

import base64
import io
import os
import random
import warnings
from urllib.parse import quote

import pytest
from hostile_images import encoded
from PIL import Image, ImageChops, ImageDraw, ImageStat

from text_recognizer.errors import AddressError, ImageError, ImageTooLargeError
from text_recognizer.images import load_image
from text_recognizer.limits import MAX_FILE_BYTES, MAX_PAGE_SIDE


def drawing(size=(300, 200), mode="L"):
    """Dark strokes on light paper, with a dark corner at the top left that shows the turn."""
    page = Image.new("L", size, 230)
    draw = ImageDraw.Draw(page)
    for i in range(5):
        y = size[1] * (i + 1) // 6
        draw.line((20, y, size[0] - 20, y + 10), fill=30, width=4)
    draw.rectangle((0, 0, size[0] // 6, size[1] // 6), fill=0)
    return page.convert(mode)


def difference(one, other):
    """Mean absolute difference of two pages in gray levels."""
    assert one.size == other.size
    return ImageStat.Stat(ImageChops.difference(one, other)).mean[0]


def test_every_source_gives_the_same_page(tmp_path, monkeypatch, serve):
    data = encoded(drawing())
    (tmp_path / "page.png").write_bytes(data)
    text = base64.b64encode(data).decode()
    monkeypatch.chdir(tmp_path)
    sources = [
        drawing(),
        tmp_path / "page.png",
        str(tmp_path / "page.png"),
        "page.png",
        data,
        memoryview(data),
        text.rstrip("="),
        base64.encodebytes(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        f"data:image/png;base64,{text}",
        f"DATA:image/png;name=a.png;BASE64,{quote(text)}",
    ]
    pages = [load_image(source) for source in sources]
    pages.append(load_image(serve(data).url, allow_private_addresses=True))
    for page in pages:
        assert page.page.mode == "L"
        assert (page.width, page.height) == page.page.size == (300, 200)
        assert page.page.tobytes() == drawing().tobytes()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 200\n%%EndComments\nshowpage\n"
FLI = b"\x80\0\0\0\x11\xaf\1\0\x2c\1\xc8\0\10\0"
BASE64 = base64.b64encode(encoded(drawing())).decode()


@pytest.mark.parametrize(
    ("thing", "error", "message"),
    [
        *((text, ImageError, "not found") for text in ("folder/page.png", "A" * 5000, "a\0b")),
        ("", ImageError, "No image was given"),
        # Formats that Pillow could open, the first with a program of the system.
        *((start + b"\0" * 90, ImageError, "not an image in") for start in (EPS, b"8BPS\0\1", FLI)),
        ("file:///etc/passwd", AddressError, "Only http"),
        *((one, ImageError, f"not as {type(one).__name__}") for one in (None, {"a": "b"})),
        (encoded(Image.new("L", (100, 7))), ImageError, "too few for"),
        (Image.new("F", (20, 20), float("nan")), ImageError, "no numbers"),
        (BASE64[:60] + "!?" + BASE64[62:], ImageError, "base64 text is damaged"),
        ("data:image/png;base64", ImageError, "no data"),
        (BASE64[:100] + "A" * 27_000_000, ImageTooLargeError, "more than 20 MB"),
        (Image.new("1", (9000, 9000)), ImageTooLargeError, "9000 x 9000"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_is_refused(thing, error, message):
    with pytest.raises(error, match=message) as refusal:
        load_image(thing)
    assert len(str(refusal.value)) < 300 and str(refusal.value).isprintable()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "CMYK"])
def test_formats_and_modes(format, mode):
    if (mode == "P" and format in ("JPEG", "PPM")) or (
        mode == "CMYK" and format not in ("JPEG", "TIFF")
    ):
        mode = "RGB"  # These have no palette, or no CMYK.
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of one page, there is nothing to say
        page, expected = load_image(encoded(drawing(mode=mode), format)).page, drawing()
    if mode == "1":
        # Black and white has its grays as patterns of dots.
        page, expected = page.resize((30, 20)), expected.resize((30, 20))
    assert difference(page, expected) < 4


def deep(image, mode, factor, offset=0):
    """The drawing with other values: a float image of `gray * factor + offset` in `mode`."""
    return image.convert("F").point(lambda v: v * factor + offset).convert(mode)


def test_16_bits():
    image = deep(drawing(), "I", 257).convert("I;16")
    other_order = Image.frombytes("I;16B", image.size, image.tobytes("raw", "I;16B"))
    for source in (encoded(image, "PNG"), encoded(image, "TIFF"), image, other_order):
        assert difference(load_image(source).page, drawing()) < 0.01


@pytest.mark.parametrize("mode, factor", [("I", 1), ("I", 4095 / 255), ("F", 1 / 255), ("F", 257)])
def test_gray_of_any_depth_keeps_its_scale_and_an_unusual_range_is_stretched(mode, factor):
    assert difference(load_image(deep(drawing(), mode, factor)).page, drawing()) < 0.6
    page = load_image(deep(drawing(), mode, 1000 * factor, -90000 * factor)).page
    assert page.getextrema() == (0, 255)


def ink_on_nothing(ink):
    """RGBA strokes on nothing; the transparent pixels' own colour is the ink's."""
    alpha = drawing().point(lambda v: 255 if v < 128 else 0)
    return Image.merge("RGBA", [Image.new("L", alpha.size, ink)] * 3 + [alpha])


@pytest.mark.parametrize("ink, paper", [(40, 255), (220, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_paper_is_opposite_to_the_ink(ink, paper, mode):
    image = ink_on_nothing(ink)
    if mode == "P":
        image = image.quantize(8)
    page = load_image(encoded(image.convert(mode) if mode != "P" else image)).page
    assert page.getpixel((0, 0)) == pytest.approx(ink, abs=3)
    assert page.getpixel((299, 0)) == paper


@pytest.mark.parametrize(
    ("format", "orientation"),
    [*(("JPEG", turn) for turn in range(2, 9)), ("PNG", 6), ("TIFF", 6), ("WEBP", 6), ("PIL", 6)],
)
def test_exif_orientation_is_undone(orientation, format):
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = drawing((2400, 1800), "RGB")
    stored = upright.transpose(back[orientation])
    data = encoded(stored, "JPEG" if format == "PIL" else format, turn=orientation)
    loaded = load_image(Image.open(io.BytesIO(data)) if format == "PIL" else data)
    assert (loaded.width, loaded.height) == (2400, 1800)
    assert loaded.page.size == (1600, 1200)
    assert loaded.scale == (1.5, 1.5)
    assert difference(loaded.page, drawing((2400, 1800)).resize((1600, 1200))) < 4


@pytest.mark.parametrize("size", [(5000, 40), (1601, 1600), (1600, 1600), (9, 3200)])
def test_longest_side_is_bounded(size):
    loaded = load_image(encoded(Image.new("L", size, 200), "JPEG"))
    assert max(loaded.page.size) == min(max(size), MAX_PAGE_SIDE)
    assert (loaded.width, loaded.height) == size
    assert min(loaded.page.size) >= 1


def test_pil_image_is_not_changed():
    image = drawing((2000, 1000), "RGBA")
    before = image.tobytes()
    page = load_image(image).page
    assert image.tobytes() == before and image.mode == "RGBA" and image.size == (2000, 1000)
    small = drawing()
    load_image(small).page.paste(7, (0, 0, 300, 200))
    assert small.tobytes() == drawing().tobytes()
    assert page.size == (1600, 800)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damaged_files_give_a_page_or_our_error(format):
    random_numbers = random.Random(2)
    noise = Image.frombytes("L", (400, 300), random_numbers.randbytes(120_000)).convert("RGB")
    whole = encoded(noise, format)
    for length in (len(whole) // 2, 60, 5):
        with pytest.raises(ImageError, match="damaged or cut off|not an image"):
            load_image(whole[:length])
    data = encoded(drawing((60, 40), "RGB"), format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(30):
            damaged = bytearray(data)
            for _ in range(random_numbers.randint(1, 8)):
                damaged[random_numbers.randrange(len(damaged))] = random_numbers.randrange(256)
            try:
                assert load_image(bytes(damaged)).page.mode == "L"
            except ImageError as error:
                assert "Error" not in str(error) and str(error).endswith(".")


def test_files_that_are_no_images_and_never_end(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("This is text.\n" * 20)
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for name, what in [
        ("empty.png", "is empty"),
        ("text.png", "not an image in PNG"),
        ("folder.png", "is a folder"),
        ("large.png", "more than 200 MB"),
        ("missing.png", "was not found"),
        ("bell\a.png", r"bell\?\.png was not found"),
    ]:
        for source in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(ImageError, match=what):
                load_image(source)
    with pytest.raises(ImageError, match="is empty"):
        load_image(b"")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", "/dev/null"):
        with pytest.raises(ImageError, match="device or pipe"):
            load_image(path)


def test_webp_that_announces_a_huge_canvas():
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (10, 200)]
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert data[12:16] == b"VP8X"
    data[24:30] = (6000 - 1).to_bytes(3, "little") * 2
    with warnings.catch_warnings(), pytest.raises(ImageTooLargeError, match="33 million"):
        warnings.simplefilter("ignore")
        load_image(bytes(data))
