"""Reading settings: strict pydantic models, one YAML file, and overrides such as ``head.window=4``.

Each group of settings is defined where it is used: :mod:`mobile_vla_policy.model.settings` for the network,
:mod:`mobile_vla_policy.training.settings` for training, and one file in ``backbones/`` for each backbone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from mobile_vla_data.yaml_file import read_yaml

Settings = TypeVar("Settings", bound=BaseModel)


class ConfigError(ValueError):
    """A settings file or an override is wrong. The message is one line naming the file, the field and the value."""


class Frozen(BaseModel):
    """Base of all settings: immutable, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def load_settings(model: type[Settings], path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a YAML file and apply ``path.to.field=value`` overrides, whose values are read as YAML.

    Raises:
        ConfigError: the file is missing or not YAML, or a field is unknown, of the wrong type or out of range.
    """
    data = read_yaml(Path(path), ConfigError, "no such settings file; config/train.yaml is an example") or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: settings must be a mapping of fields, got {type(data).__name__}")
    for override in overrides:
        _override(data, override)
    return validate(model, data, str(path), overrides)


def validate(model: type[Settings], data: Any, origin: str, overrides: Sequence[str] = ()) -> Settings:
    """Build settings from parsed data.

    Raises:
        ConfigError: one line naming ``origin``, the field and the value. If one of ``overrides`` set the field, the
            line names that override instead of ``origin``.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        group, place = _resolve(model, first["loc"])
        reason, value = _reason(first, group, place), first["input"]
        if first["type"] == "union_tag_invalid":
            place, value = [*place, "kind"], first["ctx"]["tag"]
        field = ".".join(place) or "settings"
        set_here = [override for override in overrides if f"{field}.".startswith(f"{override.partition('=')[0]}.")]
        origin = f"'{set_here[-1]}'" if set_here else origin
        got = "" if isinstance(value, dict) else f" (got {value!r})"
        raise ConfigError(f"{origin}: {field}: {reason}{got}") from None


def read_versioned(path: Path, version: int, kind: str) -> dict[str, Any]:
    """Read the JSON document that makes a folder a ``kind``, checkpoint or export.

    Raises:
        ConfigError: it is missing, cannot be read, or its ``format_version`` is not ``version``.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing, so this folder is not a {kind}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    found = data.get("format_version") if isinstance(data, dict) else None
    if found != version:
        raise ConfigError(
            f"{path}: format_version is {found}, this version reads {version}; use the version that wrote it"
        )
    return dict(data)


def _reason(error: ErrorDetails, group: Any, place: list[str]) -> str:
    """Describe the error of the field at ``place``, which belongs to the settings class ``group``."""
    if error["type"] == "union_tag_invalid":
        return f"must be one of {error['ctx']['expected_tags']}"
    if error["type"] != "extra_forbidden":
        return error["msg"].removeprefix("Value error, ")
    close = get_close_matches(place[-1], getattr(group, "model_fields", ()), 1)
    return "no setting has this name" + (f"; did you mean {'.'.join([*place[:-1], close[0]])}?" if close else "")


def _resolve(model: Any, location: tuple[int | str, ...]) -> tuple[Any, list[str]]:
    """Return the settings class that an error's last field belongs to, and the field's path as a user writes it.

    In a union, pydantic's location has the name of the member too, which is no part of the path.
    """
    group, place = model, []
    for part in map(str, location):
        members = {_tag(member): member for member in get_args(group)}
        if part in members:
            group = members[part]
            continue
        place.append(part)
        field = getattr(group, "model_fields", {}).get(part)
        if part is not location[-1] and field is not None:
            group = field.annotation
    return group, place


def _tag(member: Any) -> str | None:
    """Return the value of ``kind`` that selects a member of a union; None if it has no such field."""
    field = getattr(member, "model_fields", {}).get("kind")
    return None if field is None else str(field.default)


def _override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"'{override}': write an override as field=value, for example learning_rate=3e-4")
    *parents, field = path.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"'{override}': {parent} is not a group of fields")
    try:
        data[field] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"'{override}': '{text}' is not a value") from None
