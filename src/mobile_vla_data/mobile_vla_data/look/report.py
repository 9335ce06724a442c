"""One self-contained HTML page about a dataset: plan, lengths, rates, actions, paths, findings, images."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from mobile_vla_data import __version__
from mobile_vla_data.action import STATE, action_names, displacement, gripper, position, yaw
from mobile_vla_data.checks.validate import ValidationReport, validate_dataset
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError
from mobile_vla_data.dataset.progress import Tally
from mobile_vla_data.dataset.skill import by_operator_and_day, measure_dataset
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import Image
from mobile_vla_data.look import svg
from mobile_vla_data.storage.durable import require_writable, write_text_atomically

_THUMBNAILS = 24
_THUMBNAIL_PX = 160
#: More lines than this cover each other.
_PATHS = 300
_FINDINGS = 200


@dataclass(frozen=True)
class _Thumbnail:
    episode: str
    language: str
    outcome: str
    first: str
    """Image of the first step, as a data URI."""
    last: str


@dataclass(frozen=True)
class _Chart:
    title: str
    svg: Markup
    legend: Sequence[str] = ()

    @property
    def tall(self) -> bool:
        """True if the chart is square."""
        return bool(self.legend)


@dataclass
class _Gathered:
    """Data of the readable episodes for the page."""

    contract: Contract | None = None
    lengths: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    actions: list[npt.NDArray[np.float32]] = field(default_factory=list)
    paths: list[tuple[str, str, npt.NDArray[np.float32]]] = field(default_factory=list)
    grippers: list[npt.NDArray[np.float32]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    thumbnails: list[_Thumbnail] = field(default_factory=list)
    phrases: set[str] = field(default_factory=set)
    seconds: float = 0.0
    size: int = 0


def write_report(dataset: str | Path, output: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Validate a dataset and write its page to ``output``.

    Raises:
        DatasetError: there is no such folder.
        OSError: ``output`` cannot be written; this is checked first, because validation takes minutes.
    """
    folder = Dataset.open(dataset)
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    require_writable(output.parent)
    validation = validate_dataset(folder.path, progress=progress)
    gathered = _gather(folder)
    tally = Tally.of(folder.path)
    try:
        plan = CollectionPlan.of_dataset(folder.path)
    except PlanError:
        plan = None  # the findings name it
    pages = Environment(loader=PackageLoader("mobile_vla_data", "look"), autoescape=True)
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    page = pages.get_template("report.html.j2").render(
        name=folder.path.resolve().name,
        path=folder.path,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        style=Markup(style),
        tiles=_tiles(gathered, validation),
        plan_note=_plan_note(tally, plan),
        tasks=tally.tasks(plan),
        charts=_charts(gathered),
        findings=sorted(validation.findings, key=lambda finding: finding.severity),
        most_findings=_FINDINGS,
        thumbnails=gathered.thumbnails,
        skill=by_operator_and_day(measure_dataset(folder.path)),
    )
    write_text_atomically(output, page)


def _gather(folder: Dataset) -> _Gathered:
    gathered = _Gathered()
    episode_paths = folder.episode_paths
    pictured = {int(index) for index in np.linspace(0, len(episode_paths) - 1, _THUMBNAILS).round()}
    drawn = {int(index) for index in np.linspace(0, len(episode_paths) - 1, _PATHS).round()}
    for index, path in enumerate(episode_paths):
        try:
            with Episode.open(path) as episode:
                _add(gathered, episode, index in pictured, index in drawn)
        except (*DAMAGE, IndexError):
            continue  # the findings name a damaged file
    return gathered


def _add(gathered: _Gathered, episode: Episode, pictured: bool, drawn: bool) -> None:
    metadata, actions, states = episode.metadata, episode.actions, episode.states
    contract, names = gathered.contract or episode.contract, action_names(episode.contract)
    if len(names) != len(action_names(contract)):
        return  # the findings name it
    shapes = (episode.num_steps, len(names)), (episode.num_steps, len(STATE))
    if (actions.shape, states.shape) != shapes or not (np.isfinite(actions).all() and np.isfinite(states).all()):
        return
    gathered.contract = contract
    gathered.lengths.append(episode.num_steps)
    gathered.rates.append(episode.real_rate_hz)
    gathered.actions.append(actions)
    gathered.grippers.append(gripper(states))
    gathered.dropped.append(episode.dropped_ticks)
    gathered.phrases.add(metadata.language)
    gathered.seconds += episode.num_steps * episode.contract.period_s
    gathered.size += episode.path.stat().st_size
    if drawn:
        gathered.paths.append((metadata.category, f"{episode.path.stem}: {metadata.language}", position(states)))
    if pictured:
        first, last = (_data_uri(episode.image(contract.first_camera, step)) for step in (0, episode.num_steps - 1))
        shown = _Thumbnail(episode.path.stem, metadata.language, episode.outcome, first, last)
        gathered.thumbnails.append(shown)


def _data_uri(image: Image) -> str:
    small = cv2.resize(image, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.encode(np.asarray(small, np.uint8), 85)).decode()}"


def _tiles(gathered: _Gathered, validation: ValidationReport) -> list[tuple[str, str, bool]]:
    """Value, label, and whether it is an alarm."""
    errors = sum(finding.severity == "error" for finding in validation.findings)
    warnings = len(validation.findings) - errors
    return [
        (f"{validation.num_episodes:,}", "episodes", False),
        (f"{sum(gathered.lengths):,}", "steps", False),
        (_duration(gathered.seconds), "of demonstration", False),
        (f"{len(gathered.phrases):,}", "instructions", False),
        (f"{gathered.size / 1e6:,.0f} MB", "on disk", False),
        (f"{errors:,}", "errors", errors > 0),
        (f"{warnings:,}", "warnings", False),
    ]


def _plan_note(tally: Tally, plan: CollectionPlan | None) -> str:
    if plan is None:
        return "There is no plan.yaml in the folder"
    done = tally.done(plan)
    if done >= plan.episodes:
        return f"{done} of {plan.episodes} planned episodes; the plan is fulfilled"
    finish = tally.forecast(plan, datetime.now(timezone.utc).date())
    pace = f"at the pace of the last week, finished on {finish}" if finish else "no episodes in the last week"
    return f"{done} of {plan.episodes} planned episodes; {pace}"


def _charts(gathered: _Gathered) -> list[_Chart]:
    if gathered.contract is None:
        return []
    actions, limits = np.concatenate(gathered.actions), gathered.contract.limits
    rate, period_s = gathered.contract.control_rate_hz, gathered.contract.period_s
    reach, turn = limits.linear_m_s * period_s, limits.angular_rad_s * period_s
    closed = float((gripper(actions) > 0.5).mean())
    forward, left = displacement(actions).T
    turns = yaw(actions)
    categories = sorted({category for category, _, _ in gathered.paths})
    paths = Markup(svg.paths(gathered.paths, "paths in the plane"))
    return [
        _histogram("Length", np.array(gathered.lengths), "steps of an episode"),
        _histogram("Rate", np.array(gathered.rates), "steps per second [Hz]", marks=[(rate, "declared")]),
        _Chart("Paths in the plane [m], ends dotted", paths, categories),
        _bounded("Action forward", forward, "delta_x [m]", reach),
        _bounded("Action to the left", left, "delta_y [m]", reach),
        *([_bounded("Action turn", turns, "delta_yaw [rad]", turn)] if turns is not None else []),
        _gripper(f"Gripper action: closed in {closed:.0%} of the steps", gripper(actions), "gripper action"),
        _gripper("Gripper state", np.concatenate(gathered.grippers), "gripper state"),
        _histogram("Dropped ticks", np.array(gathered.dropped), "dropped ticks of an episode"),
    ]


def _histogram(
    title: str, values: npt.NDArray[Any], label: str, bins: int = 30, marks: Sequence[tuple[float, str]] = ()
) -> _Chart:
    return _Chart(title, Markup(svg.histogram(values, label, bins, marks)))


def _gripper(title: str, values: npt.NDArray[np.float32], label: str) -> _Chart:
    return _histogram(title, values, label, 21, [(0.0, "open"), (1.0, "closed")])


def _bounded(title: str, values: npt.NDArray[np.float32], label: str, reach: float) -> _Chart:
    return _histogram(title, values, label, 41, [(-reach, "limit"), (reach, "limit")])


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
