"""The labels of an episode: instruction, task, category, source, environment; and its header and ending."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from mobile_vla_data.contract import Contract
from mobile_vla_data.instruction import InstructionError, normalise_instruction

Category = Literal["navigation", "manipulation", "combined"]
Outcome = Literal["success", "failure", "unlabelled"]
Source = Literal["teleop", "expert", "policy"]

CATEGORIES: tuple[Category, ...] = get_args(Category)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
SOURCES: tuple[Source, ...] = get_args(Source)


class MetadataError(ValueError):
    """A field of an episode's metadata is missing or wrong; one line naming the field and its value."""


@dataclass(frozen=True)
class EpisodeMetadata:
    """Labels of an episode, known when it starts. Validates itself, and normalises its instructions.

    Raises:
        MetadataError: an empty instruction or task, an instruction that no policy would take, an unknown category or
            source, or an environment that is not a JSON object.
    """

    language: str
    """The instruction, in the form of :func:`~mobile_vla_data.instruction.normalise_instruction`."""
    task: str
    """Name of the task in the collection plan, for example ``go_to_kitchen``."""
    category: str
    """One of :data:`CATEGORIES`."""
    source: str = "teleop"
    """Source of the commands: one of :data:`SOURCES`."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Room, object, furniture, lighting ...: anything that JSON can hold."""
    language_alternatives: tuple[str, ...] = ()
    """Further wordings of the same instruction."""

    def __post_init__(self) -> None:
        # Frozen for everyone else: both fields hold the one form from here on.
        object.__setattr__(self, "language", _normalised("language", self.language))
        alternatives = tuple(_normalised("language_alternatives", text) for text in self.language_alternatives)
        object.__setattr__(self, "language_alternatives", alternatives)
        if not self.language:
            raise MetadataError("language is empty; give the instruction that the robot is to follow")
        if not all(self.language_alternatives):
            raise MetadataError("language_alternatives has an empty wording; give an instruction, or leave it out")
        if not self.task.strip():
            raise MetadataError("task is empty; give the task's name, for example go_to_kitchen")
        require_one_of("category", self.category, CATEGORIES)
        require_one_of("source", self.source, SOURCES)
        try:
            json.dumps(dict(self.environment), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise MetadataError(f"environment is not a JSON object: {error}") from None

    @property
    def environment_json(self) -> str:
        """The environment as one line of JSON, keys sorted."""
        return json.dumps(dict(self.environment), sort_keys=True, ensure_ascii=False)


def _normalised(name: str, text: str) -> str:
    try:
        return normalise_instruction(text)
    except InstructionError as error:
        raise MetadataError(f"{name}: {error}") from None


@dataclass(frozen=True)
class EpisodeHeader:
    """Everything known of an episode before its first step."""

    episode_id: str
    metadata: EpisodeMetadata
    contract: Contract
    cameras: tuple[str, ...]
    encoding: str
    """``jpeg`` or ``raw``."""
    jpeg_quality: int
    created_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Ending:
    """Everything known of an episode only at its end."""

    outcome: str
    """One of :data:`OUTCOMES`."""
    dropped_ticks: int
    """Control ticks that found no complete, fresh observation."""
    optional: Mapping[str, Any]
    """Further root attributes, out of ``schema.OPTIONAL_ATTRIBUTES``."""


def utc(time_s: float) -> str:
    """Return a time since 1970 [s] as UTC, ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(time_s, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise :class:`MetadataError` unless ``value`` is allowed."""
    if value not in allowed:
        raise MetadataError(f"{name} is '{value}'; use one of {', '.join(allowed)}")


def parse_environment(text: str) -> dict[str, Any]:
    """Read an environment from JSON; empty text means an empty one. Raises :class:`MetadataError`."""
    try:
        value = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise MetadataError(f"environment is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MetadataError(f"environment is a JSON {type(value).__name__}; use an object such as {{}}")
    return value
