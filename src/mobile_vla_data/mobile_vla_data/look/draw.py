"""Small drawings on RGB arrays: text in any script, traces over time, the path in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from mobile_vla_data.image import Image

Colour = tuple[int, int, int]

BACKGROUND: Colour = (250, 250, 248)
INK: Colour = (40, 44, 52)
FAINT: Colour = (214, 216, 220)
BLUE: Colour = (31, 102, 190)
ORANGE: Colour = (214, 106, 22)
GREEN: Colour = (30, 140, 90)
RED: Colour = (200, 40, 50)

#: The first that the machine has is used; the second covers what the first lacks on most machines without it.
_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf")


@dataclass(frozen=True)
class Box:
    """A rectangle [px]."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Series:
    """One line of a trace."""

    label: str
    colour: Colour
    values: npt.NDArray[np.floating[Any]]


def canvas(height: int, width: int) -> Image:
    """Return an empty canvas."""
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)


def text(sheet: Image, left: int, top: int, words: str, size: int = 16, colour: Colour = INK) -> None:
    """Write one line, cut at the edge, into ``sheet``."""
    strip_height = min(size * 2, sheet.shape[0] - top)
    if strip_height <= 0 or not words:
        return
    strip = PilImage.fromarray(sheet[top : top + strip_height])
    ImageDraw.Draw(strip).text((left, 0), words, fill=colour, font=_font(size))
    sheet[top : top + strip_height] = np.asarray(strip)


def paste(sheet: Image, image: Image, left: int, top: int, size: int) -> None:
    """Put an image, scaled to ``size`` x ``size``, into ``sheet``."""
    sheet[top : top + size, left : left + size] = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def traces(
    sheet: Image,
    box: Box,
    title: str,
    series: Sequence[Series],
    cursor: int | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw lines over the steps within ``limits`` (their own by default), and a vertical line at step ``cursor``."""
    plot = Box(box.left + 56, box.top + 22, box.width - 66, box.height - 32)
    low, high = limits or _range([line.values for line in series])
    text(sheet, box.left + 4, box.top + 2, title, 12)
    label_left = box.left + 12 + 7 * len(title)
    for line in series:
        text(sheet, label_left, box.top + 2, line.label, 12, line.colour)
        label_left += 12 + 8 * len(line.label)
    for value in (low, high):
        row = _row(plot, value, low, high)
        cv2.line(sheet, (plot.left, row), (plot.left + plot.width, row), FAINT, 1)
        text(sheet, box.left + 4, row - 7, f"{value:.2f}", 11)
    for line in series:
        columns = plot.left + np.linspace(0, plot.width, len(line.values))
        rows = [_row(plot, min(max(float(value), low), high), low, high) for value in line.values]
        points = np.stack([columns, rows], axis=1).round().astype(np.int32)
        cv2.polylines(sheet, [points], False, line.colour, 1, cv2.LINE_AA)
    if cursor is not None:
        steps = max(1, len(series[0].values) - 1)
        column = round(plot.left + plot.width * cursor / steps)
        cv2.line(sheet, (column, plot.top - 4), (column, plot.top + plot.height + 4), RED, 1)


def path(sheet: Image, box: Box, positions: npt.NDArray[np.floating[Any]], cursor: int | None = None) -> None:
    """Draw a path ``[T, 2]`` [m] in the plane, x to the right and y up, with its start and the place at ``cursor``."""
    text(sheet, box.left + 4, box.top + 2, "path [m]: start green", 12)
    inner = Box(box.left + 12, box.top + 26, box.width - 24, box.height - 38)
    low, high = positions.min(0), positions.max(0)
    scale = min(inner.width, inner.height) / max(float((high - low).max()), 0.5)
    middle = np.array([inner.left + inner.width / 2, inner.top + inner.height / 2])
    points = ((positions - (low + high) / 2) * scale * (1, -1) + middle).round().astype(np.int32)
    cv2.polylines(sheet, [points], False, BLUE, 2, cv2.LINE_AA)
    cv2.circle(sheet, (int(points[0, 0]), int(points[0, 1])), 5, GREEN, -1, cv2.LINE_AA)
    if cursor is not None:
        cv2.circle(sheet, (int(points[cursor, 0]), int(points[cursor, 1])), 5, RED, -1, cv2.LINE_AA)


def _range(values: Sequence[npt.NDArray[np.floating[Any]]]) -> tuple[float, float]:
    low, high = min(float(item.min()) for item in values), max(float(item.max()) for item in values)
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _row(plot: Box, value: float, low: float, high: float) -> int:
    return round(plot.top + plot.height * (1 - (value - low) / (high - low)))


@lru_cache
def _font(size: int) -> Any:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default()
