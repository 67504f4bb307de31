"""The paragraph reader: pages in, tokens out, the same in a script, in a batch and alone."""

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from pretended_gpu import OnGpu, PretendedGpu

from text_recognizer.models.paragraph_reader import FORMAT, ParagraphReader
from text_recognizer.vocabulary import IGNORED, NEWLINE, NUM_READER_CLASSES, PADDING, TOKENS
from text_recognizer.weights import load_paragraph_reader


def as_pixels(image: Image.Image) -> torch.Tensor:
    """(1, H, W) uint8."""
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(
        1, image.height, image.width
    )


def written_page(width: int, height: int, lines: int, light: bool = False) -> torch.Tensor:
    paper, ink = (40, 220) if light else (230, 50)
    image = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(image)
    pitch = height / (lines + 1)
    font = ImageFont.load_default(pitch * 0.6)
    for line in range(lines):
        draw.text((20, pitch * (line + 0.4)), f"line {line} of {lines}", fill=ink, font=font)
    return as_pixels(image)


def padded(pages: list[torch.Tensor], seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of pages of different sizes, padded with noise, and their sizes."""
    sizes = torch.tensor([page.shape[1:] for page in pages])
    shape = (len(pages), 1, int(sizes[:, 0].max()), int(sizes[:, 1].max()))
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    for row, page in zip(batch, pages, strict=True):
        row[:, : page.size(1), : page.size(2)] = page
    return batch, sizes


def strip_padding(row: torch.Tensor) -> list[int]:
    tokens = row[row != PADDING].tolist()
    assert (row[len(tokens) :] == PADDING).all()
    return tokens


def read(reader, pages: list[torch.Tensor]) -> list[list[int]]:
    with torch.inference_mode():
        return [strip_padding(row) for row in reader(*padded(pages))]


@pytest.fixture(scope="module")
def pages() -> list[torch.Tensor]:
    """Small pages of different sizes, one light on dark, one with a single line."""
    return [
        written_page(130, 90, 3),
        written_page(200, 60, 2, light=True),
        written_page(100, 140, 4),
        written_page(160, 32, 1),
    ]


# The contract


def test_lines_come_with_their_places(eager, pages):
    batch, sizes = padded(pages)
    with torch.inference_mode():
        tokens, line_page, confidence, paths, heights = eager.read_lines(batch, sizes)
    count = len(tokens)
    assert count >= 10
    assert ((tokens == PADDING) | ((tokens > 0) & (tokens < NUM_READER_CLASSES))).all()
    assert all(map(strip_padding, tokens)), "lines that say nothing are left out"
    assert line_page.tolist() == sorted(line_page.tolist())
    assert (confidence > 0).all() and (confidence <= 1).all()
    assert paths.shape == (count, 16, 2) and (heights > 0).all()
    for page, path in zip(line_page.tolist(), paths, strict=True):
        (height, width), (x, y) = sizes[page].tolist(), path.unbind(1)
        assert (x.diff() > 0).all()
        assert x[0] >= 0 and x[-1] <= width + 1e-3
        assert (y >= 0).all() and (y <= height + 1e-3).all()
    for page in range(len(pages)):
        middles = paths[line_page == page][:, :, 1].mean(1)
        assert (middles.diff() > 0).all(), "lines come from top to bottom"


def test_forward_is_the_lines_joined(eager, pages):
    batch, sizes = padded(pages)
    with torch.inference_mode():
        lines, line_page, *_ = eager.read_lines(batch, sizes)
        texts = eager(batch, sizes)
    assert texts.shape[0] == len(pages) and texts.dtype == torch.int64
    for page, text in enumerate(texts):
        joined: list[int] = []
        for line in lines[line_page == page]:
            joined += [NEWLINE] * bool(joined) + strip_padding(line)
        assert strip_padding(text) == joined
    assert texts.shape[1] == max(len(strip_padding(text)) for text in texts)


def test_a_page_alone_equals_the_page_in_a_batch(eager, pages):
    together = read(eager, pages)
    assert any(together)
    with torch.inference_mode():
        for page, tokens in zip(pages, together, strict=True):
            assert strip_padding(eager(page[None])[0]) == tokens, "without sizes"
    assert read(eager, pages[::-1]) == together[::-1]


@pytest.mark.parametrize("size", [(200, 300), (1, 1), (9, 700), (700, 9)])
def test_a_page_without_lines_is_padding_alone_whatever_its_size(size):
    """With a finder that sees no writing, as it does at the start of its training."""
    blank = torch.full((1, *size), 128, dtype=torch.uint8)
    nothing = ParagraphReader().eval()
    with torch.inference_mode():
        assert (nothing(blank[None]) == PADDING).all()
        found = nothing.read_lines(blank[None])
    assert [len(part) for part in found] == [0] * 5
    assert found[3].shape[1:] == (16, 2)


# The compiled file


def test_the_compiled_file_has_its_vocabulary_and_finds_the_same_lines(packaged, eager, pages):
    compiled = packaged.model
    assert compiled.format == FORMAT == "text-recognizer/1"
    assert (list(compiled.tokens), list(compiled.ignored)) == (TOKENS, list(IGNORED))
    batch, sizes = padded(pages[:2])
    with torch.inference_mode():
        expected = eager.read_lines(batch, sizes)
        for _ in range(3):  # TorchScript optimizes after the first runs
            for part, same in zip(compiled.read_lines(batch, sizes), expected, strict=True):
                torch.testing.assert_close(part, same)


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.nightly)])
def test_compiled_equals_eager_on_made_pages(packaged, eager, fonts, count):
    from text_recognizer.pages.generator import page_generator

    generator = page_generator({"font": 1.0}, "validation")
    images = [generator.make([77, seed], max_lines=8).image for seed in range(count)]
    made_pages = [torch.from_numpy(image.copy())[None] for image in images]
    said = 0
    for first in range(0, count, 5):
        some = made_pages[first : first + 5]
        compiled = read(packaged.model, some)
        assert compiled == read(eager, some)
        said += sum(map(len, compiled))
    assert said > 20 * len(made_pages), "pages of one to eight lines hold more text"


@pytest.mark.parametrize("gray", [12, 200])
def test_the_packaged_reader_is_silent_on_a_blank_page(packaged, gray):
    page = gray + 3 * torch.randn(1, 400, 600, generator=torch.Generator().manual_seed(1))
    assert read(packaged.model, [page.clamp(0, 255).to(torch.uint8)]) == [[]]


class Twice(torch.nn.Module):
    """`read_twice` of a reader that is sure of nothing, as a module's forward."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = load_paragraph_reader()
        self.reader.sure = self.reader.sure_of_long = self.reader.sure_of_them = 1.1

    def forward(self, pages: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.reader.read_twice(pages, sizes)


def test_a_gpu_reads_the_same_and_is_not_waited_for_at_every_line(pages):
    """On a device that is pretended: tensors of it and of the processor must not meet."""
    reader = Twice()
    state = {name: OnGpu(tensor.data) for name, tensor in reader.state_dict().items()}
    batch, sizes = padded(pages)
    with torch.no_grad():
        expected = reader(batch, sizes)
        with PretendedGpu() as gpu:
            found = torch.func.functional_call(reader, state, (OnGpu(batch), sizes))
    assert len(expected[1]) >= 10
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    # Two for the light of each page, and a copy of the results of each network.
    assert gpu.waits.total() <= 2 * len(pages) + 6
