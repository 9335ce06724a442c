"""Measures of skill: what each number says of a demonstration, and that none of them refuses it."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest

from mobile_vla_data.action import displacement, gripper, position
from mobile_vla_data.dataset.skill import by_operator_and_day, measure, measure_dataset, smoothness
from mobile_vla_data.episode.reader import Episode

PERIOD_S = 0.1


def minimum_jerk(steps: int = 40) -> np.ndarray:
    """Velocity of the smoothest movement between two points, along x."""
    at = np.linspace(0, 1, steps)
    return np.stack([30 * at**2 - 60 * at**3 + 30 * at**4, np.zeros(steps)], 1)


def test_the_smoothest_movement_scores_best_and_neither_speed_nor_duration_matter():
    smooth = smoothness(minimum_jerk(), PERIOD_S)
    # Over a second and a metre its squared jerk integrates to 720, and its peak speed is 1.875 m/s.
    assert smooth == pytest.approx(-np.log(720 / 1.875**2), abs=0.15)
    assert smoothness(minimum_jerk() * 0.1, PERIOD_S) == pytest.approx(smooth)
    assert smoothness(minimum_jerk(400), PERIOD_S) == pytest.approx(smooth, abs=0.15)
    trembling = minimum_jerk() + 0.05 * np.random.default_rng(0).standard_normal((40, 2))
    assert smoothness(trembling, PERIOD_S) < smooth - 3


def test_an_episode_that_does_not_move_has_no_smoothness():
    assert smoothness(np.zeros((20, 2)), PERIOD_S) is None
    assert smoothness(minimum_jerk(2), PERIOD_S) is None


def test_pauses_count_between_movements_only(record):
    def stand(drive):
        displacement(drive.actions)[:] = 0
        drive.actions[10:15, 0] = drive.actions[25:30, 0] = drive.actions[33:35, 0] = 0.04

    with Episode.open(record(steps=40, edit=stand)) as episode:
        skill = measure(episode)
    # 10 steps of standing still, then 3, which are too few; the 10 at the start and the 5 at the end are no pauses.
    assert skill.pauses == 1 and skill.paused_s == pytest.approx(1.0)


def test_a_gripper_command_that_is_taken_back_at_once_is_chatter(record):
    def chatter(drive):
        closed = gripper(drive.actions)
        closed[:] = 0
        closed[10:12] = closed[13:30] = 1

    with Episode.open(record(steps=40, edit=chatter)) as episode:
        assert measure(episode).chatter == 2


def relabel_operator(path, operator, day):
    with h5py.File(path, "r+") as file:
        file.attrs["environment"] = json.dumps({"operator": operator})
        file.attrs["created_at"] = f"{day}T10:00:00.000Z"


def test_paths_are_compared_with_the_shortest_success_of_their_task(record, dataset):
    def slow(drive):
        position(drive.states)[:] *= 0.5

    record(seed=1, edit=slow)
    record(seed=1)
    record(seed=2, task="other", outcome="failure")
    ratios = {skill.episode_id: skill.path_ratio for skill in measure_dataset(dataset)}
    assert ratios["episode_000000"] == 1.0 and ratios["episode_000001"] == pytest.approx(2.0, rel=1e-4)
    assert ratios["episode_000002"] is None


def test_operators_and_days_are_summarised(record, dataset):
    for seed, (operator, day, outcome) in enumerate(
        [("Kim", "2026-11-01", "success"), ("Kim", "2026-11-01", "failure"), ("Lee", "2026-11-02", "success")]
    ):
        relabel_operator(record(seed=seed, outcome=outcome), operator, day)
    groups = by_operator_and_day(measure_dataset(dataset))
    assert [(group.operator, group.day, group.episodes) for group in groups] == [
        ("Kim", "2026-11-01", 2),
        ("Lee", "2026-11-02", 1),
    ]
    assert groups[0].success_share == 0.5 and groups[1].time_to_success_s == pytest.approx(2.0)


def test_validate_shows_skill_and_it_never_fails_an_episode(record, dataset, run):
    record(steps=40)
    done = run("validate", dataset, "--skill", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0 and len(document["skill"]["episodes"]) == 1 and document["skill"]["groups"]
    assert done.returncode == run("validate", dataset).returncode
    shown = run("validate", dataset, "--skill")
    assert "medians per operator and day" in shown.stdout and shown.returncode == 0


def test_the_report_has_a_section_on_skill(record, dataset, run, tmp_path):
    def chatter_and_stand(drive):
        gripper(drive.actions)[:] = 0
        gripper(drive.actions)[10:12] = 1
        displacement(drive.actions)[15:25] = 0

    def slow(drive):
        position(drive.states)[:] *= 0.5

    relabel_operator(record(edit=slow), "Lee", "2026-11-02")
    relabel_operator(record(steps=40, edit=chatter_and_stand), "Kim <b>", "2026-11-01")
    (kim, _) = by_operator_and_day(measure_dataset(dataset))
    run("report", dataset, "--output", tmp_path / "report.html")
    section = (tmp_path / "report.html").read_text().partition("<h2>Skill</h2>")[2].partition("</section>")[0]
    first = re.findall("<td>(.*?)</td>", section)[:9]
    assert first[:4] == ["Kim &lt;b&gt;", "2026-11-01", "1", "100 %"]
    assert first[4:] == [f"{kim.smoothness:.1f}", "1", "1", f"{kim.path_ratio:.2f}", "4.0"] and kim.path_ratio > 2
