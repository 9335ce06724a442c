"""An untrained checkpoint of the demo's size (config/train_tiny.yaml): what it says is random, its speed is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from common import ROOT

_SCRIPT = """
import sys
from pathlib import Path
import torch
from mobile_vla_data.contract import Contract
from mobile_vla_policy.checkpoint import save_checkpoint
from mobile_vla_policy.config import load_train_settings
from mobile_vla_policy.model.network import build_network
from mobile_vla_policy.normalisation import Normalisation, Range

root, folder = Path(sys.argv[1]), Path(sys.argv[2])
torch.manual_seed(0)
settings = load_train_settings(root / "config" / "train_tiny.yaml").policy
network = build_network(settings, instructions=["go to the kitchen", "go to the bedroom", "go to the living room"])
ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
save_checkpoint(folder, network, settings, ranges, Contract.load(root / "config" / "robot.yaml"), {"steps": 0})
"""


def make_checkpoint(folder: Path) -> None:
    """Write it, in a process of its own: torch's memory and threads are not wanted in the one that measures."""
    subprocess.run([sys.executable, "-c", _SCRIPT, str(ROOT), str(folder)], check=True)
