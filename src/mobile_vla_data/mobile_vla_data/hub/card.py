"""The card of a dataset: what is in it, what was planned, what validation found, one image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from mobile_vla_data import __version__
from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.checks.validate import ValidationReport
from mobile_vla_data.convert.selection import common_cameras, select
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError
from mobile_vla_data.dataset.progress import Tally, TaskProgress
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode

#: File of the card's image in the repository.
PREVIEW = "preview.jpg"
#: The hub's classes of dataset sizes.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Card:
    """A card, ready to be uploaded."""

    text: str
    """Markdown with the hub's YAML front matter."""
    preview: bytes
    """JPEG: the first camera images of an episode, side by side."""


def make_card(dataset: Path, validation: ValidationReport, title: str, licence: str) -> Card:
    """Describe a dataset.

    Raises:
        ConvertError: it has no episodes.
        ContractError: the contracts of two episodes differ in meaning.
        EpisodeError: a file cannot be read.
    """
    chosen = select(dataset, common_cameras(dataset), finite=False)
    try:
        plan = CollectionPlan.of_dataset(dataset)
    except PlanError:
        plan = None
    tasks: list[TaskProgress] = Tally.of(dataset).tasks(plan)
    found = Counter((finding.severity, finding.code) for finding in validation.findings)
    pages = Environment(
        loader=PackageLoader("mobile_vla_data", "hub"), undefined=StrictUndefined, trim_blocks=True, autoescape=False
    )
    contract = chosen.contract
    text = pages.get_template("card.md.j2").render(
        title=title,
        licence=licence,
        version=__version__,
        size=next((name for bound, name in _SIZES if chosen.num_steps < bound), "n>1M"),
        contract=contract,
        cameras={name: contract.cameras[name] for name in chosen.cameras},
        state=STATE,
        action=action_names(contract),
        episodes=len(chosen.episodes),
        steps=chosen.num_steps,
        minutes=chosen.num_steps * contract.period_s / 60,
        splits={name: len(ids) for name, ids in chosen.split_ranges.items()} if chosen.has_splits else {},
        tasks=tasks,
        wanted=plan.episodes if plan is not None else None,
        findings=sorted(found.items()),
        preview=PREVIEW,
    )
    return Card(text, _preview(chosen.episodes[0].path, chosen.cameras))


def _preview(path: Path, cameras: tuple[str, ...]) -> bytes:
    with Episode.open(path) as episode:
        images = [episode.image(camera, episode.num_steps // 2) for camera in cameras]
    height = min(image.shape[0] for image in images)
    return jpeg.encode(np.concatenate([image[:height] for image in images], axis=1), 90)
