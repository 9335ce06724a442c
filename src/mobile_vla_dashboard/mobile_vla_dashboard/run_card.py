"""What the Run view gets besides the cards: prediction, heatmaps, comparison in shadow mode, goal. No rclpy."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from mobile_vla_dashboard.goal import Goal, headline
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.place import Point
from mobile_vla_dashboard.wording import say
from mobile_vla_dashboard.words import Card, number

#: The policy's status says this long after a goal began that there is an instruction [s].
_NEWS_S = 1.0


@dataclass(frozen=True)
class Prediction:
    """The newest chunk."""

    steps: list[tuple[float, float, float]]
    """Metres forward, metres left, radians left, each during one control period."""
    gripper: list[float]
    """Probability that the gripper is to be closed, for each step."""
    inference_s: float
    path: list[Point] | None
    """Places in the image that the steps lead through; None where that is unknown."""


@dataclass(frozen=True)
class SeenMap:
    """A heatmap over the image of one camera."""

    camera: str
    columns: int
    rows: int
    cells: bytes
    """One byte for each cell, upper row first; the brightest is 255."""
    peak: Point


def run_card(latest: Latest) -> Card:
    """Return everything that only the Run view shows; what is not fresh is None."""
    chunk = latest.fresh("chunk")
    return {
        "chunk": _chunk(chunk) if chunk is not None else None,
        "maps": {name: _map(latest.fresh(f"{name}_map")) for name in ("target", "robot")},
        "shadow": _shadow(latest.fresh("policy")),
        "goal": _goal(latest),
    }


def _chunk(chunk: Prediction) -> Card:
    steps = [[number(value, 4) for value in step] for step in chunk.steps]
    path = chunk.path and [[number(value, 4) for value in point] for point in chunk.path]
    gripper = [number(value) for value in chunk.gripper]
    return {"steps": steps, "gripper": gripper, "inference_s": number(chunk.inference_s, 4), "path": path}


def _map(seen: SeenMap | None) -> Card | None:
    if seen is None:
        return None
    cells = base64.b64encode(seen.cells).decode()
    return {"camera": seen.camera, "columns": seen.columns, "rows": seen.rows, "cells": cells, "peak": seen.peak}


def _shadow(status: Any | None) -> Card | None:
    if status is None or not status.shadow:
        return None
    return {
        "samples": status.shadow_samples,
        "velocity_mean_m_s": number(status.shadow_velocity_difference_mean_m_s, 3),
        "velocity_p95_m_s": number(status.shadow_velocity_difference_p95_m_s, 3),
        "yaw_rate_mean_rad_s": number(status.shadow_yaw_rate_difference_mean_rad_s, 3),
        "gripper_agreement": number(status.shadow_gripper_agreement, 2),
    }


def _goal(latest: Latest) -> Card | None:
    received = latest.status("goal")
    if received is None:
        return None
    goal: Goal = received.message
    policy = latest.status("policy")
    key, tone = headline(goal)
    if goal.running and (policy is None or not policy.fresh):
        key, tone = "goal.unknown", "bad"
    elif goal.running and not policy.message.instruction and policy.received_s > received.received_s + _NEWS_S:
        # The policy was restarted: it follows nothing, and says nothing about the goals of the one before.
        key, tone = "goal.ended", "idle"
    return {
        "running": key == "goal.running",
        "tone": tone,
        "headline": say(key),
        "detail": goal.message,
        "steps": goal.steps,
        "elapsed_s": number(goal.elapsed_s, 1),
    }
