"""Metrics that compare predicted with recorded actions. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import displacement, gripper, yaw
from mobile_vla_policy.evaluation.predict import EpisodePrediction

Array = npt.NDArray[np.floating]

#: A predicted gripper transition is right within this many control periods of the recorded one.
TRANSITION_TOLERANCE = 2

#: A turn within this of the recorded one is right [rad]: an eighth of full speed, as 10 mm are of driving.
TURN_TOLERANCE_RAD = 0.02


@dataclass(frozen=True)
class Metrics:
    """Metrics of the next action of every step, unless another scope is given."""

    steps: int
    dx_error_m: float
    """Mean absolute error of delta_x [m]."""
    dy_error_m: float
    yaw_error_rad: float | None
    """Mean absolute error of delta_yaw [rad]; None if the actions have no such column."""
    error_m: float
    """Mean distance between predicted and recorded displacement [m]."""
    horizon_error_m: float
    """Mean distance over all actions of the chunks [m]."""
    within_tolerance: float
    """Share of steps with dx, dy (and delta_yaw) within the tolerance and the gripper right."""
    gripper_accuracy: float
    transition_f1: float | None
    """F1 of opening and closing at the right time; None when the gripper never moves."""


def summarise(predictions: Sequence[EpisodePrediction], tolerance_m: float) -> Metrics:
    """Return the metrics over all steps of the given episodes."""
    predicted = np.concatenate([p.actions[:, 0] for p in predictions])
    recorded = np.concatenate([p.episode.actions for p in predictions])
    closed = np.concatenate([p.closed for p in predictions])
    difference = displacement(predicted) - displacement(recorded)
    within = np.abs(difference).max(axis=1) <= tolerance_m
    turn_error = _turn_error(predicted, recorded)
    if turn_error is not None:
        within &= turn_error <= TURN_TOLERANCE_RAD
    gripper_right = closed == (gripper(recorded) > 0.5)
    dx_error, dy_error = np.abs(difference).mean(axis=0)
    horizon = np.concatenate([horizon_distances(p) for p in predictions])
    return Metrics(
        steps=len(recorded),
        dx_error_m=float(dx_error),
        dy_error_m=float(dy_error),
        yaw_error_rad=None if turn_error is None else float(turn_error.mean()),
        error_m=float(np.linalg.norm(difference, axis=1).mean()),
        horizon_error_m=float(horizon.mean()),
        within_tolerance=float((within & gripper_right).mean()),
        gripper_accuracy=float(gripper_right.mean()),
        transition_f1=transition_f1([(p.closed, gripper(p.episode.actions) > 0.5) for p in predictions]),
    )


def _turn_error(predicted: Array, recorded: Array) -> Array | None:
    ours, theirs = yaw(predicted), yaw(recorded)
    return None if ours is None or theirs is None else np.abs(ours - theirs)


def horizon_distances(prediction: EpisodePrediction) -> Array:
    """Return the distances [m] between all predicted displacements and the recorded ones."""
    actions, horizon = displacement(prediction.episode.actions), prediction.deltas.shape[1]
    parts = [
        np.linalg.norm(prediction.deltas[: len(actions) - ahead, ahead] - actions[ahead:], axis=1)
        for ahead in range(min(horizon, len(actions)))
    ]
    return np.concatenate(parts)


def transition_f1(pairs: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]) -> float | None:
    """Return the F1 of gripper transitions over (predicted, recorded) sequences of closed/open, bool ``[T]`` each."""
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
    """Return (step, closes) of every change."""
    return [(int(step), bool(closed[step])) for step in np.flatnonzero(closed[1:] != closed[:-1]) + 1]
