from itertools import pairwise

import numpy as np
import pytest

from mobile_vla_sim.flat import OBSTACLES, ROBOT_RADIUS_M, ROOMS, is_free, room_at
from mobile_vla_sim.planner import CLEARANCE_M, Planner
from mobile_vla_sim.scene import MAX_PATH_M, MIN_PATH_M, Stream, make_scene, planner_for, scene_seed
from mobile_vla_sim.tasks import HOLD_S, TASKS, SuccessTest, UnknownTaskError


def test_the_same_seed_is_the_same_scene_and_another_seed_another():
    assert make_scene(11) == make_scene(11)
    assert make_scene(11).start != make_scene(12).start


def test_streams_series_and_indices_never_share_a_scene_seed():
    seeds = {scene_seed(stream, seed, index) for stream in Stream for seed in range(20) for index in range(20)}
    assert len(seeds) == len(Stream) * 400
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    with pytest.raises(ValueError, match="index 268435456 is outside"):
        scene_seed(Stream.COLLECTION, 0, 1 << 28)


def test_scenes_start_free_in_another_room_and_at_a_fair_distance():
    for seed in range(120):
        scene = make_scene(seed, tasks=tuple(TASKS))
        x, y, yaw = scene.start
        assert room_at(x, y) == scene.start_room != scene.task.room.name
        assert is_free(x, y, ROBOT_RADIUS_M)
        assert yaw == 0.0
        assert MIN_PATH_M <= planner_for(scene.task).length(x, y) <= MAX_PATH_M


def test_every_task_has_at_least_six_phrasings_that_name_the_room():
    for task in TASKS.values():
        assert len(set(task.instructions)) >= 6
        assert all(task.room.name.replace("_", " ") in text for text in task.instructions)


def test_an_unknown_task_is_named_together_with_the_catalogue():
    with pytest.raises(UnknownTaskError, match=r"unknown task 'fly'; the catalogue has go_to_kitchen"):
        make_scene(0, "fly")


def test_every_goal_is_free_floor_within_its_own_region():
    for room in ROOMS.values():
        assert is_free(*room.goal, CLEARANCE_M)
        assert room.goal_region.contains(*room.goal)
        assert room_at(*room.goal) == room.name


def test_success_needs_a_second_in_the_region_and_a_command_to_stop():
    task = TASKS["go_to_kitchen"]
    test = SuccessTest(task)
    x, y = task.room.goal
    assert not test.update(0.0, x, y, 0.0)
    assert not test.update(HOLD_S - 0.1, x, y, 0.0)
    assert not test.update(HOLD_S, x, y, 0.7), "driving on is not arriving"
    assert test.update(HOLD_S, x, y, 0.0)
    assert not test.update(HOLD_S + 0.1, 0.0, 0.0, 0.0), "leaving begins anew"
    assert not test.update(HOLD_S + 0.2, x, y, 0.0)


def test_planned_paths_keep_clear_of_every_obstacle():
    random = np.random.default_rng(0)
    planner = Planner(ROOMS["bedroom"].goal)
    checked = 0
    while checked < 60:
        x, y = random.uniform(-2.9, 2.9, size=2)
        if not is_free(x, y, CLEARANCE_M):
            continue
        path = planner.path(float(x), float(y))
        assert np.allclose(path[-1], planner.goal)
        for start, end in pairwise(path):
            for share in np.linspace(0.0, 1.0, 20):
                point = start + share * (end - start)
                assert not any(rect.grown(CLEARANCE_M - 1e-4).contains(*point) for rect in OBSTACLES)
        checked += 1


def test_a_robot_pushed_against_a_wall_still_has_a_way_out():
    planner = Planner(ROOMS["kitchen"].goal)
    for x, y in ((2.69, 2.0), (-2.69, -0.8), (0.34, 2.0), (1.0, -0.34), (0.62, -1.62)):
        assert planner.length(x, y) < 9.0
