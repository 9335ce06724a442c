"""Further wordings of an instruction: training shows each window with one, validation with the instruction itself."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from synthetic_episodes import policy_settings, write_dataset

from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_policy.samples.episodes import open_dataset
from mobile_vla_policy.samples.frames import FramesOnDisk
from mobile_vla_policy.samples.windows import Draw, WindowData, batches_of, cut_windows, epochs_of_batches

OTHERS = ("the first other wording", "the second other wording")
HOW = Draw(window=8, stride=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WindowData:
    folder = write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=6)
    first = sorted(Path(folder).glob("episode_*.h5"))[0]
    relabel(first, Labels(language_alternatives=OTHERS))
    opened = open_dataset(folder, ["static"], seed=0)
    episodes = sorted((e for split in opened.splits.values() for e in split), key=lambda episode: episode.path)
    frames = FramesOnDisk(episodes, ["static"], 32)
    return WindowData(episodes, frames, opened.normalisation, policy_settings().head)


def shown(data: WindowData, seed: int, epochs: int) -> list[tuple[str, str]]:
    """Episode and instruction of every window, epoch after epoch."""
    found = []
    for epoch in islice(epochs_of_batches(data, HOW, 4, seed), epochs):
        for windows in epoch:
            batch = data.batch(windows)
            found += zip(batch.episodes, batch.instructions, strict=True)
    return found


def test_every_wording_of_an_episode_is_shown_about_equally_often(data: WindowData) -> None:
    first = data.episodes[0]
    counts = Counter(said for episode, said in shown(data, seed=0, epochs=30) if episode == first.path.stem)
    assert counts.keys() == {first.instruction, *OTHERS}
    assert min(counts.values()) > 0.6 * max(counts.values())


def test_episodes_without_further_wordings_keep_their_instruction(data: WindowData) -> None:
    own = {episode.path.stem: episode.instruction for episode in data.episodes[1:]}
    assert all(own[episode] == said for episode, said in shown(data, 0, 2) if episode in own)


def test_the_same_seed_draws_the_same_and_wordings_do_not_change_which_windows_come(data: WindowData) -> None:
    assert shown(data, 1, 3) == shown(data, 1, 3) != shown(data, 2, 3)
    plain = WindowData.__new__(WindowData)
    plain.__dict__ = {**data.__dict__, "episodes": [replace(episode, alternatives=()) for episode in data.episodes]}
    with_them = [[window.steps for window in windows] for windows in next(epochs_of_batches(data, HOW, 4, 5))]
    without = [[window.steps for window in windows] for windows in next(epochs_of_batches(plain, HOW, 4, 5))]
    assert with_them == without


def test_validation_uses_the_instruction_itself(data: WindowData) -> None:
    windows = cut_windows(data.lengths, 8, 1, None)
    own = {episode.path.stem: episode.instruction for episode in data.episodes}
    for part in batches_of(windows, 8):
        batch = data.batch(part)
        assert all(own[name] == said for name, said in zip(batch.episodes, batch.instructions, strict=True))
