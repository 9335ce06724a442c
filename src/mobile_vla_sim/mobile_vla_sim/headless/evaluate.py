"""Closed-loop evaluation without ROS: a policy drives scenes on floor plans that no episode was ever collected on.

The policy sees what the recorder would have recorded, and its actions go to the robot through the same conversion
and limits. Simulated time stands still while it thinks. Every condition drives the same scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.parallel import Spread
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_sim.headless.conditions import NAMELESS_INSTRUCTION, Condition, Images
from mobile_vla_sim.headless.episode import drive_episode
from mobile_vla_sim.headless.trial import Trial, TrialRunner
from mobile_vla_sim.tasks.draw import Assignment, draw
from mobile_vla_sim.tasks.schedule import compatible
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.scene import Stream, scene_seed
from mobile_vla_sim.world.world import World


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the trials."""

    contract: Contract
    plan: CollectionPlan
    seed: int
    tasks: tuple[str, ...]
    conditions: tuple[Condition, ...] = (Condition.PLAIN,)
    replan: int = 1
    """Actions of a chunk that are executed before the next prediction."""
    time_limit_s: float | None = None
    """Simulated time that a trial may take; None: the task's limit [s]."""
    odometry: OdometryKind = "drifting"

    def __post_init__(self) -> None:
        swapped = [name for name in self.tasks if self._partners(name)]
        if Condition.SWAPPED in self.conditions and len(swapped) < len(self.tasks):
            alone = next(name for name in self.tasks if name not in swapped)
            raise ValueError(f"--swap-instruction: a scene of {alone} allows no second instruction")

    def _partners(self, name: str) -> list[str]:
        return [other for other in self.tasks if compatible(name, other)]

    def scene(self, index: int, *, held_out_wordings: bool = False) -> tuple[Assignment, ...]:
        """Return the assignments in the scene of trial ``index``: its task, then a second one if possible."""
        name = self.tasks[index % len(self.tasks)]
        partners = self._partners(name)
        other = (partners[(index // len(self.tasks)) % len(partners)],) if partners else ()
        return draw(
            scene_seed(Stream.EVALUATION, self.seed, index),
            (name, *other),
            self.plan,
            random_yaw=self.contract.base == "differential",
            held_out_wordings=held_out_wordings,
        )


@dataclass
class Evaluator:
    """Runs trials of one policy in one world."""

    world: World
    policy: DrivingPolicy
    config: EvaluateConfig
    on_images: Callable[[Images], None] | None = None
    """Is given the images of every control period."""
    _runner: TrialRunner = field(init=False)

    def __post_init__(self) -> None:
        """Raises ValueError when ``replan`` exceeds the policy's horizon."""
        config = self.config
        if not 1 <= config.replan <= self.policy.horizon:
            raise ValueError(f"--replan is {config.replan}; the policy predicts 1 .. {self.policy.horizon} actions")
        self._runner = TrialRunner(
            self.world, self.policy, config.replan, config.time_limit_s, config.odometry, self.on_images
        )

    @property
    def latencies_s(self) -> list[float]:
        """Seconds that each prediction took so far."""
        return self._runner.latencies_s

    def run(self, index: int, condition: Condition) -> Trial:
        """Run trial ``index`` under one condition."""
        held_out = condition is Condition.HELD_OUT_WORDING
        own, *rest = self.config.scene(index, held_out_wordings=held_out)
        if condition is Condition.SWAPPED:
            return self._runner.run(index, rest[0], condition, scene_assignment=own)
        if condition is Condition.NO_INSTRUCTION:
            return self._runner.run(index, own, condition, instruction=NAMELESS_INSTRUCTION)
        others = self._images_of(index + 1) if condition is Condition.OTHER_IMAGES else None
        return self._runner.run(index, own, condition, others=others)

    def _images_of(self, index: int) -> list[Images]:
        """Return what the cameras see while the expert drives another trial's scene."""
        steps = drive_episode(self.world, self.config.scene(index)[0], noise_m_s=0.0)
        return [step.snapshot.images for step in steps]


Jobs = Sequence[tuple[int, Condition]]


def jobs_of(config: EvaluateConfig, trials: int) -> list[tuple[int, Condition]]:
    """Return every (trial, condition), scene by scene."""
    return [(index, condition) for index in range(trials) for condition in config.conditions]


def run_trials(
    config: EvaluateConfig, load: Callable[[], DrivingPolicy], jobs: Jobs, spread: Spread
) -> Iterator[tuple[Trial, list[float]]]:
    """Yield each trial with the latencies of its predictions [s].

    Args:
        config: how trials run.
        load: loads the policy; called once in each worker, so it must be picklable.
        jobs: from :func:`jobs_of`.
        spread: where they run.
    """
    yield from spread.run(partial(_prepared, config, load), _run_job, jobs, release=_close)


def _prepared(config: EvaluateConfig, load: Callable[[], DrivingPolicy]) -> Evaluator:
    return Evaluator(World(config.contract), load(), config)


def _run_job(evaluator: Evaluator, job: tuple[int, Condition]) -> tuple[Trial, list[float]]:
    before = len(evaluator.latencies_s)
    return evaluator.run(*job), evaluator.latencies_s[before:]


def _close(evaluator: Evaluator) -> None:
    evaluator.world.close()
