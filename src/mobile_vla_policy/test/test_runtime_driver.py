"""The driver and its inference thread without ROS: a clock, a camera and a policy that the test holds in its hands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from robot_fixtures import CONTRACT, GO

from mobile_vla_data.contract import Contract
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_policy.runtime.driver import DriveState, Fault, PolicyDriver, Tick
from mobile_vla_policy.runtime.scheduler import SchedulerOptions

pytestmark = pytest.mark.alone

HOUR_NS = 3600 * 10**9
CONTRACT_OF_ROBOT = Contract.load(CONTRACT)
PERIOD_NS = CONTRACT_OF_ROBOT.period_ns


@dataclass(frozen=True)
class Chunk:
    deltas: np.ndarray
    gripper: np.ndarray


class Policy:
    """Predicts ``delta_x``; a pass waits for ``go``, and what is in ``fault`` happens in it."""

    contract = CONTRACT_OF_ROBOT
    cameras = ("static",)
    horizon = 5
    stage_latency_s: dict[str, float] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.delta_x = 0.03
        self.gripper = 0.0
        self.fault: Callable[[], None] = lambda: None
        self.go = threading.Event()
        self.go.set()
        self.began = 0
        self.finished = 0
        self.memories: list[int] = []

    def initial_memory(self) -> int:
        return 0

    def check_instruction(self, _instruction: str) -> str:
        return ""

    def predict(
        self, _images: Any, _state: Any, _instruction: str, memory: int, *, elapsed_periods: int = 1
    ) -> tuple[Chunk, int]:
        deltas = np.tile(np.float32([self.delta_x, 0.0]), (self.horizon, 1))
        self.began += 1
        self.memories.append(memory)
        try:
            self.go.wait()
            self.fault()
        finally:
            self.finished += 1
        return Chunk(deltas, np.full(self.horizon, self.gripper, dtype=np.float32)), memory + 1

    def prepare(self, _memory: int) -> None:
        pass


class Drive:
    """A driver with its inputs; time passes only where the test says so."""

    def __init__(self, policy: Policy, simulated: bool = False, **options: float) -> None:
        self.policy = policy
        self.now_ns = 10**18
        self.builder = ObservationBuilder(policy.contract)
        self.driver = PolicyDriver(
            policy,
            self.builder,
            SchedulerOptions(**{"blend": 0.0, **options}),
            lambda: self.now_ns,
            mono_ns=(lambda: self.now_ns) if simulated else time.monotonic_ns,
            inference_timeout_s=5.0,
        )
        self.driver.start()
        self.driver.follow(GO)

    def see(self) -> None:
        """Every input is captured now."""
        camera = self.policy.contract.cameras["static"]
        pixels = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        self.builder.put_odometry(self.now_ns, self.now_ns, 0.0, 0.0, "odom")
        self.builder.put_gripper(self.now_ns, self.now_ns, 0.0)
        self.builder.put_image(
            "static", self.now_ns, self.now_ns, pixels.data, "rgb8", camera.height, camera.width, 3 * camera.width
        )
        self.driver.wake()

    def tick(self) -> Tick:
        return self.driver.tick(self.now_ns)

    def pass_period(self) -> Tick:
        """One control period with a fresh picture at its end; waits for the pass that is due, if one is."""
        self.now_ns += PERIOD_NS
        self.see()
        time.sleep(0.02)
        while self.policy.finished < self.policy.began:
            time.sleep(0.002)
        return self.tick()

    def until(self, condition: Callable[[Tick], bool]) -> Tick:
        deadline_s = time.monotonic() + 30.0
        while not condition(tick := self.tick()):
            assert time.monotonic() < deadline_s, tick
            time.sleep(0.002)
        return tick


@pytest.fixture
def drive() -> Iterator[Callable[..., Drive]]:
    drives: list[Drive] = []

    def start(simulated: bool = False, **options: float) -> Drive:
        drives.append(Drive(Policy(), simulated, **options))
        return drives[-1]

    yield start
    for one in drives:
        one.policy.go.set()
        one.driver.stop(1.0)


def moving(tick: Tick) -> bool:
    return tick.action is not None


@pytest.mark.parametrize("replan_threshold", [0, 2])
def test_when_the_clock_is_set_back_the_robot_goes_on_with_the_next_pictures(drive, replan_threshold):
    robot = drive(replan_threshold=replan_threshold)
    robot.see()
    robot.until(moving)
    robot.now_ns -= HOUR_NS
    assert robot.tick().action is None
    robot.see()
    assert robot.until(moving).state is DriveState.RUNNING
    ticks = [robot.pass_period() for _ in range(8)]
    assert all(map(moving, ticks)), "and it goes on from there"


def test_when_the_clock_is_set_back_a_first_pass_that_fails_does_not_wait_for_the_old_time(drive):
    robot = drive(replan_threshold=2)
    robot.see()
    robot.until(moving)
    robot.now_ns -= HOUR_NS
    robot.policy.delta_x = float("nan")
    robot.see()
    robot.until(lambda _: robot.driver.refused_chunks == 1)
    robot.policy.delta_x = 0.03
    assert any(moving(robot.pass_period()) for _ in range(5))


def test_a_pass_that_was_running_when_the_clock_was_set_back_is_dropped(drive):
    robot = drive()
    robot.policy.go.clear()
    robot.see()
    robot.until(lambda _: robot.policy.began == 1)
    # Of the next pass; the running one has its own already.
    robot.policy.delta_x = 0.01
    robot.now_ns -= HOUR_NS
    robot.policy.go.set()
    robot.see()
    speeds = set()
    robot.until(lambda tick: moving(tick) and (speeds.add(round(tick.action.delta_x, 3)), robot.policy.began == 2)[1])
    assert speeds == {0.01}, "what was planned before the clock was set back is never driven"


def test_replanning_waits_until_few_actions_are_left_and_then_does_not_wait(drive):
    often, seldom = drive(), drive(replan_threshold=2)
    for robot in (often, seldom):
        robot.see()
        robot.until(moving)
        assert all(moving(robot.pass_period()) for _ in range(12))
    # Thirteen and five, where every pass fits into its period.
    assert often.driver.passes > 1.5 * seldom.driver.passes


def test_an_inference_thread_that_has_ended_is_an_error_and_not_a_wait(drive):
    def end_thread() -> None:
        raise SystemExit("somebody has called exit()")

    robot = drive()
    robot.policy.fault = end_thread
    robot.see()
    tick = robot.until(lambda tick: tick.state is DriveState.ERROR)
    assert tick.fault is Fault.INFERENCE
    assert "the inference thread has ended" in tick.message and "somebody has called exit()" in tick.message


def test_beginning_again_forgets_chunks_memory_and_the_gripper_decision(drive):
    robot = drive()
    robot.policy.gripper = 0.9
    robot.see()
    assert robot.until(moving).action.gripper_closed is True
    robot.policy.gripper = 0.5
    robot.pass_period()
    assert robot.until(moving).action.gripper_closed is True, "undecided: as it was told"
    robot.driver.begin_anew()
    assert robot.tick().action is None and robot.driver.instruction == GO
    robot.pass_period()
    assert robot.until(moving).action.gripper_closed is None, "somebody else may have moved it"
    assert robot.policy.memories[-1] == 0


def test_a_policy_that_is_too_slow_for_its_chunks_reports_and_counts_them(drive):
    robot = drive()
    robot.policy.go.clear()
    robot.see()
    robot.until(lambda _: robot.policy.began == 1)
    robot.now_ns += robot.policy.horizon * PERIOD_NS
    robot.see()
    robot.policy.fault = robot.policy.go.clear  # the next pass waits again
    robot.policy.go.set()
    tick = robot.until(lambda _: robot.driver.scheduler.late_chunks == 1)
    assert tick.action is None and "takes longer than its chunk" in tick.message
    robot.policy.fault = lambda: None
    robot.policy.go.set()
    assert moving(robot.until(moving)), "one that comes in time is driven"
    robot.driver.follow("go home")
    assert "waiting for the first chunk" in robot.tick().message


def test_a_simulation_slower_than_real_time_is_driven_at_full_speed(drive):
    robot = drive(simulated=True)
    robot.see()
    robot.until(moving)
    for _ in range(3):
        time.sleep(0.6)  # A control period takes six times as long as in real time.
        assert robot.pass_period().action.delta_x == pytest.approx(robot.policy.delta_x)


def test_chunks_last_until_the_next_one_in_a_simulation_faster_than_real_time(drive):
    robot = drive(simulated=True)
    for number in range(1, 5):
        robot.policy.go.clear()
        robot.see()
        robot.until(lambda _, number=number: robot.policy.began == number)
        for _ in range(3):
            robot.now_ns += PERIOD_NS
            robot.tick()
        robot.policy.go.set()
        robot.until(lambda _, number=number: robot.driver.passes == number)
    assert robot.driver.scheduler.starved_ticks == 0
