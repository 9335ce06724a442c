"""What drives is what was trained: the optimised network against the one it was made of."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from synthetic_episodes import network
from test_other_backbones import build, save
from torch import nn
from torch.nn import functional

from mobile_vla_policy.backbones.backbone import BackboneError
from mobile_vla_policy.backbones.kosmos2_driving import attend
from mobile_vla_policy.backbones.linear import Activation, LinearSpec, PlainLinear, merge_lora, spec_of
from mobile_vla_policy.engine.cpu.elementwise import Elementwise, compiled, normalise_rows
from mobile_vla_policy.engine.cpu.int8 import Int8Linear, has_onednn, row_sizes
from mobile_vla_policy.engine.cpu.packed import PackedLinear
from mobile_vla_policy.engine.optimise import Precision, optimise
from mobile_vla_policy.model.network import PolicyNetwork

SHORT, LONG = "go to the kitchen", "please go to the bedroom, the one beside the bathroom, and stop there"
CPU = torch.device("cpu")


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """What is compiled is tested once, below; compiling it for every small width here would only take time."""
    with torch.compiler.set_stance("force_eager"):
        yield


@torch.no_grad()
def act_states(network: PolicyNetwork) -> torch.Tensor:
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return network.backbone.encode(images, network.backbone.tokenise([SHORT, LONG])).float()


def error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())


def test_in_full_precision_the_optimised_network_equals_the_trained_one() -> None:
    whole = network(cameras=("static", "gripper"))
    expected = act_states(whole)
    assert (act_states(optimise(whole, "fp32")) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_16_bits_it_is_as_close_as_the_trained_network_in_16_bits(precision: Precision) -> None:
    whole = network(cameras=("static", "gripper"))
    expected = act_states(whole)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    rounded = deepcopy(whole)
    rounded.backbone.model.to(dtype)  # type: ignore[union-attr, operator]
    assert error(act_states(optimise(whole, precision)), expected) < 1.5 * error(act_states(rounded), expected) + 1e-4


@pytest.mark.usefixtures("uncompiled")
def test_with_8_bit_weights_and_activations_it_stays_within_a_few_percent() -> None:
    whole = network(cameras=("static", "gripper"))
    expected = act_states(whole)
    assert error(act_states(optimise(whole, "int8")), expected) < 0.05


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("kind", ["smolvlm", "paligemma"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.05), ("int8", 0.1)])
def test_other_backbones_keep_their_function(tmp_path: Path, kind: str, precision: Precision, tolerance: float) -> None:
    whole = build(kind, save(kind, tmp_path)).eval()
    merge_lora(whole.backbone)
    expected = act_states(whole)
    assert error(act_states(optimise(whole, precision)), expected) < tolerance


def test_adapters_are_merged_for_driving() -> None:
    whole = network(cameras=("static", "gripper"), lora=True)
    without = act_states(whole)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    expected = act_states(whole)
    assert error(without, expected) > 0.01
    fast = optimise(whole, "fp32")
    assert not any("lora" in name for name, _ in fast.named_modules())
    assert error(act_states(fast), expected) < 1e-4


def test_layers_of_an_unknown_kind_are_not_optimised() -> None:
    whole = network()
    whole.backbone.model.text_model.model.layers[0].ffn.fc1 = nn.Identity()  # type: ignore[union-attr, index]
    with pytest.raises(ValueError, match="Identity is not a plain linear layer; use load_in: full"):
        optimise(whole, "fp32")


def test_an_optimised_network_says_that_it_cannot_be_trained() -> None:
    backbone = optimise(network(), "fp32").backbone
    with pytest.raises(BackboneError, match="cannot be trained"):
        backbone.enable_gradient_checkpointing()


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(
    ("activation", "residual"), [("none", True), ("none", False), ("gelu", False), ("quick_gelu", True)]
)
@pytest.mark.parametrize("rows", [1, 40])
@torch.inference_mode()
def test_an_8_bit_layer_errs_by_its_rounding_only(
    onednn: bool, activation: Activation, residual: bool, rows: int
) -> None:
    if onednn and not has_onednn(CPU):
        pytest.skip("no oneDNN on this machine")
    torch.manual_seed(0)
    spec = layer(activation)
    x, added = 3 * torch.randn(rows, 64), torch.randn(rows, 96) if residual else None
    expected = PlainLinear(spec)(x, added)
    assert error(Int8Linear(spec, Elementwise(), onednn=onednn)(x, added), expected) < 0.02


@torch.inference_mode()
def test_a_few_rows_too_many_are_multiplied_by_themselves_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row_sizes(rows, 2) for rows in (514, 512, 154, 2)] == [[512, 2], [512], [154], [2]]
    assert row_sizes(514, 1) == [514]
    if not has_onednn(CPU):
        pytest.skip("no oneDNN on this machine")
    torch.manual_seed(0)
    linear, x = Int8Linear(layer("none"), Elementwise()), torch.randn(130, 64)
    whole = linear(x)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(linear(x), whole)


@pytest.mark.parametrize(("activation", "residual"), [("none", True), ("gelu", True), ("quick_gelu", False)])
@torch.inference_mode()
def test_a_packed_layer_errs_by_16_bits_only(activation: Activation, residual: bool) -> None:
    if not PackedLinear.runs(CPU, torch.bfloat16):
        pytest.skip("this machine has no bf16 products")
    torch.manual_seed(0)
    spec = layer(activation)
    x, added = torch.randn(2, 20, 64), torch.randn(2, 20, 96) if residual else None
    expected = PlainLinear(spec)(x, added)
    packed = PackedLinear(spec.to(torch.bfloat16))
    assert error(packed(x.bfloat16(), None if added is None else added.bfloat16()).float(), expected) < 0.01


@torch.inference_mode()
def test_compiled_and_plain_elementwise_functions_agree() -> None:
    torch.manual_seed(0)
    plain, fast = Elementwise(), compiled(CPU)
    for rows in (33, 21):  # compiled once, for any number of rows
        x, scale, bias = torch.randn(rows, 48), torch.rand(rows, 1), torch.rand(48)
        ours, scales = fast.quantise(x)
        expected, expected_scales = plain.quantise(x)
        # A value exactly between two steps may go either way.
        assert (ours.int() - expected.int()).abs().max() <= 1
        assert torch.allclose(scales, expected_scales)
        assert torch.allclose(fast.rescale_add(x, scale, bias, x), plain.rescale_add(x, scale, bias, x), atol=1e-6)
        ours, scales = fast.normalise(x, torch.tensor([1e-5]))
        expected, expected_scales = plain.normalise(x, torch.tensor([1e-5]))
        assert (ours.int() - expected.int()).abs().max() <= 1
        assert torch.allclose(scales, expected_scales)


@torch.inference_mode()
def test_a_row_is_normalised_while_it_is_quantised() -> None:
    """Also one far from zero, as a transformer's residual stream has them."""
    torch.manual_seed(0)
    x = torch.stack([torch.randn(96), 30 + torch.randn(96), 1e-3 * torch.randn(96), torch.zeros(96)])
    quantised, scale = normalise_rows(x, torch.tensor([1e-5]))
    expected = functional.layer_norm(x, (96,), eps=1e-5)
    assert (quantised * scale - expected).abs().max() <= 0.51 * scale.max()


@pytest.mark.parametrize("keys", [257, 288, 5])
@torch.inference_mode()
def test_attention_to_a_padded_number_of_keys_sees_only_those_that_are_there(keys: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, count, 16) for count in (9, keys, keys))
    expected = functional.scaled_dot_product_attention(query, key, value)
    assert error(attend(query.bfloat16(), key.bfloat16(), value.bfloat16()).float(), expected) < 0.01


def layer(activation: Activation) -> LinearSpec:
    norm = nn.LayerNorm(64)
    nn.init.normal_(norm.weight, 1.0, 0.1)
    nn.init.normal_(norm.bias, 0.0, 0.1)
    return spec_of(nn.Linear(64, 96), norm=norm, activation=activation)
