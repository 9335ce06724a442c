"""Episodes of either HDF5 format into a dataset folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.convert.adopt import Adoption, Imported, adopting
from mobile_vla_data.convert.hdf5.steps import columns, numbers_of, read_labels, steps_of
from mobile_vla_data.convert.labels import Defaults, restore
from mobile_vla_data.image import Image

#: Between the made-up ticks of two episodes of others [ns].
_APART_NS = 1_000_000_000_000


@dataclass(frozen=True)
class StoredEpisode:
    """Content of a file for one episode."""

    group: Any
    """Group to which :func:`~mobile_vla_data.convert.hdf5.steps.write_extras` wrote the rest."""
    origin: str
    """File and place, for messages."""
    made_at: str
    """When the file was written, UTC, ISO 8601."""
    number: int
    """1 for the first."""
    actions: npt.NDArray[Any]
    states: npt.NDArray[Any]
    images: Mapping[str, Any]
    """Camera -> HDF5 dataset."""
    read: Callable[[Any, int], Image]
    """Return a frame of such a dataset."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """Labels in the format itself; those of ``write_extras`` come first."""


def adopt_all(
    episodes: Iterable[StoredEpisode],
    count: int,
    dataset: str | Path,
    defaults: Defaults,
    progress: Callable[[int, int], None] | None,
) -> Imported:
    """Add ``count`` episodes to a dataset folder, which is created if missing, and its splits if it has none.

    Raises:
        ConvertError: one does not fit the contract.
        ContractError: the dataset has episodes under another contract.
        DatasetBusyError: another process writes to the dataset.
        OSError: the disk is full.
    """
    result = Imported(Path(dataset))
    with adopting(dataset) as adoption:
        for number, stored in enumerate(episodes, start=1):
            _adopt(stored, adoption, defaults, result)
            if progress is not None:
                progress(number, count)
        result.splits_written = adoption.write_splits()
        result.notes = adoption.notes
    return result


def _adopt(stored: StoredEpisode, adoption: Adoption, defaults: Defaults, result: Imported) -> None:
    """Add the episode, unless the folder has it."""
    found = {**stored.labels, **read_labels(stored.group)}
    labels = restore(found, stored.images, defaults, stored.origin, stored.made_at)
    contract = labels.header.contract
    actions = columns(stored.actions, len(action_names(contract)), f"{stored.origin}: actions")
    states = columns(stored.states, len(STATE), f"{stored.origin}: states")
    numbers = numbers_of(stored.group, actions, states, stored.number * _APART_NS, contract.period_ns)
    steps = steps_of(stored.group, numbers, labels, lambda name, step: stored.read(stored.images[name], step))
    adoption.adopt(numbers, labels, steps, stored.origin, result)
