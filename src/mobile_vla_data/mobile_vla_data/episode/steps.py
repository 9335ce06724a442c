"""One stored step, and the small values of many steps."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mobile_vla_data.episode.schema import UNKNOWN_TARGET


@dataclass(frozen=True)
class StepRecord:
    """One step in its stored form."""

    stamp_ns: int
    images: dict[str, npt.NDArray[np.uint8]]
    """Camera -> JPEG bytes ``[n]``, or RGB ``[height, width, 3]`` when the encoding is raw."""
    state: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    stamps_ns: dict[str, int]
    takeover: bool
    target: tuple[int, int] | None = None
    """Column and row of the instruction's target in the first camera's image [px]; None where it is not known."""
    source_encodings: Mapping[str, str] = field(default_factory=dict)
    """Camera -> encoding of the message that the image came in, for example ``bgr8``; where it is known."""


class StepTable:
    """The small values of many steps, column by column: 100 bytes a step, so that an open episode stays small."""

    def __init__(self) -> None:
        self._ticks = array("q")
        self._takeover = bytearray()
        self._states = array("f")
        self._actions = array("f")
        self._targets = array("i")
        self._any_target = False
        self._stamps: dict[str, array[int]] = {}
        self._encodings: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._ticks)

    def append(self, step: StepRecord) -> None:
        """Add a step; all must have the streams of the first."""
        if not self._ticks:
            self._stamps = {stream: array("q") for stream in step.stamps_ns}
        for stream, stamps in self._stamps.items():
            stamps.append(step.stamps_ns[stream])
        self._states.frombytes(step.state.tobytes())
        self._actions.frombytes(step.action.tobytes())
        self._takeover.append(step.takeover)
        self._targets.extend(UNKNOWN_TARGET if step.target is None else step.target)
        self._any_target = self._any_target or step.target is not None
        for camera, encoding in step.source_encodings.items():
            self._encodings.setdefault(camera, {})[encoding] = None
        self._ticks.append(step.stamp_ns)

    @property
    def ticks_ns(self) -> npt.NDArray[np.int64]:
        """int64 ``[T]`` [ns]."""
        return np.array(self._ticks, dtype=np.int64)

    @property
    def states(self) -> npt.NDArray[np.float32]:
        """float32 ``[T, 3]``."""
        return np.array(self._states, dtype=np.float32).reshape(-1, 3)

    @property
    def actions(self) -> npt.NDArray[np.float32]:
        """float32 ``[T, 3]``, or ``[T, 4]`` with delta_yaw."""
        return np.array(self._actions, dtype=np.float32).reshape(len(self), -1)

    @property
    def takeover(self) -> npt.NDArray[np.bool_]:
        """bool ``[T]``."""
        return np.array(self._takeover, dtype=np.uint8).astype(bool)

    @property
    def targets(self) -> npt.NDArray[np.int32] | None:
        """int32 ``[T, 2]``, column and row [px], -1 where unknown; None when no step has one."""
        return np.array(self._targets, dtype=np.int32).reshape(-1, 2) if self._any_target else None

    @property
    def source_encodings(self) -> dict[str, str]:
        """Camera -> the encodings its images came in, in order of appearance, separated by commas."""
        return {camera: ",".join(seen) for camera, seen in self._encodings.items()}

    @property
    def stamps_ns(self) -> dict[str, npt.NDArray[np.int64]]:
        """Stream -> int64 ``[T]`` [ns]."""
        return {stream: np.array(stamps, dtype=np.int64) for stream, stamps in self._stamps.items()}
