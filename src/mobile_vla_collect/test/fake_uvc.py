"""A stand-in for cv2.VideoCapture that answers as the driver of a USB camera does.

Raw YUYV is what such cameras start with. It needs so much of the bus that larger sizes are slow, and a second camera on
the same hub gets no images. MJPG is small. As a real driver does, it changes settings without an error.
"""

import time
from typing import ClassVar

import cv2
import numpy as np

YUYV, MJPG = (cv2.VideoWriter.fourcc(*name) for name in ("YUYV", "MJPG"))
#: Format -> size -> highest rate [Hz].
MODES = {
    YUYV: {(320, 240): 30.0, (640, 480): 30.0, (1280, 720): 10.0},
    MJPG: {(320, 240): 30.0, (640, 480): 30.0, (1280, 720): 30.0},
}
#: Bytes per second that the hub carries: one raw camera at 640x480 and 30 Hz.
HUB = 640 * 480 * 2 * 30


class FakeUvc:
    """One camera. Class attributes hold what cameras on the hub have in common, and what a test looks at."""

    open_now: ClassVar[list["FakeUvc"]] = []
    #: Name of every property that was set, with its value, in order.
    log: ClassVar[list[tuple[str, float]]] = []
    has_focus = True
    exposure_range = (3.0, 2047.0)

    def __init__(self, name, backend):
        self.name, self.backend = name, backend
        self.fourcc, self.size, self.fps = YUYV, (640, 480), 30.0
        self.controls = {cv2.CAP_PROP_AUTO_EXPOSURE: 3.0, cv2.CAP_PROP_EXPOSURE: 156.0}
        if self.has_focus:
            self.controls |= {cv2.CAP_PROP_AUTOFOCUS: 1.0, cv2.CAP_PROP_FOCUS: 0.0}
        self.number = 0
        self.open_now.append(self)

    def isOpened(self):
        return True

    def set(self, prop, value):
        names = [name for name in vars(cv2) if name.startswith("CAP_PROP_") and getattr(cv2, name) == prop]
        self.log.append((names[0].removeprefix("CAP_PROP_"), value))
        if prop == cv2.CAP_PROP_FOURCC:
            # A format that the camera does not have leaves the one before.
            self.fourcc = int(value) if int(value) in MODES else self.fourcc
        elif prop == cv2.CAP_PROP_FRAME_WIDTH:
            self.size = min(MODES[self.fourcc], key=lambda size: abs(size[0] - value))
        elif prop == cv2.CAP_PROP_FPS:
            self.fps = value
        elif prop == cv2.CAP_PROP_EXPOSURE and prop in self.controls:
            if self.controls[cv2.CAP_PROP_AUTO_EXPOSURE] != 1.0:
                return False
            self.controls[prop] = min(max(value, self.exposure_range[0]), self.exposure_range[1])
        elif prop in self.controls:
            self.controls[prop] = float(value)
        else:
            return prop in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_BUFFERSIZE)
        return True

    def get(self, prop):
        return {
            cv2.CAP_PROP_FOURCC: float(self.fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: float(self.size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self.size[1]),
            cv2.CAP_PROP_FPS: self.rate_hz,
            cv2.CAP_PROP_POS_MSEC: time.monotonic() * 1e3,
            **self.controls,
        }.get(prop, 0.0)

    @property
    def rate_hz(self):
        return min(self.fps, MODES[self.fourcc][self.size])

    @property
    def bytes_per_s(self):
        return self.size[0] * self.size[1] * self.rate_hz * (0.2 if self.fourcc == MJPG else 2.0)

    def read(self):
        earlier = self.open_now[: self.open_now.index(self)]
        if sum(camera.bytes_per_s for camera in [*earlier, self]) > HUB:
            return False, None
        time.sleep(1.0 / self.rate_hz)
        self.number += 1
        return True, np.full((self.size[1], self.size[0], 3), self.number % 256, np.uint8)

    def release(self):
        if self in self.open_now:
            self.open_now.remove(self)
