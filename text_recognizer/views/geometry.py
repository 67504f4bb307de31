"""Where a px of a view lies in the picture that it was cut from: 3 x 3 matrices (homographies).

A matrix takes (x, y, 1) of the view to (u, v, w) of the picture, whose px is (u / w, v / w), as in
Hartley and Zisserman, Multiple View Geometry, chapter 2.
"""

import math
from collections.abc import Sequence

import torch
from PIL import Image

Point = tuple[float, float]
Matrix = torch.Tensor
"""(3, 3) float64."""


def identity() -> Matrix:
    return torch.eye(3, dtype=torch.float64)


def scaled(x: float, y: float) -> Matrix:
    """One px of the view is x times y px of the picture."""
    return torch.diag(torch.tensor([x, y, 1.0], dtype=torch.float64))


def moved(x: float, y: float) -> Matrix:
    """The view's origin lies at (x, y) of the picture."""
    matrix = identity()
    matrix[0, 2], matrix[1, 2] = x, y
    return matrix


def turned(size: tuple[int, int], degrees: float) -> tuple[Matrix, tuple[int, int]]:
    """A view of a picture of that size (width, height) turned clockwise by an angle, around its
    middle, and the view's size, which holds all of the picture."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    width, height = size
    wide = round(abs(width * cos) + abs(height * sin))
    tall = round(abs(width * sin) + abs(height * cos))
    turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
    matrix = moved(width / 2, height / 2) @ turn @ moved(-wide / 2, -tall / 2)
    return matrix, (max(wide, 1), max(tall, 1))


def of_corners(corners: Sequence[Point], width: int, height: int) -> Matrix:
    """The view (width, height) of what lies between four corners of the picture, given clockwise
    from the view's upper left one."""
    rows: list[list[float]] = []
    values: list[float] = []
    places = ((0, 0), (width, 0), (width, height), (0, height))
    for (x, y), (u, v) in zip(places, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    eight = torch.linalg.solve(
        torch.tensor(rows, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    )
    return torch.cat([eight, torch.ones(1, dtype=torch.float64)]).view(3, 3)


def mapped(matrix: Matrix, points: Sequence[Point]) -> list[Point]:
    """Points of the view in px of the picture."""
    flat = torch.tensor([[x, y, 1.0] for x, y in points], dtype=torch.float64) @ matrix.t()
    return [(u / w, v / w) for u, v, w in flat.tolist()]


def growth(matrix: Matrix, size: tuple[int, int]) -> float:
    """px of the picture for one px of a view of that size, along its middle."""
    x, y = size[0] / 2, size[1] / 2
    (u0, v0), (u1, v1), (u2, v2) = mapped(matrix, [(x, y), (x + 1, y), (x, y + 1)])
    return math.sqrt(math.hypot(u1 - u0, v1 - v0) * math.hypot(u2 - u0, v2 - v0))


def cut(
    picture: Image.Image, matrix: Matrix, size: tuple[int, int], beyond: int = 255
) -> Image.Image:
    """The view of that size (width, height) of a gray picture, and a gray beyond it."""
    shrunk = growth(matrix, size)
    factor = max(int(shrunk), 1)
    if factor > 1:  # or fine patterns would come out as coarse ones
        picture = picture.reduce(factor)
        matrix = scaled(1 / factor, 1 / factor) @ matrix
    a, b, c, d, e, f, g, h, i = matrix.flatten().tolist()
    numbers = [a / i, b / i, c / i, d / i, e / i, f / i, g / i, h / i]
    return picture.transform(
        size,
        Image.Transform.PERSPECTIVE,
        numbers,
        Image.Resampling.BICUBIC,
        fillcolor=beyond,
    )
