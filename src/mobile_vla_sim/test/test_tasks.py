import math
from itertools import pairwise

import numpy as np
import pytest

from mobile_vla_data.dataset.plan import PlanError
from mobile_vla_sim.tasks.catalogue import (
    HELD_OUT_WORDINGS,
    TASKS,
    UnknownTaskError,
    instructions,
    load_plan,
    task_named,
    wordings,
)
from mobile_vla_sim.tasks.draw import MAX_PATH_M, MIN_PATH_M, DrawError, draw
from mobile_vla_sim.tasks.goal import Aim
from mobile_vla_sim.world.geometry import Rect
from mobile_vla_sim.world.objects import APART_M, OBJECTS
from mobile_vla_sim.world.planner import CLEARANCE_M, ROBOT_RADIUS_M, Planner, UnreachableError
from mobile_vla_sim.world.plans import COLLECTION_FAMILIES, HELD_OUT_FAMILIES, ROOMS
from mobile_vla_sim.world.scene import Stream, in_goal_region, is_free, scene_seed


def test_the_catalogue_and_the_plan_have_the_same_tasks(plan):
    assert set(plan.tasks) == set(TASKS)


def test_every_task_has_eight_wordings_and_two_of_them_are_held_out(plan):
    for name in TASKS:
        collected, held_out = (wordings(plan, name, held_out=flag) for flag in (False, True))
        assert len(set(collected)) == 6 and len(set(held_out)) == HELD_OUT_WORDINGS == 2
        assert not set(collected) & set(held_out)


def test_an_unknown_task_is_named_together_with_the_catalogue(plan):
    with pytest.raises(UnknownTaskError, match=r"unknown task 'fly'; the catalogue has go_to_kitchen"):
        draw(0, ["fly"], plan)
    with pytest.raises(UnknownTaskError):
        task_named("")


def test_a_plan_without_a_task_of_the_catalogue_is_refused(tmp_path, contract_path):
    text = contract_path.with_name("collection_plan.yaml").read_text()
    short = tmp_path / "plan.yaml"
    short.write_text(text[: text.index("  go_to_bedroom_and_open_drawer:")])
    with pytest.raises(PlanError, match="lacks the task go_to_bedroom_and_open_drawer"):
        load_plan(short)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_is_the_same_scene_and_instruction(plan, task):
    first, again, other = (draw(seed, [task], plan)[0] for seed in (7, 7, 8))
    assert first == again
    assert first.scene.start != other.scene.start


@pytest.mark.parametrize("task", TASKS)
def test_scenes_start_on_free_floor_at_a_fair_distance_and_say_true_things(plan, task):
    for seed in range(8):
        assignment = draw(scene_seed(Stream.COLLECTION, 1, seed), [task], plan)[0]
        scene, goal = assignment.scene, assignment.goal
        x, y, yaw = scene.start
        assert is_free(scene.obstacles, x, y, ROBOT_RADIUS_M) and yaw == 0.0
        assert MIN_PATH_M <= assignment.path_m <= MAX_PATH_M[goal.aim]
        assert scene.plan.family in COLLECTION_FAMILIES
        assert bool(scene.held) == (goal.aim is Aim.PLACE)
        assert assignment.language in instructions(plan, task, goal)
        if "furniture" in goal.environment and goal.aim is Aim.GRASP:
            assert scene.object(goal.thing).furniture == goal.environment["furniture"]
        if TASKS[task].far:
            assert scene.start_room != scene.plan.room_at(*goal.target(scene)[:2])
    assert draw(scene_seed(Stream.EVALUATION, 0, 1), [task], plan)[0].scene.plan.family in HELD_OUT_FAMILIES


def test_tasks_share_a_scene_and_a_start_but_no_goal(plan):
    a, b = draw(3, ["pick_up_object", "pick_up_object"], plan)
    assert a.scene == b.scene and a.goal != b.goal and a.language != b.language
    with pytest.raises(DrawError, match="cannot be done in one scene"):
        draw(3, ["open_drawer", "close_drawer"], plan)


def test_objects_lie_apart_on_what_they_are_said_to_lie_on(plan):
    on_floor = 0
    for seed in range(40):
        scene = draw(seed, ["pick_up_object"], plan)[0].scene
        assert [item.name for item in scene.objects] == list(OBJECTS)
        for index, item in enumerate(scene.objects):
            on_floor += not item.furniture
            if item.furniture:
                assert scene.piece(item.furniture).footprint.contains(item.x, item.y)
            assert scene.plan.room_at(item.x, item.y) == item.room
            assert all(math.hypot(item.x - o.x, item.y - o.y) >= APART_M for o in scene.objects[:index])
    assert 40 < on_floor < 160


def test_every_rooms_goal_is_free_floor_well_inside_it(plan):
    for seed in range(30):
        scene = draw(seed, ["navigate_to_object"], plan)[0].scene
        for room in ROOMS:
            x, y = scene.room_points[room]
            assert in_goal_region(scene.plan, room, x, y) and is_free(scene.obstacles, x, y, ROBOT_RADIUS_M)


def test_held_out_wordings_are_only_used_when_asked_for(plan):
    for task in TASKS:
        said = {draw(seed, [task], plan)[0].language for seed in range(6)}
        assignment = draw(0, [task], plan, held_out_wordings=True)[0]
        assert assignment.language in instructions(plan, task, assignment.goal, held_out=True)
        assert assignment.language not in said


def test_planned_paths_keep_clear_of_every_obstacle(plan):
    random = np.random.default_rng(0)
    for seed in range(6):
        scene = draw(seed, ["go_to_bedroom"], plan)[0].scene
        planner = Planner(scene.room_points["bedroom"], scene.obstacles)
        checked = 0
        while checked < 15:
            x, y = random.uniform(-2.6, 2.6, size=2)
            if any(rect.grown(CLEARANCE_M).contains(x, y) for rect in scene.obstacles):
                continue
            checked += 1
            try:
                planner.length(x, y)
            except UnreachableError:
                continue
            for start, end in pairwise(planner.path(float(x), float(y))):
                for share in np.linspace(0.0, 1.0, 20):
                    point = start + share * (end - start)
                    assert all(rect.distance(*point) > ROBOT_RADIUS_M + 0.01 for rect in scene.obstacles)


def test_a_robot_pushed_against_a_wall_still_has_a_way_out(plan):
    scene = draw(2, ["go_to_kitchen"], plan)[0].scene
    planner = Planner(scene.room_points["kitchen"], scene.obstacles)
    for room in scene.plan.rooms:
        x, y = scene.room_points[room.name]
        walls = sorted(scene.plan.walls, key=lambda wall: wall.distance(x, y))
        for wall in walls[:2]:
            nearest = min(max(x, wall.x0), wall.x1), min(max(y, wall.y0), wall.y1)
            away = math.dist(nearest, (x, y))
            pushed = tuple(n + (p - n) * ROBOT_RADIUS_M / away for n, p in zip(nearest, (x, y), strict=True))
            if is_free(scene.obstacles, *pushed, ROBOT_RADIUS_M - 0.001):
                assert len(planner.path(*pushed)) >= 2


def test_a_goal_behind_walls_without_doors_is_refused():
    box = [Rect(-1, 1, 1, 1.1), Rect(-1, -1.1, 1, -1), Rect(-1.1, -1, -1, 1), Rect(1, -1, 1.1, 1)]
    with pytest.raises(UnreachableError, match="no way from"):
        Planner((0.0, 0.0), box).length(2.0, 2.0)
