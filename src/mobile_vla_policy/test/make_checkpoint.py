"""Write a small untrained checkpoint: make_checkpoint.py FOLDER CONTRACT.

Where such a policy drives is of no interest, but that it drives.
"""

import sys
from pathlib import Path

import torch

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings
from mobile_vla_policy.checkpoint import save_checkpoint
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range

torch.manual_seed(0)
settings = PolicySettings(
    backbone=Kosmos2TinySettings(cameras=("static",), freeze=False, width=32, layers=1, image_size=64),
    lora=LoraSettings(enabled=False),
    head=HeadSettings(input_size=32, hidden_size=32, layers=1, dropout=0.0, frame_stride=3, state="full"),
)
network = build_network(settings, instructions=["go to the kitchen", "go to the bedroom"])
ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
save_checkpoint(Path(sys.argv[1]), network, settings, ranges, Contract.load(sys.argv[2]), {"steps": 0})
