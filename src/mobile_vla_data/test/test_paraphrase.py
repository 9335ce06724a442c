"""relabel --paraphrases: which wording an episode gets, and what is said about files that do not fit."""

from __future__ import annotations

import pytest

from mobile_vla_data.episode.reader import Episode

WORDINGS = """
go_to_kitchen:
  - go to the {room}
  - drive to the {room}
  - please visit the {room}
"""


def labels(path):
    with Episode.open(path) as episode:
        return episode.metadata.language, set(episode.language_alternatives)


def test_each_episode_gets_a_drawn_wording_and_the_others_as_alternatives(record, tmp_path, run):
    (tmp_path / "words.yaml").write_text(WORDINGS)
    paths = [record(seed=seed, environment={"room": "living_room"}, language="head north") for seed in range(8)]
    done = run("relabel", *paths, "--paraphrases", tmp_path / "words.yaml")
    assert done.returncode == 0, done.stderr
    every = {"go to the living room", "drive to the living room", "please visit the living room", "head north"}
    drawn = set()
    for path in paths:
        language, others = labels(path)
        assert language != "head north" and others | {language} == every and language not in others
        drawn.add(language)
    assert len(drawn) == 3, "eight episodes draw all three wordings"
    before = [labels(path) for path in paths]
    run("relabel", *paths, "--paraphrases", tmp_path / "words.yaml")
    assert [labels(path) for path in paths] == before, "the same seed draws the same"


def test_a_collection_plan_is_a_file_of_paraphrases(record, robot_yaml, run):
    path = record(environment={"room": "kitchen"})
    assert run("relabel", path, "--paraphrases", robot_yaml.parent / "collection_plan.yaml").returncode == 0
    assert len(labels(path)[1]) >= 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("other_task: [hello]", "has no wordings of task 'go_to_kitchen'"),
        (
            "go_to_kitchen: ['go to the {floor} in the {tower}']",
            "uses {tower}, which the environment of episode_000000 lacks",
        ),
        ("go_to_kitchen: []", "task 'go_to_kitchen' needs a list of wordings"),
        ("just words", "must map task names to lists of wordings"),
        (None, "no such file"),
    ],
)
def test_a_file_that_does_not_fit_changes_no_episode(text, said, record, tmp_path, run):
    paths = [record(seed=0, environment={"floor": "1"}), record(seed=1)]
    before = [path.read_bytes() for path in paths]
    if text is not None:
        (tmp_path / "words.yaml").write_text(text)
    done = run("relabel", *paths, "--paraphrases", tmp_path / "words.yaml")
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    assert [path.read_bytes() for path in paths] == before
