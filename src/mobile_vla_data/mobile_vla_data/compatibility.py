"""Compares two contracts: fields that give numbers their meaning must match, fields that only limit may differ.

Works on contracts as nested mappings, so that :class:`~mobile_vla_data.contract.Contract` can use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mobile_vla_data.polygon import EDGE_M, Polygon

#: Fields that say where data comes from and how it is wired. They may differ freely.
WIRING_FIELDS = frozenset({"robot", "topic", "odometry_topic", "gripper_topic"})
#: Groups that only wire.
_WIRING_GROUPS = ("gripper_driver",)

#: Frames of the robot, which a namespaced one prefixes.
_FRAMES = ("action.frame", "state.odometry_frame")

Change = Literal["stricter", "looser"]
_Rule: TypeAlias = Callable[[Any, Any], Change]


@dataclass(frozen=True)
class Comparison:
    """Differences between two contracts, one line a field."""

    conflicts: tuple[str, ...] = ()
    """Fields that differ in the meaning of numbers: a policy trained under one must not drive under the other."""
    stricter: tuple[str, ...] = ()
    """Limits that are tighter here: safe, but the robot may be slower or stand still more often."""
    looser: tuple[str, ...] = ()
    """Limits that are wider here: the policy may meet what it never saw in training."""


def same_frame(one: str, other: str) -> bool:
    """Return whether two frame ids mean the same frame: a namespaced robot prefixes its own (``robot1/odom``)."""
    return one.rsplit("/", 1)[-1] == other.rsplit("/", 1)[-1]


def compare(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Comparison:
    """Compare two contracts (``Contract.model_dump(mode="json")``) field by field.

    Lines read ``field: mine != theirs``.
    """
    here, there = _flatten(mine), _flatten(theirs)
    lines: dict[str, list[str]] = {"conflict": [], "stricter": [], "looser": []}
    for field in sorted(here.keys() | there.keys()):
        if here.get(field, _ABSENT) == there.get(field, _ABSENT) or field.rsplit(".", 1)[-1] in WIRING_FIELDS:
            continue
        if field.split(".")[0] in _WIRING_GROUPS:
            continue
        if field in _FRAMES and same_frame(here[field], there[field]):
            continue
        rule = _rule(field)
        line = f"{field}: {here.get(field, _ABSENT)} != {there.get(field, _ABSENT)}"
        both = field in here and field in there
        lines[rule(here[field], there[field]) if rule is not None and both else "conflict"].append(line)
    order, their_order = (list(contract.get("cameras", {})) for contract in (mine, theirs))
    if sorted(order) == sorted(their_order) and order != their_order:
        lines["conflict"].append(f"cameras: {', '.join(order)} != {', '.join(their_order)} (the order counts)")
    return Comparison(tuple(lines["conflict"]), tuple(lines["stricter"]), tuple(lines["looser"]))


_ABSENT = "absent"


def _at_most(mine: float | None, theirs: float | None) -> Change:
    """Judge an upper limit; None: there is none."""
    if mine is None or (theirs is not None and mine > theirs):
        return "looser"
    return "stricter"


def _required(mine: bool, theirs: bool) -> Change:
    return "stricter" if mine else "looser"


def _area(mine: list[list[float]] | None, theirs: list[list[float]] | None) -> Change:
    """Judge the area that the robot is kept in; None: anywhere."""
    if mine is None:
        return "looser"
    if theirs is None:
        return "stricter"
    # Points along the edges: a notch between two of them is missed, and all it would have given is a warning.
    outer = Polygon(theirs)
    edges = zip(mine, [*mine[1:], mine[0]], strict=True)
    points = [(ax + k / 50 * (bx - ax), ay + k / 50 * (by - ay)) for (ax, ay), (bx, by) in edges for k in range(50)]
    inside = all(outer.contains(point) or math.dist(outer.nearest(point), point) <= EDGE_M for point in points)
    return "stricter" if inside else "looser"


def _obstacles(mine: object, theirs: object) -> Change:
    """Judge the guard against obstacles as a whole: settings of sensors cannot be ranked."""
    return "looser" if mine is None or theirs is not None else "stricter"


def _rule(field: str) -> _Rule | None:
    """Return how a field that only limits is judged, or None for a field that gives numbers their meaning."""
    name = field.rsplit(".", 1)[-1]
    if field.startswith("limits.") or name.endswith("max_age_s"):
        return _at_most
    rules: dict[str, _Rule] = {"required": _required, "keep_in": _area, "obstacles": _obstacles}
    return rules.get(name)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key != "obstacles":
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
