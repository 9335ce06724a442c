"""Backbones register themselves, and checkpoints of earlier versions still load."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_episodes import GOALS, write_dataset

from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone, Kosmos2Settings
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings, tiny_kosmos2
from mobile_vla_policy.backbones.tokenizer import build_tokenizer
from mobile_vla_policy.checkpoint import load_network, read_info
from mobile_vla_policy.config import ConfigError
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.training.settings import load_train_settings

ROOT = Path(__file__).parents[3]
OLD = Path(__file__).parent / "checkpoint_0.1.0"
HOW_TO = ROOT / "docs/how-to/add-a-backbone.md"


def test_the_example_of_the_docs_trains_and_drives_as_one_new_file(tmp_path: Path) -> None:
    """In its own process: a backbone stays registered."""
    file, settings = re.findall(r"```(?:python title=\S+|yaml)\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[1:]
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "small_cnn.py").write_text(file)
    common = {"precision": "fp32", "max_steps": 2, "batch_size": 4, "workers": 0}
    (tmp_path / "train.yaml").write_text(settings + "\n".join(f"{name}: {value}" for name, value in common.items()))
    write_dataset(tmp_path / "dataset", episodes=10, steps=4)
    script = f"""
        import numpy as np
        from pathlib import Path
        from rich.console import Console
        from mobile_vla_policy import backbones
        backbones.__path__.append({str(tmp_path / "more")!r})
        from mobile_vla_policy.load_policy import load_policy
        from mobile_vla_policy.training.settings import load_train_settings
        from mobile_vla_policy.training.train import train
        here = Path({str(tmp_path)!r})
        train(load_train_settings(here / "train.yaml"), here / "dataset", here / "out", Console(quiet=True))
        policy = load_policy(here / "out", device="cpu")
        image = {{"static": np.zeros((224, 224, 3), np.uint8)}}
        chunk, _ = policy.predict(image, np.zeros(3, np.float32), "go to the kitchen", policy.initial_memory())
        print(policy.config.backbone.kind, chunk.deltas.shape)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["small-cnn", "(5,", "2)"], done.stderr


def test_a_checkpoint_of_version_0_1_0_gives_the_same_actions() -> None:
    network = load_network(read_info(OLD))
    expected = torch.tensor(json.loads((OLD / "expected.json").read_text())).view(1, 3, 2, 3)
    images = ((torch.arange(3 * 32 * 32 * 3).reshape(3, 1, 32, 32, 3) % 251).float() / 255).movedim(-1, -3)
    state = torch.tensor([[[0.1, -0.2, 0.0], [0.2, 0.1, 0.0], [0.3, 0.0, 1.0]]])
    tokens = network.backbone.tokenise(["go to the kitchen"])
    with torch.no_grad():
        chunks = network(images, state, tokens, torch.ones(1, 3, dtype=torch.bool))
    assert (chunks - expected).abs().max() < 1e-5


def test_latents_see_the_whole_image_where_transformers_makes_them_causal() -> None:
    images = torch.rand(1, 1, 3, 32, 32)
    found = []
    for causal in (False, True):
        torch.manual_seed(0)
        model = tiny_kosmos2(width=32, layers=1, image_size=32, latents=4)
        model.image_to_text_projection.x_attn.is_causal = causal  # True: as transformers 5.20 builds it
        found.append(Kosmos2Backbone(model, build_tokenizer(), cameras=1).embed_images(images))
    assert torch.equal(*found)


def test_a_checkpoint_of_version_0_1_0_drives(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    policy = load_policy(tmp_path / "old", device="cpu")
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    chunk, _ = policy.predict(
        {"static": image}, np.zeros(3, dtype=np.float32), next(iter(GOALS)), policy.initial_memory()
    )
    assert np.isfinite(chunk.deltas).all()


def test_settings_of_version_0_1_0_keep_the_fields_of_their_own_kind(tmp_path: Path) -> None:
    """That version wrote the fields of every kind into each checkpoint."""
    for name in ("stats.json", "contract.yaml"):
        shutil.copy(OLD / name, tmp_path)
    config = json.loads((OLD / "config.json").read_text())
    config["policy"]["backbone"] |= {"kind": "kosmos2", "name": "some/where", "load_in": "8bit", "freeze": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    backbone = read_info(tmp_path).settings.backbone
    assert isinstance(backbone, Kosmos2Settings)
    assert (backbone.name, backbone.load_in, backbone.cameras) == ("some/where", "8bit", ("static",))


def test_settings_of_a_backbone_are_chosen_by_its_kind() -> None:
    policy = PolicySettings.model_validate({"backbone": {"kind": "kosmos2-tiny", "width": 64}})
    assert isinstance(policy.backbone, Kosmos2TinySettings)
    assert policy.backbone.width == 64
    assert PolicySettings.model_validate({"backbone": {"cameras": ["top"]}}).backbone == Kosmos2Settings(
        cameras=("top",)
    )
    assert PolicySettings.model_validate(policy.model_dump(mode="json")) == policy


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.backbone.kind=kosmos", r"policy\.backbone\.kind: must be one of .*'kosmos2'.* \(got 'kosmos'\)"),
        ("policy.backbone.widht=64", r"policy\.backbone\.widht: no setting .*; did you mean policy\.backbone\.width\?"),
        ("policy.backbone.load_in=4bit", r"policy\.backbone\.load_in: no setting has this name \(got '4bit'\)"),
        ("policy.backbone.width=33", r"^'policy\.backbone\.width=33': policy\.backbone\.width: .*multiple of 32"),
        ("policy.backbone.cameras=[a,a]", r"policy\.backbone\.cameras: must name each camera once"),
    ],
)
def test_a_wrong_setting_of_a_backbone_is_refused_by_its_path(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_train_settings(ROOT / "config/train_tiny.yaml", [override])


def test_weights_that_were_tuned_are_not_loaded_in_fewer_bits() -> None:
    wanted = Kosmos2Settings(load_in="4bit")
    assert wanted.continuing(Kosmos2Settings()) == wanted
    assert Kosmos2Settings().continuing(Kosmos2Settings(freeze=False)) == Kosmos2Settings(tuned=True)
    for there in (Kosmos2Settings(tuned=True), Kosmos2Settings(freeze=False)):
        with pytest.raises(ValueError, match=r"set policy\.backbone\.load_in=full"):
            wanted.continuing(there)
