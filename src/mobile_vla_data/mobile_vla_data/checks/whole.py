"""Checks a dataset as a whole: one contract, no duplicates, splits that do not leak."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset, DatasetError
from mobile_vla_data.dataset.split import untrained_tasks
from mobile_vla_data.episode import schema
from mobile_vla_data.storage.lock import is_locked

#: From this many episodes on, one phrase for all is a habit of the operator, not a coincidence.
_MANY = 10


@dataclass(frozen=True)
class EpisodeSummary:
    """Facts about one well-formed episode for the checks of the dataset."""

    file: str
    episode_id: str
    language: str
    task: str
    category: str
    outcome: str
    environment: dict[str, object]
    contract_json: str
    fingerprint: str
    num_steps: int
    real_rate_hz: float
    source_encodings: dict[str, str]
    """Camera -> encodings of its messages; only cameras for which they were recorded."""
    colours: dict[str, tuple[float, float, float]]
    """Camera -> mean red, green and blue of some of its images, 0 .. 255; the same cameras."""


def check_dataset(dataset: Dataset, summaries: Sequence[EpisodeSummary]) -> list[Finding]:
    """Findings about the folder, given the summaries of its well-formed episodes."""
    return [
        *_nothing(dataset),
        *_unfinished(dataset),
        *_contracts(summaries),
        *_encodings(summaries),
        *_duplicates(summaries),
        *_instructions(dataset, summaries),
        *check_splits(dataset, summaries),
    ]


def _nothing(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.episode_paths:
        yield Finding("no-episodes", "error", str(dataset.path), "holds no episode", "record some, or check the path")


def _unfinished(dataset: Dataset) -> Iterator[Finding]:
    # While a recorder is at work its open episode is no finding.
    if is_locked(dataset.path):
        return
    for path in dataset.unfinished_paths:
        yield Finding(
            "unfinished",
            "error",
            str(path),
            "a recording was cut off before it was committed",
            f"run 'mobile-vla-data recover {dataset.path}'",
        )


def _contracts(summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    if not summaries:
        return
    counts = Counter(summary.contract_json for summary in summaries)
    usual_json = counts.most_common(1)[0][0]
    usual = Contract.from_json(usual_json)
    reference = next(summary.file for summary in summaries if summary.contract_json == usual_json)
    for summary in summaries:
        if summary.contract_json != usual_json:
            differences = Contract.from_json(summary.contract_json).differences(usual)
            if differences:
                yield Finding(
                    "contract-differs",
                    "error",
                    summary.file,
                    f"its contract differs from that of {os.path.basename(reference)}: {'; '.join(differences)}",
                    "keep episodes of different robots in different datasets",
                )


def _encodings(summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    """Compare the encodings of each camera's messages: a driver that mixes up rgb8 and bgr8 swaps red and blue."""
    for camera in dict.fromkeys(name for summary in summaries for name in summary.source_encodings):
        having = [summary for summary in summaries if camera in summary.source_encodings]
        usual = Counter(summary.source_encodings[camera] for summary in having).most_common(1)[0][0]
        hue = np.mean([_hue(item, camera) for item in having if item.source_encodings[camera] == usual], axis=0)
        for summary in having:
            encoding, seen = summary.source_encodings[camera], _hue(summary, camera)
            mixed = "," in encoding
            if encoding == usual and not mixed:
                continue
            swapped = float(np.abs(seen - hue[::-1]).sum()) < 0.5 * float(np.abs(seen - hue).sum())
            looks = "; red and blue look swapped" if swapped else ""
            yield Finding(
                "encoding-differs",
                "error" if swapped else "warning",
                summary.file,
                f"images of camera '{camera}' came as {encoding}, "
                + ("changing within the episode" if mixed else f"those of most episodes as {usual}{looks}"),
                "compare the colours in 'mobile-vla-data view'; if they are wrong, correct the camera's driver and "
                "record it again",
            )


def _hue(summary: EpisodeSummary, camera: str) -> npt.NDArray[np.float64]:
    """Shares of red, green and blue, which do not depend on how bright it is."""
    colour = np.array(summary.colours[camera]) + 1.0
    return np.asarray(colour / colour.sum())


def _duplicates(summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for summary in summaries:
        original = first.setdefault(summary.fingerprint, summary.episode_id)
        if original != summary.episode_id:
            yield Finding(
                "duplicate", "error", summary.file, f"has the same steps as {original}", "delete one of the two"
            )


def _instructions(dataset: Dataset, summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    phrases = {summary.language for summary in summaries}
    tasks = {summary.task for summary in summaries}
    if len(summaries) >= _MANY and len(phrases) == 1:
        yield Finding(
            "one-instruction",
            "error" if len(tasks) > 1 else "warning",
            str(dataset.path),
            f"all {len(summaries)} episodes of {len(tasks)} task(s) have the instruction '{next(iter(phrases))}'",
            "a policy learns to ignore it; relabel them with the instructions that were given, in several wordings",
        )


def check_splits(dataset: Dataset, summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    """Findings about splits.json, given the summaries of the dataset's well-formed episodes."""
    path = str(dataset.path / schema.SPLITS_FILE)
    again = f"run 'mobile-vla-data split {dataset.path}' again"
    try:
        splits = dataset.splits()
    except DatasetError as error:
        yield Finding("splits-invalid", "error", path, str(error).removeprefix(f"{path}: "), again)
        return
    if splits is None:
        return
    known = set(dataset.episode_ids)
    where: dict[str, str] = {}
    for split, ids in splits.items():
        for episode_id in ids:
            if episode_id not in known:
                yield Finding(
                    "splits-unknown",
                    "error",
                    path,
                    f"split '{split}' names {episode_id}, which is not in the dataset",
                    again,
                )
            if episode_id in where:
                yield Finding(
                    "splits-twice",
                    "error",
                    path,
                    f"{episode_id} is in '{where[episode_id]}' and in '{split}'",
                    f"the policy would be tested on its training data; {again}",
                )
            where[episode_id] = split
    untrained = untrained_tasks({summary.episode_id: summary.task for summary in summaries}, splits)
    if untrained:
        yield Finding(
            "splits-untrained",
            "warning",
            path,
            f"training sees no episode of {', '.join(untrained)}, which validation or test has",
            f"record more of them, and {again}",
        )
    unassigned = [
        summary.episode_id for summary in summaries if summary.outcome != "failure" and summary.episode_id not in where
    ]
    if unassigned:
        yield Finding(
            "splits-incomplete",
            "warning",
            path,
            f"{len(unassigned)} episodes are in no split, {unassigned[0]} first",
            again,
        )
