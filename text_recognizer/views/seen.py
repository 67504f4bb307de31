"""What the network saw in a view: its lines' readings, before a text is chosen, and their places
in the picture that the view was cut from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from text_recognizer.views import View
from text_recognizer.views.geometry import mapped


class Place(NamedTuple):
    """A line's confidence, and where it lies in px of the picture: `Line` has what they mean."""

    confidence: float
    path: list[tuple[float, float]]
    height: float
    box: tuple[float, float, float, float]
    block: int


@dataclass
class Seen:
    """The lines that were found in a view.

    readings: of each line one or more, as the decoder takes them.
    paths: of each line (x, y) in px of the view. heights: in px of the view.
    """

    view: View
    readings: list[list[Tensor]] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    paths: list[list[list[float]]] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)

    def sure_of(self, least: float) -> "Seen":
        """The lines of more confidence than that; all of them if none has more."""
        sure = [place for place, one in enumerate(self.confidences) if one > least]
        return self._only(sure) if sure else self

    def found_once(self) -> "Seen":
        """Its lines without those that mostly lie on a longer one: the same ink, found twice."""
        longest = sorted(range(len(self.paths)), key=lambda line: -_length(self.paths[line]))
        kept: list[int] = []
        for line in longest:
            if not any(self._lies_on(line, longer) for longer in kept):
                kept.append(line)
        return self._only(sorted(kept)) if len(kept) < len(longest) else self

    def _lies_on(self, line: int, longer: int) -> bool:
        path, along = self.paths[line], self.paths[longer]
        shared = min(path[-1][0], along[-1][0]) - max(path[0][0], along[0][0])
        x, y = path[len(path) // 2]
        _, beside = min(along, key=lambda point: abs(point[0] - x))
        near = 0.6 * min(self.heights[line], self.heights[longer])
        return shared > _length(path) / 2 and abs(y - beside) < near

    def _only(self, lines: list[int]) -> "Seen":
        columns = (self.readings, self.confidences, self.paths, self.heights)
        return Seen(self.view, *([column[line] for line in lines] for column in columns))

    def read_as(self, other: "Seen") -> "Seen":
        """Its one line, which the other's readings say more of; as sure as the less sure one."""
        readings = [[*self.readings[0], *other.readings[0]]]
        sure = [min(self.confidences[0], other.confidences[0])]
        return replace(self, readings=readings, confidences=sure)

    def joined(self, space: int) -> "Seen":
        """Its lines as one if each begins beside the end of another: the finder loses a line that
        slants. space: the class (token id) that is put between them."""
        order = sorted(range(len(self.paths)), key=lambda line: self.paths[line][0][0])
        for left, right in zip(order, order[1:], strict=False):
            (start, _), *_, (x, y) = self.paths[left]
            next_x, next_y = self.paths[right][0]
            height = min(self.heights[left], self.heights[right])
            shared = x - next_x
            most = max(_length(self.paths[right]), height) / 2
            if next_x < (start + x) / 2 or shared > most or abs(y - next_y) > 0.6 * height:
                return self
        if len(order) < 2:
            return self
        twice = all(len(self.readings[line]) > 1 for line in order)
        readings = [
            _with_spaces([self.readings[line][number] for line in order], space)
            for number in range(2 if twice else 1)
        ]
        paths = [self.paths[line] for line in order]
        lengths = [_length(path) for path in paths]
        sure = sum(self.confidences[line] * own for line, own in zip(order, lengths, strict=True))
        height = max(self.heights)
        return Seen(self.view, [readings], [sure / sum(lengths)], [list(chain(*paths))], [height])

    def share_missed_by(self, other: "Seen", sure: float) -> float:
        """Of its lines of more confidence than `sure`, the share by letters that lies in no line of
        what was seen in another view of the same picture."""
        anywhere = math.inf, math.inf
        boxes = [place.box for place in other.places((1.0, 1.0), anywhere)]
        missed = total = 0.0
        for place, path, height in zip(
            self.places((1.0, 1.0), anywhere), self.paths, self.heights, strict=True
        ):
            if place.confidence > sure:
                weight = _letters(path, height)
                within = [
                    any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for box in boxes)
                    for x, y in place.path
                ]
                missed += weight * (sum(within) < len(within) / 2)
                total += weight
        return missed / total if total else 0.0

    def places(self, scale: tuple[float, float], size: tuple[int, int]) -> Iterator[Place]:
        """Where each line lies. scale: px of the original for one px of the picture that the view
        was cut from. size: the original's width and height."""
        for confidence, path, height in zip(
            self.confidences, self.paths, self.heights, strict=True
        ):
            rows = [
                [(x * scale[0], y * scale[1]) for x, y in mapped(self.view.matrix, shifted)]
                for shifted in _beside(path, height)
            ]
            middle, *edges = rows
            tall = sum(math.dist(a, b) for a, b in zip(*edges, strict=True)) / len(middle)
            every = edges[0] + edges[1]
            xs, ys = [x for x, _ in every], [y for _, y in every]
            box = (
                max(round(min(xs), 1), 0.0),
                max(round(min(ys), 1), 0.0),
                min(round(max(xs), 1), float(size[0])),
                min(round(max(ys), 1), float(size[1])),
            )
            points = [(round(x, 1), round(y, 1)) for x, y in middle]
            yield Place(round(confidence, 4), points, round(tall, 1), box, self.view.block)


def _length(path: list[list[float]]) -> float:
    """px from the start of a path to its end, in x."""
    return path[-1][0] - path[0][0]


def _letters(path: list[list[float]], height: float) -> float:
    """About how many letters a line has: its length in its heights."""
    return abs(_length(path)) / max(height, 1.0)


def _beside(path: list[list[float]], height: float) -> list[list[tuple[float, float]]]:
    """A path, and the upper and the lower edge of what was read along it."""
    return [[(x, y + shift) for x, y in path] for shift in (0.0, -height / 2, height / 2)]


def _with_spaces(parts: list[Tensor], space: int) -> Tensor:
    """Readings of the parts of a line as one: frames (F, C), or tokens (T,) where each is read
    without a language model."""
    if parts[0].dim() == 1:
        between = torch.full([1], space)
    else:
        between = torch.full([1, parts[0].size(1)], -1e4)
        between[0, space] = 0.0
    return torch.cat(list(chain(*((between, part) for part in parts)))[1:])


def confidence(found: Sequence[Seen]) -> float:
    """The mean confidence of what was found, by the lines' lengths in letters; 0 of nothing."""
    total = weights = 0.0
    for one in found:
        for own, path, height in zip(one.confidences, one.paths, one.heights, strict=True):
            weight = _letters(path, height)
            total, weights = total + own * weight, weights + weight
    return total / weights if weights else 0.0


def sure_letters(found: Sequence[Seen], sure: float) -> float:
    """About how many letters the lines of more confidence than `sure` have."""
    return sum(
        _letters(path, height)
        for one in found
        for own, path, height in zip(one.confidences, one.paths, one.heights, strict=True)
        if own > sure
    )


def both_readings(
    first: Tensor, first_lengths: Tensor, second: Tensor, second_lengths: Tensor
) -> list[list[Tensor]]:
    """The readings (F, C) of each line that `ParagraphReader.read_twice` returns, on the
    processor; a second one only where there is one."""
    lines = []
    ends = zip(first_lengths.tolist(), second_lengths.tolist(), strict=True)
    for one, two, (end, other) in zip(first.float().cpu(), second.float().cpu(), ends, strict=True):
        lines.append([one[:end], two[:other]] if other else [one[:end]])
    return lines


def seen_of_views(
    views: Sequence[View],
    readings: Sequence[list[Tensor]],
    page: Tensor,
    confidence: Tensor,
    paths: Tensor,
    heights: Tensor,
) -> list[Seen]:
    """The lines of a batch, each with the view that it is in."""
    found = [Seen(view) for view in views]
    columns = (page.tolist(), confidence.tolist(), paths.tolist(), heights.tolist())
    for reading, number, sure, path, height in zip(readings, *columns, strict=True):
        found[number].readings.append(reading)
        found[number].confidences.append(sure)
        found[number].paths.append(path)
        found[number].heights.append(height)
    return found
