"""Views of one episode: a video of all cameras with the traces, and a contact sheet."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mobile_vla_data.action import STATE, displacement, gripper, position, yaw
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import Image
from mobile_vla_data.interrupt import deferred
from mobile_vla_data.look import draw
from mobile_vla_data.look.draw import Box, Series
from mobile_vla_data.storage.durable import make_atomically

_CAMERA_PX = 448
_SHEET_PX = 160
_SHEET_COLUMNS = 8
_TRACES_PX = 210


class ViewError(RuntimeError):
    """A view cannot be made; one line with the reason."""


def write_video(episode: Episode, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write an MP4 at the episode's control rate: cameras side by side, instruction above, traces and path below.

    H.264 through the program ffmpeg where it is installed, which browsers play; else MPEG-4 through OpenCV.

    Raises:
        ViewError: neither can write the file.
        OSError: the folder cannot be written to.
    """
    make_atomically(path, lambda temporary: _write_video(episode, temporary, path, progress))


def _write_video(
    episode: Episode, temporary: Path, path: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    states, actions = episode.states, episode.actions
    first = _frame(episode, 0, states, actions)
    writer = _FfmpegWriter if shutil.which("ffmpeg") else _OpencvWriter
    with writer(temporary, path, episode.contract.control_rate_hz, first.shape[1], first.shape[0]) as video:
        for index in range(episode.num_steps):
            video.write(_frame(episode, index, states, actions))
            if progress is not None:
                progress(index + 1, episode.num_steps)


def contact_sheet(episode: Episode, columns: int = _SHEET_COLUMNS, image_px: int = _SHEET_PX) -> Image:
    """Draw evenly spaced steps, one row for each camera, with the traces below; RGB uint8 ``[h, w, 3]``."""
    shown = np.linspace(0, episode.num_steps - 1, columns).round().astype(int)
    width, header = columns * image_px, 56
    cameras_height = len(episode.cameras) * image_px
    sheet = draw.canvas(header + cameras_height + 24 + _TRACES_PX, width)
    _write_header(sheet, episode)
    ticks = episode.timestamps_ns
    for column, index in enumerate(shown):
        for row, camera in enumerate(episode.cameras):
            draw.paste(
                sheet, episode.image(camera, int(index)), column * image_px, header + row * image_px, image_px - 2
            )
        seconds = (ticks[index] - ticks[0]) * 1e-9
        draw.text(sheet, column * image_px + 2, header + cameras_height + 2, f"step {index}, {seconds:.1f} s", 12)
    _draw_traces(sheet, header + cameras_height + 24, episode.states, episode.actions, None)
    return sheet


def write_contact_sheet(episode: Episode, path: Path) -> None:
    """Write :func:`contact_sheet` as PNG."""
    _write_image(path, contact_sheet(episode))


def _frame(episode: Episode, index: int, states: Any, actions: Any) -> Image:
    header = 56
    # Two widths even for one camera: traces and path need the room.
    frame = draw.canvas(header + _CAMERA_PX + _TRACES_PX, 2 * _CAMERA_PX)
    _write_header(frame, episode)
    draw.text(frame, 2 * _CAMERA_PX - 130, 32, f"step {index} of {episode.num_steps}", 13)
    for column, camera in enumerate(episode.cameras):
        draw.paste(frame, episode.image(camera, index), column * _CAMERA_PX, header, _CAMERA_PX)
    _draw_traces(frame, header + _CAMERA_PX, states, actions, index)
    return frame


def _write_header(sheet: Image, episode: Episode) -> None:
    draw.text(sheet, 8, 4, episode.metadata.language, 20)
    facts = (episode.path.stem, episode.metadata.task, episode.outcome, episode.metadata.source)
    draw.text(sheet, 8, 32, "   ".join((*facts, f"{episode.real_rate_hz:.2f} Hz")), 13)


def _draw_traces(sheet: Image, top: int, states: Any, actions: Any, cursor: int | None) -> None:
    width = sheet.shape[1] - _TRACES_PX
    colours = (draw.BLUE, draw.ORANGE)
    moves = [Series(*line) for line in zip(("dx", "dy"), colours, displacement(actions).T, strict=True)]
    if (turns := yaw(actions)) is not None:
        moves.append(Series("dyaw [rad]", draw.GREEN, turns))
    places = [Series(*line) for line in zip(STATE[:2], colours, position(states).T, strict=True)]
    grips = [Series("action", draw.GREEN, gripper(actions)), Series("state", draw.INK, gripper(states))]
    rows: tuple[tuple[str, list[Series], tuple[float, float] | None], ...] = (
        ("action [m]", moves, None),
        ("state [m]", places, None),
        ("gripper", grips, (0.0, 1.0)),
    )
    height = _TRACES_PX // len(rows)
    for row, (title, lines, limits) in enumerate(rows):
        draw.traces(sheet, Box(0, top + row * height, width, height), title, lines, cursor, limits)
    draw.path(sheet, Box(width, top, _TRACES_PX, _TRACES_PX), position(states), cursor)


def _write_image(path: Path, image: Image) -> None:
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise ViewError(f"{path}: OpenCV cannot encode '{path.suffix}'")
    make_atomically(path, lambda temporary: temporary.write_bytes(data.tobytes()))


class _FfmpegWriter:
    """Pipes raw frames into ffmpeg."""

    def __init__(self, temporary: Path, path: Path, rate_hz: float, width: int, height: int) -> None:
        self._path = path
        command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{width}x{height}", "-r", f"{rate_hz:g}", "-i", "-"]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"]
        command += ["-movflags", "+faststart", str(temporary)]
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, frame: Image) -> None:
        if self._process is None:
            # Ctrl-C would make ffmpeg look as if it had failed, or leave one running that is not yet known here.
            with deferred():
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame.tobytes())
        except BrokenPipeError:
            self._finish(self._process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        _, errors = process.communicate()
        if process.returncode:
            reason = errors.decode("utf-8", "replace").strip().splitlines()
            said = next((line for line in reason if os.strerror(errno.ENOSPC) in line), reason[-1] if reason else "")
            raise ViewError(f"{self._path}: ffmpeg failed: {said or process.returncode}")

    def __enter__(self) -> _FfmpegWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._process is None:
            return
        if error is None:
            self._finish(self._process)
        else:
            self._process.kill()
            self._process.communicate()


class _OpencvWriter:
    """Writes through OpenCV, whose codecs every installation has, but not every browser."""

    def __init__(self, temporary: Path, path: Path, rate_hz: float, width: int, height: int) -> None:
        self._temporary, self._path, self._frames = temporary, path, 0
        self._writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (width, height))
        if not self._writer.isOpened():
            raise ViewError(f"{path}: OpenCV cannot write this video; install ffmpeg, or check the folder")

    def write(self, frame: Image) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def __enter__(self) -> _OpencvWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._writer.release()
        # OpenCV does not report a full disk.
        if error is None and cv2.VideoCapture(str(self._temporary)).get(cv2.CAP_PROP_FRAME_COUNT) != self._frames:
            raise ViewError(f"{self._path}: OpenCV could not write all of it; is the disk full?")
