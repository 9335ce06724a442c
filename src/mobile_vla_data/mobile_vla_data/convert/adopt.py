"""Adds converted episodes to a dataset folder: each whole or not at all, and none twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.labels import Labels
from mobile_vla_data.dataset.folder import Dataset, remove_imports
from mobile_vla_data.dataset.split import SPLIT_NAMES, digest, fingerprint
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, EpisodeFileBuilder
from mobile_vla_data.episode.metadata import Ending, EpisodeHeader
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.schema import next_number
from mobile_vla_data.episode.steps import StepRecord
from mobile_vla_data.storage.durable import as_disk_full, publish, write_text_atomically
from mobile_vla_data.storage.lock import DatasetLock


@dataclass(frozen=True)
class Numbers:
    """The numbers of an episode's steps."""

    actions: npt.NDArray[np.float32]
    """``[T, 3]`` or ``[T, 4]``."""
    states: npt.NDArray[np.float32]
    """``[T, 3]``."""
    ticks_ns: npt.NDArray[np.int64]
    """``[T]``."""

    @property
    def fingerprint(self) -> str:
        """Equal to :func:`~mobile_vla_data.dataset.split.fingerprint` of the episode that holds these numbers."""
        return digest(self.actions, self.states, self.ticks_ns)


@dataclass
class Imported:
    """Result of an import."""

    dataset: Path
    episodes: int = 0
    steps: int = 0
    left_out: int = 0
    """Episodes that the dataset had already."""
    splits_written: bool = False
    notes: list[str] = field(default_factory=list)
    """What of the source was left out, one line each."""


@contextmanager
def adopting(dataset: str | Path) -> Iterator[Adoption]:
    """Lock a dataset folder, created if missing, and yield the object that adds episodes to it.

    Episodes whose numbers the folder holds already are left out, so an interrupted import can be repeated. What a
    killed import left is removed.

    Raises:
        DatasetBusyError: another process writes to the dataset.
        EpisodeError: an episode in the folder cannot be read.
        OSError: the folder cannot be written to.
    """
    with DatasetLock(dataset):
        remove_imports(Path(dataset))
        try:
            yield Adoption(Path(dataset))
        finally:
            remove_imports(Path(dataset))


class Adoption:
    """Adds episodes to a dataset folder. Use :func:`adopting`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workplace = folder / schema.IMPORT_FOLDER
        """Folder for episodes that are not complete."""
        self.workplace.mkdir()
        self.notes: list[str] = []
        """What of the source was left out, one line each."""
        self._contract: tuple[Contract, str] | None = None
        self._known: dict[str, str] = {}
        self._split_of: dict[str, str] = {}
        for path in Dataset(self.folder).episode_paths:
            with Episode.open(path) as episode:
                self._known[fingerprint(episode)] = episode.episode_id
                self._contract = self._contract or (episode.contract, str(path))

    def find(self, fingerprint: str) -> str | None:
        """Return the id of the episode with this fingerprint, or None."""
        return self._known.get(fingerprint)

    def remember(self, fingerprint: str, episode_id: str) -> None:
        """Register an episode of the folder."""
        self._known[fingerprint] = episode_id

    def require_contract(self, contract: Contract, origin: str) -> None:
        """Raise :class:`ContractError` when ``contract``, of ``origin``, differs in meaning from the folder's."""
        if self._contract is None:
            self._contract = contract, origin
        self._contract[0].require_same(contract, self._contract[1], origin)

    def add(self, numbers: Numbers, header: EpisodeHeader, steps: Iterable[StepRecord], ending: Ending) -> str:
        """Write an episode and return its id: the header's where it is free, the next free one otherwise.

        Raises:
            OSError: the disk is full.
        """
        episode_id = self.free_id(header.episode_id)
        final = schema.final_path(self.folder, episode_id)
        part = schema.final_path(self.workplace, episode_id)
        records = _checked(steps, len(numbers.ticks_ns), final)
        builder = EpisodeFileBuilder(part, replace(header, episode_id=episode_id))
        try:
            while block := list(islice(records, BLOCK_STEPS)):
                builder.append(block)
            builder.finish(ending)
            self.publish(part)
        except OSError as error:
            raise as_disk_full(error, final) from None
        finally:
            builder.close()
            part.unlink(missing_ok=True)
        self.remember(numbers.fingerprint, episode_id)
        return episode_id

    def publish(self, path: Path) -> None:
        """Move a complete episode from :attr:`workplace` to the dataset."""
        publish(path, self.folder / path.name)

    def adopt(
        self, numbers: Numbers, labels: Labels, steps: Iterable[StepRecord], origin: str, result: Imported
    ) -> None:
        """Add the episode of ``origin`` and count it in ``result``, unless the folder has it; note its split.

        Raises:
            ContractError: the folder's episodes have another contract.
            OSError: the disk is full.
        """
        known = self.find(numbers.fingerprint)
        if known is None:
            self.require_contract(labels.header.contract, origin)
            known = self.add(numbers, labels.header, steps, labels.ending)
            result.episodes += 1
            result.steps += len(numbers.ticks_ns)
        else:
            result.left_out += 1
        self.note_split(known, labels.split)

    def note_split(self, episode_id: str, split: str) -> None:
        """Remember that an episode belongs to a split; an empty name means none."""
        if split:
            self._split_of[episode_id] = split

    def write_splits(self) -> bool:
        """Write ``splits.json`` from the registered splits; return whether it was written.

        An existing file stays as it is; :attr:`notes` says how many episodes it lacks.
        """
        path = self.folder / schema.SPLITS_FILE
        if not self._split_of:
            return False
        existing = Dataset(self.folder).splits()
        if existing is not None:
            lacking = [item for item, split in self._split_of.items() if item not in existing.get(split, ())]
            if lacking:
                self.notes.append(
                    f"{path} exists and was not changed: it lacks the splits of {len(lacking)} imported episodes; "
                    "'mobile-vla-data split --keep' assigns them"
                )
            return False
        splits = {
            name: sorted(episode_id for episode_id, split in self._split_of.items() if split == name)
            for name in dict.fromkeys([*SPLIT_NAMES, *self._split_of.values()])
        }
        write_text_atomically(path, json.dumps({"splits": splits}, indent=2) + "\n")
        return True

    def free_id(self, wanted: str) -> str:
        """Return ``wanted`` if it is an episode id that was never used here, the next free one otherwise."""
        if schema.is_episode_id(wanted):
            used = {schema.number_in_name(path.name) for path in self.folder.iterdir()}
            trash = self.folder / schema.TRASH_FOLDER
            used |= {schema.number_in_name(path.name) for path in trash.iterdir()} if trash.is_dir() else set()
            if schema.number_in_name(f"{wanted}.h5") not in used:
                return wanted
        return schema.format_id(next_number(self.folder))


def _checked(steps: Iterable[StepRecord], expected: int, final: Path) -> Iterator[StepRecord]:
    done = 0
    for step in steps:
        done += 1
        yield step
    if done != expected:
        raise ConvertError(f"{final.name}: {done} of {expected} steps have images; nothing was written for it")
