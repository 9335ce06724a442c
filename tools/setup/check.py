"""Check that the set-up can load and run a policy: build a small one, save it, load it, and predict one step.

It finds at once what a resolver cannot see, such as a transformers that switches an older torch off. Takes a few
seconds; exit status 1 with one line if the environment is broken.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("HF_HUB_OFFLINE", "1")

CONTRACT = Path(__file__).resolve().parents[2] / "config" / "robot.yaml"
INSTRUCTION = "go to the kitchen"


def check() -> str:
    """Run one step of an untrained policy; return the versions that did it. Raises what is broken."""
    import numpy as np
    import torch
    import transformers

    from mobile_vla_data.contract import Contract
    from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings
    from mobile_vla_policy.checkpoint import save_checkpoint
    from mobile_vla_policy.load_policy import load_policy
    from mobile_vla_policy.model.head import HeadSettings
    from mobile_vla_policy.model.network import build_network
    from mobile_vla_policy.model.settings import PolicySettings
    from mobile_vla_policy.normalisation import Normalisation, Range

    settings = PolicySettings(
        backbone=Kosmos2TinySettings(width=32, layers=1, image_size=64),
        head=HeadSettings(input_size=32, hidden_size=32, layers=1),
    )
    network = build_network(settings, instructions=[INSTRUCTION])
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    with TemporaryDirectory(prefix="mobile_vla_check_") as folder:
        save_checkpoint(Path(folder, "policy"), network, settings, ranges, Contract.load(CONTRACT), {"steps": 0})
        policy = load_policy(Path(folder, "policy"), device="cpu")
        images = {camera: np.zeros((64, 64, 3), np.uint8) for camera in policy.cameras}
        chunk, _ = policy.predict(images, np.zeros(3, np.float32), INSTRUCTION, policy.initial_memory())
    if not np.isfinite(chunk.deltas).all():
        raise RuntimeError("the predicted actions are not finite")
    return f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}"


def main() -> int:
    """Return the exit status; the text of any failure is one line on standard error."""
    try:
        print(f"    a policy loads and predicts with {check()}")
    except Exception as error:  # whatever is broken, the user needs one line
        line = " ".join(str(error).split())
        print(f"error: no policy can run in this environment: {type(error).__name__}: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
