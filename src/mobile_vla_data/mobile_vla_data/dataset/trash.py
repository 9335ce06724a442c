"""The trash folder of a dataset: episodes go into it, and come back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mobile_vla_data.dataset.folder import Dataset, DatasetError, move_to_trash
from mobile_vla_data.episode import schema
from mobile_vla_data.storage.durable import publish, write_text_atomically
from mobile_vla_data.storage.lock import EditLock

#: Suffix of the copy of a whole episode that :func:`mobile_vla_data.dataset.edit.trim` leaves in the trash.
UNTRIMMED = ".untrimmed"
_FILE = re.compile(rf"(episode_\d{{6,}})\.h5({re.escape(UNTRIMMED)})?(\.\d+)?")


def delete(dataset: str | Path, episode_ids: Sequence[str]) -> list[Path]:
    """Move episodes, with their raw recordings, into the trash folder and out of splits.json; return their new paths.

    Raises:
        DatasetError: an episode does not exist; none was deleted.
        DatasetBusyError: another process is editing an episode.
    """
    folder = Dataset.open(dataset)
    with EditLock(folder.path):
        paths = [folder.episode_path(episode_id) for episode_id in episode_ids]
        raws = [schema.raw_path(folder.path, path.stem) for path in paths]
        moved = [move_to_trash(path, *([raw] if raw.exists() else [])) for path, raw in zip(paths, raws, strict=True)]
        if (splits := folder.splits()) is not None:
            kept = {name: [item for item in ids if item not in set(episode_ids)] for name, ids in splits.items()}
            _write_splits(folder, kept)
    return moved


def restore(dataset: str | Path, name: str, split: str = "") -> str:
    """Take an episode back out of the trash folder; return its id.

    Args:
        dataset: the dataset folder.
        name: name of the file in the trash, for example ``episode_000007.h5``; a whole episode that a trim has left
            there, ``episode_000007.h5.untrimmed``, replaces the trimmed one.
        split: name of the split that the episode was in; empty: none.

    Raises:
        DatasetError: the trash holds no such file, or the dataset has an episode of that id again.
        DatasetBusyError: another process is editing an episode.
    """
    folder = Dataset.open(dataset)
    match, path = _FILE.fullmatch(name), folder.path / schema.TRASH_FOLDER / name
    if match is None or not path.is_file():
        raise DatasetError(f"{folder.path}: the trash has no episode file '{name}'")
    episode_id, target = match[1], schema.final_path(folder.path, match[1])
    with EditLock(folder.path):
        if target.exists() and not match[2]:
            raise DatasetError(f"{target}: exists; delete it before you restore {name}")
        publish(path, target)
        raw = schema.raw_path(folder.path, episode_id)
        thrown = path.with_name(f"{raw.name}{match[3] or ''}")
        if not match[2] and thrown.is_file() and not raw.exists():
            publish(thrown, raw)
        splits = folder.splits()
        if splits is not None and split in splits and not any(episode_id in ids for ids in splits.values()):
            _write_splits(folder, {**splits, split: sorted([*splits[split], episode_id])})
    return episode_id


def _write_splits(folder: Dataset, splits: Mapping[str, Sequence[str]]) -> None:
    path = folder.path / schema.SPLITS_FILE
    document = {**json.loads(path.read_text(encoding="utf-8")), "splits": splits}
    write_text_atomically(path, json.dumps(document, indent=2) + "\n")
