"""Where to write the names of a chart's points so that no two overlap: greedy, nearest free place first."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin

_Point = tuple[float, float]
_Line = tuple[_Point, _Point]


@dataclass(frozen=True)
class Box:
    """A rectangle in the chart's units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, other: "Box") -> float:
        """The area that lies out of ``other``."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(other)


@dataclass(frozen=True)
class Label:
    """A placed name: its box, and the leader line's end where it stands away from its point."""

    box: Box
    leader: tuple[float, float] | None


def place_labels(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    *,
    height: float,
    frame: Box,
    obstacles: Sequence[Box],
) -> list[Label]:
    """A label for each point, within ``frame``, clear of each other and, where there is room, of ``obstacles``.

    Points in the most crowded places choose first. The same input always gives the same places.
    """
    marks = [*obstacles, *(Box(x - 5, y - 5, x + 5, y + 5) for x, y in points)]
    crowd = [sum(abs(x - u) < 90 and abs(y - v) < 40 for u, v in points) for x, y in points]
    placed: dict[int, Box] = {}
    for i in sorted(range(len(points)), key=lambda i: (-crowd[i], points[i])):
        lines = [(points[k], end) for k, box in placed.items() if (end := _leader(points[k], box))]
        candidates = _candidates(points[i], widths[i], height)
        prices = [
            0.2 * rank
            + 1e4 * sum(box.overlap(other) for other in placed.values())
            + 1e4 * box.outside(frame)
            + 60 * _num_crossed(points[i], box, lines, list(placed.values()))
            + 2 * sum(box.overlap(mark) for mark in marks)
            for rank, box in enumerate(candidates)
        ]
        placed[i] = candidates[prices.index(min(prices))]
    return [Label(placed[i], _leader(points[i], placed[i])) for i in range(len(points))]


def _num_crossed(point: _Point, box: Box, lines: Sequence[_Line], labels: Sequence[Box]) -> int:
    """How often a label's leader line crosses the lines and labels that are there, or they cross the label."""
    end = _leader(point, box)
    there = [*lines, *(diagonal for label in labels for diagonal in _diagonals(label))]
    crossed = sum(_cross((point, end), line) for line in there) if end else 0
    return crossed + sum(_cross(diagonal, line) for diagonal in _diagonals(box) for line in lines)


def _diagonals(box: Box) -> tuple[_Line, _Line]:
    """A line through a box crosses one of them."""
    return (
        ((box.left, box.top), (box.right, box.bottom)),
        ((box.left, box.bottom), (box.right, box.top)),
    )


def _candidates(point: tuple[float, float], width: float, height: float) -> list[Box]:
    """Boxes beside the point, then on growing circles around it."""
    x, y = point
    boxes = [
        Box(x + 8, y - height / 2, x + 8 + width, y + height / 2),
        Box(x - 8 - width, y - height / 2, x - 8, y + height / 2),
    ]
    for radius in range(14, 150, 8):
        for step in range(24):
            angle = 2 * pi * step / 24
            u, v = x + 1.5 * radius * cos(angle), y + radius * sin(angle)
            left = u if cos(angle) > 0.1 else u - width if cos(angle) < -0.1 else u - width / 2
            boxes.append(Box(left, v - height / 2, left + width, v + height / 2))
    return boxes


def _cross(one: _Line, other: _Line) -> bool:
    """Whether two lines cross within their ends."""

    def side(line: _Line, point: _Point) -> float:
        (ax, ay), (bx, by) = line
        return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)

    return side(one, other[0]) * side(one, other[1]) < 0 and side(other, one[0]) * side(other, one[1]) < 0


def _leader(point: tuple[float, float], box: Box) -> tuple[float, float] | None:
    """The nearest place on the box's edge, unless the label stands right beside its point."""
    x, y = point
    near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    near = (near_x, near_y)
    return None if (near_x - x) ** 2 + (near_y - y) ** 2 < 12**2 else near
