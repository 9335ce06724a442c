"""The newest transforms between frames, and the position of one frame in another: what a robot needs of TF.

A robot that localises itself (AMCL, SLAM) publishes its pose as a chain, for example map -> odom -> base_link. This
keeps the newest transform of each frame to its parent; it does not interpolate in time, as tf2 would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Longest chain; a longer one is a circle.
_LONGEST = 100
#: Largest difference of the square of a quaternion's norm from 1: enough for values rounded to four digits.
_UNIT = 1e-3


class TransformError(ValueError):
    """There is no chain between two frames. The message is one line."""


@dataclass(frozen=True)
class Transform:
    """Place of a frame in its parent."""

    parent: str
    translation: tuple[float, float, float]
    """x, y, z [m]."""
    rotation: tuple[float, float, float, float]
    """Unit quaternion x, y, z, w."""
    stamp_ns: int | None
    """When it was measured [ns]; None for a static transform, which holds at any time."""


@dataclass(frozen=True)
class PlanarPose:
    """Place of a frame in another."""

    x: float
    y: float
    rotation: tuple[float, float, float, float]
    """Unit quaternion x, y, z, w."""
    stamp_ns: int | None
    """The oldest stamp in the chain [ns]; None if all of it is static."""
    oldest: str = ""
    """The transform with that stamp, for messages: ``'map' to 'odom'``."""


class Transforms:
    """The newest transform of every frame. Names are compared without a leading slash."""

    def __init__(self) -> None:
        self._by_child: dict[str, Transform] = {}

    def put(
        self,
        parent: str,
        child: str,
        translation: Sequence[float],
        rotation: Sequence[float],
        stamp_ns: int | None,
    ) -> None:
        """Take a transform; ``stamp_ns`` is None for a static one. One that is not finite or no rotation is ignored."""
        x, y, z = translation
        norm = math.sqrt(sum(value * value for value in rotation))
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z) and abs(norm - 1.0) < 1e-2):
            return
        qx, qy, qz, qw = (value / norm for value in rotation)
        self._by_child[_name(child)] = Transform(_name(parent), (x, y, z), (qx, qy, qz, qw), stamp_ns)

    def put_message(self, message: Any, *, static: bool) -> None:
        """Take the transforms of a TFMessage, or of any object with its fields."""
        for item in message.transforms:
            move, turn, stamp = item.transform.translation, item.transform.rotation, item.header.stamp
            self.put(
                str(item.header.frame_id),
                str(item.child_frame_id),
                (move.x, move.y, move.z),
                (turn.x, turn.y, turn.z, turn.w),
                None if static else int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec),
            )

    def pose(self, frame: str, of: str) -> PlanarPose:
        """Return the place of the frame ``of`` in ``frame``.

        Raises:
            TransformError: the chain from ``of`` does not lead to ``frame``.
        """
        here, goal = _name(of), _name(frame)
        point, turn = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)
        stamps: list[tuple[int, str]] = []
        for _ in range(_LONGEST):
            if here == goal:
                stamp_ns, oldest = min(stamps, default=(None, ""))
                return PlanarPose(point[0], point[1], turn, stamp_ns, oldest)
            step = self._by_child.get(here)
            if step is None:
                raise TransformError(f"no transform from '{goal}' to '{_name(of)}': '{here}' has no parent")
            moved = _rotated(step.rotation, point)
            point = (moved[0] + step.translation[0], moved[1] + step.translation[1], moved[2] + step.translation[2])
            turn = _product(step.rotation, turn)
            if step.stamp_ns is not None:
                stamps.append((step.stamp_ns, f"'{step.parent}' to '{here}'"))
            here = step.parent
        raise TransformError(f"the parents of '{_name(of)}' form a circle")


def yaw_of(rotation: tuple[float, float, float, float]) -> float | None:
    """Return the yaw of a quaternion x, y, z, w [rad]; None if it is not a unit quaternion: some drivers send zeros."""
    x, y, z, w = rotation
    if not abs(w * w + x * x + y * y + z * z - 1.0) <= _UNIT:
        return None
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def _name(frame: str) -> str:
    return frame.lstrip("/")


_Quaternion = tuple[float, float, float, float]
_Vector = tuple[float, float, float]


def _product(a: _Quaternion, b: _Quaternion) -> _Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _rotated(q: _Quaternion, v: _Vector) -> _Vector:
    x, y, z, _ = _product(_product(q, (*v, 0.0)), (-q[0], -q[1], -q[2], q[3]))
    return x, y, z
