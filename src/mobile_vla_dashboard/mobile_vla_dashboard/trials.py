"""A series of trials on the robot: its plan, its results so far, and what they add up to. One folder a series.

Several checkpoints take turns, each under a letter. Which letter is which is in the file, and on the page only once the
series is over, so that the operator judges without knowing.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mobile_vla_dashboard.wording import RefusalError, say
from mobile_vla_data.contract import one_line
from mobile_vla_data.instruction import normalise_instruction
from mobile_vla_data.storage.durable import write_text_atomically
from mobile_vla_data.trials.rates import rate
from mobile_vla_data.trials.reasons import OF_OPERATOR, Reason

REASONS = (*(reason.value for reason in Reason), *OF_OPERATOR)
#: More trials than this in one series are a mistake.
MOST_TRIALS = 2000
_FILE = "series.json"
_ID = re.compile(r"series_\d{8}_\d{6}")


class TrialsError(RefusalError):
    """A series cannot be made, read or continued; one line saying why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SeriesPlan(_Strict):
    """What is asked for when a series is made."""

    title: str = Field("", max_length=200)
    instructions: list[str] = Field(min_length=1, max_length=50)
    starts: list[str] = Field([], max_length=50)
    """Where the robot is put, and how the scene is prepared, in turn; empty: the operator decides."""
    rounds: int = Field(5, ge=1, le=100)
    """Trials of each instruction with each checkpoint."""
    checkpoints: list[str] = Field([], max_length=8)
    """Names; empty: the checkpoint that is loaded."""
    time_limit_s: float = Field(60.0, ge=1.0, le=3600.0)

    @field_validator("instructions")
    @classmethod
    def _said(cls, instructions: list[str]) -> list[str]:
        found = [normalise_instruction(text) for text in instructions]
        if not all(found):
            raise ValueError("an instruction is empty")
        return found

    @field_validator("starts", "checkpoints")
    @classmethod
    def _lines(cls, lines: list[str]) -> list[str]:
        if any(not line.strip() or len(line) > 500 or not line.isprintable() for line in lines):
            raise ValueError("each line must have 1 to 500 printable characters")
        return [line.strip() for line in lines]


class Planned(_Strict):
    """One trial to be made."""

    round: int
    instruction: str
    start: str
    checkpoint: str
    """Letter of the checkpoint."""


class Judged(_Strict):
    """Result of one trial."""

    outcome: Literal["success", "failure"]
    reason: str = ""
    """One of :data:`REASONS`; empty for a success."""
    note: str = Field("", max_length=500)
    duration_s: float
    began_at: str
    """UTC, ISO 8601."""
    video: str = Field("", pattern=r"^(trial_\d{4}\.mjpeg)?$")
    """JPEGs of the first camera one behind the other, in the folder of the series; empty without one."""


class Series(_Strict):
    """A series as it is stored."""

    format: Literal[1] = 1
    id: str
    plan: SeriesPlan
    robot: str
    created_at: str
    checkpoints: dict[str, str]
    """Letter -> name of a checkpoint; an empty one is whatever is loaded."""
    order: list[Planned]
    results: list[Judged] = []
    """Of the first trials in the order; the series continues behind them."""
    closed: bool = False
    """True if it was ended early."""

    @property
    def over(self) -> bool:
        """True if no trial is left."""
        return self.closed or len(self.results) >= len(self.order)

    @property
    def next(self) -> Planned | None:
        """The trial to be made."""
        return None if self.over else self.order[len(self.results)]


def make_series(plan: SeriesPlan, robot: str, now: datetime, seed: int) -> Series:
    """Draw the letters and the order: within a round, each checkpoint makes every instruction from the same starts."""
    lot = random.Random(seed)
    names = list(dict.fromkeys(plan.checkpoints)) or [""]
    lot.shuffle(names)
    checkpoints = dict(zip(string.ascii_uppercase, names, strict=False))
    order = []
    for number in range(plan.rounds):
        places = [(said, _start(plan.starts, number + index)) for index, said in enumerate(plan.instructions)]
        lot.shuffle(places)
        for letter in lot.sample(list(checkpoints), len(checkpoints)):
            order += [
                Planned(round=number + 1, instruction=said, start=start, checkpoint=letter) for said, start in places
            ]
    if len(order) > MOST_TRIALS:
        raise TrialsError(say("trials.refused.many", count=len(order), most=MOST_TRIALS))
    return Series(
        id=now.strftime("series_%Y%m%d_%H%M%S"),
        plan=plan,
        robot=robot,
        created_at=now.isoformat(timespec="seconds"),
        checkpoints=checkpoints,
        order=order,
    )


def _start(starts: Sequence[str], number: int) -> str:
    return starts[number % len(starts)] if starts else ""


class Store:
    """The folder of all series. Its methods wait for the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ids(self) -> list[str]:
        """Ids of all series, newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path.name for path in self.folder.iterdir() if _ID.fullmatch(path.name)), reverse=True)

    def path(self, series_id: str) -> Path:
        """Return the folder of a series. Raises :class:`TrialsError` unless it is the form of an id."""
        if not _ID.fullmatch(series_id):
            raise TrialsError(say("trials.refused.id", id=series_id[:40]))
        return self.folder / series_id

    def create(self, plan: SeriesPlan, robot: str) -> Series:
        """Make a series and its folder."""
        now, seed = datetime.now(timezone.utc), random.SystemRandom().randrange(2**32)
        # An id names a second; the next free one if another series was made in this.
        for later_s in range(60):
            series = make_series(plan, robot, now + timedelta(seconds=later_s), seed)
            try:
                self.path(series.id).mkdir(parents=True)
            except FileExistsError:
                continue
            self.save(series)
            return series
        raise TrialsError(say("trials.refused.crowded"))

    def load(self, series_id: str) -> Series:
        """Read a series. Raises :class:`TrialsError`."""
        path = self.path(series_id) / _FILE
        try:
            return Series.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TrialsError(say("trials.refused.absent", path=str(path))) from None
        except ValidationError as error:
            raise TrialsError(say("trials.refused.damaged", path=str(path), why=one_line(error))) from None

    def save(self, series: Series) -> None:
        """Write a series such that a crash leaves the old file or the new one."""
        write_text_atomically(self.path(series.id) / _FILE, series.model_dump_json(indent=2) + "\n")


def summary(series: Series) -> dict[str, Any]:
    """Return rates by instruction, by start and, once the series is over, by checkpoint; and reasons of failure."""
    made = list(zip(series.order, series.results, strict=False))
    durations = [result.duration_s for _, result in made if result.outcome == "success"]
    found: dict[str, Any] = {
        **_rate(made),
        "by_instruction": _by(made, lambda planned: planned.instruction),
        "by_start": _by(made, lambda planned: planned.start) if series.plan.starts else {},
        "by_checkpoint": {},
        "reasons": dict(Counter(result.reason for _, result in made if result.reason).most_common()),
        "duration_p50_s": round(median(durations), 2) if durations else None,
    }
    if series.over and series.plan.checkpoints:
        found["by_checkpoint"] = _by(made, lambda planned: series.checkpoints[planned.checkpoint])
    return found


_Made = Sequence[tuple[Planned, Judged]]


def _rate(made: _Made) -> dict[str, Any]:
    return rate(result.outcome == "success" for _, result in made)


def _by(made: _Made, key: Callable[[Planned], str]) -> dict[str, Any]:
    names = sorted({key(planned) for planned, _ in made})
    return {name: _rate([item for item in made if key(item[0]) == name]) for name in names}


def for_page(series: Series) -> dict[str, Any]:
    """Return what the page may show: without checkpoints until the series is over."""
    planned = series.next
    return {
        "id": series.id,
        "title": series.plan.title,
        "robot": series.robot,
        "created_at": series.created_at,
        "trials": len(series.order),
        "done": len(series.results),
        "over": series.over,
        "time_limit_s": series.plan.time_limit_s,
        "letters": list(series.checkpoints),
        "checkpoints": series.checkpoints if series.over else None,
        "next": None if planned is None else {**planned.model_dump(), "like": _like(series, planned)},
        "results": [
            {"trial": index, **series.order[index].model_dump(), **result.model_dump()}
            for index, result in enumerate(series.results)
        ],
        "summary": summary(series),
    }


def _like(series: Series, planned: Planned) -> int | None:
    """Return the first trial with the same instruction and start whose video shows how the scene was placed."""
    for index, result in enumerate(series.results):
        same = series.order[index]
        if result.video and (same.instruction, same.start) == (planned.instruction, planned.start):
            return index
    return None
