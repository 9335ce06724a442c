"""Repairs what can be repaired without losing or inventing anything. The caller holds the dataset's lock."""

from __future__ import annotations

import json
from pathlib import Path

from mobile_vla_data.dataset.folder import Dataset, DatasetError
from mobile_vla_data.episode import schema
from mobile_vla_data.repair.recover import recover_dataset
from mobile_vla_data.storage.durable import write_text_atomically


def fix_dataset(path: str | Path) -> list[str]:
    """Recover unfinished episodes and take names of absent episodes out of splits.json; one line for each repair.

    An episode that is in two splits is left to a human: which of them has seen it, only the training knows.
    """
    dataset = Dataset.open(path)
    done = [f"{item.episode_id}: {item.result}: {item.reason}" for item in recover_dataset(dataset.path)]
    try:
        splits = dataset.splits()
    except DatasetError:
        return done
    if splits is None:
        return done
    known = set(dataset.episode_ids)
    absent = sorted({name for ids in splits.values() for name in ids if name not in known})
    if absent:
        splits_path = dataset.path / schema.SPLITS_FILE
        document = json.loads(splits_path.read_text(encoding="utf-8"))
        document["splits"] = {split: [name for name in ids if name in known] for split, ids in splits.items()}
        write_text_atomically(splits_path, json.dumps(document, indent=2) + "\n")
        done.append(f"{splits_path}: {len(absent)} absent episodes taken out, {absent[0]} first")
    return done
