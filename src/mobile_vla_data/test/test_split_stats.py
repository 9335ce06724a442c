from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_vla_data.checks.validate import validate_dataset
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import SPLIT_NAMES, SplitError, _assign, split_dataset, untrained_tasks
from mobile_vla_data.dataset.stats import Statistics, StatisticsError, VectorStatistics, compute_statistics
from mobile_vla_data.episode.reader import Episode


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0)]),
    seed=st.integers(0, 1000),
)
def test_every_episode_is_in_exactly_one_split_of_about_the_wanted_size(counts, fractions, seed):
    tasks = {f"task_{n}": [f"{n}/{index}" for index in range(count)] for n, count in enumerate(counts)}
    splits = _assign(tasks, fractions, seed)
    everything = [episode for ids in splits.values() for episode in ids]
    assert sorted(everything) == sorted(episode for ids in tasks.values() for episode in ids)
    # The first episode of each task is trained on, whatever the share of so few would be.
    few = sum(count < 5 for count in counts)
    for name, fraction in zip(SPLIT_NAMES, fractions, strict=True):
        assert abs(len(splits[name]) - fraction * len(everything)) <= 2 + few
        assert not fraction or splits[name] or len(everything) < 3
        for number, count in enumerate(counts):
            mine = sum(episode.startswith(f"{number}/") for episode in splits[name])
            assert abs(mine - fraction * count) <= 2 + few


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.4, 0.3, 0.3), (0.1, 0.9, 0.0)]),
    seed=st.integers(0, 1000),
)
def test_every_task_is_trained_on_unless_there_are_too_few_episodes_to_judge_by(counts, fractions, seed):
    tasks = {f"task_{n}": [f"{n}/{index}" for index in range(count)] for n, count in enumerate(counts)}
    splits = _assign(tasks, fractions, seed)
    untrained = untrained_tasks({name: task for task, ids in tasks.items() for name in ids}, splits)
    spare = sum(count - 1 for count in counts)
    judging = sum(fraction > 0 for fraction in fractions[1:])
    assert len(untrained) <= max(0, judging - spare)
    assert all(len(tasks[task]) == 1 for task in untrained)


def test_the_first_episode_of_each_task_is_trained_on(dataset, record, run):
    for seed in range(8):
        record(seed=seed, steps=5, cameras=("static",), language=f"go ({seed})", task=f"task_{min(seed, 4)}")
    done = run("split", dataset)
    assert done.returncode == 0 and done.stderr == ""
    splits = Dataset.open(dataset).splits()
    assert {"episode_000000", "episode_000001", "episode_000002", "episode_000003"} <= set(splits["train"])


def test_tasks_that_training_never_sees_are_named_when_splitting_and_when_validating(dataset, record, run):
    for seed in range(4):
        record(seed=seed, language=f"go ({seed})", task=f"task_{seed}")
    done = run("split", dataset)
    untrained = json.loads((dataset / "splits.json").read_text())["untrained_tasks"]
    assert len(untrained) == 2 and f"training sees no episode of {', '.join(untrained)}" in done.stderr
    (finding,) = validate_dataset(dataset).findings
    assert (finding.code, finding.severity) == ("splits-untrained", "warning") and untrained[0] in finding.message


def test_episodes_that_came_since_join_a_split_and_the_others_stay(dataset, record, run):
    for seed in range(10):
        record(seed=seed, steps=5, cameras=("static",), task=f"task_{seed % 2}")
    before = split_dataset(dataset, (0.5, 0.25, 0.25), seed=1)["splits"]
    for seed in range(10, 30):
        record(seed=seed, steps=5, cameras=("static",), task=f"task_{seed % 3}")
    fractions = ("--train", 0.5, "--validation", 0.25, "--test", 0.25, "--seed", 2)
    assert run("split", dataset, "--keep", *fractions).returncode == 0
    after = Dataset.open(dataset).splits()
    assert all(set(before[name]) <= set(after[name]) for name in SPLIT_NAMES)
    assert sum(map(len, after.values())) == 30 and abs(len(after["validation"]) - 7.5) <= 2
    dealt_anew = split_dataset(dataset, (0.5, 0.25, 0.25), seed=2)["splits"]
    assert any(set(before[name]) - set(dealt_anew[name]) for name in SPLIT_NAMES)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(dataset, record):
    for seed in range(12):
        record(seed=seed, steps=5, cameras=("static",), task=f"task_{seed % 2}")
    first = split_dataset(dataset, (0.5, 0.25, 0.25), seed=1)
    assert first == split_dataset(dataset, (0.5, 0.25, 0.25), seed=1)
    assert first["splits"] != split_dataset(dataset, (0.5, 0.25, 0.25), seed=2)["splits"]
    written = json.loads((dataset / "splits.json").read_text())
    assert set(written) == {"seed", "fractions", "splits"} and Dataset.open(dataset).splits() == written["splits"]


def test_failures_are_not_imitated_unless_asked_for(dataset, record):
    for seed in range(12):
        record(seed=seed, steps=5, cameras=("static",), outcome="failure" if seed == 3 else "success")
    without = split_dataset(dataset)["splits"]
    assert not any("episode_000003" in ids for ids in without.values())
    with_it = split_dataset(dataset, include_failures=True)["splits"]
    assert any("episode_000003" in ids for ids in with_it.values())


def test_a_leak_by_duplicates_is_refused(dataset, record):
    for seed in (*range(10), 4):
        record(seed=seed, steps=5, cameras=("static",))
    with pytest.raises(SplitError, match=r"episode_000010.h5: has the same steps as episode_000004.h5 and would leak"):
        split_dataset(dataset)
    assert not (dataset / "splits.json").exists()


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_must_be_three_that_sum_to_one(dataset, fractions):
    with pytest.raises(SplitError, match="fractions"):
        split_dataset(dataset, fractions)


def test_too_few_episodes_are_refused(dataset, record):
    record()
    with pytest.raises(SplitError, match="1 usable episodes leave 'validation' empty; record more"):
        split_dataset(dataset)


def test_statistics_are_those_of_all_steps_together(dataset, record):
    paths = [record(seed=seed, steps=20 + seed) for seed in range(3)]
    statistics = compute_statistics(paths)
    actions = np.concatenate([Episode.open(path).actions for path in paths]).astype(np.float64)
    assert (statistics.num_episodes, statistics.num_steps) == (3, 63)
    np.testing.assert_allclose(statistics.actions.mean, actions.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.actions.std, actions.std(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.actions.q99, np.quantile(actions, 0.99, axis=0))
    assert statistics.actions.min == tuple(actions.min(0)) and statistics.actions.max == tuple(actions.max(0))


def test_large_offsets_do_not_cost_precision():
    values = (1e4 + np.tile([[0.0, 0.1, 0.2]], (200_000, 1))).astype(np.float32)
    assert VectorStatistics.of(values).std[0] == 0.0
    assert VectorStatistics.of(values).mean[0] == pytest.approx(1e4, abs=1e-6)


def test_statistics_survive_json(record):
    statistics = compute_statistics([record()])
    assert Statistics.from_json(statistics.to_json()) == statistics
    with pytest.raises(StatisticsError, match=r"^stats.json: not statistics"):
        Statistics.from_json("{}")


def test_statistics_of_nothing_are_refused():
    with pytest.raises(StatisticsError, match="no steps"):
        compute_statistics([])
