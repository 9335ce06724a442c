"""A polygon on the floor: points inside, the distance to the edge, and the nearest point of the edge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

Point = tuple[float, float]

#: A point this near to an edge is on it [m].
EDGE_M = 1e-6


class Polygon:
    """A simple polygon, convex or not, from its corners ``[[x, y], ...]`` in metres, in either order of turning."""

    def __init__(self, corners: Sequence[Sequence[float]]) -> None:
        """Raises ValueError, one line, when the corners enclose no area or its edges cross each other."""
        points: list[Point] = [(float(x), float(y)) for x, y in corners]
        if len(points) < 3:
            raise ValueError(f"an area needs at least 3 corners, got {len(points)}")
        twice_area = sum(
            here[0] * there[1] - there[0] * here[1] for here, there in zip(points, points[1:] + points[:1], strict=True)
        )
        if abs(twice_area) < 1e-6:
            raise ValueError("the corners lie on one line and enclose no area")
        # Anticlockwise, so that the outside is always to the right of an edge.
        self._corners = points if twice_area > 0 else points[::-1]
        for (i, one), (j, other) in combinations(enumerate(self._edges()), 2):
            neighbours = j - i == 1 or (i == 0 and j == len(points) - 1)
            if not neighbours and _cross(*one, *other):
                raise ValueError(f"the edges {list(one)} and {list(other)} cross; name the corners in order around it")

    def _edges(self) -> Iterator[tuple[Point, Point]]:
        return zip(self._corners, self._corners[1:] + self._corners[:1], strict=True)

    def contains(self, point: Point) -> bool:
        """Return whether a point is inside; on the edge it may be either (even-odd rule, W. R. Franklin's PNPOLY)."""
        inside = False
        for (ax, ay), (bx, by) in self._edges():
            if (ay > point[1]) != (by > point[1]) and point[0] < (bx - ax) * (point[1] - ay) / (by - ay) + ax:
                inside = not inside
        return inside

    def distance_to_exit(self, start: Point, direction: Point) -> float:
        """Return the distance from ``start`` in ``direction`` (length 1) to where an edge is crossed outwards [m].

        Infinity if none is crossed; 0 on an edge, looking outwards.
        """
        nearest = math.inf
        for (ax, ay), (bx, by) in self._edges():
            edge_x, edge_y = bx - ax, by - ay
            outwards = direction[0] * edge_y - direction[1] * edge_x
            if outwards <= 1e-9 * math.hypot(edge_x, edge_y):
                continue
            along = ((ax - start[0]) * edge_y - (ay - start[1]) * edge_x) / outwards
            x, y = start[0] + along * direction[0] - ax, start[1] + along * direction[1] - ay
            share = (x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2)
            if along >= -EDGE_M and -1e-9 <= share <= 1 + 1e-9:
                nearest = min(nearest, max(0.0, along))
        return nearest

    def nearest(self, point: Point) -> Point:
        """Return the point of the edge that is nearest to ``point``."""
        candidates = []
        for (ax, ay), (bx, by) in self._edges():
            edge_x, edge_y = bx - ax, by - ay
            share = ((point[0] - ax) * edge_x + (point[1] - ay) * edge_y) / (edge_x**2 + edge_y**2 or 1.0)
            share = min(max(share, 0.0), 1.0)
            candidates.append((ax + share * edge_x, ay + share * edge_y))
        return min(candidates, key=lambda candidate: math.dist(candidate, point))


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether the segments ab and cd have a point in common."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0
