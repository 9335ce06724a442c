"""An episode seen in several ways, for training the head on features: augmented images, and further wordings.

Features are computed before training, so what training on images draws anew for each batch is drawn here once for each
view: the changes of the images, the wording, and with mirrored or turned images the actions that go with them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mobile_vla_data.contract import Contract
from mobile_vla_policy.samples.episodes import EpisodeData
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.geometry import draw_views
from mobile_vla_policy.training.settings import AugmentSettings


@dataclass(frozen=True)
class ImageChange:
    """The change of one episode's images; equal ones give equal images."""

    settings: AugmentSettings
    seed: int

    @property
    def key(self) -> str:
        """For the names of stored features."""
        return f"{self.seed} {self.settings.model_dump_json()}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``images`` float ``[T, cameras, 3, S, S]`` under this change."""
        one = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return augment(images, one, self.settings, self._generator())[0]

    def actions(self, actions: torch.Tensor, *, turns: bool) -> torch.Tensor:
        """Return ``actions`` float ``[T, 3 or 4]`` as they are in the changed world."""
        # The first draw of augment; its shift does not matter to actions.
        view = draw_views(1, self.settings.dihedral, 0.0, 1, self._generator())
        one = torch.zeros(len(actions), dtype=torch.int64)
        return view.actions(actions, one, self.settings.camera_turn_deg, turns=turns)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def views_of(
    episodes: Sequence[EpisodeData], number: int, settings: AugmentSettings, contract: Contract, seed: int
) -> tuple[list[EpisodeData], list[ImageChange]]:
    """Return the episodes as they are in view ``number`` (from 1 on), and the changes of their images."""
    changed, changes = [], []
    for episode in episodes:
        draw = random.Random(f"{seed}/{number}/{episode.path.stem}")
        change = ImageChange(settings, draw.getrandbits(48))
        actions = change.actions(torch.from_numpy(np.array(episode.actions)), turns=contract.turns).numpy()
        wording = episode.wordings[draw.randrange(len(episode.wordings))]
        changed.append(replace(episode, instruction=wording, alternatives=(), actions=actions))
        changes.append(change)
    return changed, changes
