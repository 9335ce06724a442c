"""The trained checkpoint that the real-time benchmark drives with: the one given, the demo's, or one trained here.

Untrained weights would give the same times. But they would not show whether it drives, and they might command no
motion.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import ROOT, say

_DEMO = ROOT / "out" / "demo" / "checkpoint"


def trained_checkpoint(given: Path | None, folder: Path, quick: bool) -> Path:
    """A checkpoint of config/train_tiny.yaml; trains one in ``folder``, 6 minutes, or 2 if ``quick``, if there is none.

    Raises:
        CalledProcessError: collecting or training failed; both print the reason.
    """
    if given is not None:
        return given
    if _DEMO.is_dir():
        say(f"drives with {_DEMO}")
        return _DEMO
    dataset, output = folder / "dataset", folder / "checkpoint"
    episodes, minutes = ("60", "1") if quick else ("250", "4")
    say(f"no checkpoint of make demo here: collects {episodes} episodes and trains for {minutes} min")
    _run("mobile-vla-sim", "collect", "--output", str(dataset), "--episodes", episodes)
    train = ["train", "--config", str(ROOT / "config" / "train_tiny.yaml"), "--dataset", str(dataset)]
    _run("mobile-vla-data", "split", str(dataset), "--seed", "0")
    _run("mobile-vla-policy", *train, "--output", str(output), "--max-minutes", minutes)
    return output


def _run(*command: str) -> None:
    """They run in other processes, to keep torch's memory and threads out of the one that measures."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
