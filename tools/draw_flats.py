"""Draw docs/images/flat.jpg (one flat of each family from above) and cameras.jpg (the images of both cameras)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mobile_vla_data.contract import Contract
from mobile_vla_sim.tasks.catalogue import load_plan
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.plans import FAMILIES
from mobile_vla_sim.world.scene import Scene
from mobile_vla_sim.world.world import World

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE, GAP = 400, 8
#: One task for each family, so that the robot is seen with and without something in its gripper.
TASKS = ("pick_up_object", "place_object", "close_drawer", "navigate_to_object", "open_drawer", "go_to_kitchen")
SEEDS = (12, 5, 8, 3, 14, 6)


def main() -> None:
    """Write both images."""
    plan = load_plan(ROOT / "config" / "collection_plan.yaml")
    world = World(Contract.load(ROOT / "config" / "robot.yaml"), image_size=SIZE, high_quality=True)
    scenes = [
        draw(seed, [task], plan, families=[family])[0].scene
        for family, task, seed in zip(FAMILIES, TASKS, SEEDS, strict=True)
    ]
    try:
        flats = [view(world, scene, "static") for scene in scenes]
        save([flats[:3], flats[3:]], IMAGES / "flat.jpg")
        save([[flats[3], view(world, scenes[3], "gripper")]], IMAGES / "cameras.jpg")
    finally:
        world.close()


def view(world: World, scene: Scene, camera: str) -> np.ndarray:
    """Return what a camera sees at the start of a scene."""
    world.reset(scene)
    return world.render(camera)


def save(rows: list[list[np.ndarray]], path: Path) -> None:
    """Write images in rows, with white gaps between them."""
    height, width = len(rows), len(rows[0])
    sheet = np.full((height * (SIZE + GAP) - GAP, width * (SIZE + GAP) - GAP, 3), 255, dtype=np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            y, x = row * (SIZE + GAP), column * (SIZE + GAP)
            sheet[y : y + SIZE, x : x + SIZE] = image
    Image.fromarray(sheet).save(path, quality=88, optimize=True)


if __name__ == "__main__":
    main()
