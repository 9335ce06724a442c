"""Axis-aligned rectangles and the eight symmetries of a square; metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rect:
    """An axis-aligned rectangle, ``x0 < x1`` and ``y0 < y1`` [m]."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def around(cls, x: float, y: float, size_x: float, size_y: float) -> Rect:
        """Return the rectangle of the given edges with its centre at (x, y)."""
        return cls(x - size_x / 2, y - size_y / 2, x + size_x / 2, y + size_y / 2)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) [m]."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Edges along x and y [m]."""
        return self.x1 - self.x0, self.y1 - self.y0

    def contains(self, x: float, y: float) -> bool:
        """Return True if (x, y) lies inside or on the edge."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1

    def grown(self, by_m: float) -> Rect:
        """Return the rectangle with every edge moved outwards by ``by_m``."""
        return Rect(self.x0 - by_m, self.y0 - by_m, self.x1 + by_m, self.y1 + by_m)

    def overlaps(self, other: Rect) -> bool:
        """Return True if the two rectangles share area."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def distance(self, x: float, y: float) -> float:
        """Return the distance from (x, y) to the rectangle, 0 inside [m]."""
        return float(np.hypot(max(self.x0 - x, 0.0, x - self.x1), max(self.y0 - y, 0.0, y - self.y1)))


@dataclass(frozen=True)
class Symmetry:
    """One of the eight symmetries of a square around the origin: swap x and y first, then mirror."""

    swap: bool
    mirror_x: bool
    mirror_y: bool

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return the image of a point."""
        if self.swap:
            x, y = y, x
        return (-x if self.mirror_x else x), (-y if self.mirror_y else y)

    def rect(self, rect: Rect) -> Rect:
        """Return the image of a rectangle."""
        (ax, ay), (bx, by) = self.point(rect.x0, rect.y0), self.point(rect.x1, rect.y1)
        return Rect(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


#: Unit vectors of the four facings: east, north, west, south.
FACINGS: tuple[tuple[int, int], ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))
