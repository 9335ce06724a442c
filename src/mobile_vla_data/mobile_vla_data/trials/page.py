"""What pages about trials are made of: templates, style, and an animation of several trials side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, select_autoescape
from PIL import Image

TILES = 12
"""Trials in an animation."""
_TILE_PX, _COLUMNS, _FRAME_PX = 160, 4, 3
_GREEN, _RED = (26, 127, 55), (179, 38, 30)

#: A frame of an animated trial, and its outcome.
Tile = Image.Image


def templates(own: BaseLoader) -> Environment:
    """Return the templates of ``own``, and ``parts.html.j2``; ``style`` is the style sheet of such pages."""
    loader = ChoiceLoader([own, PackageLoader("mobile_vla_data.trials", ".")])
    found = Environment(loader=loader, autoescape=select_autoescape(["j2"]), trim_blocks=True)
    found.globals["style"] = (files("mobile_vla_data.trials") / "page.css").read_text()
    return found


def as_data(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def tile(image: npt.NDArray[np.uint8], success: bool) -> Tile:
    """Return an RGB image ``[h, w, 3]`` in a frame: green for success, red for failure."""
    framed = Image.new("RGB", (_TILE_PX, _TILE_PX), _GREEN if success else _RED)
    inner_px = _TILE_PX - 2 * _FRAME_PX
    framed.paste(Image.fromarray(image).resize((inner_px, inner_px)), (_FRAME_PX, _FRAME_PX))
    return framed


def animate(rollouts: Sequence[Sequence[Tile]], output: Path, period_s: float) -> None:
    """Write trials side by side as an animation (WebP); one that ends earlier stays at its last tile."""
    length = max(len(tiles) for tiles in rollouts)
    frames = [_grid([tiles[min(step, len(tiles) - 1)] for tiles in rollouts]) for step in range(length)]
    duration_ms = round(1000 * period_s)
    frames[0].save(output, save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=70)


def _grid(tiles: Sequence[Tile]) -> Tile:
    grid = Image.new("RGB", (_COLUMNS * _TILE_PX, -(-len(tiles) // _COLUMNS) * _TILE_PX))
    for place, each in enumerate(tiles):
        grid.paste(each, (place % _COLUMNS * _TILE_PX, place // _COLUMNS * _TILE_PX))
    return grid
