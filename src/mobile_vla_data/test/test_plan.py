from __future__ import annotations

import json
import os
from collections import Counter
from datetime import date
from pathlib import Path

import h5py
import pytest
import yaml

from mobile_vla_data.checks.validate import validate_dataset
from mobile_vla_data.dataset import trash
from mobile_vla_data.dataset.edit import Labels, relabel, trim
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError, put_in, wording_of
from mobile_vla_data.dataset.progress import Tally, _Seen, propose

PLAN_YAML = Path(__file__).resolve().parents[3] / "config" / "collection_plan.yaml"


@pytest.fixture(scope="module")
def plan():
    return CollectionPlan.load(PLAN_YAML)


def follow(tally, plan, episodes):
    """Record what is proposed, ``episodes`` times, without the files."""
    for number in range(episodes):
        proposal = tally.propose(plan)
        if proposal is None:
            break
        tally._seen[str(len(tally._seen))] = _Seen(
            proposal.task, proposal.category, proposal.language, proposal.environment, False, date(2026, 1, 1), 60
        )
        yield proposal
        assert number < 2000


def test_the_shipped_plan_is_what_was_asked_for(plan):
    by_category = Counter()
    for task in plan.tasks.values():
        by_category[task.category] += task.episodes
    assert by_category == {"navigation": 400, "manipulation": 300, "combined": 300} and plan.episodes == 1000
    assert (plan.steps.min, plan.steps.max) == (50, 100)
    assert plan.environment["room"] == ["kitchen", "living_room", "bedroom", "bathroom"]
    assert all(len(values) >= 3 for values in plan.environment.values())
    for name, task in plan.tasks.items():
        phrases = {put_in(wording, next(plan.environments(name))) for wording in task.instructions}
        assert len(phrases) == len(task.instructions) >= 4


def test_following_the_proposals_fulfils_the_plan_and_balances_it(plan):
    tally = Tally()
    proposals = list(follow(tally, plan, 1100))
    assert len(proposals) == 1000 and tally.propose(plan) is None
    assert all(item.done == item.wanted for item in tally.tasks(plan))
    for name, task in plan.tasks.items():
        mine = [proposal for proposal in proposals if proposal.task == name]
        for dimension in task.varies:
            used = Counter(proposal.environment[dimension] for proposal in mine)
            assert len(used) == len(plan.environment[dimension]) and max(used.values()) - min(used.values()) <= 1
        wordings = Counter(wording_of(item.language, task, item.environment) for item in mine)
        assert set(wordings) == set(task.instructions) and max(wordings.values()) - min(wordings.values()) <= 1
        # No wording is tied to one lighting.
        pairs = {(wording_of(item.language, task, item.environment), item.environment["lighting"]) for item in mine}
        assert len(pairs) == len(task.instructions) * 3


def test_the_task_with_the_fewest_episodes_comes_next(plan):
    tasks = [proposal.task for proposal in follow(Tally(), plan, len(plan.tasks))]
    assert tasks == list(plan.tasks)


def test_progress_resumes_from_the_files_alone(dataset, record, plan):
    CollectionPlan.ensure(dataset, PLAN_YAML)
    count = len(plan.tasks) + 1
    for seed in range(count):
        proposal = propose(dataset)
        record(
            seed=seed, steps=5, cameras=("static",), language=proposal.language, task=proposal.task,
            category=proposal.category, environment={**proposal.environment, "extra": [1]},
            outcome="failure" if seed == 0 else "success",
        )  # fmt: skip
    tally = Tally.of(dataset)
    counts = {item.task: (item.done, item.failed) for item in tally.tasks(plan)}
    # The failure does not count, so its task was proposed again at once.
    assert counts["go_to_kitchen"] == (1, 1) and all(done == 1 for done, _ in counts.values())
    assert (tally.episodes, tally.steps, tally.problems) == (count, 5 * count, [])
    tally.add(dataset / "episode_000003.h5")
    assert tally.episodes == count
    assert validate_dataset(dataset).ok


def test_a_file_that_cannot_be_read_is_a_problem_not_an_end(dataset, record):
    record()
    (dataset / "episode_000001.h5").write_bytes(b"?")
    tally = Tally.of(dataset)
    assert tally.episodes == 1 and "episode_000001.h5" in tally.problems[0]


def test_the_plan_of_a_dataset_is_copied_once_and_stays_editable(dataset):
    assert propose(dataset) is None
    CollectionPlan.ensure(dataset, PLAN_YAML)
    text = (dataset / "plan.yaml").read_text().replace("episodes: 75", "episodes: 7")
    (dataset / "plan.yaml").write_text(text)
    assert CollectionPlan.ensure(dataset, PLAN_YAML).tasks["go_to_kitchen"].episodes == 7


def test_the_forecast_goes_by_the_pace_of_the_last_week(plan):
    tally = Tally()
    list(follow(tally, plan, 100))
    assert tally.forecast(plan, date(2026, 1, 1)) == date(2026, 1, 10)
    assert tally.forecast(plan, date(2026, 1, 2)) == date(2026, 1, 20)
    assert tally.forecast(plan, date(2026, 2, 1)) is None
    for name, task in plan.tasks.items():
        for number in range(task.episodes):
            tally._seen[f"{name}{number}"] = _Seen(name, task.category, "go", {}, False, date(2026, 1, 1), 60)
    assert tally.forecast(plan, date(2026, 2, 1)) == date(2026, 2, 1)


def changed(**changes):
    data = yaml.safe_load(PLAN_YAML.read_text())
    data["tasks"]["go_to_kitchen"].update(changes)
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(category="flying"), "tasks.go_to_kitchen.category"),
        (changed(episodes=0), "tasks.go_to_kitchen.episodes"),
        (changed(given={"room": "garage"}), "room 'garage' is not in environment.room"),
        (changed(varies=["weather"]), "'weather' is not in environment"),
        (changed(instructions=[]), "tasks.go_to_kitchen.instructions"),
        (changed(instructions=["get the {object}"]), "uses {object}, which the task neither gives nor varies"),
        (changed(speed=1), "tasks.go_to_kitchen.speed: Extra inputs are not permitted"),
        ([], "plan: "),
    ],
)
def test_a_wrong_plan_is_one_line_that_names_the_field(tmp_path, data, words):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(PlanError) as error:
        CollectionPlan.load(path)
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_missing_plan_or_one_that_is_no_yaml_is_one_line(tmp_path):
    with pytest.raises(PlanError, match="no such collection plan"):
        CollectionPlan.load(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text("a: [")
    with pytest.raises(PlanError, match="not valid YAML, line"):
        CollectionPlan.load(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("attribute", "value", "code"),
    [
        ("task", "water_plants", "plan-task"),
        ("category", "combined", "plan-category"),
        ("language", "kitchen!", "plan-wording"),
        ("environment", json.dumps({"room": "kitchen", "lighting": "disco"}), "plan-environment"),
    ],
)
def test_an_episode_off_the_plan_is_named(dataset, record, attribute, value, code):
    CollectionPlan.ensure(dataset, PLAN_YAML)
    path = record(steps=60, environment={"room": "kitchen", "lighting": "day"}, language="Go to the kitchen ")
    assert validate_dataset(dataset).findings == []
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    findings = validate_dataset(dataset).findings
    assert [(finding.code, finding.file) for finding in findings] == [(code, str(path))]


def test_an_episode_shorter_than_planned_is_named(dataset, record):
    CollectionPlan.ensure(dataset, PLAN_YAML)
    record(steps=20)
    (finding,) = validate_dataset(dataset).findings
    assert finding.code == "plan-steps" and "has 20 steps, the plan asks for 50 to 100" in finding.message


def test_a_broken_plan_is_a_finding(dataset, record):
    record()
    (dataset / "plan.yaml").write_text("{}")
    assert [finding.code for finding in validate_dataset(dataset).findings] == ["plan-invalid"]


def test_a_tally_follows_what_is_edited_deleted_and_restored(record, dataset):
    first, second = record(seed=1), record(seed=2)
    tally = Tally.of(dataset)

    def counts():
        tally.follow(dataset)
        (task,) = tally.tasks(None)
        return tally.episodes, task.done, task.failed, tally.steps

    assert counts() == (2, 2, 0, 40)
    relabel(first, Labels(outcome="failure"))
    trim(second, 0, 9)
    assert counts() == (2, 1, 1, 30)
    trash.delete(dataset, [first.stem])
    assert counts() == (1, 1, 0, 10)
    trash.restore(dataset, first.name)
    assert counts() == (2, 1, 1, 30)


def test_a_tally_does_not_read_a_folder_again_that_is_as_it_was(record, dataset, monkeypatch):
    path = record()
    os.utime(dataset, (1_700_000_000, 1_700_000_000))
    tally = Tally.of(dataset)
    path.write_bytes(b"changed in place, which nothing of this project does")
    assert not tally.follow(dataset) and tally.episodes == 1
