"""Slow down and stop before obstacles that laser scanners and distance sensors see, without ROS.

The robot's outline is moved along the commanded arc until it would come nearer to a measured point than the stop
distance. If that takes less than ``slow_time_s``, the whole command is scaled down, which keeps the arc. So the robot
comes to rest at the stop distance, and turning on the spot stays possible where there is room for it. A robot that is
already nearer may move in every direction that does not bring it nearer still.

What the robot has covered since a measurement was made counts against the room in it. Points inside the outline are
parts of the robot. A sensor that is silent stops the robot, and so does one that measures too few of the directions in
which the robot is to move.

Values have the meaning that sensor_msgs/LaserScan, sensor_msgs/Range and REP 117 give them: infinity is no obstacle in
range, minus infinity one that is too near to be measured, and other values outside the limits are no measurements. A
value below the smallest range shows an obstacle all the same, where it lies outside the outline. Some drivers send 0.0
and NaN where nothing is in range, others for a covered lens, so these show neither an obstacle nor free space unless
the contract says so (``invalid_is_free``).

Reasons never contain a number that changes from tick to tick: a status goes out whenever the reason changes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_control.measured import Newest, stoppable
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.obstacles import ObstacleSensor

Points = npt.NDArray[np.float64]

#: The outline is looked at no closer together than this on its way [m]. Between two looks it cannot come nearer than
#: half of this: less than the stop distance.
_STEP_M = 0.03
#: A robot that is nearer than the stop distance may come this much nearer, so that noise does not hold it; but never
#: nearer than half the stop distance [m].
_NOISE_M = 0.005
#: Below this share of the command the robot stands.
_STANDS = 0.02
#: Directions that stand for the cone of a Range.
_CONE_RAYS = 5
#: Cosine of the angle to the direction of travel up to which rays count as ahead, and the least share of these that
#: must be measurements.
_AHEAD, _LEAST_MEASURED = math.cos(math.radians(45.0)), 0.75


@dataclass
class _Sensor:
    """A sensor with its newest measurement."""

    settings: ObstacleSensor
    points: Points
    newest: Newest
    angles: tuple[float, float, int] = (0.0, 0.0, 0)
    directions: Points | None = None
    measured: npt.NDArray[np.bool_] | None = None
    """Which of the directions have a measurement."""

    def sees(self, wanted: Velocity) -> bool:
        """Return whether enough of its rays in the direction of travel are measurements, if it has rays there."""
        speed = math.hypot(wanted.x, wanted.y)
        if self.directions is None or self.measured is None or not speed:
            return True
        ahead = self.directions @ (wanted.x / speed, wanted.y / speed) >= _AHEAD
        return not ahead.any() or bool(self.measured[ahead].mean() >= _LEAST_MEASURED)

    def problem(self, now_s: float) -> str:
        """Return why its newest measurement cannot be used; empty if it can."""
        if self.newest.fresh(now_s) and not self.newest.refusal:
            return ""
        return self.newest.why_unknown(now_s)


class ObstacleGuard:
    """Limits velocities by the contract's ``obstacles``. Give it every measurement, and every velocity that is sent."""

    def __init__(self, contract: Contract) -> None:
        self._limits = contract.limits
        self._settings = contract.obstacles
        sensors = self._settings.sensors if self._settings else []
        self._sensors = [
            _Sensor(sensor, np.empty((0, 2)), Newest(sensor.topic, sensor.max_age_s)) for sensor in sensors
        ]
        corners = np.array(self._settings.footprint if self._settings else [[0, 0], [1, 0], [0, 1]], dtype=float)
        self._outline = _Outline(corners)
        self._sent: deque[tuple[float, Velocity]] = deque()
        self.unseen = ""
        """Why the last command was refused, if too little was measured in its direction; else empty."""

    @property
    def limited(self) -> bool:
        """True if the contract has ``obstacles``."""
        return self._settings is not None

    def put_scan(
        self,
        sensor: int,
        ranges: npt.ArrayLike,
        angles: tuple[float, float],
        limits: tuple[float, float],
        measured_s: float,
        received_s: float,
    ) -> None:
        """Take a laser scan of the sensor at this place in the contract.

        ``ranges`` [m] are those of sensor_msgs/LaserScan, ``angles`` are the first and the increment [rad], and
        ``limits`` the smallest and largest valid range [m].
        """
        values = np.asarray(ranges, dtype=np.float64)
        self._put(sensor, values, (*angles, len(values)), limits, measured_s, received_s)

    def put_range(
        self,
        sensor: int,
        distance: float,
        field_of_view: float,
        limits: tuple[float, float],
        measured_s: float,
        received_s: float,
    ) -> None:
        """Take a distance [m] of a sensor_msgs/Range: the nearest obstacle anywhere in its cone [rad]."""
        values = np.full(_CONE_RAYS, distance)
        angles = (-field_of_view / 2, field_of_view / (_CONE_RAYS - 1), _CONE_RAYS)
        self._put(sensor, values, angles, limits, measured_s, received_s)

    def sent(self, velocity: Velocity, now_s: float) -> None:
        """Note the velocity that was sent at ``now_s``."""
        if self._settings is None:
            return
        self._sent.append((now_s, velocity))
        kept_s = max(sensor.settings.max_age_s for sensor in self._sensors)
        while len(self._sent) > 1 and now_s - self._sent[1][0] > kept_s:
            self._sent.popleft()

    def problem(self, now_s: float) -> str:
        """Return why obstacles are unknown at ``now_s``; empty if they are known, or not in the contract."""
        problems = [why for sensor in self._sensors if (why := sensor.problem(now_s))]
        return f"obstacles are unknown: {'; '.join(problems)}" if problems else ""

    def apply(self, wanted: Velocity, now_s: float, reaction_s: float) -> tuple[Velocity, str]:
        """Return what may be sent of ``wanted`` at ``now_s``, and why it is less; an empty string if it is not less.

        ``reaction_s`` is the time until the next command is sent.
        """
        self.unseen = ""
        if self._settings is None or wanted == Velocity():
            return wanted, ""
        if why := self.problem(now_s):
            return Velocity(), why
        self.unseen = self._unseen(wanted)
        if self.unseen:
            return Velocity(), self.unseen
        share, topic = self._share(wanted, now_s, reaction_s)
        if share >= 0.999:
            return wanted, ""
        if share < _STANDS and wanted.yaw_rate and (wanted.x or wanted.y):
            turn, _ = self.apply(Velocity(0.0, 0.0, wanted.yaw_rate), now_s, reaction_s)
            return turn, f"an obstacle is ahead, seen on '{topic}'"
        share = 0.0 if share < _STANDS else share
        slower = Velocity(wanted.x * share, wanted.y * share, wanted.yaw_rate * share)
        return slower, f"an obstacle is ahead, seen on '{topic}'"

    def _unseen(self, wanted: Velocity) -> str:
        """Return why obstacles in the direction of travel are unknown; empty if they are known."""
        topics = ", ".join(f"'{sensor.settings.topic}'" for sensor in self._sensors if not sensor.sees(wanted))
        return f"obstacles are unknown: too few of the values ahead on {topics} are measurements" if topics else ""

    def _put(
        self,
        index: int,
        ranges: npt.NDArray[np.float64],
        angles: tuple[float, float, int],
        limits: tuple[float, float],
        measured_s: float,
        received_s: float,
    ) -> None:
        sensor, (nearest, farthest) = self._sensors[index], limits
        if not len(ranges) or math.isnan(sum((*angles, nearest, farthest))) or math.isinf(sum((*angles, nearest))):
            sensor.newest.refuse("it has no values, or no angles or limits", received_s)
            return
        too_near = np.isneginf(ranges)
        # Many drivers send the largest range where nothing is in range.
        free = np.isposinf(ranges) | (ranges == farthest)
        empty = np.isnan(ranges) | ((ranges <= 0.0) & ~too_near)
        if sensor.settings.invalid_is_free:
            free |= empty | (ranges > farthest)
        elif empty.all():
            sensor.newest.refuse("no value in it is a distance", received_s)
            return
        within = (ranges >= nearest) & (ranges < farthest)
        sensor.newest.accept(measured_s, received_s)
        if sensor.directions is None or sensor.angles != angles:
            first, increment, count = angles
            turned = sensor.settings.yaw_rad + first + increment * np.arange(count)
            sensor.angles, sensor.directions = angles, np.column_stack([np.cos(turned), np.sin(turned)])
        sensor.measured = within | too_near | free
        distances = np.where(too_near, nearest, ranges)
        kept = within | too_near | ((ranges > 0.0) & (ranges < nearest))
        place = (sensor.settings.x_m, sensor.settings.y_m)
        points = distances[kept, None] * sensor.directions[kept] + place
        sensor.points = points[self._outline.distance(points) > 0.0]

    def _share(self, wanted: Velocity, now_s: float, reaction_s: float) -> tuple[float, str]:
        """Return the share of a command that may be sent, 0 .. 1, and the topic of the sensor that limits it."""
        assert self._settings is not None
        limits, settings = self._limits, self._settings
        speed, turning = math.hypot(wanted.x, wanted.y), abs(wanted.yaw_rate)
        reaction_s += settings.reaction_s
        needed_s = max(
            settings.slow_time_s,
            reaction_s + speed / (2 * limits.linear_acceleration_m_s2),
            reaction_s + turning / (2 * limits.angular_acceleration_rad_s2),
        )
        least, by = 1.0, ""
        for sensor in self._sensors:
            spent_s = self._spent_s(sensor.newest.measured_s, now_s, speed, turning)
            free_s = self._outline.free_s(sensor.points, wanted, settings.stop_distance_m, needed_s + spent_s) - spent_s
            if free_s >= needed_s:
                continue
            free_s = max(0.0, free_s)
            share = free_s / settings.slow_time_s
            for rate, braking in (
                (speed, limits.linear_acceleration_m_s2),
                (turning, limits.angular_acceleration_rad_s2),
            ):
                if rate:
                    share = min(share, stoppable(rate * free_s, braking, reaction_s) / rate)
            if share < least:
                least, by = share, sensor.settings.topic
        return least, by

    def _spent_s(self, measured_s: float, now_s: float, speed: float, turning: float) -> float:
        """Return for how long the command would need for what the robot was sent to cover since ``measured_s``."""
        covered, turned, until_s = 0.0, 0.0, now_s
        for at_s, velocity in reversed(self._sent):
            held_s = until_s - max(at_s, measured_s)
            if held_s <= 0.0:
                break
            covered += math.hypot(velocity.x, velocity.y) * held_s
            turned += abs(velocity.yaw_rate) * held_s
            until_s = at_s
        return max(covered / speed if speed else 0.0, turned / turning if turning else 0.0)


class _Outline:
    """The robot's outline: distances of points from it, and the time that it can move freely."""

    def __init__(self, corners: Points) -> None:
        self._x, self._y = corners.T
        following = np.roll(corners, -1, axis=0)
        self._edge_x, self._edge_y = (following - corners).T
        self._squares = self._edge_x**2 + self._edge_y**2
        self._next_y = following[:, 1]
        self._radius_m = float(np.hypot(*corners.T).max())

    def distance(self, points: Points) -> Points:
        """Return the distance of each point ``[N, 2]`` from the outline, float ``[N]`` [m]; 0 inside."""
        if not len(points):
            return np.empty(0)
        x, y = points[:, :1] - self._x, points[:, 1:] - self._y
        along = (x * self._edge_x + y * self._edge_y) / self._squares
        np.clip(along, 0.0, 1.0, out=along)
        x -= along * self._edge_x
        y -= along * self._edge_y
        nearest: Points = np.sqrt((x * x + y * y).min(axis=1))
        # Farther out than the circle around the outline, no point is inside.
        perhaps = np.flatnonzero((points**2).sum(axis=1) < self._radius_m**2)
        if len(perhaps):
            nearest[perhaps[self._contains(points[perhaps])]] = 0.0
        return nearest

    def _contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Return whether each point is inside: the even-odd rule, as in mobile_vla_data.polygon."""
        x, y = points[:, :1], points[:, 1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = self._x + (y - self._y) * self._edge_x / self._edge_y
        crossed = ((self._y > y) != (self._next_y > y)) & (x < crossing)
        inside: npt.NDArray[np.bool_] = crossed.sum(axis=1) % 2 == 1
        return inside

    def free_s(self, points: Points, velocity: Velocity, stop_m: float, until_s: float) -> float:
        """Return for how long ``velocity`` can be held before a point is nearer than ``stop_m`` [s]; or infinity.

        It is exact to :data:`_STEP_M`: the outline is advanced by the distance to the nearest point, which it cannot
        pass in that time (conservative advancement, Mirtich 1996).
        """
        fastest = math.hypot(velocity.x, velocity.y) + abs(velocity.yaw_rate) * self._radius_m
        reach = fastest * until_s + self._radius_m + stop_m
        points = points[(points**2).sum(axis=1) <= reach**2]
        if not len(points):
            return math.inf
        distances = self.distance(points)
        now_m = float(distances.min())
        limit_m = min(stop_m, max(now_m - _NOISE_M, min(now_m, stop_m / 2)))
        points = points[distances < limit_m + fastest * until_s]
        time_s, room_m = 0.0, now_m - limit_m
        while time_s < until_s:
            next_s = time_s + max(room_m, _STEP_M) / fastest
            room_m = float(self.distance(_seen_from(points, velocity, next_s)).min(initial=math.inf)) - limit_m
            if room_m < -1e-4:
                return time_s
            time_s = next_s
        return math.inf


def _seen_from(points: Points, velocity: Velocity, time_s: float) -> Points:
    """Return points ``[N, 2]`` in the frame of a robot that has held ``velocity`` for ``time_s``."""
    turn = velocity.yaw_rate * time_s
    if abs(turn) < 1e-9:
        x, y = velocity.x * time_s, velocity.y * time_s
    else:
        ahead, aside = math.sin(turn) / velocity.yaw_rate, (1.0 - math.cos(turn)) / velocity.yaw_rate
        x, y = velocity.x * ahead - velocity.y * aside, velocity.x * aside + velocity.y * ahead
    cosine, sine = math.cos(turn), math.sin(turn)
    moved = points - (x, y)
    turned: Points = moved @ np.array([[cosine, -sine], [sine, cosine]])
    return turned
