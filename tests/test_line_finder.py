"""The line finder's network: the same alone as in a batch, scripted as eager, and it learns."""

import pytest
import torch

from text_recognizer.models.line_finder import COLUMN, ROW, LineFinder
from text_recognizer.models.line_tracing import trace_lines


@pytest.fixture(scope="module")
def finder() -> LineFinder:
    """With random weights, also where training starts at constants."""
    generator = torch.Generator().manual_seed(1)
    finder = LineFinder().eval()
    for parameter in finder.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    for name, buffer in finder.named_buffers():
        if name.endswith("running_var"):
            buffer.data = torch.rand(buffer.shape, generator=generator) + 0.5
    return finder


def overview(height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


def test_padding_changes_nothing(finder):
    pages = [overview(h, w, seed) for seed, (h, w) in enumerate([(64, 96), (120, 80), (40, 200)])]
    batch = torch.rand(3, 1, 120, 200, generator=torch.Generator().manual_seed(9))
    sizes = torch.tensor([[page.size(2), page.size(3)] for page in pages])
    for index, page in enumerate(pages):
        batch[index] = 0
        batch[index, :, : page.size(2), : page.size(3)] = page[0]
    with torch.inference_mode():
        together = finder(batch, sizes)
        for index, page in enumerate(pages):
            rows, columns = page.size(2) // ROW, page.size(3) // COLUMN
            alone = finder(page, sizes[index : index + 1])
            whole = finder(page)
            for one, other, third in zip(together, alone, whole, strict=True):
                own = one[index, :rows, :columns]
                torch.testing.assert_close(own, other[0], atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(own, third[0], atol=1e-5, rtol=1e-5)


def test_it_learns():
    """A few steps on one page bring its ridges from chance to right."""
    torch.manual_seed(1)
    finder = LineFinder()
    rows = torch.arange(24)[:, None] + 0.5
    paths = torch.tensor([[6.0], [12.0], [18.0]]).expand(3, 16)
    target = torch.exp(-0.5 * (rows[None] - paths[:, None]) ** 2).amax(0)
    ink = torch.nn.functional.interpolate(target[None, None], scale_factor=(ROW, COLUMN))
    optimizer = torch.optim.AdamW(finder.parameters(), 3e-3)
    for _ in range(60):
        middle = finder(ink)[0][0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(middle, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found, _ = trace_lines(middle.detach().sigmoid(), torch.full((24, 16), 5.0))
    assert len(found) == 3
    assert (found - paths).abs().mean() < 0.5
