"""The collection plan: which tasks, how many episodes of each, in which words, and in which environments."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mobile_vla_data.contract import one_line
from mobile_vla_data.episode.metadata import Category
from mobile_vla_data.episode.schema import PLAN_FILE
from mobile_vla_data.instruction import normalise_instruction
from mobile_vla_data.storage.durable import write_text_atomically
from mobile_vla_data.yaml_file import read_yaml


class PlanError(ValueError):
    """A collection plan is missing or wrong; one line naming file and field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StepRange(_Strict):
    """Wanted number of steps of an episode."""

    min: int = Field(gt=0)
    """Shortest episode that raises no finding."""
    max: int = Field(gt=0)
    """Longest episode that raises no finding."""

    @model_validator(mode="after")
    def _ordered(self) -> StepRange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class PlannedTask(_Strict):
    """One task of the plan."""

    category: Category
    """Category of every episode of the task."""
    episodes: int = Field(gt=0)
    """Episodes wanted."""
    given: dict[str, str] = Field(default_factory=dict)
    """Environment that every episode of the task shares."""
    varies: list[str] = Field(default_factory=list)
    """Environment that the proposals cycle through."""
    instructions: list[str] = Field(min_length=1)
    """Wordings, normalised; ``{room}`` and other names are replaced by values of the environment."""

    @field_validator("instructions")
    @classmethod
    def _normalised(cls, instructions: list[str]) -> list[str]:
        return [normalise_instruction(wording) for wording in instructions]


class CollectionPlan(_Strict):
    """The collection plan. Load it with :meth:`load`."""

    plan_version: Literal[1]
    """Version of this format."""
    steps: StepRange
    """Wanted length of an episode."""
    environment: dict[str, list[str]]
    """Vocabulary: dimension -> values."""
    tasks: dict[str, PlannedTask] = Field(min_length=1)
    """Name of the task -> what to record."""

    @model_validator(mode="after")
    def _consistent(self) -> CollectionPlan:
        for name, task in self.tasks.items():
            for dimension in [*task.given, *task.varies]:
                if dimension not in self.environment:
                    raise ValueError(f"tasks.{name}: '{dimension}' is not in environment {list(self.environment)}")
            for dimension, value in task.given.items():
                if value not in self.environment[dimension]:
                    raise ValueError(f"tasks.{name}.given: {dimension} '{value}' is not in environment.{dimension}")
            known = {*task.given, *task.varies}
            for wording in task.instructions:
                unknown = [name for _, name, _, _ in string.Formatter().parse(wording) if name and name not in known]
                if unknown:
                    raise ValueError(
                        f"tasks.{name}.instructions: '{wording}' uses {{{unknown[0]}}}, which the task neither "
                        f"gives nor varies"
                    )
        return self

    @property
    def episodes(self) -> int:
        """Episodes wanted in all."""
        return sum(task.episodes for task in self.tasks.values())

    @classmethod
    def load(cls, path: str | Path) -> CollectionPlan:
        """Read a YAML plan.

        Raises:
            PlanError: the file is missing, is not YAML, or a field is wrong.
        """
        document = read_yaml(
            Path(path), PlanError, "no such collection plan; config/collection_plan.yaml is an example"
        )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise PlanError(f"{path}: {one_line(error, 'plan')}") from None

    @classmethod
    def of_dataset(cls, dataset: Path) -> CollectionPlan | None:
        """Return the plan in a dataset folder, or None. Raises :class:`PlanError` if it is wrong."""
        path = dataset / PLAN_FILE
        return cls.load(path) if path.is_file() else None

    @classmethod
    def ensure(cls, dataset: Path, source: Path) -> CollectionPlan:
        """The plan of a dataset folder; when it has none, ``source`` is copied there and stays editable by hand."""
        plan = cls.of_dataset(dataset)
        if plan is None:
            plan = cls.load(source)
            write_text_atomically(dataset / PLAN_FILE, source.read_text(encoding="utf-8"))
        return plan

    def environments(self, task: str) -> Iterator[dict[str, str]]:
        """Return every environment of a task: the given values with each combination of the varying ones."""
        planned = self.tasks[task]
        for values in itertools.product(*(self.environment[dimension] for dimension in planned.varies)):
            yield {**planned.given, **dict(zip(planned.varies, values, strict=True))}


def put_in(wording: str, environment: dict[str, str]) -> str:
    """An instruction from a wording: ``go to the {room}`` -> ``go to the living room``."""
    return wording.format(**{name: str(value).replace("_", " ") for name, value in environment.items()})


def wording_of(language: str, task: PlannedTask, environment: dict[str, str]) -> str | None:
    """Which of a task's wordings an instruction was made from, or None; case and outer spaces do not matter."""
    said = language.strip().lower()
    for wording in task.instructions:
        try:
            if put_in(wording, environment).lower() == said:
                return wording
        except (KeyError, IndexError):
            continue
    return None
