"""The line finder: densities are counted and followed exactly, alone as in a batch."""

import copy
import warnings

import pytest
import torch

from text_recognizer.models.line_finder import (
    COLUMN,
    ROW,
    LineFinder,
    along_paths,
    follow_lines,
    line_extents,
)


def density_of(paths: torch.Tensor, rows: int, spread: float = 1.0) -> torch.Tensor:
    """A density (rows, columns) with a mass of one along each path (N, columns), in rows."""
    distance = torch.arange(rows)[None, :, None] + 0.5 - paths[:, None]
    bump = torch.exp(-0.5 * (distance / spread) ** 2)
    return (bump / bump.sum(1, keepdim=True)).sum(0)


def lines(count: int, columns: int = 64, pitch: float = 10.0, slope: float = 0.0) -> torch.Tensor:
    start = 8 + pitch * torch.arange(count)[:, None]
    return start + slope * torch.arange(columns)[None]


def seeded_finder() -> LineFinder:
    """A finder with random weights, also where training starts at constants."""
    generator = torch.Generator().manual_seed(1)
    finder = LineFinder().eval()
    for parameter in finder.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    for name, buffer in finder.named_buffers():
        if name.endswith("running_mean"):
            buffer.data = torch.randn(buffer.shape, generator=generator) * 0.1
        elif name.endswith("running_var"):
            buffer.data = torch.rand(buffer.shape, generator=generator) + 0.5
    return finder


@pytest.fixture(scope="module")
def finder() -> LineFinder:
    return seeded_finder()


def overview(height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


# Counting and following


@pytest.mark.parametrize("count", range(15))
def test_lines_are_counted_and_followed(count):
    paths = lines(count)
    found = follow_lines(density_of(paths, rows=160))
    assert found.shape == (count, 64)
    if count:
        assert (found - paths).abs().max() < 0.1


@pytest.mark.parametrize("slope", [-0.1, 0.05, 0.12])
def test_slanting_lines_are_followed(slope):
    paths = lines(5, slope=slope) + max(-slope * 64, 0)
    found = follow_lines(density_of(paths, rows=90))
    assert (found - paths)[:, 3:-3].abs().max() < 0.2
    assert (found - paths).abs().max() < 0.5  # the mean is shorter at the ends


def test_wavy_lines_are_followed():
    paths = lines(4, columns=128, pitch=12) + 2 * torch.sin(torch.arange(128) / 12)
    assert (follow_lines(density_of(paths, rows=70)) - paths).abs().max() < 0.5


@pytest.mark.parametrize("strength", [0.93, 1.08])
def test_a_density_that_is_a_little_off_counts_the_same(strength):
    paths = lines(5)
    noise = 1 + 0.1 * torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    found = follow_lines(density_of(paths, rows=70) * strength * noise)
    assert found.shape == paths.shape
    assert (found - paths).abs().max() < 0.5


def test_columns_that_miss_a_line_do_not_break_it():
    """The last line is faint where its writing has ended: it is told as going on all the same."""
    paths = lines(3)
    density = density_of(paths, rows=60)
    last = density_of(paths[2:], rows=60)
    density[:, 40:] -= 0.4 * last[:, 40:]
    found = follow_lines(density)
    assert found.shape == paths.shape
    assert (found - paths)[:, :38].abs().max() < 0.1
    assert (found - paths).abs().max() < 3, "no line comes near its neighbour"


@pytest.mark.parametrize("amount", [0.0, 0.3])
def test_a_blank_page_has_no_lines(amount):
    density = torch.full((40, 64), amount / 40)
    assert follow_lines(density).shape == (0, 64)


def test_a_page_of_one_cell():
    assert follow_lines(torch.ones(1, 1)).shape == (1, 1)
    assert follow_lines(torch.zeros(1, 1)).shape == (0, 1)


def test_writing_begins_and_ends_where_it_is_present():
    presence = torch.zeros(4, 20)
    presence[0, 3:17] = 0.9
    presence[0, 8:10] = 0.1  # a gap between two words
    presence[1] = 0.4
    presence[2, 19] = 0.8
    presence[3] = 1.0
    assert line_extents(presence) == [(3, 16), (-1, -1), (19, 19), (0, 19)]
    assert line_extents(presence[:0]) == []


def test_values_along_paths_come_from_the_cell_that_is_passed():
    grid = torch.arange(5.0)[:, None] * 10 + torch.arange(3.0)
    paths = torch.tensor([[0.2, 1.9, 4.0], [-3.0, 2.5, 9.0]])
    assert along_paths(grid, paths).tolist() == [[0, 11, 42], [0, 21, 42]]


# The network


def test_outputs_are_on_the_grid_and_possible(finder):
    with torch.inference_mode():
        outputs = finder(overview(12 * ROW, 20 * COLUMN))
    assert all(output.shape == (1, 12, 20) for output in outputs)
    density, above, below, _ = outputs
    assert (density >= 0).all() and (above > 0).all() and (below > 0).all()


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
            assert together[0][index, rows:].sum() == 0, "no lines beyond the page"
            assert together[0][index, :, columns:].sum() == 0


def test_the_network_looks_along_the_lines(finder):
    """What is written at one end is felt at the other, or a line that ends early is lost."""
    page = overview(64, 512).double().requires_grad_()
    density = copy.deepcopy(finder).double()(page)[0]
    # The gradient tells what is felt, in double so that nothing small is lost.
    density[0, :, 32].sum().backward()
    felt = page.grad[0, 0].abs().sum(0)
    assert (felt[:64] > 0).any() and (felt[-64:] > 0).any(), "200 px to either side"


def test_scripted_equals_eager(finder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(finder)
        scripted_follow = torch.jit.script(follow_lines)
    page = overview(96, 160)
    for sizes in (None, torch.tensor([[90, 150]])):
        with torch.inference_mode():
            for _ in range(3):  # TorchScript optimizes after the first runs
                for one, other in zip(scripted(page, sizes), finder(page, sizes), strict=True):
                    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    density = density_of(lines(6), rows=80)
    assert torch.equal(scripted_follow(density), follow_lines(density))


def test_it_learns():
    """A few steps on one page bring its count from chance to right."""
    torch.manual_seed(1)
    finder = LineFinder()
    paths = lines(3, columns=16, pitch=5.0)
    target = density_of(paths, rows=24)
    ink = torch.nn.functional.interpolate(target[None, None], scale_factor=(ROW, COLUMN))
    optimizer = torch.optim.AdamW(finder.parameters(), 3e-3)
    for _ in range(60):
        density = finder(ink)[0][0]
        loss = (density.cumsum(0) - target.cumsum(0)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = follow_lines(density.detach())
    assert len(found) == 3
    assert (found - paths).abs().mean() < 1
