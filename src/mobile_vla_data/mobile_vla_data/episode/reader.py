"""Reads one episode lazily: opening checks that the file is an episode; values are read on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.damage import DAMAGE, hangs_hdf5
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError, parse_environment
from mobile_vla_data.image import Image, ImageError
from mobile_vla_data.storage.access import Obstacle, find_obstacle, obstacle_of, open_hdf5


class EpisodeError(ValueError):
    """A file is not a readable episode; one line naming the file and the reason."""


class EpisodeUnavailableError(EpisodeError):
    """An episode cannot be read now, by this process; its content may be in perfect order."""

    def __init__(self, path: Path, obstacle: Obstacle) -> None:
        super().__init__(f"{path}: cannot be read now: {obstacle}")
        self.path, self.obstacle = path, obstacle

    def __reduce__(self) -> tuple[Any, ...]:
        # From a worker process to this one.
        return type(self), (self.path, self.obstacle)


class Episode:
    """One committed episode. Use :meth:`open`; a context manager. T is the number of steps."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self._found: dict[str, tuple[Any, str]] = {}

    @classmethod
    def open(cls, path: str | Path) -> Episode:
        """Open an episode file. Neither HDF5's locks nor the right to write are needed.

        Raises:
            EpisodeUnavailableError: permissions, another process, or a disk that does not answer are in the way.
            EpisodeError: the file is missing, truncated, garbage, damaged such that HDF5 would hang on it, or not an
                episode of a schema this version reads.
        """
        path = Path(path)
        try:
            with open(path, "rb"):
                pass
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise EpisodeError(f"{path}: no such episode file") from None
        except OSError as error:
            raise EpisodeUnavailableError(path, obstacle_of(error, path)) from None
        try:
            file = open_hdf5(path)
        except DAMAGE as error:
            raise _failure(path, "truncated, or not HDF5", error) from None
        episode = cls(path, file)
        try:
            episode._check()
        except BaseException:
            episode.close()
            raise
        return episode

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def __enter__(self) -> Episode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def file(self) -> Any:
        """The open ``h5py.File``, for tools that look below the schema."""
        return self._file

    @cached_property
    def episode_id(self) -> str:
        """``episode_NNNNNN``, from the file's attribute."""
        return self.text("episode_id")

    @cached_property
    def metadata(self) -> EpisodeMetadata:
        """Labels of the episode. Raises :class:`EpisodeError` naming a missing or wrong field."""
        try:
            return EpisodeMetadata(
                self.text("language"),
                self.text("task"),
                self.text("category"),
                self.text("source"),
                parse_environment(self.text("environment")),
                self.language_alternatives,
            )
        except MetadataError as error:
            raise EpisodeError(f"{self.path}: {error}") from None

    @cached_property
    def contract(self) -> Contract:
        """The contract it was recorded under. Raises :class:`EpisodeError`."""
        try:
            return Contract.from_json(self.text("contract"), f"{self.path}: contract")
        except ContractError as error:
            raise EpisodeError(str(error)) from None

    @property
    def outcome(self) -> str:
        """success, failure or unlabelled."""
        return self.text("outcome")

    @property
    def created_at(self) -> str:
        """Start of the recording, UTC, ISO 8601."""
        return self.text("created_at")

    @property
    def dropped_ticks(self) -> int:
        """Control ticks that found no complete, fresh observation."""
        return int(self._attribute("dropped_ticks"))

    @property
    def recovered(self) -> bool:
        """True if it was rebuilt after a crash."""
        return bool(self._attribute(schema.RECOVERED, False))

    @property
    def input_counters(self) -> dict[str, dict[str, int]]:
        """Stream -> counts of its late, missing, repeated and refused inputs; empty when they were not recorded."""
        with self._reading(f"attribute '{schema.INPUT_COUNTERS}'"):
            return dict(json.loads(self._attribute(schema.INPUT_COUNTERS, "{}")))

    @property
    def lost_yaw_rad(self) -> float | None:
        """Turning that was commanded and that no action carries [rad]; None when it was not counted."""
        value = self._attribute(schema.LOST_YAW_RAD, np.nan)
        return None if np.isnan(value) else float(value)

    @property
    def language_alternatives(self) -> tuple[str, ...]:
        """Further wordings of the instruction; empty when the file has none."""
        if not self._has(schema.LANGUAGE_ALTERNATIVES):
            return ()
        return tuple(as_text(value) for value in self.array(schema.LANGUAGE_ALTERNATIVES).tolist())

    @property
    def num_steps(self) -> int:
        """T."""
        return int(self._attribute("num_steps"))

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras in the file, in the contract's order."""
        found = self._members(schema.IMAGES_GROUP)
        try:
            order = self.contract.camera_names
        except EpisodeError:
            order = ()
        return tuple(sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name)))

    @property
    def states(self) -> npt.NDArray[np.float32]:
        """float32 ``[T, 3]``: x [m], y [m], gripper 0 open .. 1 closed."""
        return self.array(schema.STATE)

    @property
    def actions(self) -> npt.NDArray[np.float32]:
        """float32 ``[T, 3]``: delta_x [m], delta_y [m], gripper 0 or 1; ``[T, 4]`` with delta_yaw [rad].

        ``mobile_vla_data.action`` names the columns.
        """
        return self.array(schema.ACTIONS)

    @property
    def target(self) -> npt.NDArray[np.int32] | None:
        """int32 ``[T, 2]``: column and row [px] of the instruction's target in the first camera's image as stored.

        -1, -1 where it is not known; None when the file has no annotation.
        """
        return self.array(schema.TARGET) if self._has(schema.TARGET) else None

    @property
    def timestamps_ns(self) -> npt.NDArray[np.int64]:
        """int64 ``[T]``: the control ticks [ns]."""
        return self.array(schema.TIMESTAMPS)

    @property
    def takeover(self) -> npt.NDArray[np.bool_]:
        """bool ``[T]``: the operator was in command."""
        return self.array(schema.TAKEOVER)

    @property
    def stamps_ns(self) -> dict[str, npt.NDArray[np.int64]]:
        """Stream -> int64 ``[T]``, when each input was captured [ns]."""
        return {stream: self.array(schema.stamp_path(stream)) for stream in self._members(schema.STAMPS_GROUP)}

    @property
    def real_rate_hz(self) -> float:
        """Steps per second by the recorded ticks [Hz]; 0 for fewer than two steps."""
        stamps = self.timestamps_ns
        elapsed_s = (int(stamps[-1]) - int(stamps[0])) * 1e-9 if len(stamps) > 1 else 0.0
        return (len(stamps) - 1) / elapsed_s if elapsed_s > 0 else 0.0

    def encoding(self, camera: str) -> str:
        """``jpeg`` or ``raw``."""
        return self._images(camera)[1]

    def source_encoding(self, camera: str) -> str:
        """Encodings of the messages that the images came in, for example ``bgr8``, with commas; empty if unknown."""
        with self._reading(schema.image_path(camera)):
            return as_text(self._images(camera)[0].attrs.get(schema.SOURCE_ENCODING, ""))

    def jpeg_quality(self, camera: str) -> int | None:
        """Quality the images were encoded with, or None for raw ones."""
        quality = self._images(camera)[0].attrs.get("jpeg_quality")
        return None if quality is None else int(quality)

    def jpeg(self, camera: str, index: int) -> bytes | None:
        """The JPEG bytes of step ``index`` as they are stored, or None when images are raw."""
        dataset, encoding = self._images(camera)
        if encoding == schema.RAW:
            return None
        with self._reading(schema.image_path(camera)):
            return bytes(np.asarray(dataset[index], dtype=np.uint8).tobytes())

    def jpegs(self, camera: str, steps: Sequence[int]) -> Sequence[Any]:
        """The JPEG bytes of ``steps`` (uint8 arrays); evenly spaced ones in one read, since each read costs as much as
        decoding an image. For cameras whose :meth:`encoding` is ``jpeg``."""
        dataset, _ = self._images(camera)
        stride = steps[1] - steps[0] if len(steps) > 1 else 1
        evenly = range(steps[0], steps[-1] + 1, stride) if stride > 0 else range(0)
        with self._reading(schema.image_path(camera)):
            if list(steps) == list(evenly):
                return cast(Sequence[Any], dataset[evenly.start : evenly.stop : stride])
            return [dataset[step] for step in steps]

    def image(self, camera: str, index: int) -> Image:
        """RGB uint8 ``[height, width, 3]`` of step ``index``."""
        data = self.jpeg(camera, index)
        if data is None:
            with self._reading(schema.image_path(camera)):
                return np.asarray(self._images(camera)[0][index], dtype=np.uint8)
        try:
            return jpeg.decode(data)
        except ImageError as error:
            raise EpisodeError(f"{self.path}: {schema.image_path(camera)}, step {index}: {error}") from None

    def images(self, camera: str) -> Image:
        """RGB uint8 ``[T, height, width, 3]``; 150 kB a step at 224x224."""
        if self.encoding(camera) == schema.RAW:
            return self.array(schema.image_path(camera))
        return np.stack([self.image(camera, index) for index in range(self.num_steps)])

    def text(self, name: str) -> str:
        """A text attribute of the root. Raises :class:`EpisodeError` when it is missing or not text."""
        value = self._attribute(name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if not isinstance(value, (str, bytes)):
            raise EpisodeError(f"{self.path}: attribute '{name}' is {type(value).__name__}; expected text")
        return as_text(value)

    def array(self, path: str) -> npt.NDArray[Any]:
        """A whole dataset by its HDF5 path. Raises :class:`EpisodeError` when it is missing or unreadable."""
        with self._reading(path):
            dataset = self._file.get(path)
            if not isinstance(dataset, h5py.Dataset):
                raise EpisodeError(f"{self.path}: dataset {path} is missing")
            return np.asarray(dataset[()])

    def _images(self, camera: str) -> tuple[Any, str]:
        """Return the dataset of a camera's images and its encoding; cached: a lookup costs as much as an image."""
        if camera not in self._found:
            with self._reading(path := schema.image_path(camera)):
                dataset = self._file.get(path)
                if not isinstance(dataset, h5py.Dataset):
                    raise EpisodeError(f"{self.path}: no camera '{camera}'; it has {list(self.cameras)}")
                self._found[camera] = dataset, as_text(dataset.attrs.get("encoding", schema.RAW))
        return self._found[camera]

    def _has(self, path: str) -> bool:
        with self._reading(path):
            return path in self._file

    def _members(self, path: str) -> list[str]:
        with self._reading(f"group {path}"):
            group = self._file.get(path)
            if not isinstance(group, h5py.Group):
                raise EpisodeError(f"{self.path}: group {path} is missing")
            return list(group)

    def _attribute(self, name: str, default: Any = None) -> Any:
        with self._reading(f"attribute '{name}'"):
            if name not in self._file.attrs:
                if default is not None:
                    return default
                raise EpisodeError(f"{self.path}: attribute '{name}' is missing")
            return self._file.attrs[name]

    def _check(self) -> None:
        with self._reading("it"):
            if hangs_hdf5(self.path, self._file):
                raise EpisodeError(f"{self.path}: damaged: a heap of its images or texts is broken")
            known = "schema" in self._file.attrs
        if not known:
            raise EpisodeError(f"{self.path}: an HDF5 file, but not an episode: attribute 'schema' is missing")
        name, version = self.text("schema"), self.text("schema_version")
        if name != schema.SCHEMA or version.split(".")[0] != schema.SCHEMA_VERSION.split(".")[0]:
            raise EpisodeError(
                f"{self.path}: schema '{name}' {version}; this version reads '{schema.SCHEMA}' 1.0 to "
                f"{schema.SCHEMA_VERSION}"
            )

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn the errors of HDF5 into an :class:`EpisodeError`."""
        try:
            yield
        except EpisodeError:
            raise
        except IndexError:
            raise
        except DAMAGE as error:
            raise _failure(self.path, f"{what} cannot be read", error) from None


def _failure(path: Path, what: str, error: BaseException) -> EpisodeError:
    if obstacle := find_obstacle(error, path):
        return EpisodeUnavailableError(path, obstacle)
    return EpisodeError(f"{path}: {what}: {_brief(error)}")


def as_text(value: object) -> str:
    """Return the text that an attribute holds: HDF5 has text of fixed and of variable length, as bytes or decoded."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    # What fills up a text of fixed length is no part of it.
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
