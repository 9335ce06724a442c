"""A small network for a camera that sees the whole floor: it finds the target, finds the robot, and plans between them.

    words ──► one vector, which steers (FiLM, Perez et al. 2018) every block marked *

    image 112 px ─► convolution ─► 56 ─┬─► local features 28 ─► robot heatmap, cost of driving over each cell
                                       └─► * 28 ─► * 14, dilated ─► back to 28 * ─► heatmap of the instructed target
    planner: distance of every cell from the target over the costs, by repeated soft minimum over the neighbours
    ACT state: how far the target is, and where once it is near, what lies under it, the direction in which the planned
               way leaves the robot's cell, its length, what is blocked within an arm's length of robot and target
               [, what the other cameras see]

Words come in early and nothing is pooled before them: named objects are a few pixels large (BabyAI 1.1, arXiv
2007.12770). Places are learned as heatmaps, not as numbers (LingUNet, arXiv 1809.00786). Costs and robot come from
features that see neither words nor far, so they hold on floor plans that were never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from mobile_vla_policy.backbones.backbone import Backbone, BackboneSettings
from mobile_vla_policy.backbones.maps import DIRECTIONS, NEIGHBOURS, Maps, cell_centres
from mobile_vla_policy.backbones.planner import Planner
from mobile_vla_policy.backbones.tokenizer import VOCABULARY, Tokens, build_tokenizer, load_tokenizer, with_other_words

_STEM, _LOCAL = 24, 32
_SIDE_VIEW, _SIDE_CHANNELS = 64, 16
#: From about this distance on (image: 2), the head is not shown in which direction the target is.
_NEAR = 0.35
#: The head sees what is blocked so many cells around robot and target: an arm's length.
_REACH = 2
#: Bound of the logits of blocked floor. A cell that no episode drives over would grow without end, and the squared
#: difference between two images of it with it.
_BLOCKED = 4.0


class FilmSettings(BackboneSettings):
    """Convolutions steered by the words, about two million parameters with random weights; trains on a CPU."""

    kind: Literal["film"] = "film"
    cameras: tuple[str, ...] = ("static",)
    """The first camera sees the whole floor, from above. Others give one vector each, without places."""
    freeze: bool = False
    image_size: int = Field(default=112, ge=32, multiple_of=16)
    """Side of the square input image [px]. The heatmaps have a quarter of it."""
    fine: int = Field(default=32, ge=8)
    """Channels at a quarter of the image's size."""
    coarse: int = Field(default=96, ge=8)
    """Channels at an eighth of the image's size."""
    words: int = Field(default=96, ge=8)
    """Width of the instruction's vector."""
    blocks: int = Field(default=3, ge=1)
    """Residual blocks at an eighth of the image's size, with dilations 1, 2, 4, 1, ..."""
    plan_steps: int = Field(default=45, ge=1)
    """Length of the longest path that can be planned [cells]."""
    heading: bool = False
    """For a base that turns: read where it faces from what it looks like, and show the head the way as the base sees
    it. A base that does not turn would only copy its last command from there: the arm points where it was told to
    drive."""
    word_dropout: float = Field(default=0.1, ge=0, le=0.25)
    """Share of the tokens that are replaced at random in training, so that unknown words do no harm. Many instructions
    stay as they are; a few lose up to four times as many words. Unless it is 0, up to six random tokens come into every
    other instruction, too (random insertion, Wei & Zou 2019)."""

    always_fp32: ClassVar[bool] = True
    free_fields: ClassVar[frozenset[str]] = frozenset({"freeze", "train_vision", "word_dropout"})

    def build(
        self, dtype: torch.dtype, instructions: Sequence[str] = (), checkpoint: Path | None = None
    ) -> FilmBackbone:
        """Build the network from random weights, and its tokenizer from the instructions."""
        del dtype
        tokenizer = load_tokenizer(checkpoint) if checkpoint else build_tokenizer(instructions)
        return FilmBackbone(self, tokenizer)


class FilmBackbone(Backbone):
    """The network. Latents are the first convolution's output ``[N, cameras, 24, S / 2, S / 2]``."""

    hidden_size = 0
    image_size = 0
    centres: torch.Tensor
    directions: torch.Tensor

    def __init__(self, settings: FilmSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        fine, coarse, words = settings.fine, settings.coarse, settings.words
        self.image_size = settings.image_size
        self.side = settings.image_size // 4
        others = len(settings.cameras) - 1
        self.stem = nn.Conv2d(3, _STEM, 5, stride=2, padding=2)
        self.words = _Words(words, settings.word_dropout)
        self.local = nn.Sequential(
            nn.Conv2d(_STEM, _LOCAL, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(_LOCAL, _LOCAL, 3, padding=1), nn.ReLU(),
            nn.Conv2d(_LOCAL, _LOCAL, 3, padding=2, dilation=2), nn.ReLU(),
        )  # fmt: skip
        self.robot = nn.Conv2d(_LOCAL, 1, 3, padding=1)
        self.blocked = nn.Conv2d(_LOCAL, 1, 3, padding=1)
        self.enter = nn.Conv2d(_STEM, fine, 3, stride=2, padding=1)
        self.near = nn.ModuleList([_Block(fine, words), _Block(fine, words)])
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.wide = nn.ModuleList([_Block(coarse, words, 2 ** (i % 3)) for i in range(settings.blocks)])
        self.up = nn.Conv2d(coarse, fine, 1)
        self.last = _Block(fine, words)
        self.target = nn.Conv2d(fine, 1, 1)
        self.planner = Planner(settings.plan_steps)
        self.norm = nn.LayerNorm(fine)
        self.facing = nn.Linear(_LOCAL, 2) if settings.heading else None
        self.other = _OtherCamera(words, settings.image_size) if others else None
        self.hidden_size = 6 + fine + 2 + len(NEIGHBOURS) + 1 + 2 * (2 * _REACH + 1) ** 2 + others * _SIDE_VIEW
        self.hidden_size += 4 if settings.heading else 0
        self.register_buffer("centres", cell_centres(self.side), persistent=False)
        self.register_buffer("directions", DIRECTIONS.clone(), persistent=False)

    @property
    def has_maps(self) -> bool:
        """True: target, robot, blocked floor and ways."""
        return True

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of the first convolution, float ``[N, cameras, 24, S / 2, S / 2]``."""
        flat = (images.flatten(0, 1).to(self.stem.weight.dtype) - 0.5) * 2
        # Channels last: convolutions are twice as fast on a CPU.
        seen: torch.Tensor = torch.relu(self.stem(flat.contiguous(memory_format=torch.channels_last)))
        return seen.view(*images.shape[:2], *seen.shape[1:])

    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Return ACT states float32 ``[N, hidden_size]``."""
        return self._look(latents, tokens)[0]

    def encode_with_maps(self, images: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, Maps | None]:
        """Return ACT states and the heatmaps that they were read with."""
        return self._look(self.embed_images(images), tokens)

    def _look(self, latents: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, Maps]:
        words = self.words(tokens)
        first = latents[:, 0].contiguous(memory_format=torch.channels_last)
        local = self.local(first)
        features = self._features(first, words)
        target = self.target(features).flatten(1).float()
        robot, blocked = self._floor(local)
        with torch.autocast(latents.device.type, enabled=False):
            # Sharpened: between two candidates lies neither.
            at_target, at_robot = (2 * target).softmax(1), robot.softmax(1)
            goal, here = at_target @ self.centres, at_robot @ self.centres
            # Without gradient: planning is learned in hindsight alone. From the robot's own action it would learn that
            # floor is free wherever the arm points, which shows the last command.
            distances, ways = self.planner(self._grid(blocked), self._grid(target))
            with torch.no_grad():
                leaving, length = _under(ways, at_robot), _under(distances[:, None], at_robot)
                around = _window(self._grid(blocked)[:, None].clamp(-1, 1))
                near_robot, near_goal = _under(around, at_robot), _under(around, at_target)
            # The way to a far target is the planner's alone. The head would learn to drive straight at a target that it
            # is shown, which is right more often than not, and then pushes against corners.
            offset, lead = goal - here, leaving @ self.directions
            distance = offset.norm(dim=1, keepdim=True)
            near = (-((distance / _NEAR) ** 2)).exp()
            direction = lead / (lead.norm(dim=1, keepdim=True) + 0.1)
            act = [
                4 * near * offset, near, distance,
                2 * lead, direction, 2 * leaving, length / 10,
                near_robot, near_goal,
                self._seen(features, at_target),
            ]  # fmt: skip
        facing = None
        if self.facing is not None:
            facing = self.facing(_under(local.float(), at_robot)).float()
            ahead = facing / (facing.norm(dim=1, keepdim=True) + 0.1)
            act += [_from(ahead, direction), 4 * _from(ahead, near * offset)]
        if self.other is not None:
            act.append(self.other(latents[:, 1:], words))
        taught = self.planner.taught(self._grid(blocked), self._grid(target)).flatten(2) if self.training else None
        return torch.cat(act, dim=1), Maps(target, robot, blocked, taught, facing)

    def maps(self, latents: torch.Tensor, tokens: Tokens) -> Maps | None:
        """Return the heatmaps of target, robot and blocked floor."""
        return self._look(latents, tokens)[1]

    def floor(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``[N, P]`` of where the robot is, and of what is blocked; neither depends on the words."""
        latents = self.embed_images(images[:, :1])
        return self._floor(self.local(latents[:, 0].contiguous(memory_format=torch.channels_last)))

    def _floor(self, local: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        blocked = _BLOCKED * torch.tanh(self.blocked(local).flatten(1).float() / _BLOCKED)
        return self.robot(local).flatten(1).float(), blocked

    def _grid(self, cells: torch.Tensor) -> torch.Tensor:
        grid: torch.Tensor = cells.unflatten(1, (self.side, self.side))
        return grid

    def _features(self, latents: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.enter(latents))
        for block in self.near:
            fine = block(fine, words)
        wide = torch.relu(self.down(fine))
        for block in self.wide:
            wide = block(wide, words)
        features: torch.Tensor = self.last(torch.relu(fine + _doubled(self.up(wide))), words)
        return features

    def _seen(self, features: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        seen = _under(features.float(), where)
        normed: torch.Tensor = self.norm(seen.to(self.norm.weight.dtype))
        return normed.float()


class _Words(nn.Module):
    """An instruction as one vector: embeddings, two convolutions over neighbouring words, the maximum over words."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embed = nn.Embedding(VOCABULARY, width)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.mix = nn.ModuleList([nn.Conv1d(width, width, 3, padding=1) for _ in range(2)])
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tokens) -> torch.Tensor:
        """Return ``[N, width]``; padding has no influence."""
        if self.training and self.dropout:
            tokens = with_other_words(tokens, self.dropout)
        ids = tokens.ids
        here = (torch.arange(ids.shape[1], device=ids.device) < tokens.lengths[:, None])[:, None]
        mixed = self.embed(ids).transpose(1, 2) * here
        for mix in self.mix:
            mixed = mixed + torch.relu(mix(mixed)) * here
        return torch.relu(self.out(mixed.masked_fill(~here, -1e4).amax(2)))


class _Block(nn.Module):
    """Residual block whose first convolution is scaled and shifted by the words."""

    def __init__(self, channels: int, words: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(words, 2 * channels)
        nn.init.normal_(self.film.weight, std=0.05)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, features: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return ``features`` ``[N, C, h, w]`` after the block, steered by ``words`` ``[N, width]``."""
        scale, shift = self.film(words)[..., None, None].chunk(2, dim=1)
        steered = self.first(features) * (1 + scale) + shift
        return torch.relu(features + self.second(torch.relu(steered)))


class _OtherCamera(nn.Module):
    """Encoder of a camera that rides on the robot: one vector for the whole image, which keeps places apart."""

    def __init__(self, words: int, image_size: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(_STEM, 32, 3, stride=2, padding=1)
        self.block = _Block(32, words)
        self.down = nn.Conv2d(32, _SIDE_VIEW, 3, stride=2, padding=1)
        self.narrow = nn.Conv2d(_SIDE_VIEW, _SIDE_CHANNELS, 1)
        # The stem, two convolutions and the pooling halve the image each.
        self.out = nn.Linear(_SIDE_CHANNELS * (image_size // 16) ** 2, _SIDE_VIEW)

    def forward(self, latents: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return ``[N, cameras * 64]`` of ``[N, cameras, 24, h, w]``."""
        count = latents.shape[1]
        fine = torch.relu(self.enter(latents.flatten(0, 1)))
        coarse = torch.relu(self.down(self.block(fine, words.repeat_interleave(count, 0))))
        # What matters is small and has a place: whether it is under the gripper, beside it, or before it.
        places = self.narrow(functional.max_pool2d(coarse, 2)).flatten(1)
        seen: torch.Tensor = torch.relu(self.out(places))
        return seen.reshape(-1, count * _SIDE_VIEW).float()


def _window(cells: torch.Tensor) -> torch.Tensor:
    """Return for each cell of ``[N, 1, G, G]`` the values ``[N, 25, G, G]`` around it; blocked outside."""
    rows, columns = cells.shape[2:]
    padded = functional.pad(cells, (_REACH,) * 4, value=1.0)
    along = range(2 * _REACH + 1)
    return torch.cat([padded[:, :, y : y + rows, x : x + columns] for y in along for x in along], dim=1)


def _doubled(image: torch.Tensor) -> torch.Tensor:
    """Return ``[N, C, h, w]`` with every cell repeated as 2 x 2 cells: ``[N, C, 2h, 2w]``."""
    count, channels, rows, columns = image.shape
    blocks = image[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
    return blocks.reshape(count, channels, 2 * rows, 2 * columns)


def _from(ahead: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return ``vectors`` ``[N, 2]`` as (ahead, to the left) of someone who looks along ``ahead`` ``[N, 2]``."""
    (x, y), (right, up) = ahead.unbind(1), vectors.unbind(1)
    return torch.stack([x * right + y * up, x * up - y * right], dim=1)


def _under(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return the mean ``[N, C]`` of ``values`` ``[N, C, G, G]`` under a distribution over the cells ``[N, G * G]``."""
    return (values.flatten(2) @ where[..., None])[..., 0]
