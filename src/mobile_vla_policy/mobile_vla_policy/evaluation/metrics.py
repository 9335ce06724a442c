"""Numbers that compare predicted with recorded actions. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_policy.evaluation.predict import EpisodePrediction

Array = npt.NDArray[np.floating]

#: A gripper transition counts as found when it is predicted within this many control periods of the recorded one.
TRANSITION_TOLERANCE = 2


@dataclass(frozen=True)
class Metrics:
    """Over the next action of every step, unless said otherwise."""

    steps: int
    dx_error_m: float
    """Mean absolute error of delta_x [m]."""
    dy_error_m: float
    error_m: float
    """Mean distance between predicted and recorded displacement [m]."""
    horizon_error_m: float
    """The same over all actions of the chunks."""
    within_tolerance: float
    """Share of steps with dx, dy within the tolerance and the gripper right."""
    gripper_accuracy: float
    transition_f1: float | None
    """F1 of opening and closing at the right time; None when the gripper never moves."""


def summarise(predictions: Sequence[EpisodePrediction], tolerance_m: float) -> Metrics:
    """Metrics over all steps of the given episodes."""
    deltas = np.concatenate([p.deltas[:, 0] for p in predictions])
    recorded = np.concatenate([p.episode.actions for p in predictions])
    closed = np.concatenate([p.closed for p in predictions])
    difference = np.abs(deltas - recorded[:, :2])
    distance = np.linalg.norm(deltas - recorded[:, :2], axis=1)
    gripper_right = closed == (recorded[:, 2] > 0.5)
    horizon = np.concatenate([horizon_distances(p) for p in predictions])
    return Metrics(
        steps=len(recorded),
        dx_error_m=float(difference[:, 0].mean()),
        dy_error_m=float(difference[:, 1].mean()),
        error_m=float(distance.mean()),
        horizon_error_m=float(horizon.mean()),
        within_tolerance=float((difference.max(axis=1) <= tolerance_m)[gripper_right].sum() / len(recorded)),
        gripper_accuracy=float(gripper_right.mean()),
        transition_f1=transition_f1([(p.closed, p.episode.actions[:, 2] > 0.5) for p in predictions]),
    )


def horizon_distances(prediction: EpisodePrediction) -> Array:
    """Distances [m] between all predicted displacements and the recorded ones, where there are any."""
    actions, horizon = prediction.episode.actions[:, :2], prediction.deltas.shape[1]
    parts = [
        np.linalg.norm(prediction.deltas[: len(actions) - ahead, ahead] - actions[ahead:], axis=1)
        for ahead in range(min(horizon, len(actions)))
    ]
    return np.concatenate(parts)


def transition_f1(pairs: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]) -> float | None:
    """F1 of gripper transitions over (predicted, recorded) sequences of closed/open, bool ``[T]`` each."""
    found = predicted_count = recorded_count = 0
    for predicted, recorded in pairs:
        mine, theirs = _transitions(predicted), _transitions(recorded)
        predicted_count, recorded_count = predicted_count + len(mine), recorded_count + len(theirs)
        for at, closes in theirs:
            match = next((m for m in mine if m[1] == closes and abs(m[0] - at) <= TRANSITION_TOLERANCE), None)
            if match is not None:
                mine.remove(match)
                found += 1
    if not predicted_count and not recorded_count:
        return None
    return 2 * found / (predicted_count + recorded_count)


def _transitions(closed: npt.NDArray[np.bool_]) -> list[tuple[int, bool]]:
    """(step, closes) of every change."""
    return [(int(step), bool(closed[step])) for step in np.flatnonzero(closed[1:] != closed[:-1]) + 1]
