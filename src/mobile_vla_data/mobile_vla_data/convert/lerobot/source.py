"""Reads a LeRobotDataset v3.0 folder by any writer, episode by episode in the order of its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.lerobot.layout import CODEBASE_VERSION, INFO_PATH, TASKS_PATH

#: Rows of a data file decoded at a time.
_BATCH_ROWS = 64
_TASK = "task_index"
#: Splits by the names that LeRobotDatasets have for them.
_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class SourceEpisode:
    """One episode of a LeRobotDataset."""

    row: dict[str, Any]
    """Its row of ``meta/episodes``, statistics left out."""
    table: Any
    """Arrow table of its steps."""
    language: str
    """Task of its first step; empty when it has none."""
    split: str
    """train, validation or test; empty for none."""
    num_tasks: int

    @property
    def index(self) -> int:
        """Its number in the LeRobotDataset."""
        return int(self.row["episode_index"])

    @property
    def first_step(self) -> int:
        """Number of its first step in the LeRobotDataset. Raises :class:`ConvertError` where that is missing."""
        return int(_value(self.row, "dataset_from_index", "meta/episodes"))


class LeRobotSource:
    """A LeRobotDataset folder. Use :meth:`open`."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: str | Path) -> LeRobotSource:
        """Read what the dataset says about itself.

        Raises:
            ConvertError: not a LeRobotDataset, of another version, or damaged.
        """
        path = Path(path)
        try:
            info = json.loads((path / INFO_PATH).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConvertError(f"{path}: not a LeRobotDataset: {INFO_PATH} is missing") from None
        except (OSError, ValueError) as error:
            raise ConvertError(f"{path / INFO_PATH}: cannot be read: {error}") from None
        missing = [name for name in ("codebase_version", "fps", "features", "data_path") if name not in info]
        if missing:
            raise ConvertError(f"{path / INFO_PATH}: '{missing[0]}' is missing")
        if str(info["codebase_version"]).split(".")[0] != CODEBASE_VERSION.split(".")[0]:
            raise ConvertError(
                f"{path}: LeRobotDataset {info['codebase_version']}; only {CODEBASE_VERSION} can be imported. "
                "Convert it with LeRobot's convert_dataset_v21_to_v30"
            )
        return cls(path, info)

    @property
    def fps(self) -> float:
        """Steps per second."""
        return float(self.info["fps"])

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Feature name -> description."""
        return dict(self.info["features"])

    @cached_property
    def camera_keys(self) -> dict[str, str]:
        """Last part of each image feature's name -> the feature's name."""
        return {
            key.rsplit(".", 1)[-1]: key
            for key, feature in self.features.items()
            if feature.get("dtype") in ("image", "video")
        }

    def is_video(self, key: str) -> bool:
        """Return whether an image feature is stored as video."""
        return bool(self.features[key]["dtype"] == "video")

    def video_place(self, row: dict[str, Any], key: str) -> tuple[Path, int]:
        """File of an episode's video, and the number of its first frame in it."""
        template, names = self.info.get("video_path"), ("chunk_index", "file_index", "from_timestamp")
        if not template:
            raise ConvertError(f"{self.path / INFO_PATH}: 'video_path' is missing")
        place = {name: _value(row, f"videos/{key}/{name}", f"{self.path}: meta/episodes") for name in names}
        path = self.path / str(template).format(video_key=key, **place)
        return path, round(float(place["from_timestamp"]) * self.fps)

    @property
    def num_episodes(self) -> int:
        """Number of episodes, as the dataset says."""
        return int(self.info.get("total_episodes", 0))

    def episodes(self) -> Iterator[SourceEpisode]:
        """Yield the episodes one at a time.

        Raises:
            ConvertError: a file is missing or damaged, or two files contradict each other.
        """
        tasks, splits = self._tasks(), self._splits()
        rows = self._rows()
        for path in sorted(self.path.glob("data/*/*.parquet")):
            for number, table in self._tables(path):
                row = next(rows, None)
                if row is None or row.get("episode_index") != number:
                    raise ConvertError(f"{path}: episode {number} is not in meta/episodes where it should be")
                if row.get("length") != table.num_rows:
                    raise ConvertError(
                        f"{path}: episode {number} has {table.num_rows} rows; meta/episodes says {row.get('length')}"
                    )
                found = dict.fromkeys(table.column(_TASK).to_pylist()) if _TASK in table.column_names else {}
                language = tasks.get(next(iter(found), None)) or ""
                split = next((name for name, ids in splits.items() if number in ids), "")
                yield SourceEpisode(row, table, language, split, len(found))
        left = next(rows, None)
        if left is not None:
            raise ConvertError(f"{self.path}: no data file has episode {left['episode_index']}")

    def _tasks(self) -> dict[int | None, str]:
        table = _read(self.path / TASKS_PATH)
        texts = [name for name in table.column_names if name != _TASK]
        if _TASK not in table.column_names or not texts:
            raise ConvertError(f"{self.path / TASKS_PATH}: needs the columns '{_TASK}' and 'task'")
        return dict(zip(table.column(_TASK).to_pylist(), table.column(texts[0]).to_pylist(), strict=True))

    def _splits(self) -> dict[str, range]:
        """Return the episodes of each split that info.json names; one that holds all of them says nothing."""
        found = {}
        for name, text in (self.info.get("splits") or {}).items():
            first, colon, last = str(text).partition(":")
            if name in _SPLITS and colon and first.isdecimal() and last.isdecimal():
                found[_SPLITS[name]] = range(int(first), int(last))
        return {name: ids for name, ids in found.items() if len(ids) < self.num_episodes}

    def _rows(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.path.glob("meta/episodes/*/*.parquet")):
            parquet = import_extra("pyarrow.parquet", "lerobot")
            names = parquet.read_schema(path).names
            yield from _read(path, [name for name in names if not name.startswith("stats/")]).to_pylist()

    def _tables(self, path: Path) -> Iterator[tuple[int, Any]]:
        """Yield the number and rows of each episode of one data file."""
        arrow = import_extra("pyarrow", "lerobot")
        compute = import_extra("pyarrow.compute", "lerobot")
        parquet = import_extra("pyarrow.parquet", "lerobot")
        current: int | None = None
        parts: list[Any] = []
        try:
            with parquet.ParquetFile(path) as file:
                self._require_columns(path, file.schema_arrow.names)
                for batch in file.iter_batches(_BATCH_ROWS):
                    for number in compute.unique(batch.column("episode_index")).to_pylist():
                        if number != current and parts:
                            yield current or 0, arrow.Table.from_batches(parts)
                            parts = []
                        current = number
                        parts.append(batch.filter(compute.equal(batch.column("episode_index"), number)))
        except (arrow.ArrowInvalid, OSError, KeyError) as error:
            raise ConvertError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from None
        if parts:
            yield current or 0, arrow.Table.from_batches(parts)

    def _require_columns(self, path: Path, names: list[str]) -> None:
        wanted = [name for name, feature in self.features.items() if feature.get("dtype") != "video"]
        missing = [name for name in ("episode_index", *wanted) if name not in names]
        if missing:
            raise ConvertError(f"{path}: column '{missing[0]}' is missing")


def _value(row: Mapping[str, Any], name: str, origin: str) -> Any:
    if row.get(name) is None:
        raise ConvertError(f"{origin}: '{name}' is missing")
    return row[name]


def _read(path: Path, columns: list[str] | None = None) -> Any:
    arrow = import_extra("pyarrow", "lerobot")
    parquet = import_extra("pyarrow.parquet", "lerobot")
    try:
        return parquet.ParquetFile(path).read(columns)
    except (arrow.ArrowInvalid, OSError) as error:
        raise ConvertError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from None
