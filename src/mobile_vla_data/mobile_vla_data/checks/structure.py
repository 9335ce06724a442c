"""Checks the form of an episode: datasets, attributes, shapes, types, finite values, rising ticks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from mobile_vla_data.action import ACTION, STATE, action_names
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.metadata import CATEGORIES, OUTCOMES, SOURCES, MetadataError, parse_environment
from mobile_vla_data.episode.reader import Episode, EpisodeError, as_text
from mobile_vla_data.instruction import InstructionError, normalise_instruction
from mobile_vla_data.observation import GRIPPER_STATE, ODOMETRY

_RECORD_AGAIN = "record it again, or delete it"
_RELABEL_ALTERNATIVES = "set it with 'mobile-vla-data relabel --alternative ...'"


def check_structure(episode: Episode) -> list[Finding]:
    """Findings about the form of one episode; when there are none, every reader call on it works."""
    return [*_attributes(episode), *_datasets(episode)]


def _error(episode: Episode, code: str, message: str, advice: str = _RECORD_AGAIN, step: int | None = None) -> Finding:
    return Finding(code, "error", str(episode.path), message, advice, step)


def _attributes(episode: Episode) -> Iterator[Finding]:
    for name in schema.TEXT_ATTRIBUTES:
        try:
            episode.text(name)
        except EpisodeError as error:
            yield _error(episode, "attribute-missing", _reason(episode, error))
    attributes = episode.file.attrs
    for name in schema.COUNT_ATTRIBUTES:
        value = attributes.get(name)
        if not isinstance(value, (int, np.integer)) or value < 0:
            shown = "missing" if value is None else f"{value!r:.40}; expected a count"
            yield _error(episode, "attribute-missing", f"attribute '{name}' is {shown}")
    yield from _values(episode)


def _values(episode: Episode) -> Iterator[Finding]:
    """Find attributes with values that the schema does not allow."""
    language = _text(episode, "language", "?")
    try:
        language = normalise_instruction(language)
    except InstructionError as error:
        advice = f"set it with 'mobile-vla-data relabel {episode.path} --language ...'"
        yield _error(episode, "attribute-invalid", str(error), advice)
    for name, value in (("language", language), ("task", _text(episode, "task", "?").strip())):
        if not value:
            yield _error(
                episode,
                f"{name}-empty",
                f"attribute '{name}' is empty",
                f"set it with 'mobile-vla-data relabel {episode.path} --{name} ...'",
            )
    for name, allowed in (("category", CATEGORIES), ("outcome", OUTCOMES), ("source", SOURCES)):
        value = _text(episode, name, allowed[0])
        if value not in allowed:
            yield _error(
                episode,
                "attribute-invalid",
                f"attribute '{name}' is '{value}', not one of {', '.join(allowed)}",
                "set it with 'mobile-vla-data relabel'",
            )
    try:
        parse_environment(_text(episode, "environment", "{}"))
    except MetadataError as error:
        yield _error(episode, "attribute-invalid", str(error), "set it with 'mobile-vla-data relabel'")
    expected_id = schema.id_of_file(episode.path)
    if expected_id and (found := _text(episode, "episode_id", expected_id)) != expected_id:
        yield _error(
            episode, "id-mismatch", f"attribute 'episode_id' is '{found}'", f"rename the file to {found}.h5 if it is"
        )
    if "contract" in episode.file.attrs and (contract := _contract(episode)) is None:
        yield _error(episode, "contract-invalid", _reason(episode, _contract_error(episode)))
    elif contract := _contract(episode):
        missing = [
            name for name, camera in contract.cameras.items() if camera.required and name not in _cameras(episode)
        ]
        for camera in missing:
            yield _error(episode, "dataset-missing", f"dataset {schema.image_path(camera)} is missing")


def _datasets(episode: Episode) -> Iterator[Finding]:
    steps = episode.file.attrs.get("num_steps")
    expected_steps = int(steps) if isinstance(steps, (int, np.integer)) else None
    lengths: dict[str, int] = {}
    contract = _contract(episode)
    widths = {schema.STATE: len(STATE), schema.ACTIONS: len(action_names(contract)) if contract else len(ACTION)}
    for path, dtype in schema.STEP_DATASETS.items():
        yield from _check(episode, path, dtype, (widths[path],) if path in widths else (), lengths)
    if schema.TARGET in episode.file:
        yield from _check_target(episode, contract, lengths)
    if schema.LANGUAGE_ALTERNATIVES in episode.file:
        yield from _check_alternatives(episode)
    for stream in _members(episode, schema.STAMPS_GROUP):
        yield from _check(episode, schema.stamp_path(stream), schema.STAMP_DTYPE, (), lengths)
    for camera in _cameras(episode):
        yield from _check_images(episode, camera, lengths)
    # The contract gives every stream an age limit, which cannot be checked without capture times.
    for stream in (*_cameras(episode), *(contract.state_streams if contract else (ODOMETRY, GRIPPER_STATE))):
        if stream not in _members(episode, schema.STAMPS_GROUP):
            yield _error(episode, "dataset-missing", f"dataset {schema.stamp_path(stream)} is missing")
    if not _cameras(episode) and _contract(episode) is None:
        yield _error(episode, "dataset-missing", f"group {schema.IMAGES_GROUP} holds no camera")
    for path, length in lengths.items():
        if expected_steps is not None and length != expected_steps:
            yield _error(
                episode, "length-mismatch", f"{path} has {length} steps, attribute 'num_steps' says {expected_steps}"
            )
    if expected_steps == 0:
        yield _error(episode, "empty", "the episode has no steps")


def _check(
    episode: Episode, path: str, dtype: str, tail: tuple[int, ...], lengths: dict[str, int]
) -> Iterator[Finding]:
    dataset = _get(episode, path)
    if dataset is None:
        yield _error(episode, "dataset-missing", f"dataset {path} is missing")
        return
    expected = ["T", *tail]
    if len(dataset.shape) != len(expected) or dataset.shape[1:] != tail:
        yield _error(
            episode, "shape", f"{path} has shape {list(dataset.shape)}, expected [{', '.join(map(str, expected))}]"
        )
        return
    if dataset.dtype != np.dtype(dtype):
        yield _error(episode, "dtype", f"{path} is {dataset.dtype}, expected {dtype}")
        return
    try:
        values = episode.array(path)
    except EpisodeError as error:
        yield _error(episode, "unreadable", _reason(episode, error))
        return
    lengths[path] = len(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        step, column = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
        yield _error(episode, "not-finite", f"{path}[{step}, {column}] is {values[step, column]}", step=step)
    if path == schema.TIMESTAMPS and len(values) > 1 and (np.diff(values) <= 0).any():
        step = int(np.argmax(np.diff(values) <= 0)) + 1
        yield _error(
            episode,
            "ticks-not-rising",
            f"{path} goes from {values[step - 1]} to {values[step]} ns",
            "synchronise the clocks and record it again",
            step,
        )


def _check_target(episode: Episode, contract: Contract | None, lengths: dict[str, int]) -> Iterator[Finding]:
    found = list(_check(episode, schema.TARGET, schema.TARGET_DTYPE, (2,), lengths))
    yield from found
    if found or contract is None:
        return
    size = contract.cameras[contract.first_camera]
    values = episode.array(schema.TARGET)
    known = (values != schema.UNKNOWN_TARGET).any(axis=1)
    outside = known & ((values < 0) | (values >= (size.width, size.height))).any(axis=1)
    if outside.any():
        step = int(np.argmax(outside))
        yield _error(
            episode,
            "target-outside",
            f"{schema.TARGET}[{step}] is {values[step].tolist()}, outside the {size.width}x{size.height} image of "
            f"camera '{contract.first_camera}'",
            f"set it with 'mobile-vla-data annotate {episode.path}'",
            step,
        )


def _check_alternatives(episode: Episode) -> Iterator[Finding]:
    path = schema.LANGUAGE_ALTERNATIVES
    dataset = _get(episode, path)
    if dataset is None or dataset.ndim != 1 or h5py.check_string_dtype(dataset.dtype) is None:
        yield _error(episode, "dtype", f"{path} is not a list of texts")
        return
    try:
        wordings = [normalise_instruction(text) for text in episode.language_alternatives]
    except EpisodeError as error:
        yield _error(episode, "unreadable", _reason(episode, error))
        return
    except InstructionError as error:
        yield _error(episode, "attribute-invalid", f"{path}: {error}", _RELABEL_ALTERNATIVES)
        return
    if "" in wordings:
        yield _error(episode, "attribute-invalid", f"{path}[{wordings.index('')}] is empty", _RELABEL_ALTERNATIVES)


def _check_images(episode: Episode, camera: str, lengths: dict[str, int]) -> Iterator[Finding]:
    path = schema.image_path(camera)
    dataset = _get(episode, path)
    if dataset is None:
        yield _error(episode, "dataset-missing", f"dataset {path} is missing")
        return
    contract = _contract(episode)
    encoding = as_text(dataset.attrs.get("encoding", schema.RAW))
    if encoding not in schema.ENCODINGS:
        yield _error(episode, "attribute-invalid", f"{path} attribute 'encoding' is '{encoding}'")
        return
    if contract is not None and camera not in contract.cameras:
        yield _error(episode, "camera-unknown", f"{path} is not a camera of the embedded contract")
        return
    if encoding == schema.JPEG:
        vlen = h5py.check_vlen_dtype(dataset.dtype)
        if dataset.ndim != 1:
            yield _error(episode, "shape", f"{path} has shape {list(dataset.shape)}, expected [T] of JPEG bytes")
            return
        if vlen != np.dtype(np.uint8):
            yield _error(episode, "dtype", f"{path} is {dataset.dtype}, expected variable-length uint8")
            return
    else:
        size = contract.cameras[camera] if contract else None
        expected = [size.height, size.width, 3] if size else None
        if dataset.ndim != 4 or (expected and list(dataset.shape[1:]) != expected):
            shown = f"T, {size.height}, {size.width}, 3" if size else "T, height, width, 3"
            yield _error(episode, "shape", f"{path} has shape {list(dataset.shape)}, expected [{shown}]")
            return
        if dataset.dtype != np.uint8:
            yield _error(episode, "dtype", f"{path} is {dataset.dtype}, expected uint8")
            return
    lengths[path] = int(dataset.shape[0])


def _get(episode: Episode, path: str) -> Any:
    try:
        found = episode.file.get(path)
    except DAMAGE:
        return None
    return found if isinstance(found, h5py.Dataset) else None


def _members(episode: Episode, path: str) -> list[str]:
    try:
        group = episode.file.get(path)
        return list(group) if isinstance(group, h5py.Group) else []
    except DAMAGE:
        return []


def _cameras(episode: Episode) -> list[str]:
    return _members(episode, schema.IMAGES_GROUP)


def _text(episode: Episode, name: str, default: str) -> str:
    """Return a text attribute, or ``default`` if it is missing, which another finding reports."""
    try:
        return episode.text(name)
    except EpisodeError:
        return default


def _contract(episode: Episode) -> Contract | None:
    try:
        return episode.contract
    except EpisodeError:
        return None


def _contract_error(episode: Episode) -> Exception:
    try:
        _ = episode.contract
    except EpisodeError as error:
        return error
    return ValueError("contract")


def _reason(episode: Episode, error: Exception) -> str:
    return str(error).removeprefix(f"{episode.path}: ")
