"""Following ridges: every line once, from its start to its end, in reading order."""

import pytest
import torch

from text_recognizer.models.line_tracing import trace_lines

COLUMNS = 64
HEIGHT = 6.0  # rows of writing


def lines(count: int, pitch: float = 8.0, slope: float = 0.0) -> torch.Tensor:
    start = 8 + pitch * torch.arange(count)[:, None] + max(-slope * COLUMNS, 0)
    return start + slope * torch.arange(COLUMNS)[None]


def ridges(paths: torch.Tensor, edges: list[tuple[int, int]], rows: int = 140) -> torch.Tensor:
    """What a perfect finder draws of lines along paths (N, columns), between their edges."""
    distance = torch.arange(rows)[None, :, None] + 0.5 - paths[:, None]
    ridge = torch.exp(-0.5 * (distance / 0.9) ** 2)
    for line, (first, last) in enumerate(edges):
        ridge[line, :, :first] = 0
        ridge[line, :, last + 1 :] = 0
    return ridge.amax(0) if len(paths) else torch.zeros(rows, COLUMNS)


def trace(middle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return trace_lines(middle, torch.full_like(middle, HEIGHT))


@pytest.mark.parametrize("count", (0, 1, 14))
def test_lines_are_counted_and_followed(count):
    paths = lines(count)
    found, edges = trace(ridges(paths, [(0, 63)] * count))
    assert found.shape == (count, COLUMNS)
    assert edges.tolist() == [[0, 63]] * count
    assert count == 0 or (found - paths).abs().max() < 0.2


@pytest.mark.parametrize("slope", [-0.25, 0.1])
def test_slanting_lines_are_followed(slope):
    paths = lines(5, slope=slope)
    found, _ = trace(ridges(paths, [(0, 63)] * 5))
    assert len(found) == 5
    assert (found - paths)[:, 3:-3].abs().max() < 0.3


def test_a_gap_does_not_break_a_line_nor_what_stands_far_right():
    middle = ridges(lines(3), [(0, 63), (0, 63), (0, 63)])
    middle[:, 20:26] = 0  # between two words
    middle[:, 35:55] = 0  # before a date at the end
    found, edges = trace(middle)
    assert len(found) == 3
    assert (found - lines(3)).abs().max() < 0.3
    assert (edges - torch.tensor([0, 63])).abs().max() <= 1


def test_pieces_of_a_line_that_run_beside_each_other_are_one():
    """As where an underscore ends: the ridge goes on a little higher before the first one ends."""
    path = lines(1, slope=-0.02).expand(2, -1).clone()
    path[0] += 1.2
    path[1] -= 1.2
    found, edges = trace(ridges(path, [(0, 34), (32, 63)]))
    assert len(found) == 1 and edges.tolist() == [[0, 63]]


def test_a_piece_in_the_gap_of_a_line_is_no_other_line():
    path = lines(1).expand(2, -1).clone()
    path[1] += 2.6
    middle = ridges(path[:1], [(0, 63)])
    middle[:, 28:44] = 0
    found, edges = trace(torch.maximum(middle, ridges(path[1:], [(30, 42)])))
    assert len(found) == 1 and edges.tolist() == [[0, 63]]


@pytest.mark.parametrize("upper, lower", [((0, 40), (10, 63)), ((24, 63), (0, 38))])
def test_a_line_whose_ridge_forks_is_one_and_keeps_both_ends(upper, lower):
    path = lines(1).expand(2, -1).clone()
    path[1] += 2.6
    found, edges = trace(ridges(path, [upper, lower]))
    assert len(found) == 1 and edges.tolist() == [[0, 63]]


def test_lines_that_follow_one_another_closely_stay_apart():
    paths = lines(8, pitch=4.5)
    found, _ = trace(ridges(paths, [(0, 63)] * 8))
    assert len(found) == 8
    assert (found - paths).abs().max() < 0.5


def test_short_lines_on_a_slanting_page_come_in_reading_order():
    """By height alone, the end of one line stands below the start of the next."""
    paths = lines(4, pitch=7, slope=0.2)
    written = [(0, 63), (44, 63), (0, 20), (0, 63)]
    found, edges = trace(ridges(paths, written))
    assert len(found) == 4
    assert (edges[:, 0] - torch.tensor([0, 44, 0, 0])).abs().max() <= 1


def test_a_page_without_ridges_has_no_lines():
    found, edges = trace(torch.full((40, COLUMNS), 0.3))
    assert found.shape == (0, COLUMNS) and edges.shape == (0, 2)
