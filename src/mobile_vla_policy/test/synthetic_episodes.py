"""Small real episodes: a square moves where the actions say, to the place the instruction names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings
from mobile_vla_policy.model.head import HeadSettings, StateInput
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.training.settings import TrainSettings

CONTRACT = Path(__file__).parents[3] / "config" / "robot.yaml"
STRIDE_M = 0.07
GOALS = {"go to the kitchen": (0.3, 0.3), "go to the bedroom": (-0.3, 0.3), "go to the sofa": (0.3, -0.3)}


def policy_settings(
    *, lora: bool = False, cameras: tuple[str, ...] = ("static",), state: StateInput = "full", stride: int = 1
) -> PolicySettings:
    """The smallest network with every part of the large one."""
    return PolicySettings(
        backbone=Kosmos2TinySettings(
            cameras=cameras, freeze=lora, train_vision=True, width=64, layers=2,
            image_size=32, latents=4,
        ),
        lora=LoraSettings(enabled=lora, rank=4, dropout=0.0),
        head=HeadSettings(input_size=64, hidden_size=64, dropout=0.0, state=state, frame_stride=stride),
    )  # fmt: skip


def train_settings(**changes: object) -> TrainSettings:
    values = {
        "policy": policy_settings(),
        "augment": {"shift": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
        "learning_rate": 2e-3,
        "batch_size": 8,
        "warmup_steps": 5,
        "precision": "fp32",
        "gradient_checkpointing": False,
        "max_steps": 20,
        "evaluate_every": 10,
    }
    return TrainSettings.model_validate({**values, **changes})


def network(seed: int = 0, **kwargs: object) -> PolicyNetwork:
    torch.manual_seed(seed)
    return build_network(policy_settings(**kwargs), instructions=list(GOALS)).eval()  # type: ignore[arg-type]


def write_dataset(
    folder: Path,
    episodes: int = 10,
    steps: int = 20,
    cameras: tuple[str, ...] = ("static",),
    seed: int = 0,
    targets: bool = False,
    contract: Contract | None = None,
) -> Path:
    """Episodes through the project's own writer; with ``targets``, the goal's pixel is annotated."""
    contract = contract or Contract.load(CONTRACT)
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for episode in range(episodes):
        language = list(GOALS)[episode % len(GOALS)]
        write_episode(folder, contract, language, random, steps, cameras, targets)
    return folder


def write_episode(
    folder: Path,
    contract: Contract,
    language: str,
    random: np.random.Generator,
    steps: int,
    cameras: tuple[str, ...],
    targets: bool = False,
) -> Path:
    task = language.replace(" ", "_")
    metadata = EpisodeMetadata(language, task, "navigation", "expert", {"room": "test"})
    writer = EpisodeWriter(folder, contract, metadata, cameras=cameras)
    goal, angle = np.array(GOALS[language]), random.uniform(0.0, 2 * np.pi)
    position = goal - STRIDE_M * steps * np.array([np.cos(angle), np.sin(angle)])
    before = 0.0
    for step in range(steps):
        towards = goal - position
        distance = max(float(np.linalg.norm(towards)), 1e-6)
        delta = towards * min(1.0, STRIDE_M / distance)
        closed = float(distance < STRIDE_M * (steps // 2 + 0.5))
        stamp = 1_000_000_000 + step * contract.period_ns
        writer.add_step(
            stamp_ns=stamp,
            images={camera: picture(position) for camera in cameras},
            state=np.array([*position, before], dtype=np.float32),
            action=np.array([*delta, closed], dtype=np.float32),
            stamps_ns={**dict.fromkeys(cameras, stamp), "odom": stamp, "gripper_state": stamp},
            target=pixel(goal) if targets else None,
        )
        position, before = position + delta, closed
    return writer.commit("success")


def pixel(position: np.ndarray) -> tuple[int, int]:
    """Column and row of a position in metres, -1.5 .. 1.5."""
    column, row = ((position + 1.5) / 3.0 * 200).clip(0, 200).astype(int) + 12
    return int(column), int(row)


def picture(position: np.ndarray) -> np.ndarray:
    """224x224 RGB: a red square at ``position`` (metres, -1.5 .. 1.5)."""
    image = np.full((224, 224, 3), 90, dtype=np.uint8)
    column, row = pixel(position)
    image[row - 12 : row + 12, column - 12 : column + 12] = (220, 30, 30)
    return image
