"""Robots that do not do their task, to show that no success test passes by accident."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mobile_vla_data.action import Velocity
from mobile_vla_sim.headless.robot import HeadlessRobot
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.world.world import World

Act = Callable[[HeadlessRobot], tuple[Velocity, float]]
"""From the robot to the velocity and gripper position of the next control period."""


def standing(random: np.random.Generator) -> Act:
    """Stand still, and keep what is held."""
    return lambda robot: (Velocity(), float(bool(robot.assignment.scene.held)))


def aimless(random: np.random.Generator) -> Act:
    """Drive about at a steady speed in directions that change slowly."""
    heading, speed = random.uniform(0.0, math.tau), random.uniform(0.1, 0.7)

    def act(robot: HeadlessRobot) -> tuple[Velocity, float]:
        nonlocal heading
        heading += random.normal(0.0, 0.3)
        velocity = Velocity(speed * math.cos(heading), speed * math.sin(heading))
        return velocity, float(bool(robot.assignment.scene.held))

    return act


def jerky(random: np.random.Generator) -> Act:
    """Drive and grip at random in every control period."""
    return lambda robot: (Velocity(*random.uniform(-0.8, 0.8, size=2).tolist()), float(random.random() < 0.5))


def closing_on_nothing(random: np.random.Generator) -> Act:
    """Stand still and open and close the gripper every second."""
    return lambda robot: (Velocity(), float(robot.time_s % 2.0 < 1.0))


CONTROLS: dict[str, Callable[[np.random.Generator], Act]] = {
    "standing still": standing,
    "aimless": aimless,
    "jerky": jerky,
    "closing on nothing": closing_on_nothing,
}


def succeeds(world: World, assignment: Assignment, act: Act, time_limit_s: float = 15.0) -> bool:
    """Return True if a robot that follows ``act`` succeeds."""
    robot = HeadlessRobot(world, assignment, np.random.default_rng(assignment.scene.seed), 1)
    while robot.time_s < time_limit_s and not robot.success:
        robot.advance(*act(robot))
    return robot.success
