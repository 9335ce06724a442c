"""out/bench/sim/…/report.html: tables, curves and images of the benchmark on one page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from common import OUT, ROOT, say
from jinja2 import Environment, FileSystemLoader, select_autoescape
from parts import read_parts
from PIL import Image
from sim_stages import Run
from sim_trials import SEED

from mobile_vla_data.contract import Contract

_TILE_PX, _EVERY, _TILES = 160, 3, 12


class Watched:
    """A policy that keeps what its first camera showed it."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.horizon = policy.horizon
        self.images: list[np.ndarray] = []

    def initial_memory(self) -> Any:
        """Return the policy's."""
        return self._policy.initial_memory()

    def predict(self, images: Any, *arguments: Any, **named: Any) -> Any:
        """Keep the image and predict."""
        self.images.append(next(iter(images.values())))
        return self._policy.predict(images, *arguments, **named)


def write(run: Run) -> None:
    """Write the page from whatever has been measured so far."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]))
    parts = read_parts(OUT / "sim.json")
    trials, ablations = run.read("trials"), run.read("ablations")
    conditions = {**(trials or {}).get("conditions", {}), **_without_plain(ablations)}
    loss = run.output / "loss.png"
    page = environment.get_template("sim_report.html.j2").render(
        parts=parts,
        plain=conditions.get("plain"),
        conditions=conditions,
        warnings=(trials or {}).get("warnings", []),
        loss=_data(loss.read_bytes(), "png") if loss.exists() else "",
        video=_data(_video(run), "webp") if trials else "",
    )
    path = run.folder / "report.html"
    path.write_text(page)
    say(f"report: {path}")


def _without_plain(ablations: Any) -> dict[str, Any]:
    return {name: entry for name, entry in (ablations or {}).get("conditions", {}).items() if name != "plain"}


def _video(run: Run) -> bytes:
    """The first trials, driven again: an animation of their ceiling images in a grid, as WebP."""
    kept = run.folder / "rollouts.webp"
    if not kept.exists():
        _film(run, kept)
    return kept.read_bytes()


def _film(run: Run, output: Path) -> None:
    from mobile_vla_policy.load_policy import load_policy
    from mobile_vla_sim.headless.conditions import Condition
    from mobile_vla_sim.headless.evaluate import EvaluateConfig, Evaluator
    from mobile_vla_sim.tasks.catalogue import TASKS, load_plan
    from mobile_vla_sim.world.world import World

    contract = Contract.load(ROOT / "config" / "robot.yaml")
    config = EvaluateConfig(contract, load_plan(ROOT / "config" / "collection_plan.yaml"), SEED, tuple(TASKS))
    world, policy = World(contract), Watched(load_policy(run.checkpoint, contract=contract))
    rollouts = []
    try:
        for index in range(_TILES):
            policy.images = []
            trial = Evaluator(world, policy, config).run(index, Condition.PLAIN)
            colour = (26, 127, 55) if trial.success else (179, 38, 30)
            rollouts.append([_tile(image, colour) for image in policy.images[::_EVERY]])
    finally:
        world.close()
    frames = [
        _grid([tiles[min(step, len(tiles) - 1)] for tiles in rollouts]) for step in range(max(map(len, rollouts)))
    ]
    frames[0].save(output, save_all=True, append_images=frames[1:], duration=100 * _EVERY, loop=0, quality=70)


def _tile(image: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), colour)
    tile.paste(Image.fromarray(image).resize((_TILE_PX - 6, _TILE_PX - 6)), (3, 3))
    return tile


def _grid(tiles: list[Image.Image], columns: int = 4) -> Image.Image:
    grid = Image.new("RGB", (columns * _TILE_PX, -(-len(tiles) // columns) * _TILE_PX))
    for place, tile in enumerate(tiles):
        grid.paste(tile, (place % columns * _TILE_PX, place // columns * _TILE_PX))
    return grid


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(io.BytesIO(content).read()).decode()
