"""Draws ``docs/images/model.png``: one frame as a sequence of tokens, and a window of frames as five actions.

Images come from the simulated robot, tokens and sizes from the code, so the drawing follows the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from transformers import Kosmos2Config

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.kosmos2 import BEGIN, END_OF_IMAGE, GROUNDING, IMAGE
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_sim.tasks.catalogue import load_plan
from mobile_vla_sim.tasks.draw import draw as draw_scene
from mobile_vla_sim.world.world import World

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "model.png"
INSTRUCTION = "go to the kitchen"
GREY, BLUE, GREEN, YELLOW, RED = "#d9dde3", "#8fb8de", "#9fd0a8", "#f2d68b", "#e07a6b"
#: How many of an image's latents are drawn as cells; the rest are dots between them.
SHOWN = 6


@dataclass(frozen=True)
class Cell:
    """One token, or a gap in place of the latents between two."""

    text: str
    colour: str
    position: int | None
    """In the sequence; No number is written under it if None."""


def main() -> None:
    """Write the picture."""
    config, head = Kosmos2Config(), HeadSettings()
    cells, act = sequence(int(config.latent_query_num), ("static", "gripper"))
    figure, axes = plt.subplots(figsize=(12.5, 5.6), dpi=110)
    axes.set(xlim=(-0.5, len(cells) + 0.5), ylim=(-8.3, 7.4), aspect="equal")
    axes.axis("off")
    spans = draw_sequence(axes, cells)
    draw_cameras(axes, spans)
    draw_head(axes, act, config.text_config.embed_dim, head)
    figure.savefig(PICTURE, bbox_inches="tight", pad_inches=0.08)
    print(PICTURE.relative_to(ROOT))


def sequence(latents: int, cameras: tuple[str, ...]) -> tuple[list[Cell], int]:
    """The cells of one frame, and which of them is ACT."""
    cells, position = [Cell(BEGIN, GREY, 0)], 1
    for colour in (BLUE, GREEN)[: len(cameras)]:
        cells.append(Cell(IMAGE, GREY, position))
        first, last = position + 1, position + latents
        half = SHOWN // 2
        cells += [Cell("", colour, first if i == 0 else None) for i in range(half)]
        cells.append(Cell("…", "white", None))
        cells += [Cell("", colour, last if i == half - 1 else None) for i in range(half)]
        cells.append(Cell(END_OF_IMAGE, GREY, last + 1))
        position = last + 2
    cells.append(Cell(GROUNDING, GREY, position))
    for word in INSTRUCTION.split():
        position += 1
        cells.append(Cell(word, YELLOW, position))
    cells.append(Cell("ACT", RED, position + 1))
    return [*cells, Cell("<pad>", "white", None), Cell("<pad>", "white", None)], len(cells) - 1


def draw_sequence(axes: Axes, cells: list[Cell]) -> dict[str, tuple[int, int]]:
    """Draw the row; return the range of each camera's latents."""
    for place, cell in enumerate(cells):
        if cell.text == "…":
            axes.text(place + 0.5, 0.5, cell.text, ha="center", va="center", fontsize=11)
            continue
        axes.add_patch(Rectangle((place + 0.06, 0), 0.88, 1, facecolor=cell.colour, edgecolor="#444", linewidth=0.7))
        axes.text(place + 0.5, 1.2, cell.text, rotation=45, ha="left", va="bottom", fontsize=8.5)
        if cell.position is not None:
            axes.text(place + 0.5, -0.22, str(cell.position), ha="center", va="top", fontsize=7, color="#555")
    spans = {}
    for name, colour in (("static", BLUE), ("gripper", GREEN)):
        places = [place for place, cell in enumerate(cells) if cell.colour == colour]
        spans[name] = (places[0], places[-1] + 1)
    return spans


def draw_cameras(axes: Axes, spans: dict[str, tuple[int, int]]) -> None:
    """Draw each camera's image above its latents."""
    world = World(Contract.load(ROOT / "config" / "robot.yaml"))
    try:
        plan = load_plan(ROOT / "config" / "collection_plan.yaml")
        world.reset(draw_scene(3, ["go_to_kitchen"], plan)[0].scene)
        for name, (first, end) in spans.items():
            middle = (first + end) / 2
            axes.imshow(world.render(name), extent=(middle - 2, middle + 2, 3.3, 7.3), zorder=2)
            axes.add_patch(Rectangle((middle - 2, 3.3), 4, 4, fill=False, edgecolor="#444", linewidth=0.8, zorder=3))
            axes.text(middle + 2.2, 5.3, f"{name}\n224 x 224", fontsize=8.5, va="center")
            arrow(axes, (middle, 3.2), (middle, 1.1))
            axes.text(middle + 0.25, 2.3, "vision tower,\nresampler", fontsize=7.5, va="center", color="#333")
    finally:
        world.close()


def draw_head(axes: Axes, act: int, width: int, head: HeadSettings) -> None:
    """From ACT's state over the window of frames to the chunk."""
    arrow(axes, (act + 0.5, -0.8), (act + 0.5, -3.0))
    said = f"causal text model:\nACT sees all before it\nand no padding;\nits state has {width} values"
    axes.text(act + 0.2, -1.9, said, fontsize=8, ha="right", va="center")
    left = act + 0.94 - head.window
    for frame in range(head.window):
        newest = frame == head.window - 1
        axes.add_patch(Rectangle((left + frame + 0.06, -4.0), 0.88, 0.9, facecolor=RED if newest else "#f3cbc4",
                                 edgecolor="#444", linewidth=0.7))  # fmt: skip
    axes.text(left - 0.3, -3.55, f"window of {head.window} frames,\neach encoded once,\nprojected to {head.input_size}",
              fontsize=8, ha="right", va="center")  # fmt: skip
    axes.add_patch(Rectangle((left + 0.06, -5.7), head.window - 0.12, 1.1, facecolor=GREY, edgecolor="#444"))
    axes.text(left + head.window / 2, -5.15, f"LSTM, {head.layers} layers of {head.hidden_size}", fontsize=8.5,
              ha="center", va="center")  # fmt: skip
    for frame in range(head.window):
        arrow(axes, (left + frame + 0.5, -4.05), (left + frame + 0.5, -4.55))
    corner = left + head.window - head.horizon
    arrow(axes, (left + head.window - 0.5, -5.75), (left + head.window - 0.5, -6.3))
    for row, name in enumerate(("delta_x", "delta_y", "gripper")):
        for step in range(head.horizon):
            axes.add_patch(Rectangle((corner + step + 0.06, -6.95 - 0.62 * row), 0.88, 0.55, facecolor="#e8def3",
                                     edgecolor="#444", linewidth=0.7))  # fmt: skip
        axes.text(corner - 0.2, -6.68 - 0.62 * row, name, fontsize=8, ha="right", va="center")
    axes.text(corner - 3.4, -7.3, f"the next {head.horizon}\nactions", fontsize=8, ha="right", va="center")


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From ``start`` to ``end``."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, linewidth=0.9, color="#444"))


if __name__ == "__main__":
    main()
