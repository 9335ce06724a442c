"""Conditions of a trial: inputs that are removed or changed, to find out which ones the policy uses."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np
import numpy.typing as npt

from mobile_vla_data.image import Image

NAMELESS_INSTRUCTION = "do it"
"""Names no room, no object and no furniture."""


class Condition(Enum):
    """Inputs and wording with which a scene is driven."""

    PLAIN = "plain"
    """Unchanged inputs, worded as in the collected episodes."""
    HELD_OUT_WORDING = "held-out-wording"
    """Unchanged inputs, in a wording that was never collected."""
    SWAPPED = "swapped-instruction"
    """Another instruction that can be followed in the same scene."""
    BLACK_IMAGES = "images"
    OTHER_IMAGES = "other-images"
    """Images of another scene's demonstration at the same step."""
    NO_STATE = "state"
    """State all zeros."""
    NO_INSTRUCTION = "instruction"
    """An instruction that names nothing."""


ABLATIONS: tuple[Condition, ...] = (
    Condition.BLACK_IMAGES,
    Condition.OTHER_IMAGES,
    Condition.NO_STATE,
    Condition.NO_INSTRUCTION,
)
"""Conditions that remove an input. Their values are the arguments of ``--ablate``."""

Images = dict[str, Image]


def images_under(condition: Condition, images: Mapping[str, Image], step: int, others: list[Images]) -> Images:
    """Return the images that the policy sees at a step; ``others`` are those of another demonstration."""
    if condition is Condition.BLACK_IMAGES:
        return {name: np.zeros_like(image) for name, image in images.items()}
    if condition is Condition.OTHER_IMAGES:
        return others[min(step, len(others) - 1)]
    return dict(images)


def state_under(condition: Condition, state: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the state that the policy sees."""
    return np.zeros_like(state) if condition is Condition.NO_STATE else state
