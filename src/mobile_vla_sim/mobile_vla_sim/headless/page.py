"""What trials add up to, as one HTML page with the first of them as an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from mobile_vla_data.image import Image as Pixels
from mobile_vla_data.trials.page import TILES, animate, as_data, templates, tile
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_sim.headless.conditions import Condition
from mobile_vla_sim.headless.evaluate import EvaluateConfig, Evaluator
from mobile_vla_sim.headless.report import TITLES
from mobile_vla_sim.world.world import World

_EVERY = 3
"""Every third control step becomes a frame."""


def film(world: World, policy: DrivingPolicy, config: EvaluateConfig, output: Path, trials: int = TILES) -> None:
    """Drive the first trials again and write an animation of their ceiling images, side by side, as WebP.

    A green frame means success, a red one failure.
    """
    shown: list[Pixels] = []
    evaluator = Evaluator(world, policy, config, lambda images: shown.append(next(iter(images.values()))))
    rollouts = []
    for index in range(trials):
        shown.clear()
        trial = evaluator.run(index, Condition.PLAIN)
        rollouts.append([tile(image, trial.success) for image in shown[::_EVERY]])
    animate(rollouts, output, config.contract.period_s * _EVERY)


def environment() -> Environment:
    """Return the templates: ``trials.html.j2``, and what other pages of trials are made of."""
    found = templates(PackageLoader("mobile_vla_sim.headless", "."))
    found.globals["titles"] = {condition.value: title for condition, title in TITLES.items()}
    return found


def write_page(result: dict[str, Any], animation: Path | None, output: Path, title: str) -> None:
    """Write the page of a result of :func:`~mobile_vla_sim.headless.report.document`."""
    video = as_data(animation.read_bytes(), "webp") if animation else ""
    page = environment().get_template("trials.html.j2")
    output.write_text(page.render(title=title, result=result, video=video))
