"""One demonstration: the expert drives one assignment, with noise on the driven but not on the recorded commands.

A policy may drive the first part, while what the expert would do there is recorded (DAgger, Ross et al. 2011): so a
dataset shows how to go on from where the policy's own errors lead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec
from mobile_vla_data.checks.findings import has_errors
from mobile_vla_data.checks.signals import Signals, check_signals
from mobile_vla_data.contract import Contract
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_sim.expert.expert import Expert
from mobile_vla_sim.expert.noise import DrivingNoise, GripperNoise
from mobile_vla_sim.headless.driver import PolicyDriver
from mobile_vla_sim.headless.robot import HeadlessRobot, Snapshot
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import STANDSTILL_M_S
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.planner import UnreachableError
from mobile_vla_sim.world.world import World

MIN_STEPS, MAX_STEPS = 50, 100
HOLD_TICKS = 10
"""Control ticks at the goal at the end of every episode, from which stopping is learned."""
LONGEST_LEAD, STUCK_TICKS, STUCK_M_S = 70, 10, 0.05
"""Most control ticks that a policy drives before the expert takes over, and those that it may be slower than [m/s]."""
_ATTEMPTS = 20


class DemonstrationError(RuntimeError):
    """The expert cannot do an assignment in time, or must not; one line."""


class OutOfTimeError(DemonstrationError):
    """The expert was not done within :data:`MAX_STEPS` steps, in no attempt."""


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
    policy: DrivingPolicy | None = None,
) -> list[Step]:
    """Let the expert drive an assignment; the noise of the first attempt that ends in time is kept.

    Args:
        world: the simulation; it is reset.
        assignment: what to demonstrate.
        epoch_ns: stamp of simulated time zero [ns].
        noise_m_s: standard deviation of the driving noise [m/s]; 0 turns it and the pushes off.
        odometry: ``drifting`` or ``localised``.
        attempts: how often to try.
        policy: drives the first part, until it is stuck, or for a random time; actions are the expert's all the same.

    Returns:
        Between :data:`MIN_STEPS` and :data:`MAX_STEPS` steps that end with the goal achieved and the robot standing.

    Raises:
        OutOfTimeError: no attempt achieved the goal in time.
    """
    for attempt in range(attempts):
        random = np.random.default_rng([assignment.scene.seed, assignment.place, attempt])
        robot = HeadlessRobot(world, assignment, random, epoch_ns, odometry)
        noise = None
        if noise_m_s > 0.0:
            gripper = GripperNoise(random, closed=bool(assignment.scene.held))
            noise = DrivingNoise(random, world.contract, noise_m_s), gripper
        lead, lead_ticks = None, 0
        if policy:
            lead = PolicyDriver(policy, world.contract, assignment.language, bool(assignment.scene.held))
            # Shorter with each attempt, and none in the second half of them: a policy that leads astray leaves the
            # expert too little time.
            longest = max(0, LONGEST_LEAD * (attempts - 2 * attempt) // attempts)
            lead_ticks = int(random.integers(longest // 2, longest + 1))
        try:
            steps = _demonstrate(world, robot, noise, lead, lead_ticks)
        except UnreachableError:
            # Pushed, or led, to where the expert finds no way.
            continue
        if steps:
            return steps
    name, seed = assignment.task.name, assignment.scene.seed
    raise OutOfTimeError(f"scene {seed} ({name}): the expert was not done within {MAX_STEPS} steps")


def _demonstrate(
    world: World,
    robot: HeadlessRobot,
    noise: tuple[DrivingNoise, GripperNoise] | None,
    lead: PolicyDriver | None,
    lead_ticks: int,
) -> list[Step] | None:
    contract = world.contract
    expert, codec = Expert(robot.assignment, contract), ActionCodec(contract)
    steps: list[Step] = []
    standing = stuck = 0
    while len(steps) < MAX_STEPS:
        snapshot = robot.observe()
        command = expert.command(snapshot.truth, contract.period_s)
        velocity, closed = command.velocity, command.gripper > 0.5
        action = codec.to_action(velocity, gripper_closed=closed)
        steps.append(Step(snapshot, action, codec.lost_yaw_rad(velocity)))
        slow = math.hypot(velocity.x, velocity.y) < STANDSTILL_M_S
        standing = standing + 1 if slow and command.done else 0
        if standing >= HOLD_TICKS and len(steps) >= MIN_STEPS:
            return None if _refused(steps, contract, robot.assignment.category) else steps
        if lead and len(steps) <= lead_ticks:
            velocity, closed = lead.command(snapshot.images, snapshot.state), lead.closed
            stuck = stuck + 1 if math.hypot(velocity.x, velocity.y) < STUCK_M_S else 0
            lead_ticks = 0 if stuck >= STUCK_TICKS else lead_ticks
        elif noise:
            driving, gripper = noise
            closed = gripper.disturb(closed, velocity)
            velocity = driving.disturb(velocity)
        robot.advance(velocity, float(closed))
    return None


def _refused(steps: list[Step], contract: Contract, category: str) -> bool:
    """Return True if ``validate`` would call this wrong: where the robot went has little to do with the actions.

    That happens where noise or a policy kept it from what the expert wanted for long.
    """
    signals = Signals(
        file="",
        contract=contract,
        category=category,
        outcome="success",
        dropped_ticks=0,
        lost_yaw_rad=0.0,
        ticks_ns=np.array([step.snapshot.stamp_ns for step in steps]),
        stamps_ns={name: np.array([s.snapshot.stamps_ns[name] for s in steps]) for name in steps[0].snapshot.stamps_ns},
        states=np.array([step.snapshot.state for step in steps], dtype=np.float64),
        actions=np.array([step.action for step in steps], dtype=np.float64),
    )
    return has_errors(check_signals(signals))
