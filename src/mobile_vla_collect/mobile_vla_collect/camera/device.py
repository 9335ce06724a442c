"""Settings of a V4L2 camera: those requested, and those that the driver grants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2

#: V4L2_CID_EXPOSURE_AUTO: values that OpenCV hands on unchanged.
_MANUAL_EXPOSURE, _AUTOMATIC_EXPOSURE = 1, 3
_FOURCC_LETTERS = 4


@dataclass(frozen=True)
class DeviceSettings:
    """Settings requested from a camera's driver."""

    fourcc: str = ""
    """Pixel format, for example ``MJPG``; empty leaves it to the driver."""
    width: int = 0
    """Columns [px]; 0 leaves the size to the driver."""
    height: int = 0
    """Rows [px]; 0 leaves the size to the driver."""
    exposure: float = 0.0
    """Exposure time in the driver's unit (V4L2: 100 us); 0 means automatic."""
    focus: float = -1.0
    """Position of the focus in the driver's unit; -1 means automatic."""


@dataclass(frozen=True)
class Granted:
    """Settings that the driver granted."""

    text: str
    """All of them in one line, for example ``MJPG 640x480 at 30 Hz, exposure automatic, focus 30``."""
    refused: tuple[str, ...]
    """One line for each setting that was asked for and not granted."""


class Capture(Protocol):
    """The part of cv2.VideoCapture that settings need."""

    def set(self, prop: int, value: float) -> bool:
        """Ask for a value; return False if the driver does not know the property."""

    def get(self, prop: int) -> float:
        """Return the value in force."""


def negotiate(capture: Capture, wanted: DeviceSettings, rate_hz: float) -> Granted:
    """Ask for every setting, in the order that drivers need, and return what they granted."""
    # The format first: it decides which sizes and rates there are. Many cameras reach 30 Hz with MJPG only.
    if wanted.fourcc:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
    if wanted.width and wanted.height:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
    capture.set(cv2.CAP_PROP_FPS, rate_hz)
    # One buffer: an old image in a queue would be published as a new one.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    exposure = _control(
        capture,
        (cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE, _AUTOMATIC_EXPOSURE),
        cv2.CAP_PROP_EXPOSURE,
        wanted.exposure if wanted.exposure > 0 else None,
    )
    focus = _control(
        capture, (cv2.CAP_PROP_AUTOFOCUS, 0, 1), cv2.CAP_PROP_FOCUS, wanted.focus if wanted.focus >= 0 else None
    )
    return _granted(capture, wanted, rate_hz, exposure, focus)


def _control(capture: Capture, automatic: tuple[int, int, int], prop: int, value: float | None) -> float | None:
    """Set a control by hand, or to automatic for None; return the value in force, None for automatic.

    ``automatic`` is the property that switches between the two, with its values for manual and automatic.
    """
    switch, manual_mode, automatic_mode = automatic
    if value is None:
        # Controls outlive a program: an earlier one may have left it manual. Cameras without the control refuse.
        capture.set(switch, automatic_mode)
        return None
    capture.set(switch, manual_mode)
    capture.set(prop, value)
    return capture.get(prop)


def _granted(
    capture: Capture, wanted: DeviceSettings, rate_hz: float, exposure: float | None, focus: float | None
) -> Granted:
    fourcc = _letters(int(capture.get(cv2.CAP_PROP_FOURCC)))
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    shown = [
        f"{name} {'automatic' if value is None else f'{value:g}'}"
        for name, value in (("exposure", exposure), ("focus", focus))
    ]
    refused = []
    if wanted.fourcc and fourcc != wanted.fourcc:
        refused.append(f"fourcc: asked for {wanted.fourcc}, granted {fourcc}")
    if wanted.width and wanted.height and (width, height) != (wanted.width, wanted.height):
        refused.append(f"size: asked for {wanted.width}x{wanted.height}, granted {width}x{height}")
    # Rates are fractions to the driver: 29.97 is what 30 means.
    if 0 < fps < 0.9 * rate_hz:
        refused.append(f"fps: asked for {rate_hz:g}, granted {fps:g}")
    for name, asked, value in (("exposure", wanted.exposure, exposure), ("focus", wanted.focus, focus)):
        if value is not None and value != asked:
            refused.append(f"{name}: asked for {asked:g}, granted {value:g}")
    return Granted(f"{fourcc} {width}x{height} at {fps:g} Hz, {', '.join(shown)}", tuple(refused))


def _letters(code: int) -> str:
    letters = "".join(chr(code >> 8 * place & 0xFF) for place in range(_FOURCC_LETTERS))
    return letters if letters.isprintable() and letters.strip() else "unknown format"
