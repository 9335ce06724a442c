"""SmolVLM and PaliGemma with tiny random weights, and the published Kosmos-2 layout, loaded from local folders."""

import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import GOALS, train_settings, write_dataset
from transformers import (
    Kosmos2Model,
    LlavaNextConfig,
    PaliGemmaConfig,
    PaliGemmaModel,
    Qwen2_5_VLConfig,
    SmolVLMConfig,
    SmolVLMModel,
)

from mobile_vla_policy.backbones.auto_vlm import AutoVlmSettings
from mobile_vla_policy.backbones.backbone import BackboneError
from mobile_vla_policy.backbones.kosmos2 import Kosmos2Settings
from mobile_vla_policy.backbones.kosmos2_tiny import tiny_kosmos2
from mobile_vla_policy.backbones.linear import merge_lora
from mobile_vla_policy.backbones.tokenizer import build_tokenizer
from mobile_vla_policy.checkpoint import load_network, read_info
from mobile_vla_policy.evaluation.evaluate import evaluate
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.training.train import train

VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TEXT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 1024,
    "num_key_value_heads": 1, "pad_token_id": 1,
}  # fmt: skip


def save(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    if kind == "smolvlm":
        model = SmolVLMModel(
            SmolVLMConfig(vision_config=VISION, text_config={"model_type": "llama", **TEXT}, scale_factor=2)
        )
    elif kind == "paligemma":
        config = PaliGemmaConfig(
            vision_config={"model_type": "siglip_vision_model", **VISION},
            text_config={"model_type": "gemma", "head_dim": 32, **TEXT},
            projection_dim=64,
            image_token_id=4,
        )
        model = PaliGemmaModel(config)
    else:
        model = tiny_kosmos2(64, 2, 32, 4)
    model.save_pretrained(folder)
    build_tokenizer(list(GOALS)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("qwen2_5_vl", "a qwen2_5_vl model, which does not take square images of one size"),
        ("llava_next", "a llava_next model, whose image features need image_sizes too"),
    ],
)
def test_models_whose_images_are_more_than_one_square_are_refused_by_name(kind: str, why: str, tmp_path: Path) -> None:
    if kind == "llava_next":
        vision = {"model_type": "clip_vision_model", **VISION, "projection_dim": 32}
        LlavaNextConfig(vision_config=vision, text_config={"model_type": "llama", **TEXT}).save_pretrained(tmp_path)
    else:
        vision = {"hidden_size": 32, "depth": 1, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 64}
        Qwen2_5_VLConfig(vision_config=vision, text_config={**TEXT}).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=why):
        AutoVlmSettings(name=str(tmp_path), weights="random").build(torch.float32)


def settings_class(kind: str) -> type[AutoVlmSettings] | type[Kosmos2Settings]:
    return Kosmos2Settings if kind == "kosmos2" else AutoVlmSettings


def build(kind: str, folder: Path, **backbone: object) -> PolicyNetwork:
    settings = PolicySettings(
        backbone=settings_class(kind)(name=str(folder), **backbone),  # type: ignore[arg-type]
        lora=LoraSettings(rank=4, dropout=0.0),
        head=HeadSettings(input_size=32, hidden_size=32, dropout=0.0),
    )
    torch.manual_seed(0)
    return build_network(settings)


@pytest.fixture(scope="module", params=["smolvlm", "paligemma", "kosmos2"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, save(request.param, tmp_path_factory.mktemp(request.param))


@torch.no_grad()
def test_the_act_state_is_unchanged_by_padding_and_neighbours(saved: tuple[str, Path]) -> None:
    backbone = build(*saved).eval().backbone
    images = torch.rand(2, 2, 3, 32, 32)
    short, long = "go to the kitchen", "please go to the bedroom and stop beside the bed, then wait there"
    both = backbone.encode(images, backbone.tokenise([short, long]))
    for row, text in enumerate((short, long)):
        alone = backbone.encode(images[row : row + 1], backbone.tokenise([text]))
        assert (alone[0] - both[row]).abs().max() < 1e-5
    assert (both[0] - backbone.encode(images, backbone.tokenise([long, long]))[0]).abs().max() > 1e-4
    assert (both[0] - backbone.encode(images.flip(1), backbone.tokenise([short, long]))[0]).abs().max() > 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_lora_tensor_receives_a_gradient(saved: tuple[str, Path], checkpointing: bool) -> None:
    network = build(*saved).train()
    if checkpointing:
        network.backbone.enable_gradient_checkpointing()
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter)
    valid = torch.ones(1, 3, dtype=torch.bool)
    tokens = network.backbone.tokenise(["go to the kitchen"])
    network(torch.rand(3, 2, 3, 32, 32), torch.zeros(1, 3, 3), tokens, valid).square().sum().backward()
    lora = {name: p for name, p in network.named_parameters() if ".lora_" in name}
    assert len(lora) >= 24
    assert not any("vision" in name for name in lora)
    assert [name for name, p in lora.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert network.backbone.act.grad.abs().sum() > 0


@torch.no_grad()
def test_merged_equals_unmerged(saved: tuple[str, Path]) -> None:
    backbone = build(*saved, train_vision=True).eval().backbone
    lora = [(name, p) for name, p in backbone.named_parameters() if ".lora_B." in name]
    assert any("vision" in name for name, _ in lora)
    for _, parameter in lora:
        torch.nn.init.normal_(parameter, std=0.05)
    images, tokens = torch.rand(1, 2, 3, 32, 32), backbone.tokenise(["go to the kitchen"])
    before = backbone.encode(images, tokens)
    merge_lora(backbone)
    assert (backbone.encode(images, tokens) - before).abs().max() < 1e-4


@torch.no_grad()
def test_the_layout_is_the_one_kosmos_2_itself_builds(tmp_path: Path) -> None:
    """One camera, ACT replaced by a word: its state is what Kosmos2Model computes from ids and an image mask."""
    folder = save("kosmos2", tmp_path)
    backbone = build("kosmos2", folder, cameras=["static"]).eval().backbone
    merge_lora(backbone)
    words = backbone.tokenise(["go to the kitchen"])
    reference = Kosmos2Model.from_pretrained(folder).eval()
    # As transformers 5.23 has it; earlier ones make it causal.
    reference.image_to_text_projection.x_attn.is_causal = False
    last = int(words.ids[0, 0])
    backbone.act.copy_(reference.text_model.model.embed_tokens.weight[last])
    ids = torch.tensor([[0, 4, *[3] * 4, 5, 11, *words.ids[0].tolist(), last]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, *[0] * (ids.shape[1] - 6)]])
    image = torch.rand(1, 1, 3, 32, 32)
    pixels = (image[:, 0] - backbone.pixel_mean) / backbone.pixel_std
    expected = reference(pixel_values=pixels, input_ids=ids, image_embeds_position_mask=mask).last_hidden_state[0, -1]
    assert (backbone.encode(image, words)[0] - expected).abs().max() < 1e-5


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="cannot load Kosmos-2 from"):
        build("kosmos2", tmp_path)
    with pytest.raises(BackboneError, match="cannot load a model from"):
        build("auto", tmp_path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=10, steps=4)


def test_any_backbone_is_trained_evaluated_and_driven(saved: tuple[str, Path], dataset: Path, tmp_path: Path) -> None:
    kind, folder = saved
    policy = policy_of(kind, folder, lora=LoraSettings(rank=4))
    train(train_settings(policy=policy, max_steps=2), dataset, tmp_path, Console(quiet=True))
    stored = load_file(tmp_path / "last" / "model.safetensors")
    assert all(".lora_" in name or name.startswith("head.") or name == "backbone.act" for name in stored)
    assert evaluate(tmp_path, dataset, "test", 0.01, "cpu").overall.steps == 4
    assert load_policy(tmp_path, device="cpu").horizon == 5


def test_adapters_on_a_tuned_backbone_load_without_the_published_weights(
    saved: tuple[str, Path], dataset: Path, tmp_path: Path
) -> None:
    kind, published = saved
    folder = shutil.copytree(published, tmp_path / "published")
    tuned = policy_of(kind, folder, lora=LoraSettings(enabled=False), freeze=False)
    train(train_settings(policy=tuned, max_steps=1), dataset, tmp_path / "tuned", Console(quiet=True))
    adapted = train_settings(
        policy=policy_of(kind, folder, lora=LoraSettings(rank=4)), init_from=str(tmp_path / "tuned"), max_steps=1
    )
    train(adapted, dataset, tmp_path / "adapted", Console(quiet=True))
    before = evaluate(tmp_path / "adapted", dataset, "test", 0.01, "cpu").to_dict()
    shutil.rmtree(folder)
    assert evaluate(tmp_path / "adapted", dataset, "test", 0.01, "cpu").to_dict() == before
    assert load_policy(tmp_path / "adapted", device="cpu").horizon == 5
    with pytest.raises(BackboneError, match="cannot load"):
        load_network(read_info(tmp_path / "tuned" / "last"))


@pytest.mark.parametrize("vision", [False, True])
def test_full_fine_tuning_of_a_named_backbone_is_saved_and_loaded_again(
    vision: bool, saved: tuple[str, Path], dataset: Path, tmp_path: Path
) -> None:
    kind, folder = saved
    policy = policy_of(kind, folder, lora=LoraSettings(enabled=False), freeze=False, train_vision=vision)
    train(train_settings(policy=policy, max_steps=2), dataset, tmp_path, Console(quiet=True))
    loaded = load_network(read_info(tmp_path / "last"))
    learned = load_file(tmp_path / "resume" / "state.safetensors")
    values = dict(loaded.named_parameters())
    names = [name.removeprefix("weights.") for name in learned if name.startswith("weights.")]
    assert all(torch.equal(values[name], learned[f"weights.{name}"]) for name in names)
    assert any(name.startswith("backbone.model.") for name in names)
    published = dict(build_network(policy).named_parameters())
    moved = {name for name, value in values.items() if not torch.equal(value, published[name]) and "head" not in name}
    assert (
        any(name.startswith(tuple("backbone." + p for p in loaded.backbone.vision_prefix)) for name in moved) == vision
    )
    assert moved - {"backbone.act"}
    assert evaluate(tmp_path, dataset, "test", 0.01, "cpu").overall.steps == 4


def policy_of(kind: str, folder: Path, lora: LoraSettings, **backbone: object) -> PolicySettings:
    return PolicySettings(
        backbone=settings_class(kind)(name=str(folder), cameras=("static",), **backbone),  # type: ignore[arg-type]
        lora=lora,
        head=HeadSettings(input_size=32, hidden_size=32),
    )
