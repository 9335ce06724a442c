from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mobile_vla_data.action import ActionCodec
from mobile_vla_data.parallel import HERE
from mobile_vla_data.trials.rates import wilson
from mobile_vla_data.trials.reasons import Reason
from mobile_vla_sim.expert.expert import Expert
from mobile_vla_sim.headless.conditions import NAMELESS_INSTRUCTION, Condition
from mobile_vla_sim.headless.evaluate import EvaluateConfig, Evaluator, jobs_of, run_trials
from mobile_vla_sim.headless.page import film, write_page
from mobile_vla_sim.headless.report import document, print_report
from mobile_vla_sim.tasks.catalogue import TASKS
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.tasks.watch import Watch
from mobile_vla_sim.world.arm import Grip
from mobile_vla_sim.world.plans import HELD_OUT_FAMILIES
from mobile_vla_sim.world.world import Pose, World

TASK_NAMES = ("go_to_kitchen", "go_to_bedroom", "pick_up_object")


@dataclass
class Chunk:
    deltas: np.ndarray
    gripper: np.ndarray


class Cheat:
    """Drives like the expert to what it is told, as long as it is given what it asks for."""

    horizon = 5

    def __init__(self, world, config, *, looks=True, listens=True, reads_state=False):
        self.world, self.config = world, config
        self.looks, self.listens, self.reads_state = looks, listens, reads_state
        self.said = []

    def initial_memory(self):
        return None

    def predict(self, images, state, instruction, memory, *, elapsed_periods):
        self.said.append(instruction)
        contract, scene = self.world.contract, self.world.scene
        if memory is None:
            index = scene.seed & ((1 << 28) - 1)
            options = [*self.config.scene(index), *self.config.scene(index, held_out_wordings=True)]
            asked = next((item for item in options if item.language == instruction), None)
            if asked is None and not self.listens:
                asked = options[0]
            memory = Expert(replace(asked, scene=scene), contract) if asked else "lost"
        lost = memory == "lost" or (self.looks and not images["static"].any())
        lost = lost or (self.reads_state and len(self.said) > 20 and not state.any())
        deltas, gripper = np.zeros((5, 2), np.float32), np.zeros(5, np.float32)
        if not lost:
            command = memory.command(self.world.truth, contract.period_s)
            deltas[:] = ActionCodec(contract).to_delta(command.velocity)
            gripper[:] = command.gripper
        return Chunk(deltas, gripper), memory


class SmallWorld(World):
    """Renders a few pixels of nothing but light: fast, and not black."""

    def render(self, camera):
        return np.full((2, 2, 3), 200, dtype=np.uint8)


@pytest.fixture(scope="module")
def small(contract):
    return SmallWorld(contract)


def config_of(contract, plan, *conditions, tasks=TASK_NAMES):
    return EvaluateConfig(contract, plan, 0, tasks, (Condition.PLAIN, *conditions))


def run(world, policy, config, trials):
    evaluator = Evaluator(world, policy, config)
    done = [evaluator.run(index, condition) for index, condition in jobs_of(config, trials)]
    return document(config, done, evaluator.latencies_s), done


ABLATED = (Condition.BLACK_IMAGES, Condition.OTHER_IMAGES, Condition.NO_STATE, Condition.NO_INSTRUCTION)


def test_a_policy_that_looks_and_listens_fails_without_images_or_instruction(small, contract, plan):
    config = config_of(contract, plan, *ABLATED)
    result, done = run(small, Cheat(small, config), config, 4)
    rates = {name: entry["success_rate"] for name, entry in result["conditions"].items()}
    assert rates == {"plain": 1.0, "images": 0.0, "other-images": 1.0, "state": 1.0, "instruction": 0.0}
    assert result["success_rate"] == 1.0 and result["successes"] == 4
    assert {trial.family for trial in done} <= set(HELD_OUT_FAMILIES)
    scenes = {(trial.index, trial.seed) for trial in done}
    assert len(scenes) == 4, "every condition drives the same scenes"
    assert [line.split(":")[0] for line in result["warnings"]] == ["the policy ignores the images"]


def test_a_policy_that_neither_looks_nor_listens_is_called_that_in_plain_words(small, contract, plan):
    config = config_of(contract, plan, Condition.BLACK_IMAGES, Condition.NO_INSTRUCTION)
    policy = Cheat(small, config, looks=False, listens=False)
    result, _ = run(small, policy, config, 3)
    assert [line.split(":")[0] for line in result["warnings"]] == [
        "the policy ignores the images",
        "the policy ignores the instruction",
    ]
    assert NAMELESS_INSTRUCTION in policy.said


def test_a_policy_that_lives_on_odometry_is_called_that(small, contract, plan):
    config = config_of(contract, plan, Condition.NO_STATE)
    result, _ = run(small, Cheat(small, config, reads_state=True), config, 3)
    assert "relies on odometry" in result["warnings"][0]


def test_with_a_swapped_instruction_the_new_goal_is_reached_and_the_old_one_is_counted_apart(small, contract, plan):
    config = config_of(contract, plan, Condition.SWAPPED)
    result, done = run(small, Cheat(small, config), config, 4)
    swapped = result["conditions"]["swapped-instruction"]
    assert swapped["successes"] == 4 and swapped["old_goal"]["successes"] <= 1
    plain = {trial.index: trial for trial in done if trial.condition == "plain"}
    for trial in done:
        assert trial.scene_task == plain[trial.index].task
        assert (trial.instruction != plain[trial.index].instruction) == (trial.condition == "swapped-instruction")
    with pytest.raises(ValueError, match="a scene of go_to_kitchen allows no second instruction"):
        config_of(contract, plan, Condition.SWAPPED, tasks=("go_to_kitchen",))


def test_held_out_wordings_are_said_in_the_same_scenes(small, contract, plan):
    config = config_of(contract, plan, Condition.HELD_OUT_WORDING)
    result, done = run(small, Cheat(small, config), config, 3)
    by_index = {}
    for trial in done:
        by_index.setdefault(trial.index, []).append(trial)
    for plain, held_out in by_index.values():
        assert plain.seed == held_out.seed and plain.instruction != held_out.instruction
        assert plain.path[0] == held_out.path[0]
    assert result["conditions"]["held-out-wording"]["successes"] == 3


def test_path_length_is_measured_against_the_experts_and_collisions_are_counted(small, contract, plan):
    config = config_of(contract, plan)
    result, done = run(small, Cheat(small, config), config, 3)
    assert 0.9 < result["path_ratio_p50"] < 1.3
    assert all(trial.collisions <= 1 and trial.reason == "" for trial in done)


class Straight:
    """Drives straight on, faster the brighter the image is."""

    horizon = 5

    def initial_memory(self):
        return 0

    def predict(self, images, state, instruction, memory, *, elapsed_periods):
        speed = 0.02 + 0.02 * float(images["static"].mean()) / 255
        return Chunk(np.full((5, 2), (speed, 0.0), np.float32), np.zeros(5, np.float32)), memory + 1


def test_trials_are_the_same_wherever_they_run(contract, plan, spread):
    config = replace(config_of(contract, plan), time_limit_s=2.0)
    jobs = jobs_of(config, 4)
    here = [trial for trial, _ in run_trials(config, Straight, jobs, HERE)]
    there = list(run_trials(config, Straight, jobs, spread))
    assert [trial for trial, _ in there] == here
    assert all(len(latencies_s) >= 20 for _, latencies_s in there)


def test_replan_beyond_the_horizon_is_refused(small, contract, plan):
    config = replace(config_of(contract, plan), replan=6)
    with pytest.raises(ValueError, match=r"--replan is 6; the policy predicts 1 .. 5 actions"):
        Evaluator(small, Cheat(small, config), config)


def test_the_tables_are_printed_with_intervals_and_reasons(small, contract, plan):
    config = config_of(contract, plan, Condition.BLACK_IMAGES)
    result, _ = run(small, Cheat(small, config), config, 2)
    console = Console(record=True, width=200)
    print_report(result, console)
    text = console.export_text()
    assert "black images" in text and "never arrived 2" in text and "34 - 100 %" in text


class FlickeringWorld(SmallWorld):
    """No two images are the same."""

    count = 0

    def render(self, camera):
        self.count += 1
        return np.full((2, 2, 3), 100 + self.count % 100, dtype=np.uint8)


def test_the_page_has_the_tables_and_shows_the_first_trials(contract, plan, tmp_path):
    small = FlickeringWorld(contract)
    config = config_of(contract, plan, Condition.BLACK_IMAGES, Condition.SWAPPED)
    result, _ = run(small, Cheat(small, config), config, 2)
    animation, page = tmp_path / "trials.webp", tmp_path / "page.html"
    film(small, Cheat(small, config), config, animation, trials=2)
    with Image.open(animation) as frames:
        assert frames.n_frames >= 8
        assert frames.size == (4 * 160, 160)
    write_page(result, animation, page, "Two trials")
    text = page.read_text()
    assert "<td>black images</td>" in text and "goal of the scene's own instruction was reached in 0 of 2" in text
    assert text.count("never arrived") == 2 and "No trial failed." in text
    assert "data:image/webp;base64," in text and "http" not in text


def test_wilson_intervals_are_the_known_ones():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(45, 50) == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def seen(world, assignment, *changes):
    watch = Watch(assignment)
    world.reset(assignment.scene)
    truth = world.truth
    for change in changes:
        truth = replace(truth, **change)
        watch.see(truth)
    return watch.reason()


def test_reasons_of_failure_are_told_apart(blind, plan):
    room = draw(2, ["go_to_kitchen"], plan)[0]
    elsewhere = next(name for name in room.scene.room_points if name not in ("kitchen", room.scene.start_room))
    at = {name: Pose(*point, 0.0) for name, point in room.scene.room_points.items()}
    assert seen(blind, room, {}) == Reason.NEVER_ARRIVED
    assert seen(blind, room, {"pose": at[elsewhere]}) == Reason.WRONG_ROOM
    assert seen(blind, room, {"pose": at["kitchen"]}, {"pose": at[elsewhere]}) == Reason.DID_NOT_STAY

    grasp = draw(2, ["pick_up_object"], plan)[0]
    near = {"pose": Pose(*grasp.stand, 0.0)}
    other = next(item.name for item in grasp.scene.objects if item.name != grasp.goal.thing)
    assert seen(blind, grasp, {}) == Reason.NEVER_ARRIVED
    assert seen(blind, grasp, near) == Reason.NEVER_CLOSED
    assert seen(blind, grasp, near, {"closings": 1, "grip": Grip.EMPTY}) == Reason.CLOSED_ON_NOTHING
    assert seen(blind, grasp, near, {"held": other}) == Reason.WRONG_OBJECT
    assert seen(blind, grasp, near, {"held": grasp.goal.thing}, {"held": ""}) == Reason.DROPPED

    place = draw(2, ["place_object"], plan)[0]
    near = {"pose": Pose(*place.stand, 0.0)}
    top = place.scene.piece(place.goal.surface)
    wrong = next(piece for piece in place.scene.pieces if piece.kind != place.goal.surface)
    assert seen(blind, place, {}) == Reason.NEVER_ARRIVED
    assert seen(blind, place, near) == Reason.NEVER_OPENED

    def lying(x, y, z):
        return {"held": "", "objects": {place.goal.thing: (x, y, z)}}

    assert seen(blind, place, lying(*place.scene.start[:2], 0.0)) == Reason.DROPPED
    assert seen(blind, place, lying(*wrong.footprint.centre, wrong.height_m)) == Reason.WRONG_OBJECT
    assert seen(blind, place, lying(*top.footprint.centre, top.height_m)) == Reason.DID_NOT_STAY

    drawer = draw(2, ["open_drawer"], plan)[0]
    near = {"pose": Pose(*drawer.stand, 0.0)}
    assert seen(blind, drawer, near, {"held": "handle"}, {"held": ""}) == Reason.NOT_MOVED
    assert seen(blind, drawer, near) == Reason.NEVER_CLOSED
    assert set(TASKS) >= {"open_drawer"}
