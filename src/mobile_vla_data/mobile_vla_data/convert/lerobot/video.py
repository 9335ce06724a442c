"""MP4 through PyAV: write one frame for each step, and read frames by number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.image import Image

#: Codec -> encoder and its settings. A keyframe every second frame, as LeRobot has it: training asks for single frames,
#: and every frame before one, back to a keyframe, has to be decoded, too.
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "veryfast", "g": "2", "bf": "0"}),
    "hevc": ("libx265", {"preset": "veryfast", "g": "2", "x265-params": "log-level=error:bframes=0"}),
    "av1": ("libsvtav1", {"preset": "10", "g": "2", "svtav1-params": "lp=1"}),
}
CODECS = tuple(_ENCODERS)
#: Constant rate factors of about equal quality; lower is better and larger.
DEFAULT_CRF = {"h264": 20, "hevc": 22, "av1": 22}
PIXEL_FORMAT = "yuv420p"


def _av() -> Any:
    return import_extra("av", "lerobot")


def describe(codec: str, crf: int, fps: int | float) -> dict[str, Any]:
    """Description of a video stream in LeRobot's info.json, without its size."""
    _, settings = _ENCODERS[codec]
    return {
        "video.codec": codec,
        "video.pix_fmt": PIXEL_FORMAT,
        "video.fps": fps,
        "video.channels": 3,
        "video.g": int(settings["g"]),
        "video.crf": crf,
        "video.preset": settings["preset"],
        "video.video_backend": "pyav",
        "video.is_depth_map": False,
        "is_depth_map": False,
        "has_audio": False,
    }


class VideoWriter:
    """Encodes images of one size into an MP4; frame k is shown at k / fps. A context manager."""

    def __init__(self, path: Path, codec: str, crf: int, fps: int | float, height: int, width: int) -> None:
        av = _av()
        encoder, settings = _ENCODERS[codec]
        # SVT-AV1 prints its settings for every file unless told to report errors only.
        os.environ.setdefault("SVT_LOG", "1")
        if encoder not in av.codecs_available:
            raise ConvertError(f"this PyAV has no {encoder}; choose another --codec: {', '.join(CODECS)}")
        if height % 2 or width % 2:
            raise ConvertError(f"images of {width}x{height} cannot be a video; sizes must be even, or use --images")
        rate = Fraction(fps).limit_denominator(1000)
        self._frame_of = av.VideoFrame.from_ndarray
        self._keyframe = av.video.frame.PictureType.I
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream(encoder, rate, options={**settings, "crf": str(crf)})
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = PIXEL_FORMAT
        self._stream.time_base = self._time_base = 1 / rate
        # One thread: a machine with more cores exports several files at the same time, which loses less.
        self._stream.codec_context.thread_count = 1
        self.frames = 0
        """Frames taken so far."""

    def add(self, image: Image, *, keyframe: bool) -> None:
        """Append RGB uint8 ``[height, width, 3]``; ``keyframe`` for the first of an episode."""
        frame = self._frame_of(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self.frames, self._time_base
        if keyframe:
            frame.pict_type = self._keyframe
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Complete the file. Idempotent."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        elif self._container is not None:
            self._container.close()
            self._container = None


class VideoReader:
    """Reads frames of MP4 files by number; continuing where the last call ended needs no seek. A context manager."""

    def __init__(self, fps: int | float) -> None:
        self._fps = fps
        self._path: Path | None = None
        self._container: Any = None
        self._frames: Iterator[tuple[int, Any]] = iter(())
        self._next = 0

    def read(self, path: Path, first: int, count: int) -> Iterator[Image]:
        """Yield frames ``first`` .. ``first + count - 1``, RGB uint8 ``[h, w, 3]``.

        Raises:
            ConvertError: the file is not a video, or ends before that frame.
        """
        if path != self._path or first != self._next:
            self._seek(path, first)
        done = 0
        while (found := self._decode_next()) is not None:
            number, frame = found
            if number < first + done:
                continue
            if number > first + done:
                break
            done += 1
            # Before the yield: whoever takes the last frame does not come back for the end.
            self._next = first + done
            yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            if done == count:
                return
        raise ConvertError(f"{path}: frame {first + done} is missing; the dataset says it has {first + count} or more")

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._container is not None:
            self._container.close()
            self._container = None
            self._path = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()

    def _seek(self, path: Path, first: int) -> None:
        av = _av()
        if path != self._path:
            self.close()
            try:
                self._container = av.open(str(path))
            except (OSError, av.error.FFmpegError) as error:
                raise ConvertError(f"{path}: cannot be opened as a video: {' '.join(str(error).split())}") from None
            if not self._container.streams.video:
                raise ConvertError(f"{path}: has no video stream")
            self._path = path
        stream = self._container.streams.video[0]
        self._container.seek(round(first / self._fps / stream.time_base), stream=stream, backward=True)
        self._frames = self._numbered(stream)
        self._next = first

    def _decode_next(self) -> tuple[int, Any] | None:
        try:
            return next(self._frames, None)
        except (OSError, _av().error.FFmpegError) as error:
            raise ConvertError(f"{self._path}: cannot be decoded: {' '.join(str(error).split())}") from None

    def _numbered(self, stream: Any) -> Iterator[tuple[int, Any]]:
        for frame in self._container.decode(stream):
            if frame.pts is not None:
                yield round(float(frame.pts * stream.time_base) * self._fps), frame
