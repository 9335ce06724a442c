"""Shortest paths over the known floor plan: a visibility graph on the corners of the grown obstacles.

Exact for axis-aligned obstacles, and small (some sixty corners), so that the expert can plan afresh at every tick from
wherever it was pushed to. Lozano-Perez and Wesley, 1979.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mobile_vla_sim.world.geometry import Rect
from mobile_vla_sim.world.plans import HALF_SIZE_M

ROBOT_RADIUS_M = 0.2
CLEARANCE_M = ROBOT_RADIUS_M + 0.1
"""Least distance of the robot's centre from obstacles: its radius and a margin for the noise of driving."""

_EPSILON_M = 1e-6
_STRAIGHT_M = 0.7
"""Distance from the goal within which the robot drives straight at it if the way is clear, even through margins."""
_EXIT_M = 0.8
"""Radius of the search for a way out of the margins."""


class UnreachableError(ValueError):
    """There is no path to the goal."""


Points = npt.NDArray[np.float64]


class Planner:
    """Shortest paths to one goal, from anywhere. The goal may lie within an obstacle's margin."""

    def __init__(self, goal: tuple[float, float], obstacles: Sequence[Rect]) -> None:
        self.goal = np.array(goal)
        self._solid_low = np.array([[rect.x0, rect.y0] for rect in obstacles])
        self._solid_high = np.array([[rect.x1, rect.y1] for rect in obstacles])
        grown = [rect.grown(CLEARANCE_M) for rect in obstacles]
        self._low = np.array([[rect.x0, rect.y0] for rect in grown]) + _EPSILON_M
        self._high = np.array([[rect.x1, rect.y1] for rect in grown]) - _EPSILON_M
        corners = np.array([(x, y) for rect in grown for x in (rect.x0, rect.x1) for y in (rect.y0, rect.y1)])
        free = [(float(x), float(y)) for x, y in corners[self._free(corners)]]
        self._gate = self._leave_margins(self.goal)
        """Point at which the path enters the margin around the goal; the goal itself if it lies in none."""
        self._nodes = np.array([tuple(self._gate), *sorted(set(free))])
        self._distance, self._next = self._shortest_paths()

    def path(self, x: float, y: float) -> Points:
        """Points from (x, y) to the goal, float64 ``[n, 2]`` [m]; both ends included.

        From inside an obstacle's margin (after a push), the path first leaves it by the shortest way.
        """
        start = np.array([x, y])
        exit_point = self._leave_margins(start)
        reachable = self._visible(exit_point, self._nodes)
        cost = np.linalg.norm(self._nodes - exit_point, axis=1) + self._distance
        cost[~reachable] = np.inf
        if np.linalg.norm(self.goal - start) < _STRAIGHT_M and self._clear(start, self.goal):
            return np.array([start, self.goal])
        if not np.isfinite(cost).any():
            raise UnreachableError(f"no way from ({x:.2f}, {y:.2f}) to ({self.goal[0]:.2f}, {self.goal[1]:.2f})")
        points = [start] if np.allclose(start, exit_point) else [start, exit_point]
        node = int(np.argmin(cost))
        while node >= 0:
            points.append(self._nodes[node])
            node = int(self._next[node])
        if not np.allclose(points[-1], self.goal):
            points.append(self.goal)
        return np.array(points)

    def length(self, x: float, y: float) -> float:
        """Return the length of the path from (x, y) [m].

        Raises:
            UnreachableError: there is none, or start or goal lie in a gap that is too narrow for the robot.
        """
        start = np.array([x, y])
        if not (self._clear(start, self._leave_margins(start)) and self._clear(self._gate, self.goal)):
            raise UnreachableError(f"({x:.2f}, {y:.2f}) or {tuple(self.goal)} lies in a narrow gap")
        return float(np.linalg.norm(np.diff(self.path(x, y), axis=0), axis=1).sum())

    def _clear(self, start: Points, end: Points) -> bool:
        """Return True if the robot's disc hits nothing on the straight way, margins aside."""
        shares = np.linspace(0.0, 1.0, 2 + int(float(np.linalg.norm(end - start)) / 0.05))
        points = (start + shares[:, None] * (end - start))[:, None, :]
        outside = np.maximum(np.maximum(self._solid_low - points, points - self._solid_high), 0.0)
        return bool((np.linalg.norm(outside, axis=2) >= ROBOT_RADIUS_M + 0.02).all())

    def _free(self, points: Points) -> npt.NDArray[np.bool_]:
        """Return which of ``points``, float64 ``[n, 2]``, lie in the flat and outside every margin."""
        at = points[:, None, :]
        inside = np.any(np.all((at > self._low) & (at < self._high), axis=2), axis=1)
        return np.asarray(~inside & (np.abs(points) < HALF_SIZE_M).all(axis=1))

    def _leave_margins(self, point: Points) -> Points:
        """Return the nearest point outside every margin that the robot can reach in a straight line."""
        if self._free(point[None])[0]:
            return point
        near = ((point > self._low - _EXIT_M) & (point < self._high + _EXIT_M)).all(axis=1)
        # The nearest exit is the point itself moved onto edges of the margins around it.
        edges = np.concatenate(([point], self._low[near] - 2 * _EPSILON_M, self._high[near] + 2 * _EPSILON_M))
        options = np.stack(np.meshgrid(edges[:, 0], edges[:, 1]), axis=-1).reshape(-1, 2)
        distance = np.linalg.norm(options - point, axis=1)
        usable = self._free(options) & (distance < _EXIT_M)
        free = options[usable][np.argsort(distance[usable], kind="stable")]
        return next((option for option in free if self._clear(point, option)), free[0] if len(free) else point)

    def _visible(self, start: Points, ends: Points) -> npt.NDArray[np.bool_]:
        """Which segments from ``start`` to each of ``ends`` cross no obstacle: the slab test, all at once."""
        direction = (ends - start)[:, None, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = (self._low - start) / direction, (self._high - start) / direction
        # Parallel to a slab: within it always, or never.
        parallel = np.abs(direction) < 1e-12
        within = (start > self._low) & (start < self._high)
        near = np.where(parallel, np.where(within, -np.inf, np.inf), np.minimum(first, second)).max(axis=2)
        far = np.where(parallel, np.where(within, np.inf, -np.inf), np.maximum(first, second)).min(axis=2)
        hit = (near < far) & (far > 0.0) & (near < 1.0)
        return np.asarray(~hit.any(axis=1))

    def _shortest_paths(self) -> tuple[Points, npt.NDArray[np.int64]]:
        """Dijkstra from the goal: distance of every node, and its next node on the way (-1 at the goal)."""
        count = len(self._nodes)
        distance, following = np.full(count, np.inf), np.full(count, -1, dtype=np.int64)
        distance[0] = 0.0
        queue = [(0.0, 0)]
        while queue:
            reached, node = heapq.heappop(queue)
            if reached > distance[node]:
                continue
            lengths = reached + np.linalg.norm(self._nodes - self._nodes[node], axis=1)
            better = self._visible(self._nodes[node], self._nodes) & (lengths < distance - 1e-9)
            for other in np.flatnonzero(better).tolist():
                distance[other], following[other] = lengths[other], node
                heapq.heappush(queue, (float(lengths[other]), other))
        return distance, following
