"""Small charts as SVG text, for self-contained pages. Colours come from the page's CSS."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 180, 40, 34
#: Side of the square chart of paths [px].
_SIDE = 420


def histogram(values: npt.NDArray[Any], label: str, bins: int = 30, marks: Sequence[tuple[float, str]] = ()) -> str:
    """Bars of how often values occur; ``marks`` are vertical lines with a word, such as a declared value or a limit."""
    spread = np.concatenate([values.astype(np.float64), [at for at, _ in marks]])
    low, high = float(spread.min()), float(spread.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    margin = 0.03 * (high - low)
    low, high = low - margin, high + margin
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    most = max(1, int(counts.max()))
    width, height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 14
    parts = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x, w = _LEFT + (left - low) / (high - low) * width, (right - left) / (high - low) * width
            h = max(1.0, count / most * height)
            title = f"<title>{left:.4g} to {right:.4g}: {count}</title>"
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{14 + height - h:.1f}" width="{max(w - 1, 1):.1f}" '
                f'height="{h:.1f}">{title}</rect>'
            )
    for at, word in marks:
        x = _LEFT + (at - low) / (high - low) * width
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="{14 + height}"/>')
        parts.append(_text(x, 10, word, "middle" if low + 3 * margin < at < high - 3 * margin else "end"))
    for at in np.linspace(low + margin, high - margin, 5):
        parts.append(_text(_LEFT + (at - low) / (high - low) * width, _HEIGHT - 20, f"{at:.3g}", "middle"))
    parts.append(_text(_LEFT - 6, 22, str(most), "end"))
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{14 + height}" y2="{14 + height}"/>')
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 4, label, "middle"))
    return _svg(_WIDTH, _HEIGHT, parts, label)


def paths(drives: Sequence[tuple[str, str, npt.NDArray[Any]]], label: str) -> str:
    """Drives in the plane, x to the right and y up [m]: class of the line, its name, positions ``[T, 2]``."""
    every = np.concatenate([positions for _, _, positions in drives])
    low, high = every.min(0), every.max(0)
    span = max(float((high - low).max()), 0.5)
    scale = (_SIDE - 60) / span
    origin = (low + high) / 2

    def place(point: npt.NDArray[Any]) -> tuple[float, float]:
        return float(_SIDE / 2 + (point[0] - origin[0]) * scale), float(_SIDE / 2 - (point[1] - origin[1]) * scale)

    parts = []
    for metres in range(int(np.floor(low.min())) - 1, int(np.ceil(high.max())) + 2):
        x, y = place(np.array([metres, metres]))
        if 0 <= x <= _SIDE:
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_SIDE}"/>')
            parts.append(_text(x, _SIDE - 4, str(metres), "middle"))
        if 0 <= y <= _SIDE:
            parts.append(f'<line class="grid" x1="0" x2="{_SIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text(4, y - 3, str(metres), "start"))
    for style, name, positions in drives:
        points = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in positions)
        title = f"<title>{escape(name)}</title>"
        parts.append(f'<polyline class="path {style}" points="{points}">{title}</polyline>')
        x, y = place(positions[-1])
        parts.append(f'<circle class="end {style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    return _svg(_SIDE, _SIDE, parts, label)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
