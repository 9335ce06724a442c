"""Splits a dataset into train, validation and test: by whole episodes, in the same proportion for every task."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.storage.durable import write_text_atomically

SPLIT_NAMES = ("train", "validation", "test")


class SplitError(ValueError):
    """A dataset cannot be split as requested; one line with the reason and what to do."""


def fingerprint(episode: Episode) -> str:
    """Equal for two episodes exactly when their actions, states and ticks are equal to the byte."""
    return digest(episode.actions, episode.states, episode.timestamps_ns)


def digest(actions: npt.NDArray[Any], states: npt.NDArray[Any], ticks_ns: npt.NDArray[Any]) -> str:
    """Return the :func:`fingerprint` of an episode with these actions, states and ticks, float32 and int64."""
    found = hashlib.sha256()
    for values in (actions, states, ticks_ns):
        found.update(values.tobytes())
    return found.hexdigest()


def split_dataset(
    dataset: str | Path,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    *,
    include_failures: bool = False,
    keep: bool = False,
) -> dict[str, Any]:
    """Assign every episode to one split and write ``splits.json``; returns what was written.

    With ``keep`` an episode stays where ``splits.json`` has it, and only those that came since are assigned: what was
    trained on does not become what a policy is judged by.

    Episodes whose outcome is failure are left out unless ``include_failures``: a policy that imitates would learn to
    fail. The same dataset, fractions and seed give the same splits. The first episode of each task goes to training;
    where there are too few for that, ``untrained_tasks`` names the tasks that training will not see.

    Raises:
        SplitError: wrong fractions, too few episodes, or two episodes with the same steps, which would leak.
        EpisodeError: a file cannot be read.
    """
    folder = Dataset.open(dataset)
    _check_fractions(fractions)
    by_task: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, str] = {}
    for path in folder.episode_paths:
        with Episode.open(path) as episode:
            if episode.outcome == "failure" and not include_failures:
                continue
            mark = fingerprint(episode)
            if mark in seen:
                raise SplitError(
                    f"{path}: has the same steps as {seen[mark]}.h5 and would leak between splits; delete one of them"
                )
            seen[mark] = path.stem
            by_task[episode.metadata.task].append(path.stem)
    splits = _assign(by_task, fractions, seed, folder.splits() if keep else None)
    empty = [name for name, fraction in zip(SPLIT_NAMES, fractions, strict=True) if fraction > 0 and not splits[name]]
    if empty:
        raise SplitError(f"{folder.path}: {len(seen)} usable episodes leave '{empty[0]}' empty; record more episodes")
    document: dict[str, Any] = {"seed": seed, "fractions": list(fractions), "splits": splits}
    if untrained := untrained_tasks({name: task for task, ids in by_task.items() for name in ids}, splits):
        document["untrained_tasks"] = untrained
    write_text_atomically(folder.path / schema.SPLITS_FILE, json.dumps(document, indent=2) + "\n")
    return document


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != len(SPLIT_NAMES) or any(not 0 <= fraction <= 1 for fraction in fractions):
        raise SplitError(f"fractions are {list(fractions)}; give three numbers in 0 .. 1 for {', '.join(SPLIT_NAMES)}")
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise SplitError(f"fractions {list(fractions)} sum to {sum(fractions):g}; they must sum to 1")


def untrained_tasks(task_of: Mapping[str, str], splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tasks that are in a split but in none for training; ``task_of`` maps episode ids to tasks.

    A policy that was trained on such a split has never seen them, and is judged by them.
    """
    trained = {task_of[name] for name in splits.get(SPLIT_NAMES[0], ()) if name in task_of}
    judged = {task_of[name] for split in SPLIT_NAMES[1:] for name in splits.get(split, ()) if name in task_of}
    return sorted(judged - trained)


def _assign(
    by_task: dict[str, list[str]],
    fractions: Sequence[float],
    seed: int,
    kept: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Assign each task's shuffled episodes to whichever split is furthest behind its share, of all and of this task.

    The share of all keeps the sizes right when tasks have few episodes each; the share of the task stratifies. The
    first episode of each task is trained on, unless that would leave a split empty. Those of ``kept`` are dealt first.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLIT_NAMES}
    known = {episode_id: place for place, name in enumerate(SPLIT_NAMES) for episode_id in (kept or {}).get(name, ())}
    dealt = 0
    for task in sorted(by_task):
        ids = sorted(by_task[task])
        random.Random(f"{seed}/{task}").shuffle(ids)
        ids.sort(key=lambda episode_id: episode_id not in known)
        counts = [0] * len(fractions)
        for position, episode_id in enumerate(ids):
            dealt += 1
            behind = [
                (fraction * (position + 1) - count) + (fraction * dealt - len(splits[name]))
                if fraction > 0
                else -math.inf
                for fraction, count, name in zip(fractions, counts, SPLIT_NAMES, strict=True)
            ]
            chosen = 0 if position == 0 and fractions[0] > 0 else behind.index(max(behind))
            chosen = known.get(episode_id, chosen)
            counts[chosen] += 1
            splits[SPLIT_NAMES[chosen]].append(episode_id)
    _fill(splits, by_task, fractions, seed)
    return {name: sorted(ids) for name, ids in splits.items()}


def _fill(splits: dict[str, list[str]], by_task: dict[str, list[str]], fractions: Sequence[float], seed: int) -> None:
    """Give an empty split one of the episodes to train on, of the task that has most of them."""
    trained = splits[SPLIT_NAMES[0]]
    for name, fraction in zip(SPLIT_NAMES[1:], fractions[1:], strict=True):
        if fraction > 0 and not splits[name] and len(trained) > 1:
            shares = {task: [item for item in trained if item in set(ids)] for task, ids in sorted(by_task.items())}
            order = random.Random(f"{seed}/{name}").sample(sorted(shares), len(shares))
            given = shares[max(order, key=lambda task: len(shares[task]))][-1]
            trained.remove(given)
            splits[name].append(given)
