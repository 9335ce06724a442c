"""What trials add up to, as one HTML page with the first of them as an animation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from mobile_vla_data.image import Image as Pixels
from mobile_vla_data.trials.page import TILES, animate, as_data, templates, tile
from mobile_vla_sim.headless.conditions import Condition
from mobile_vla_sim.headless.driver import DrivingPolicy
from mobile_vla_sim.headless.evaluate import EvaluateConfig, Evaluator
from mobile_vla_sim.headless.report import TITLES
from mobile_vla_sim.world.world import World

_EVERY = 3
"""Every third control step becomes a frame."""


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
        rollouts.append([tile(image, trial.success) for image in watched.images[::_EVERY]])
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
