"""What the Run view is told: where a predicted path lies in the image, and the goal of policy/execute."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mobile_vla_dashboard.goal import RESULTS, Goal
from mobile_vla_dashboard.instructions import known_instructions
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.place import ImagePlace, Point, Pose, peak
from mobile_vla_dashboard.run_card import Prediction, SeenMap, run_card
from mobile_vla_dashboard.wording import in_english
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import PolicyStatus

SHARE_PER_M, TURN = 0.1, 0.4
"""Of the camera of these tests: how much of the image a metre takes, and how it hangs [rad]."""


def seen_from_above(x: float, y: float) -> Point:
    place = SHARE_PER_M * complex(x, y) * complex(math.cos(TURN), math.sin(TURN))
    return 0.3 + place.real, 0.6 - place.imag


def watched(distance_m: float, noise: float = 0.0) -> ImagePlace:
    random, learned = np.random.default_rng(0), ImagePlace()
    for along in np.linspace(0.0, distance_m, 20):
        x, y = float(along), float(along**2)
        column, row = seen_from_above(x, y)
        learned.add(Pose(x, y, 1.0), (column + noise * random.normal(), row + noise * random.normal()))
    return learned


def test_a_path_lies_where_the_camera_would_see_the_robot_drive_it() -> None:
    # Facing along y: forward is y, left is -x; then a quarter turn to the left.
    pose, steps = Pose(1.0, 2.0, math.pi / 2), [(0.5, 0.0, math.pi / 2), (0.25, 0.0, 0.0), (0.0, 0.1, 0.0)]
    path = watched(1.5).path(pose, seen_from_above(1.0, 2.0), steps)
    expected = [seen_from_above(*place) for place in ((1.0, 2.0), (1.0, 2.5), (0.75, 2.5), (0.75, 2.4))]
    assert path is not None
    assert np.array(path) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(("distance_m", "noise"), [(0.1, 0.0), (1.5, 0.2)])
def test_a_robot_that_hardly_moved_or_is_seen_elsewhere_gives_no_path(distance_m: float, noise: float) -> None:
    assert watched(distance_m, noise).path(Pose(0.0, 0.0, 0.0), (0.5, 0.5), [(0.1, 0.0, 0.0)]) is None


def test_the_peak_of_a_map_is_the_centre_of_its_brightest_cell() -> None:
    grid = np.zeros((4, 8), np.uint8)
    grid[1, 6] = 255
    assert peak(grid) == (6.5 / 8, 1.5 / 4)


def test_the_view_gets_what_is_fresh_as_json_and_nothing_else() -> None:
    latest = Latest({})
    nothing = {"chunk": None, "maps": {"target": None, "robot": None}, "shadow": None, "goal": None}
    assert run_card(latest) == nothing
    latest.put_status("chunk", Prediction([(0.1, math.nan, 0.0)], [0.7], 0.01, [(0.5, 0.5), (0.6, 0.4)]))
    latest.put_status("target_map", SeenMap("static", 2, 1, b"\x00\xff", (0.75, 0.5)))
    latest.put_status("policy", PolicyStatus(shadow=True, shadow_samples=5, shadow_gripper_agreement=math.nan))
    card = json.loads(json.dumps(run_card(latest), allow_nan=False))
    assert card["chunk"]["steps"] == [[0.1, None, 0.0]]
    assert card["chunk"]["path"] == [[0.5, 0.5], [0.6, 0.4]]
    assert card["maps"]["target"]["cells"] == "AP8="
    assert card["shadow"]["samples"] == 5 and card["shadow"]["gripper_agreement"] is None


def test_every_result_of_a_goal_has_words() -> None:
    result = ExecuteInstruction.Result
    names = [name for name in dir(result) if name.isupper() and isinstance(getattr(result, name), int)]
    codes = {getattr(result, name) for name in names}
    assert len(codes) == 10 and set(RESULTS) == codes
    latest = Latest({})
    for code in codes:
        latest.put_status("goal", Goal(running=False, error_code=code, message="said"))
        assert in_english(run_card(latest)["goal"]["headline"])


def test_a_goal_of_a_policy_that_is_silent_is_unknown_and_one_of_a_restarted_policy_has_ended(monkeypatch) -> None:
    latest = Latest({})
    latest.put_status("goal", Goal(running=True, steps=7))
    assert run_card(latest)["goal"]["headline"]["key"] == "goal.unknown"
    latest.put_status("policy", PolicyStatus(instruction="go to the kitchen"))
    assert run_card(latest)["goal"]["headline"]["key"] == "goal.running"
    # Just begun: the status is older than the goal.
    latest.put_status("policy", PolicyStatus())
    assert run_card(latest)["goal"]["headline"]["key"] == "goal.running"
    monkeypatch.setattr("mobile_vla_dashboard.run_card._NEWS_S", 0.0)
    card = run_card(latest)["goal"]
    assert card["headline"]["key"] == "goal.ended" and not card["running"]
    monkeypatch.setattr("mobile_vla_dashboard.latest.SILENT_S", 0.0)
    card = run_card(latest)["goal"]
    assert card["headline"]["key"] == "goal.unknown" and card["tone"] == "bad" and card["steps"] == 7


def test_the_plans_instructions_are_offered_once_each_and_not_too_many() -> None:
    assert known_instructions(None) == []
    plan = CollectionPlan.model_validate(
        {
            "plan_version": 1,
            "steps": {"min": 50, "max": 100},
            "environment": {"object": [f"thing_{number}" for number in range(20)], "lighting": ["day", "night"]},
            "tasks": {
                "pick_up_object": {
                    "category": "manipulation",
                    "episodes": 3,
                    "varies": ["lighting", "object"],
                    "instructions": ["pick up the {object}", "take the {object}"],
                }
            },
        }
    )
    (task,) = known_instructions(plan)
    assert task["instructions"] == [f"pick up the thing {number}" for number in range(8)]
