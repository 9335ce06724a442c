import math

import pytest
import torch
from synthetic_episodes import GOALS, network
from torch import nn

from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.backbones.linear import merge_lora
from mobile_vla_policy.backbones.tokenizer import build_tokenizer
from mobile_vla_policy.model.loss import action_loss


def frames(count: int, cameras: int = 1) -> torch.Tensor:
    return torch.rand(count, cameras, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_act_state_is_unchanged_by_padding_and_by_neighbours_in_the_batch() -> None:
    for cameras in (("static",), ("static", "gripper")):
        backbone = network(cameras=cameras).backbone
        images = frames(2, len(cameras))
        short, long = "go to the kitchen", "please go to the bedroom, the one beside the bathroom, and stop there"
        alone = backbone.encode(images[:1], backbone.tokenise([short]))
        beside = backbone.encode(images, backbone.tokenise([short, long]))
        assert (alone[0] - beside[0]).abs().max() < 1e-5
        other = backbone.encode(images[1:], backbone.tokenise([long]))
        assert (other[0] - beside[1]).abs().max() < 1e-5


@torch.no_grad()
def test_the_act_state_depends_on_image_camera_and_instruction() -> None:
    backbone = network(cameras=("static", "gripper")).backbone
    images = frames(3, 2)
    base = backbone.encode(images[:1], backbone.tokenise(["go to the kitchen"]))
    gripper_changed = torch.stack([images[0, 0], images[1, 1]])[None]
    for changed, instruction in (
        (images[1:2], "go to the kitchen"),
        (gripper_changed, "go to the kitchen"),
        (images[:1].flip(1), "go to the kitchen"),
        (images[:1], "go to the bedroom"),
    ):
        assert (backbone.encode(changed, backbone.tokenise([instruction])) - base).abs().max() > 1e-3


@torch.no_grad()
def test_streaming_one_frame_at_a_time_equals_the_batch() -> None:
    whole = network()
    images, state = frames(8), torch.rand(1, 8, 3)
    tokens = whole.backbone.tokenise(["go to the kitchen"])
    batch = whole(images, state, tokens, torch.ones(1, 8, dtype=torch.bool))
    memory = None
    for step in range(8):
        features = whole.backbone.encode(images[step : step + 1], tokens)
        chunk, memory = whole.head(whole.head.embed(features, state[0, step : step + 1])[None], memory)
        assert (chunk[0, 0] - batch[0, step]).abs().max() < 1e-5


@torch.no_grad()
def test_a_short_history_gives_the_same_result_alone_and_in_a_full_batch() -> None:
    whole = network()
    images, state = frames(11), torch.rand(2, 8, 3)
    tokens = whole.backbone.tokenise(list(GOALS)[:2])
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[1, 3:] = False
    both = whole(images, state, tokens, valid)
    short = whole(images[8:], state[1:, :3], tokens.select(torch.tensor([1])), valid[1:, :3])
    assert (both[1, :3] - short[0]).abs().max() < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_lora_tensor_receives_a_gradient(checkpointing: bool) -> None:
    whole = network(lora=True).train()
    if checkpointing:
        whole.backbone.enable_gradient_checkpointing()
    for name, parameter in whole.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter)  # zero at the start, which leaves lora_A without a gradient in the first step
    tokens = whole.backbone.tokenise(["go to the kitchen"] * 2)
    whole(frames(16), torch.rand(2, 8, 3), tokens, torch.ones(2, 8, dtype=torch.bool)).square().sum().backward()
    lora = {name: p for name, p in whole.named_parameters() if ".lora_" in name}
    # 2 layers of 6 linear maps in each tower, two tensors each.
    assert len(lora) == 2 * 2 * 6 * 2
    assert [name for name, p in lora.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert whole.backbone.act.grad.abs().sum() > 0
    frozen = [name for name, p in whole.backbone.named_parameters() if ".lora_" not in name and name != "act"]
    assert [name for name in frozen if whole.backbone.get_parameter(name).requires_grad] == []


@torch.no_grad()
def test_merged_lora_equals_unmerged() -> None:
    whole = network(lora=True)
    for name, parameter in whole.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.1)
    tokens, images = whole.backbone.tokenise(["go to the kitchen"]), frames(1)
    before = whole.backbone.encode(images, tokens)
    merge_lora(whole.backbone)
    assert not any("lora" in name for name, _ in whole.named_modules())
    assert (whole.backbone.encode(images, tokens) - before).abs().max() < 1e-4


def test_the_image_projection_is_left_alone_by_lora() -> None:
    assert not any("image_to_text" in name and "lora" in name for name, _ in network(lora=True).named_parameters())


def test_the_head_has_the_specified_form() -> None:
    from mobile_vla_policy.model.head import ActionHead, HeadSettings

    head = ActionHead(2048, HeadSettings())
    assert (head.lstm.input_size, head.lstm.hidden_size, head.lstm.num_layers, head.lstm.dropout) == (1024, 512, 2, 0.1)
    assert not head.lstm.bidirectional
    chunks, _ = head(head.embed(torch.rand(2, 8, 2048), torch.rand(2, 8, 3)))
    assert chunks.shape == (2, 8, 5, 3)


@torch.no_grad()
def test_the_head_equals_a_transcription_of_the_lstm_formulas() -> None:
    head = network(state="none").head
    inputs = torch.rand(2, 8, 64)
    chunks, _ = head(inputs)
    sequence = [inputs[:, t] for t in range(8)]
    for layer in range(2):
        weights = [getattr(head.lstm, f"{kind}_l{layer}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        hidden = cell = torch.zeros(2, 64)
        for t, x in enumerate(sequence):
            gates = x @ weights[0].T + weights[2] + hidden @ weights[1].T + weights[3]
            i, f, g, o = gates.chunk(4, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            sequence[t] = hidden
    expected = torch.stack([h @ head.output.weight.T + head.output.bias for h in sequence], 1).view(2, 8, 5, 3)
    assert (chunks - expected).abs().max() < 1e-5


def test_the_loss_equals_a_transcription_of_its_formula() -> None:
    predicted, target = torch.randn(2, 8, 5, 3), torch.rand(2, 8, 5, 3)
    target[..., 2] = (target[..., 2] > 0.5).float()
    mask = torch.rand(2, 8, 5) > 0.3
    squares, entropies, count = 0.0, 0.0, 0
    for b, w, h in mask.nonzero().tolist():
        x, y, logit = predicted[b, w, h].tolist()
        tx, ty, gripper = target[b, w, h].tolist()
        squares += ((x - tx) ** 2 + (y - ty) ** 2) / 2
        probability = 1 / (1 + math.exp(-logit))
        entropies -= gripper * math.log(probability) + (1 - gripper) * math.log(1 - probability)
        count += 1
    loss = action_loss(predicted, target, mask)
    assert loss.motion.item() == pytest.approx(squares / count, rel=1e-5)
    assert loss.gripper.item() == pytest.approx(entropies / count, rel=1e-5)
    assert loss.total.item() == pytest.approx(squares / count + 0.1 * entropies / count, rel=1e-5)


def test_masked_steps_have_no_influence_on_loss_or_gradient() -> None:
    predicted = torch.randn(2, 8, 5, 3, requires_grad=True)
    target, mask = torch.rand(2, 8, 5, 3), torch.rand(2, 8, 5) > 0.5
    loss = action_loss(predicted, target, mask).total
    loss.backward()
    spoiled = torch.where(mask[..., None], target, torch.nan)
    assert action_loss(predicted, spoiled, mask).total == loss
    assert predicted.grad is not None
    assert (predicted.grad[~mask] == 0).all()
    assert (predicted.grad[mask] != 0).any()


def test_a_batch_without_a_recorded_action_has_zero_loss() -> None:
    loss = action_loss(torch.rand(1, 8, 5, 3), torch.rand(1, 8, 5, 3), torch.zeros(1, 8, 5, dtype=torch.bool))
    assert loss.total.item() == 0.0


def test_fewer_recorded_actions_than_processes_count_as_in_one_process() -> None:
    predicted, target, mask = torch.rand(1, 8, 5, 3), torch.rand(1, 8, 5, 3), torch.zeros(1, 8, 5, dtype=torch.bool)
    mask[0, 0, 0] = True
    alone = action_loss(predicted, target, mask).total
    # Four processes average their gradients; only this one has an action.
    assert torch.allclose(action_loss(predicted, target, mask, count=torch.tensor(0.25)).total / 4, alone)


def test_the_tiny_backbone_satisfies_the_protocol() -> None:
    assert isinstance(network().backbone, Backbone)


def test_the_tokenizer_takes_any_text_and_is_the_same_every_time() -> None:
    texts = ["Drive to the conservatory!", "부엌으로 가", "étagère №5 🚪", "x" * 200]
    tokenizer = build_tokenizer(texts[:1])
    again = build_tokenizer(texts[:1])
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids
        assert ids == again.encode(text, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids
    assert len(tokenizer.encode("drive to the conservatory", add_special_tokens=False)) == 4
    assert len(tokenizer) <= 1024


def test_an_empty_instruction_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="instruction '  ' is empty"):
        network().backbone.tokenise(["  "])


def test_an_instruction_has_the_same_tokens_however_its_spaces_are_written() -> None:
    backbone = network().backbone
    plain = backbone.tokenise(["go to the kitchen"]).ids
    for text in ("  go to\u3000the\u00a0kitchen\n", "ｇｏ to the kitchen", "go to\u200b the  kitchen"):
        assert torch.equal(backbone.tokenise([text]).ids, plain), ascii(text)
    with pytest.raises(ValueError, match=r"holds the control character U\+0007"):
        backbone.tokenise(["go \a to"])
