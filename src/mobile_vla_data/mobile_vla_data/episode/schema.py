"""Episode schema 1.1: every name, type and file name of a dataset folder, in one place.

``docs/reference/episode-format.md`` shows the same as a table. T is the number of steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

SCHEMA = "mobile_vla_episode"
SCHEMA_VERSION = "1.1"
"""Files of 1.0 are read, too; they lack the optional parts."""

STATE = "/observations/state"
ACTIONS = "/actions"
TIMESTAMPS = "/timestamps"
TAKEOVER = "/takeover"
#: Optional: where the instruction's target is in the first camera's image, int32 ``[T, 2]``: column, row.
TARGET = "/annotations/target"
ANNOTATIONS_GROUP = "/annotations"
#: A target's coordinates where it is not known.
UNKNOWN_TARGET = (-1, -1)
#: Optional: further wordings of the instruction, text ``[N]``.
LANGUAGE_ALTERNATIVES = "/language_alternatives"
IMAGES_GROUP = "/observations/images"
STAMPS_GROUP = "/observations/stamps"

#: dtype of the datasets that every episode has.
STEP_DATASETS = {STATE: "float32", ACTIONS: "float32", TIMESTAMPS: "int64", TAKEOVER: "bool"}
TARGET_DTYPE = "int32"
STAMP_DTYPE = "int64"

RAW, JPEG = "raw", "jpeg"
ENCODINGS = (JPEG, RAW)

#: Root attributes that every episode has.
TEXT_ATTRIBUTES = (
    "schema",
    "schema_version",
    "episode_id",
    "language",
    "task",
    "category",
    "outcome",
    "source",
    "environment",
    "contract",
    "created_at",
    "software_version",
)
COUNT_ATTRIBUTES = ("num_steps", "dropped_ticks")
#: Optional root attributes: true when rebuilt after a crash; JSON counters of late, missing, repeated, refused inputs;
#: commanded turning that no action carries [rad].
RECOVERED, INPUT_COUNTERS, LOST_YAW_RAD = "recovered", "input_counters", "lost_yaw_rad"
OPTIONAL_ATTRIBUTES = (RECOVERED, INPUT_COUNTERS, LOST_YAW_RAD)
#: Optional attribute of a camera's images: encodings of the messages they came in, for example ``bgr8``, with commas.
SOURCE_ENCODING = "source_encoding"

SPLITS_FILE = "splits.json"
PLAN_FILE = "plan.yaml"
TRASH_FOLDER = ".trash"
#: Where an import builds its episodes, out of sight of :func:`~mobile_vla_data.repair.recover.recover_dataset`, which
#: would commit the steps of half an episode.
IMPORT_FOLDER = ".import"

_EPISODE = re.compile(r"episode_(\d{6,})")
_EPISODE_FILE = re.compile(r"(episode_\d{6,})\.h5")
# In the trash, a suffix tells several generations of one id apart.
_ANY_TRACE = re.compile(r"\.?episode_(\d{6,})[.~_].*")


def image_path(camera: str) -> str:
    """Return the HDF5 path of a camera's images."""
    return f"{IMAGES_GROUP}/{camera}"


def stamp_path(stream: str) -> str:
    """Return the HDF5 path of a stream's capture times."""
    return f"{STAMPS_GROUP}/{stream}"


def format_id(number: int) -> str:
    """Return the id of a number: ``7`` -> ``episode_000007``."""
    return f"episode_{number:06d}"


def is_episode_id(text: str) -> bool:
    """Return whether ``text`` has the form ``episode_NNNNNN``."""
    return _EPISODE.fullmatch(text) is not None


def id_of_file(path: Path) -> str | None:
    """Return the episode id in a committed file's name, or None for any other file."""
    match = _EPISODE_FILE.fullmatch(path.name)
    return match.group(1) if match else None


def number_in_name(name: str) -> int | None:
    """Return the episode number in the name of any file of an episode: committed, unfinished or trash."""
    match = _ANY_TRACE.fullmatch(name)
    return int(match.group(1)) if match else None


def final_path(dataset: Path, episode_id: str) -> Path:
    """Return the path of a committed episode."""
    return dataset / f"{episode_id}.h5"


def part_path(dataset: Path, episode_id: str) -> Path:
    """Return the path of an episode while it is written: a log of its steps, so that a crash loses none of them."""
    return dataset / f".{episode_id}.h5.part"


def raw_path(dataset: Path, episode_id: str) -> Path:
    """Return the path of the raw recording beside an episode, if it has one."""
    return dataset / f"{episode_id}.mcap"


def next_number(dataset: Path) -> int:
    """Return the lowest number above every one ever used in a dataset, open, crashed and deleted episodes included."""
    return max(_numbers(dataset), default=-1) + 1


def _numbers(dataset: Path) -> Iterator[int]:
    for folder in (dataset, dataset / TRASH_FOLDER):
        if folder.is_dir():
            for path in folder.iterdir():
                number = number_in_name(path.name)
                if number is not None:
                    yield number


def copy_path(dataset: Path, episode_id: str) -> Path:
    """Return the path at which an episode of raw images is built out of its log; see log/."""
    return dataset / f".{episode_id}.h5.copy"
