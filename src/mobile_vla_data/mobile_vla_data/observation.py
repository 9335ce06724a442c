"""The latest messages become one observation: the same object in the recorder and in the policy node.

Feed every message to :class:`ObservationBuilder` as it arrives, and take a :meth:`~ObservationBuilder.snapshot` at each
control tick. All times are nanoseconds on one clock, the clock of the messages' header stamps.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.compatibility import same_frame
from mobile_vla_data.contract import GRIPPER_STATE as GRIPPER_STATE
from mobile_vla_data.contract import ODOMETRY as ODOMETRY
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import Image, ImageError, fit, unpack

_RATE_WINDOW_NS = 2_000_000_000


@dataclass
class StreamCounters:
    """Counts of one input stream since :meth:`ObservationBuilder.reset_counters`."""

    received: int = 0
    late: int = 0
    """Ticks at which the newest message was older than the contract allows."""
    missing: int = 0
    """Ticks at which nothing had ever arrived."""
    repeated: int = 0
    """Ticks that found the same message as the tick before."""
    refused: int = 0
    last_refusal: str = ""


@dataclass
class Stream:
    """One input: its place in the contract, its newest value, and its counters."""

    name: str
    topic: str
    required: bool
    max_age_s: float
    value: Any = None
    stamp_ns: int = 0
    """Capture time of the newest value; 0 before the first."""
    used_ns: int = 0
    """Capture time of the value that the last snapshot used."""
    encoding: str = ""
    """Encoding of the newest image, for example ``bgr8`` or ``jpeg``; empty for streams that are not cameras."""
    jpeg: bytes = b""
    """The newest image as the JPEG that it came in; empty for raw images."""
    counters: StreamCounters = field(default_factory=StreamCounters)
    arrivals_ns: list[int] = field(default_factory=list)
    """When the newest messages were received."""
    refusal: str = ""
    """Why the newest message was refused; empty when it was accepted."""
    refused_ns: int = 0
    """When it was received."""

    def age_s(self, now_ns: int) -> float | None:
        """Age of the newest value [s], or None before the first."""
        return (now_ns - self.stamp_ns) * 1e-9 if self.stamp_ns else None

    def rate_hz(self, now_ns: int) -> float:
        """Arrivals per second over the last two seconds [Hz]."""
        recent = sum(1 for arrival in self.arrivals_ns if abs(now_ns - arrival) <= _RATE_WINDOW_NS)
        return recent / (_RATE_WINDOW_NS * 1e-9)

    def problem(self, now_ns: int) -> str:
        """Return why the newest value cannot be used at ``now_ns``, in one line; empty if it can."""
        age_s = self.age_s(now_ns)
        if age_s is not None and -self.max_age_s <= age_s <= self.max_age_s:
            return ""
        # Reasons hold while messages arrive; afterwards the fault is the silence.
        if self.refusal and abs(now_ns - self.refused_ns) <= _RATE_WINDOW_NS:
            return f"messages on '{self.topic}' are refused: {self.refusal}"
        if age_s is None or not self.arrivals_ns:
            return f"nothing has arrived on '{self.topic}'"
        silent_s = (now_ns - self.arrivals_ns[-1]) * 1e-9
        if silent_s < -self.max_age_s:
            return f"'{self.topic}' has sent nothing since the clock was set back by {-silent_s:.1f} s"
        old_on_arrival = age_s - silent_s > self.max_age_s
        if old_on_arrival and silent_s <= _RATE_WINDOW_NS * 1e-9:
            return (
                f"stamps on '{self.topic}' are {age_s - silent_s:.1f} s behind this machine's clock, limit "
                f"{self.max_age_s} s, though {self.rate_hz(now_ns):.0f} messages/s arrive; "
                "synchronise the clocks (chrony), or find what delays the messages"
            )
        newest_s = silent_s if old_on_arrival else age_s
        return f"'{self.topic}' is silent: newest message {newest_s:.1f} s old, limit {self.max_age_s} s"


@dataclass(frozen=True)
class Observation:
    """Inputs of the robot at one control tick."""

    stamp_ns: int
    """The control tick."""
    images: dict[str, Image]
    """Camera name -> RGB uint8 ``[height, width, 3]``, only cameras that have delivered; in the contract's order."""
    state: npt.NDArray[np.float32]
    """float32 ``[3]``: x [m], y [m], gripper 0 open .. 1 closed."""
    stamps_ns: dict[str, int]
    """Stream name -> capture time of the value used."""
    stale: tuple[str, ...]
    """Optional streams whose value is older than the contract allows."""
    encodings: dict[str, str] = field(default_factory=dict)
    """Camera name -> encoding of the message that the image came in."""
    jpegs: dict[str, bytes] = field(default_factory=dict)
    """Camera name -> the JPEG that its image came in, where that has the contract's size."""


class ObservationBuilder:
    """Holds each stream's newest message and assembles observations. Thread-safe."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        state = contract.state
        self._cameras = {
            name: Stream(name, camera.topic, camera.required, camera.max_age_s)
            for name, camera in contract.cameras.items()
        }
        self._odometry = Stream(ODOMETRY, state.pose_topic, True, state.odometry_max_age_s)
        self._gripper = (
            Stream(GRIPPER_STATE, state.gripper_topic, True, state.gripper_max_age_s) if contract.has_gripper else None
        )
        self._lock = threading.Lock()

    @property
    def streams(self) -> list[Stream]:
        """Every stream, cameras first, then those of ``contract.state_streams``."""
        return [*self._cameras.values(), self._odometry, *([self._gripper] if self._gripper else [])]

    def reset_counters(self) -> None:
        """Start counting afresh, keeping the newest values."""
        with self._lock:
            for stream in self.streams:
                stream.counters = StreamCounters()

    def clear(self) -> None:
        """Forget every value, so that nothing captured before this call is used again."""
        with self._lock:
            for stream in self.streams:
                stream.value, stream.stamp_ns, stream.used_ns = None, 0, 0

    def put_image(
        self, camera: str, stamp_ns: int, now_ns: int, data: Any, encoding: str, height: int, width: int, step: int
    ) -> bool:
        """Take the raw bytes of an image captured at ``stamp_ns`` and received at ``now_ns``.

        Returns whether it was accepted; a refusal is counted, and its reason kept in the stream's counters.
        """
        stream = self._cameras[camera]
        try:
            image = unpack(data, encoding, height, width, step)
        except ImageError as error:
            return self._refuse(stream, now_ns, str(error))
        return self._accept(stream, stamp_ns, now_ns, image, encoding)

    def put_jpeg(self, camera: str, stamp_ns: int, now_ns: int, data: bytes, encoding: str = "jpeg") -> bool:
        """Take an image as JPEG bytes; from the decoded pixels on it is the same as :meth:`put_image`."""
        stream = self._cameras[camera]
        try:
            image = jpeg.decode(data)
        except ImageError as error:
            return self._refuse(stream, now_ns, str(error))
        whole = data.startswith(jpeg.BEGINS) and data.endswith(jpeg.ENDS)
        return self._accept(stream, stamp_ns, now_ns, image, encoding, data if whole else b"")

    def put_odometry(self, stamp_ns: int, now_ns: int, x: float, y: float, frame: str) -> bool:
        """Take a position in metres in ``frame``. Returns whether it was accepted, as :meth:`put_image`."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return self._refuse(self._odometry, now_ns, f"position ({x}, {y}) is not finite")
        expected = self.contract.state.odometry_frame
        if not same_frame(frame, expected):
            return self._refuse(self._odometry, now_ns, f"frame_id is '{frame}', the contract says '{expected}'")
        return self._accept(self._odometry, stamp_ns, now_ns, (x, y))

    def refuse_odometry(self, now_ns: int, why: str) -> None:
        """Count a message that gave no position, with the reason in one line."""
        self._refuse(self._odometry, now_ns, why)

    def put_gripper(self, stamp_ns: int, now_ns: int, position: float) -> bool:
        """Take a gripper position, 0 open .. 1 closed. Returns whether it was accepted, as :meth:`put_image`.

        A robot without a gripper ignores it.
        """
        if self._gripper is None:
            return False
        if not (math.isfinite(position) and -0.01 <= position <= 1.01):
            return self._refuse(self._gripper, now_ns, f"position {position} is outside 0 (open) .. 1 (closed)")
        return self._accept(self._gripper, stamp_ns, now_ns, min(max(position, 0.0), 1.0))

    def problems(self, now_ns: int, needed: Collection[str] = ()) -> list[str]:
        """List why no complete observation can be made now, one line for each required stream; empty if one can.

        ``needed`` names optional streams that count as required for this caller.
        """
        asked = [stream for stream in self.streams if stream.required or stream.name in needed]
        return [why for stream in asked if (why := stream.problem(now_ns))]

    def snapshot(self, tick_ns: int) -> Observation | None:
        """Assemble the observation of the control tick ``tick_ns``, counting late, missing and repeated inputs.

        Returns None when a required stream has nothing fresh: that tick is a dropped tick.
        """
        with self._lock:
            stale = tuple(stream.name for stream in self.streams if not self._count(stream, tick_ns))
            if any(stream.required and stream.name in stale for stream in self.streams):
                return None
            present = [stream for stream in self.streams if stream.stamp_ns]
            images = {name: stream.value for name, stream in self._cameras.items() if stream.stamp_ns}
            x, y = self._odometry.value
            state = np.array([x, y, self._gripper.value if self._gripper else 0.0], dtype=np.float32)
            stamps_ns = {stream.name: stream.stamp_ns for stream in present}
            encodings = {name: self._cameras[name].encoding for name in images}
            jpegs = {name: self._cameras[name].jpeg for name in images if self._cameras[name].jpeg}
        fitted = {name: fit(image, self.contract.cameras[name]) for name, image in images.items()}
        jpegs = {name: data for name, data in jpegs.items() if fitted[name] is images[name]}
        seen = tuple(name for name in stale if name in stamps_ns)
        return Observation(tick_ns, fitted, state, stamps_ns, seen, encodings, jpegs)

    def _count(self, stream: Stream, tick_ns: int) -> bool:
        """Count what this tick found; returns whether the stream is fresh."""
        age_s = stream.age_s(tick_ns)
        if age_s is None:
            stream.counters.missing += 1
            return False
        if stream.stamp_ns == stream.used_ns:
            stream.counters.repeated += 1
        stream.used_ns = stream.stamp_ns
        # From the future: the clock was set back since, and the age of the value is not known.
        if not -stream.max_age_s <= age_s <= stream.max_age_s:
            stream.counters.late += 1
            return False
        return True

    def _accept(
        self, stream: Stream, stamp_ns: int, now_ns: int, value: Any, encoding: str = "", data: bytes = b""
    ) -> bool:
        if stamp_ns <= 0:
            why = "header.stamp is zero; the publisher must stamp with the capture time"
            return self._refuse(stream, now_ns, why)
        ahead_s = (stamp_ns - now_ns) * 1e-9
        if ahead_s > stream.max_age_s:
            why = f"stamp is {ahead_s:.2f} s in the future; synchronise the clocks (chrony)"
            return self._refuse(stream, now_ns, why)
        with self._lock:
            # An earlier stamp is refused, unless the newest one lies in the future: then the clock was set back.
            if stamp_ns < stream.stamp_ns <= now_ns:
                behind_s = (stream.stamp_ns - stamp_ns) * 1e-9
                return self._refuse(stream, now_ns, f"stamp went backwards by {behind_s:.3f} s")
            stream.value, stream.stamp_ns, stream.encoding, stream.jpeg = value, stamp_ns, encoding, data
            stream.refusal = ""
            stream.counters.received += 1
            stream.arrivals_ns.append(now_ns)
            if len(stream.arrivals_ns) > 32 and now_ns - stream.arrivals_ns[0] > _RATE_WINDOW_NS:
                stream.arrivals_ns = [at for at in stream.arrivals_ns if now_ns - at <= _RATE_WINDOW_NS]
            return True

    @staticmethod
    def _refuse(stream: Stream, now_ns: int, why: str) -> bool:
        stream.counters.refused += 1
        stream.counters.last_refusal = stream.refusal = why
        stream.refused_ns = now_ns
        return False
