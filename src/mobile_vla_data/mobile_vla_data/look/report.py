"""One self-contained HTML page about a dataset: plan, lengths, rates, actions, paths, findings, pictures."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mobile_vla_data import __version__
from mobile_vla_data.action import STATE, action_names, displacement, gripper, position, yaw
from mobile_vla_data.checks.validate import ValidationReport, validate_dataset
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError
from mobile_vla_data.dataset.progress import Tally, TaskProgress
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look import svg
from mobile_vla_data.storage.durable import require_writable, write_text_atomically

_THUMBNAILS = 24
_THUMBNAIL_PX = 160
#: More lines than this are a carpet.
_PATHS = 300
_FINDINGS = 200


@dataclass
class _Gathered:
    """What the page shows of the readable episodes."""

    contract: Contract | None = None
    lengths: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    actions: list[npt.NDArray[np.float32]] = field(default_factory=list)
    drives: list[tuple[str, str, npt.NDArray[np.float32]]] = field(default_factory=list)
    grippers: list[npt.NDArray[np.float32]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    thumbnails: list[str] = field(default_factory=list)
    phrases: set[str] = field(default_factory=set)
    seconds: float = 0.0
    size: int = 0


def write_report(dataset: str | Path, output: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Validate a dataset and write its page to ``output``.

    Raises:
        DatasetError: there is no such folder.
        OSError: ``output`` cannot be written; found out first, since validation takes minutes.
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
    sections = [
        _tiles(gathered, validation),
        _plan(tally, plan),
        _charts(gathered),
        _findings(validation),
        _pictures(gathered),
    ]
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    title = escape(folder.path.resolve().name)
    style = files("mobile_vla_data.look").joinpath("report.css").read_text(encoding="utf-8")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>'
        f"<header><h1>{title}</h1><p>{escape(str(folder.path))}, {made}, mobile_vla_data {__version__}</p></header>"
        f"{''.join(sections)}</body></html>\n"
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
            continue  # a damaged file stands among the findings
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
        gathered.drives.append((metadata.category, f"{episode.path.stem}: {metadata.language}", position(states)))
    if pictured:
        caption = f"{episode.path.stem}<br>{escape(metadata.language)}<br><em>{escape(episode.outcome)}</em>"
        first, last = (_data_uri(episode.image(contract.first_camera, step)) for step in (0, episode.num_steps - 1))
        gathered.thumbnails.append(
            f'<figure><img alt="first step" src="{first}"><img alt="last step" src="{last}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def _data_uri(image: Any) -> str:
    small = cv2.resize(image, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.encode(small, 85)).decode()}"


def _tiles(gathered: _Gathered, validation: ValidationReport) -> str:
    errors = sum(finding.severity == "error" for finding in validation.findings)
    warnings = len(validation.findings) - errors
    values = (
        (f"{validation.num_episodes:,}", "episodes"),
        (f"{sum(gathered.lengths):,}", "steps"),
        (_duration(gathered.seconds), "of demonstration"),
        (f"{len(gathered.phrases):,}", "instructions"),
        (f"{gathered.size / 1e6:,.0f} MB", "on disk"),
        (f"{errors:,}", "errors"),
        (f"{warnings:,}", "warnings"),
    )
    cells = []
    for value, name in values:
        alarm = ' class="alarm"' if name == "errors" and errors else ""
        cells.append(f"<div{alarm}><b>{value}</b><span>{name}</span></div>")
    return f'<section class="tiles">{"".join(cells)}</section>'


def _plan(tally: Tally, plan: CollectionPlan | None) -> str:
    rows = "".join(_plan_row(item) for item in tally.tasks(plan))
    if plan is None:
        note = "There is no plan.yaml in the folder."
    else:
        finish = tally.forecast(plan, datetime.now(timezone.utc).date())
        done = sum(min(item.done, item.wanted) for item in tally.tasks(plan))
        pace = f"at the pace of the last week it is finished on {finish}" if finish else "no episode in the last week"
        note = f"{done} of {plan.episodes} planned episodes; " + ("fulfilled" if done >= plan.episodes else pace)
    head = "<tr><th>category</th><th>task</th><th>done</th><th>wanted</th><th>failed</th><th></th></tr>"
    return f"<section><h2>Plan</h2><p>{note}.</p><table>{head}{rows}</table></section>"


def _plan_row(item: TaskProgress) -> str:
    share = min(1.0, item.done / item.wanted) if item.wanted else 0.0
    bar = f'<div class="progress"><i style="width:{share:.1%}"></i></div>' if item.wanted else "not in the plan"
    return (
        f"<tr><td>{escape(item.category)}</td><td>{escape(item.task)}</td><td>{item.done}</td>"
        f"<td>{item.wanted or ''}</td><td>{item.failed or ''}</td><td>{bar}</td></tr>"
    )


def _charts(gathered: _Gathered) -> str:
    if gathered.contract is None:
        return ""
    actions, limits = np.concatenate(gathered.actions), gathered.contract.limits
    rate, period_s = gathered.contract.control_rate_hz, gathered.contract.period_s
    reach, turn = limits.linear_m_s * period_s, limits.angular_rad_s * period_s
    closed = float((gripper(actions) > 0.5).mean())
    forward, left = displacement(actions).T
    turns = yaw(actions)
    declared = [(rate, "declared")]
    charts = (
        ("Length", svg.histogram(np.array(gathered.lengths), "steps of an episode")),
        ("Rate", svg.histogram(np.array(gathered.rates), "steps per second [Hz]", marks=declared)),
        ("Paths in the plane [m], ends dotted", svg.paths(gathered.drives, "paths in the plane") + _legend(gathered)),
        ("Action forward", _action_chart(forward, "delta_x [m]", reach)),
        ("Action to the left", _action_chart(left, "delta_y [m]", reach)),
        *([("Action turn", _action_chart(turns, "delta_yaw [rad]", turn))] if turns is not None else []),
        (f"Gripper action: closed in {closed:.0%} of the steps", _gripper_chart(gripper(actions), "gripper action")),
        ("Gripper state", _gripper_chart(np.concatenate(gathered.grippers), "gripper state")),
        ("Dropped ticks", svg.histogram(np.array(gathered.dropped), "dropped ticks of an episode")),
    )
    cells = "".join(
        f"<figure{' class=tall' if 'polyline' in chart else ''}><h3>{escape(title)}</h3>{chart}</figure>"
        for title, chart in charts
    )
    return f'<section><h2>Data</h2><div class="charts">{cells}</div></section>'


def _gripper_chart(values: npt.NDArray[np.float32], label: str) -> str:
    return svg.histogram(values, label, bins=21, marks=[(0.0, "open"), (1.0, "closed")])


def _action_chart(values: npt.NDArray[np.float32], label: str, reach: float) -> str:
    return svg.histogram(values, label, bins=41, marks=[(-reach, "limit"), (reach, "limit")])


def _legend(gathered: _Gathered) -> str:
    used = sorted({style for style, _, _ in gathered.drives})
    return '<p class="legend">' + " ".join(f'<span class="{style}">{style}</span>' for style in used) + "</p>"


def _findings(validation: ValidationReport) -> str:
    if not validation.findings:
        return "<section><h2>Findings</h2><p>None.</p></section>"
    rows = "".join(
        f'<tr class="{finding.severity}"><td>{finding.severity}</td><td><code>{escape(finding.code)}</code></td>'
        f"<td>{escape(Path(finding.file).name)}</td><td>{'' if finding.step is None else finding.step}</td>"
        f"<td>{escape(finding.message)}</td><td>{escape(finding.advice)}</td></tr>"
        for finding in sorted(validation.findings, key=lambda item: item.severity)[:_FINDINGS]
    )
    rest = len(validation.findings) - _FINDINGS
    more = f"<p>and {rest} more: run <code>mobile-vla-data validate</code></p>" if rest > 0 else ""
    head = "<tr><th></th><th>code</th><th>file</th><th>step</th><th>what is wrong</th><th>what to do</th></tr>"
    return f'<section><h2>Findings</h2><table class="findings">{head}{rows}</table>{more}</section>'


def _pictures(gathered: _Gathered) -> str:
    if not gathered.thumbnails:
        return ""
    return (
        "<section><h2>Episodes</h2><p>First and last step of the first camera, of episodes spread over the whole "
        f'dataset.</p><div class="pictures">{"".join(gathered.thumbnails)}</div></section>'
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
