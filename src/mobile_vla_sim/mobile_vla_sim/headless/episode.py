"""One demonstration: the expert drives one assignment, with noise on the driven but not on the recorded commands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec
from mobile_vla_data.checks.signals import drive_lengths, lengths_disagree
from mobile_vla_sim.expert.expert import Expert
from mobile_vla_sim.expert.noise import DrivingNoise, GripperNoise
from mobile_vla_sim.headless.robot import HeadlessRobot, Snapshot
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import STANDSTILL_M_S
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.world import World

MIN_STEPS, MAX_STEPS = 50, 100
HOLD_TICKS = 10
"""Control ticks at the goal at the end of every episode, from which stopping is learned."""
_ATTEMPTS = 20


class DemonstrationError(RuntimeError):
    """The expert cannot do an assignment in time; one line."""


@dataclass(frozen=True)
class Step:
    """One step of an episode as it is written."""

    snapshot: Snapshot
    action: npt.NDArray[np.float32]
    """float32 ``[3]``, or ``[4]`` where the contract has delta_yaw."""
    lost_yaw_rad: float
    """Turning of the command that the action does not carry [rad]."""


def drive_episode(
    world: World,
    assignment: Assignment,
    *,
    epoch_ns: int = 0,
    noise_m_s: float = 0.22,
    odometry: OdometryKind = "drifting",
    attempts: int = _ATTEMPTS,
) -> list[Step]:
    """Let the expert drive an assignment; the noise of the first attempt that ends in time is kept.

    Args:
        world: the simulation; it is reset.
        assignment: what to demonstrate.
        epoch_ns: stamp of simulated time zero [ns].
        noise_m_s: standard deviation of the driving noise [m/s]; 0 turns it and the pushes off.
        odometry: ``drifting`` or ``localised``.
        attempts: how often to try.

    Returns:
        Between :data:`MIN_STEPS` and :data:`MAX_STEPS` steps that end with the goal achieved and the robot standing.

    Raises:
        DemonstrationError: no attempt achieved the goal in time.
    """
    for attempt in range(attempts):
        random = np.random.default_rng([assignment.scene.seed, assignment.place, attempt])
        robot = HeadlessRobot(world, assignment, random, epoch_ns, odometry)
        noise = None
        if noise_m_s > 0.0:
            gripper = GripperNoise(random, closed=bool(assignment.scene.held))
            noise = DrivingNoise(random, world.contract, noise_m_s), gripper
        steps = _demonstrate(world, robot, noise)
        if steps:
            return steps
    name, seed = assignment.task.name, assignment.scene.seed
    raise DemonstrationError(f"scene {seed} ({name}): the expert was not done within {MAX_STEPS} steps")


def _demonstrate(
    world: World, robot: HeadlessRobot, noise: tuple[DrivingNoise, GripperNoise] | None
) -> list[Step] | None:
    contract = world.contract
    expert, codec = Expert(robot.assignment, contract), ActionCodec(contract)
    steps: list[Step] = []
    standing = 0
    while len(steps) < MAX_STEPS:
        snapshot = robot.observe()
        command = expert.command(snapshot.truth, contract.period_s)
        velocity, closed = command.velocity, command.gripper > 0.5
        action = codec.to_action(velocity, gripper_closed=closed)
        steps.append(Step(snapshot, action, codec.lost_yaw_rad(velocity)))
        slow = math.hypot(velocity.x, velocity.y) < STANDSTILL_M_S
        standing = standing + 1 if slow and command.done else 0
        if standing >= HOLD_TICKS and len(steps) >= MIN_STEPS:
            return None if _held_back(steps, contract.control_rate_hz) else steps
        if noise:
            driving, gripper = noise
            closed = gripper.disturb(closed, velocity)
            velocity = driving.disturb(velocity)
        robot.advance(velocity, float(closed))
    return None


def _held_back(steps: list[Step], control_rate_hz: float) -> bool:
    """Return True if the noise held the robot back for so long that its odometry looks wrong."""
    actions, states = (np.array(values) for values in zip(*((s.action, s.snapshot.state) for s in steps), strict=True))
    return lengths_disagree(*drive_lengths(actions, states, control_rate_hz))
