"""One step as it is stored, and the small values of many of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class StepRecord:
    """One step as it is stored."""

    stamp_ns: int
    images: dict[str, npt.NDArray[np.uint8]]
    """Camera -> JPEG bytes ``[n]``, or RGB ``[height, width, 3]`` when the encoding is raw."""
    state: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    stamps_ns: dict[str, int]
    takeover: bool


class StepTable:
    """The small values of many steps, column by column: 100 bytes a step, so that an open episode stays small."""

    def __init__(self) -> None:
        self._ticks, self._takeover = array("q"), bytearray()
        self._states, self._actions = array("f"), array("f")
        self._stamps: dict[str, array[int]] = {}

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
        """float32 ``[T, 3]``."""
        return np.array(self._actions, dtype=np.float32).reshape(-1, 3)

    @property
    def takeover(self) -> npt.NDArray[np.bool_]:
        """bool ``[T]``."""
        return np.array(self._takeover, dtype=np.uint8).astype(bool)

    @property
    def stamps_ns(self) -> dict[str, npt.NDArray[np.int64]]:
        """Stream -> int64 ``[T]`` [ns]."""
        return {stream: np.array(stamps, dtype=np.int64) for stream, stamps in self._stamps.items()}
