"""The scripted expert: drives the shortest path to where the arm reaches the target, acts, and stops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.goal import Aim
from mobile_vla_sim.tasks.goals import Hold, PutOn
from mobile_vla_sim.world.access import NOMINAL_REACH_M, REACH_M, Point
from mobile_vla_sim.world.arm import SIDEWAYS_RAD, Grip
from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M
from mobile_vla_sim.world.geometry import Points
from mobile_vla_sim.world.planner import Planner
from mobile_vla_sim.world.world import Truth


@dataclass(frozen=True)
class Command:
    """Command of the expert for one control period."""

    velocity: Velocity
    """In the robot frame."""
    gripper: float
    """0 open, 1 closed."""
    done: bool
    """True if the goal is achieved and only standing still is left."""


_SPEED_M_S = 0.7
"""Cruising speed; below the contract's limit so that corrections have room."""
_DRAWER_SPEED_M_S = 0.3
_LOOK_AHEAD_M = 0.3
"""Distance along the path to the point that it aims at; rounds the corners."""
_SLOW_DOWN_PER_S = 1.8
"""Speed per metre left to the goal, so that it stops smoothly [1/s]."""
_CREEP_M_S = 0.1
"""Speed just before it stops; at lower speeds the last centimetres would take seconds."""
_STOP_WITHIN_M = 0.05
_FACE_SPEED_M_S = 0.3
"""Towards the target, from where the path ends; fast enough that the arm follows."""
_REACH_EARLY_M = 0.3
"""With less than this of its path left, it acts as soon as the arm reaches. It does not first stop where the path
ends: a policy that learns from images cannot see that place, but it sees what is under the gripper."""
_HOME_FROM_M = 0.8
"""So near a drawer's handle, and within ``_HOME_RAD`` of straight in front, it drives straight at it, so that
the arm points there when it arrives."""
_HOME_RAD = math.radians(60.0)
_BACK_OFF_M = 0.6
"""It backs off so far from a handle that its arm does not point at, and comes again."""
_TURN_PER_S = 2.5
"""Differential base: yaw rate per radian of heading error [1/s]."""

_STILL = np.zeros(2)
_TOO_NEAR_M = REACH_M[0] + 0.05
_BESIDE_RAD, _BESIDE_HANDLE_RAD = 0.5, SIDEWAYS_RAD - 0.2
"""It closes the gripper on what is this far beside the arm's direction; the arm turns there by itself. Of several
objects the arm takes the one nearest to its hand, so it points at an object more exactly than at a handle."""
_FACE_S, _ACT_S, _SLIDE_S, _HOME_S = 1.4, 2.5, 4.0, 4.0
"""Longest time to face the target, to wait for the gripper, to pull or push a drawer, and to come to its handle [s]."""


class Expert:
    """Commands for one assignment, from the truth. Acceleration stays within the contract's limit."""

    def __init__(self, assignment: Assignment, contract: Contract) -> None:
        self._assignment, self._contract = assignment, contract
        self._speed_m_s = min(_SPEED_M_S, contract.limits.linear_m_s)
        self._velocity: Points = np.zeros(2)
        self._closed = bool(assignment.scene.held)
        self._slides = assignment.goal.aim in (Aim.OPEN, Aim.CLOSE)
        self._outwards = np.array(assignment.scene.piece("cabinet").front if self._slides else (0, 0), dtype=float)
        self._planner = Planner(assignment.stand, assignment.scene.obstacles)
        self._script = self._steps()
        self._done = False
        self._path_left_m = math.inf
        self._truth: Truth

    def command(self, truth: Truth, period_s: float) -> Command:
        """Return what to do for the next ``period_s`` seconds."""
        self._truth = truth
        wanted = next(self._script)
        gripper = float(self._closed)
        yaw = truth.pose.yaw
        if self._contract.base == "differential":
            return Command(self._steer(wanted, yaw), gripper, self._done)
        step = wanted - self._velocity
        most = self._contract.limits.linear_acceleration_m_s2 * period_s
        size = float(np.linalg.norm(step))
        self._velocity = self._velocity + (step if size <= most else step * (most / size))
        cos, sin = math.cos(yaw), math.sin(yaw)
        vx, vy = float(self._velocity[0]), float(self._velocity[1])
        return Command(Velocity(cos * vx + sin * vy, cos * vy - sin * vx), gripper, self._done)

    def _steps(self) -> Iterator[Points]:
        """The script: world velocities [m/s], one for each control period, forever."""
        aim = self._assignment.goal.aim
        while True:
            yield from self._drive()
            if aim in (Aim.ROOM, Aim.APPROACH):
                yield from self._stop()
            elif aim is Aim.GRASP:
                yield from self._grasp()
            elif aim is Aim.PLACE:
                yield from self._place()
            else:
                yield from self._slide(aim)
            while self._achieved() and self._left_m() < 0.3:
                self._done = True
                yield self._approach() if aim in (Aim.ROOM, Aim.APPROACH) else _STILL
            self._done = False
            yield _STILL

    def _achieved(self) -> bool:
        return self._assignment.goal.reached(self._assignment.scene, self._truth)

    def _left_m(self) -> float:
        if self._assignment.goal.aim not in (Aim.ROOM, Aim.APPROACH):
            return 0.0
        return math.dist((self._truth.pose.x, self._truth.pose.y), self._assignment.stand)

    def _drive(self) -> Iterator[Points]:
        """Follow the path to its end, or to where the arm reaches."""
        acts = self._assignment.goal.aim in (Aim.GRASP, Aim.PLACE)
        while True:
            wanted = self._approach()
            if self._slides and self._before_handle():
                return
            if not wanted.any() or (acts and self._path_left_m < _REACH_EARLY_M and self._in_position()):
                return
            yield wanted

    def _stop(self) -> Iterator[Points]:
        yield _STILL
        while float(np.linalg.norm(self._velocity)) >= 0.12:
            yield self._approach()

    def _grasp(self) -> Iterator[Points]:
        yield from self._face()
        yield from self._close()

    def _place(self) -> Iterator[Points]:
        yield from self._face()
        began_s = self._truth.time_s
        while self._truth.time_s - began_s < _ACT_S and self._truth.grip is not Grip.OPEN:
            # It may have been pushed away from there before the gripper opens.
            self._closed = self._truth.grip is Grip.HOLDING and not self._in_position()
            if self._closed:
                return
            yield _STILL

    def _slide(self, aim: Aim) -> Iterator[Points]:
        yield from self._home()
        yield from self._close()
        if self._truth.grip is not Grip.HOLDING:
            return
        direction = self._outwards if aim is Aim.OPEN else -self._outwards
        began_s, before_m = self._truth.time_s, math.inf
        while self._truth.time_s - began_s < _SLIDE_S:
            drawer_m = self._truth.drawer_m
            left_m = DRAWER_TRAVEL_M - drawer_m if aim is Aim.OPEN else drawer_m
            # Furniture may stop the robot before the drawer does.
            stopped = abs(drawer_m - before_m) < 0.002 and self._achieved()
            if self._truth.grip is not Grip.HOLDING or left_m < 0.02 or stopped:
                break
            before_m = drawer_m
            yield direction * min(_DRAWER_SPEED_M_S, 0.06 + 2.0 * left_m)
        while float(np.linalg.norm(self._velocity)) > 0.05:
            yield _STILL
        self._closed = False
        yield from self._wait(0.2)

    def _close(self) -> Iterator[Points]:
        """Close the gripper and wait for the result; open it again if it closed on nothing, or was pushed away."""
        began_s = self._truth.time_s
        while self._truth.time_s - began_s < _ACT_S and self._truth.grip not in (Grip.HOLDING, Grip.EMPTY):
            self._closed = self._truth.grip is not Grip.OPEN or self._in_position()
            if not self._closed:
                return
            yield _STILL
        if self._truth.grip is not Grip.HOLDING:
            self._closed = False
            yield from self._wait(0.2)

    def _wait(self, duration_s: float) -> Iterator[Points]:
        began_s = self._truth.time_s
        while self._truth.time_s - began_s < duration_s - 1e-6:
            yield _STILL

    def _face(self) -> Iterator[Points]:
        """Turn the arm towards the target and approach it slowly."""
        began_s = self._truth.time_s
        while self._truth.time_s - began_s < _FACE_S:
            if self._in_position():
                return
            away, distance = self._from_aim()
            leaves = distance < _TOO_NEAR_M and not isinstance(self._assignment.goal, PutOn)
            yield away * (_FACE_SPEED_M_S * (1.0 if leaves else -1.0))

    def _home(self) -> Iterator[Points]:
        """Drive straight at the handle until the gripper is around it.

        The arm turns to where the robot drives. Where it points elsewhere and the handle is too near to turn to on the
        way, the robot backs off first.
        """
        began_s, backs_off = self._truth.time_s, False
        while self._truth.time_s - began_s < _HOME_S and not self._in_position():
            away, distance = self._from_aim()
            backs_off = distance < (_BACK_OFF_M if backs_off else NOMINAL_REACH_M)
            yield away * (_FACE_SPEED_M_S * (1.0 if backs_off else -1.0))

    def _before_handle(self) -> bool:
        """Return True near the drawer's handle, in front of the drawer."""
        away, distance = self._from_aim()
        return distance < _HOME_FROM_M and float(away @ self._outwards) > math.cos(_HOME_RAD)

    def _from_aim(self) -> tuple[Points, float]:
        """Return the direction, a unit vector, and the distance [m] from where the gripper acts to the robot."""
        x, y = self._aim_point()
        away = np.array([self._truth.pose.x - x, self._truth.pose.y - y])
        distance = float(np.linalg.norm(away))
        return away / max(distance, 1e-6), distance

    def _in_position(self) -> bool:
        """Return True if the gripper is in the right place."""
        pose, goal = self._truth.pose, self._assignment.goal
        direction = pose.yaw + self._truth.aim
        if isinstance(goal, PutOn):
            x, y = pose.x + NOMINAL_REACH_M * math.cos(direction), pose.y + NOMINAL_REACH_M * math.sin(direction)
            return self._assignment.scene.piece(goal.surface).footprint.grown(-0.09).contains(x, y)
        x, y = self._aim_point()
        beside = math.remainder(math.atan2(y - pose.y, x - pose.x) - direction, math.tau)
        most = _BESIDE_HANDLE_RAD if self._slides else _BESIDE_RAD
        return abs(beside) < most and _TOO_NEAR_M < math.dist((x, y), (pose.x, pose.y)) < REACH_M[1] - 0.05

    def _aim_point(self) -> Point:
        """Where the gripper is to act, in the world."""
        goal, scene = self._assignment.goal, self._assignment.scene
        if isinstance(goal, PutOn):
            inner = scene.piece(goal.surface).footprint.grown(-0.17)
            x, y = self._truth.pose.x, self._truth.pose.y
            return min(max(x, inner.x0), inner.x1), min(max(y, inner.y0), inner.y1)
        x, y, _ = goal.target(scene, self._truth)
        return x, y

    def _approach(self) -> Points:
        """World velocity [m/s] towards a point on the path, slower near its end."""
        self._follow_moved_target()
        path = self._planner.path(self._truth.pose.x, self._truth.pose.y)
        lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
        self._path_left_m = left_m = float(lengths.sum())
        if left_m < _STOP_WITHIN_M:
            return _STILL
        aim = _along(path, lengths, min(_LOOK_AHEAD_M, left_m)) - path[0]
        distance = float(np.linalg.norm(aim))
        speed = min(self._speed_m_s, _CREEP_M_S + _SLOW_DOWN_PER_S * left_m)
        return aim * (speed / distance) if distance > 1e-9 else _STILL

    def _follow_moved_target(self) -> None:
        """Aim at where a pushed object is now."""
        goal, scene = self._assignment.goal, self._assignment.scene
        if not isinstance(goal, Hold) or not scene.on_floor(goal.thing):
            return
        x, y, _ = goal.target(scene, self._truth)
        sx, sy = self._planner.goal
        if abs(math.dist((x, y), (sx, sy)) - NOMINAL_REACH_M) > 0.06:
            px, py = self._truth.pose.x, self._truth.pose.y
            away = max(math.dist((px, py), (x, y)), 1e-6)
            share = NOMINAL_REACH_M / away
            self._planner = Planner((x + (px - x) * share, y + (py - y) * share), scene.obstacles)

    def _steer(self, wanted: Points, yaw: float) -> Velocity:
        """A differential base turns towards the wanted direction and drives as far as it faces it."""
        speed = float(np.linalg.norm(wanted))
        if speed < 1e-6:
            return Velocity()
        error = math.remainder(math.atan2(wanted[1], wanted[0]) - yaw, math.tau)
        backwards = self._truth.held == "handle" and abs(error) > math.pi / 2
        if backwards:
            error = math.remainder(error + math.pi, math.tau)
        limit = self._contract.limits.angular_rad_s
        # A turn on the spot only where an action can carry it.
        least = 0.0 if self._contract.action.yaw else 0.15
        forward = speed * max(least, math.cos(error)) * (-1.0 if backwards else 1.0)
        return Velocity(forward, 0.0, max(-limit, min(limit, _TURN_PER_S * error)))


def _along(path: Points, lengths: Points, distance_m: float) -> Points:
    """Return the point ``distance_m`` along a polyline."""
    for start, end, length in zip(path[:-1], path[1:], lengths, strict=True):
        if distance_m <= length and length > 0.0:
            return np.asarray(start + (end - start) * (distance_m / length))
        distance_m -= length
    return np.asarray(path[-1])
