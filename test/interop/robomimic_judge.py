"""Runs in robomimic's Python, not in ours: loads an export with robomimic's own dataset.

PYTHON robomimic_judge.py EXPORT.hdf5   ->   one JSON document
"""

from __future__ import annotations

import json
import sys

import torch

# A torchvision that was built for another torch lacks its operators, and robomimic imports it without needing them.
if not hasattr(torch.ops.torchvision, "nms"):
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import h5py
import robomimic
from robomimic.utils.dataset import SequenceDataset


def main() -> None:
    """Load every split; print one JSON document."""
    with h5py.File(sys.argv[1]) as file:
        demo = file["data/demo_0"]
        keys = list(demo["obs"])
        samples = {name: int(file[f"data/{name}"].attrs["num_samples"]) for name in file["data"]}
        masks = {mask: [name.decode() for name in file[f"mask/{mask}"]] for mask in file["mask"]}
    found, shapes = {}, {}
    for mask, names in masks.items():
        dataset = SequenceDataset(
            hdf5_path=sys.argv[1], obs_keys=keys, dataset_keys=("actions", "rewards", "dones"), seq_length=8,
            hdf5_cache_mode=None, hdf5_use_swmr=False, load_next_obs=False, filter_by_attribute=mask,
        )  # fmt: skip
        found[mask] = [len(dataset), sum(samples[name] for name in names)]
        batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4)))
        shapes = {key: list(value.shape) for key, value in batch["obs"].items()} | {
            "actions": list(batch["actions"].shape)
        }
        assert float(batch["actions"].abs().max()) <= 1
    print(json.dumps({"version": robomimic.__version__, "samples": found, "shapes": shapes}))


if __name__ == "__main__":
    main()
