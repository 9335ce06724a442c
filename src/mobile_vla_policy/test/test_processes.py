"""Training with several processes: only the command that starts them differs."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import train_settings, write_dataset

from mobile_vla_policy.training.run import train


def test_two_gloo_processes_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    """Half the batch each. Windows differ in their number of masked actions, so plain averaging would not be equal."""
    dataset = write_dataset(tmp_path / "dataset", episodes=10, steps=11)
    alone = train_settings(max_steps=1, batch_size=8)
    shared = alone.model_copy(update={"batch_size": 4})
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(shared.model_dump(mode="json")))
    train(alone, dataset, tmp_path / "alone", Console(quiet=True))
    # accelerate launch starts several processes on GPUs only; torchrun is what it uses for that, and works on CPUs too.
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0"]
    command = ["-m", "mobile_vla_policy.cli", "train", "--config", settings, "--dataset", dataset]
    result = subprocess.run(
        [sys.executable, *launch, *map(str, command), "--output", str(tmp_path / "shared")],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    # After one step, Adam's first moment is a tenth of the gradient.
    one, two = (load_file(tmp_path / name / "resume" / "state.safetensors") for name in ("alone", "shared"))
    moments = [name for name in one if name.endswith("exp_avg")]
    assert len(moments) > 50
    assert max(float(one[name].abs().max()) for name in moments) > 1e-3
    assert max(float((one[name] - two[name]).abs().max()) for name in moments) < 1e-6
