"""Runs in LeRobot's Python, not in ours: loads an export with LeRobot's own loader and trains its ACT one step on it.

    PYTHON lerobot_judge.py EXPORT EXPECTED.npz [--train]   ->   one JSON document

EXPECTED.npz holds what the episodes have: ``column/NAME`` of every step, by LeRobot's names; and of some frames their
numbers in ``frames``, ``image/CAMERA`` (uint8), and instructions in ``tasks``. Nothing of LeRobot is patched, and
nothing may be looked for on a hub.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import lerobot
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

_CHUNK = 10


def main() -> None:
    """Load, compare, train; print one JSON document."""
    folder, expected = Path(sys.argv[1]), np.load(sys.argv[2])
    dataset = LeRobotDataset("interop/export", root=folder)
    result = {
        "version": lerobot.__version__,
        "frames": dataset.num_frames,
        "splits": dict(dataset.meta.info.splits),
        **compare(dataset, expected),
        "successes": list(dataset.meta.filter_episodes(lambda row: row["outcome"] == "success")),
    }
    if "--train" in sys.argv:
        result["loss"] = train_act(folder, dataset)
    print(json.dumps(result))


def compare(dataset: LeRobotDataset, expected: Any) -> dict[str, Any]:
    """Every number, and the task and images of every expected frame."""
    numbers = dataset.hf_dataset.with_format("numpy")
    columns = [name.removeprefix("column/") for name in expected.files if name.startswith("column/")]
    cameras = [name.removeprefix("image/") for name in expected.files if name.startswith("image/")]
    psnr, tasks_differing = [], 0
    for position, frame in enumerate(expected["frames"].tolist()):
        item = dataset[frame]
        tasks_differing += item["task"] != expected["tasks"][position]
        for camera in cameras:
            got = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255
            error = got - expected[f"image/{camera}"][position]
            psnr.append(float(10 * np.log10(255**2 / max(float((error**2).mean()), 1e-9))))
    return {
        "differing": {name: differing(np.asarray(numbers[name]), expected[f"column/{name}"]) for name in columns},
        "tasks_differing": tasks_differing,
        "psnr_min_db": min(psnr),
    }


def differing(found: Any, expected: Any) -> int:
    """Return the number of steps whose values differ; all of them where the shape or the kind of number differs."""
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return len(expected)
    return int((found != expected).reshape(len(expected), -1).any(1).sum())


def train_act(folder: Path, dataset: LeRobotDataset) -> list[float]:
    """Two steps of LeRobot's ACT on the export, as ``lerobot-train`` does them; returns the losses."""
    from lerobot.configs.types import FeatureType
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    features = dataset_to_policy_features(dataset.meta.features)
    outputs = {key: feature for key, feature in features.items() if feature.type is FeatureType.ACTION}
    inputs = {key: feature for key, feature in features.items() if key not in outputs}
    config = ACTConfig(
        input_features=inputs, output_features=outputs, chunk_size=_CHUNK, n_action_steps=_CHUNK, device="cpu",
        pretrained_backbone_weights=None, dim_model=64, n_heads=4, dim_feedforward=128, n_encoder_layers=1,
        n_vae_encoder_layers=1,
    )  # fmt: skip
    policy = ACTPolicy(config)
    policy.train()
    preprocess, _ = make_pre_post_processors(config, dataset_stats=dataset.meta.stats)
    chunks = LeRobotDataset(
        "interop/export",
        root=folder,
        delta_timestamps={"action": [step / dataset.meta.fps for step in range(_CHUNK)]},
    )
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    losses = []
    for batch in torch.utils.data.DataLoader(chunks, batch_size=4, shuffle=True, num_workers=0):
        loss, _ = policy.forward(preprocess(batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if len(losses) == 2:
            break
    return losses


if __name__ == "__main__":
    main()
