"""What trials add up to, as one HTML page with the first of them as an animation."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from mobile_vla_data.image import Image as Pixels
from mobile_vla_sim.headless.conditions import Condition
from mobile_vla_sim.headless.evaluate import EvaluateConfig, Evaluator
from mobile_vla_sim.headless.report import TITLES
from mobile_vla_sim.headless.trial import DrivingPolicy
from mobile_vla_sim.world.world import World

TILES = 12
"""Trials in the animation."""
_TILE_PX, _COLUMNS, _FRAME_PX = 160, 4, 3
_EVERY = 3
"""Every third control step becomes a frame."""
_GREEN, _RED = (26, 127, 55), (179, 38, 30)


class _Watched:
    """A policy that keeps what its first camera showed it."""

    def __init__(self, policy: DrivingPolicy) -> None:
        self._policy = policy
        self.horizon = policy.horizon
        self.images: list[Pixels] = []

    def initial_memory(self) -> Any:
        return self._policy.initial_memory()

    def predict(self, images: Mapping[str, Pixels], *arguments: Any, **named: Any) -> Any:
        self.images.append(next(iter(images.values())))
        return self._policy.predict(images, *arguments, **named)


def film(world: World, policy: DrivingPolicy, config: EvaluateConfig, output: Path, trials: int = TILES) -> None:
    """Drive the first trials again and write an animation of their ceiling images, side by side, as WebP.

    A green frame means success, a red one failure.
    """
    watched = _Watched(policy)
    evaluator, rollouts = Evaluator(world, watched, config), []
    for index in range(trials):
        watched.images = []
        trial = evaluator.run(index, Condition.PLAIN)
        rollouts.append([_tile(image, trial.success) for image in watched.images[::_EVERY]])
    length = max(len(tiles) for tiles in rollouts)
    frames = [_grid([tiles[min(step, len(tiles) - 1)] for tiles in rollouts]) for step in range(length)]
    duration_ms = round(1000 * config.contract.period_s * _EVERY)
    frames[0].save(output, save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=70)


def environment() -> Environment:
    """Return the templates: ``trials.html.j2``, and what other pages of trials are made of."""
    templates = Environment(
        loader=PackageLoader("mobile_vla_sim.headless", "."), autoescape=select_autoescape(["j2"]), trim_blocks=True
    )
    templates.globals.update(
        style=(files("mobile_vla_sim.headless") / "page.css").read_text(),
        titles={condition.value: title for condition, title in TITLES.items()},
    )
    return templates


def write_page(result: dict[str, Any], animation: Path | None, output: Path, title: str) -> None:
    """Write the page of a result of :func:`~mobile_vla_sim.headless.report.document`."""
    video = as_data(animation.read_bytes(), "webp") if animation else ""
    page = environment().get_template("trials.html.j2")
    output.write_text(page.render(title=title, result=result, video=video))


def as_data(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def _tile(image: npt.NDArray[np.uint8], success: bool) -> Image.Image:
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), _GREEN if success else _RED)
    inner_px = _TILE_PX - 2 * _FRAME_PX
    tile.paste(Image.fromarray(image).resize((inner_px, inner_px)), (_FRAME_PX, _FRAME_PX))
    return tile


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    grid = Image.new("RGB", (_COLUMNS * _TILE_PX, -(-len(tiles) // _COLUMNS) * _TILE_PX))
    for place, tile in enumerate(tiles):
        grid.paste(tile, (place % _COLUMNS * _TILE_PX, place // _COLUMNS * _TILE_PX))
    return grid
