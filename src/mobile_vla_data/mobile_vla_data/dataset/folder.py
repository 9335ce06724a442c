"""A dataset folder: which episodes it holds, its splits, and its trash, which keeps what is deleted."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mobile_vla_data.episode import schema
from mobile_vla_data.storage.durable import fsync_path

#: Files that are sent with the episodes of a dataset.
SENT_WITH_EPISODES = (schema.SPLITS_FILE, schema.PLAN_FILE)


class DatasetError(ValueError):
    """A dataset folder or its splits cannot be used; one line naming the file and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A dataset folder. Nothing is cached: what a method returns is what the folder holds now."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """Return the dataset in the folder ``path``.

        Raises:
            DatasetError: there is no such folder.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file; give the folder of the dataset" if path.exists() else "no such dataset folder"
            raise DatasetError(f"{path}: {what}")
        return cls(path)

    @property
    def episode_paths(self) -> list[Path]:
        """Committed episodes, in the order of their ids."""
        found = [path for path in self.path.iterdir() if schema.id_of_file(path)]
        return sorted(found, key=lambda path: schema.number_in_name(path.name) or 0)

    @property
    def episode_ids(self) -> list[str]:
        """Ids of the committed episodes, in order."""
        return [path.stem for path in self.episode_paths]

    @property
    def sent_paths(self) -> list[Path]:
        """Files that a hub or object storage receives: the committed episodes, in order, then splits and plan."""
        others = [self.path / name for name in SENT_WITH_EPISODES]
        return [*self.episode_paths, *(path for path in others if path.is_file())]

    @property
    def unfinished_paths(self) -> list[Path]:
        """The ``.part`` files of open and crashed recordings."""
        return sorted(self.path.glob(".episode_*.part"))

    def episode_path(self, episode_id: str) -> Path:
        """Path of a committed episode.

        Raises:
            DatasetError: the dataset has no such episode.
        """
        path = schema.final_path(self.path, episode_id)
        if not path.is_file():
            raise DatasetError(f"{self.path}: no episode '{episode_id}'")
        return path

    def splits(self) -> dict[str, list[str]] | None:
        """Split name -> episode ids, or None when the dataset has not been split.

        Raises:
            DatasetError: splits.json is malformed.
        """
        path = self.path / schema.SPLITS_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DatasetError(f"{path}: cannot be read as JSON: {error}") from None
        splits = data.get("splits") if isinstance(data, dict) else None
        if not isinstance(splits, dict) or not all(
            isinstance(ids, list) and all(isinstance(item, str) for item in ids) for ids in splits.values()
        ):
            raise DatasetError(f"{path}: 'splits' must map split names to lists of episode ids; run split again")
        return splits


def signature(path: Path) -> tuple[int, ...]:
    """Return numbers that change whenever a file is replaced; empty if there is none that can be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def remove_imports(dataset: Path) -> list[str]:
    """Remove what a killed import left in a dataset folder, and return the ids; the caller holds the folder's lock."""
    work = dataset / schema.IMPORT_FOLDER
    names = [path.name for path in work.iterdir()] if work.is_dir() else []
    shutil.rmtree(work, ignore_errors=True)
    return sorted({schema.format_id(number) for name in names if (number := schema.number_in_name(name)) is not None})


def move_to_trash(path: Path, *more: Path) -> Path:
    """Move a file of a dataset folder into its trash folder and return its new path; nothing there is overwritten.

    ``more`` files that belong to it get the same number there.
    """
    trash = path.parent / schema.TRASH_FOLDER
    trash.mkdir(exist_ok=True)
    files = (path, *more)
    suffixes = (f".{number}" if number else "" for number in itertools.count())
    every = ([trash / f"{file.name}{suffix}" for file in files] for suffix in suffixes)
    targets = next(targets for targets in every if not any(map(os.path.lexists, targets)))
    for file, target in zip(files, targets, strict=True):
        if file.is_symlink():
            # A relative link would point nowhere from there.
            target.symlink_to(file.resolve())
            file.unlink()
        else:
            os.rename(file, target)
    fsync_path(trash)
    fsync_path(path.parent)
    return targets[0]
