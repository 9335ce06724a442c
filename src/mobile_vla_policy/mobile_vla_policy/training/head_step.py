"""The head alone on features, as stage 2 trains it; on a CPU in bfloat16 with an LSTM of its own.

PyTorch hands an LSTM on a CPU to oneDNN, whose backward pass in bfloat16 is slower than in float32. Written out in
matrix products, forward and backward, the same LSTM is over twice as fast; parameters, results and gradients are those
of the head's ``nn.LSTM``, up to the rounding of bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from mobile_vla_policy.compiling import RowFunction, compiled
from mobile_vla_policy.model.head import ActionHead

_BF16 = torch.bfloat16
_ROWS = 64


class HeadOnFeatures(nn.Module):
    """Chunks of ACT states: the part of :class:`~mobile_vla_policy.model.network.PolicyNetwork` behind the backbone."""

    def __init__(self, head: ActionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Chunks ``[B, W, horizon, 3]`` of ACT states ``[B, W, hidden]`` and normalised states ``[B, W, 3]``."""
        mixed = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == _BF16
        if features.device.type == "cpu" and mixed:
            return _chunks(self.head, features, state)
        chunks: torch.Tensor
        chunks, _ = self.head(self.head.embed(features, state))
        return chunks


def _chunks(head: ActionHead, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    # Time first, so that one step of all windows is one block of memory. oneDNN compiles a product for every number of
    # rows, and every epoch ends with a batch of another size: rounded up, it meets few.
    count = len(features)
    seen = nn.functional.pad(features.transpose(0, 1).to(_BF16), (0, 0, 0, -count % _ROWS)).contiguous()
    inputs = _linear(seen.flatten(0, 1), head.project.weight, head.project.bias).unflatten(0, seen.shape[:2])
    if head.project_state is not None:
        inputs[:, :count] += head.project_state(state.transpose(0, 1))
    lstm = head.lstm
    for layer in range(lstm.num_layers):
        if layer and head.training and lstm.dropout:
            inputs = _dropout(inputs, lstm.dropout)
        weights = (getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        inputs = _layer(inputs.contiguous(), weight_ih, weight_hh, bias_ih + bias_hh)
    flat: torch.Tensor = head.output(inputs[:, :count])
    return torch.unflatten(flat, -1, (head.horizon, -1)).transpose(0, 1)


def _dropout(inputs: torch.Tensor, share: float) -> torch.Tensor:
    """Dropout from 16 random bits a value, in a tenth of the time of PyTorch's on a CPU."""
    words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    draws = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
    bound = round(share * 65536)
    keep = (draws >= bound - 32768).to(inputs.dtype)
    return inputs * keep.mul_(65536 / (65536 - bound))


class _Layer(torch.autograd.Function):
    """One LSTM layer over all steps, from an empty state: ``[W, B, I]`` to ``[W, B, H]``, bfloat16; cells float32."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight_ih: torch.Tensor, weight_hh: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        steps, count, _ = inputs.shape
        size = weight_hh.shape[1]
        into, over = weight_ih.to(_BF16), weight_hh.to(_BF16)
        gates = nn.functional.linear(inputs.flatten(0, 1), into).view(steps, count, 4 * size)
        hidden = inputs.new_empty(steps, count, size)
        # One by one: of two views of a tensor, one of them written, a compiled function is compiled for their place.
        cells = [torch.zeros(count, size), *(torch.empty(count, size) for _ in range(steps))]
        run = _fast().step
        for t in range(steps):
            if t:
                gates[t].addmm_(hidden[t - 1], over.t())
            run(gates[t], bias, cells[t], cells[t + 1], hidden[t])
        ctx.save_for_backward(inputs, into, over, gates, hidden, *cells)
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, into, over, gates, hidden, *cells = ctx.saved_tensors
        steps, count, size = hidden.shape
        d_gates, d_cell = torch.empty_like(gates), torch.zeros(count, size)
        d_hidden = gradients[0].to(_BF16).clone()
        run_back = _fast().step_back
        for t in range(steps - 1, -1, -1):
            run_back(d_gates[t], d_hidden[t], d_cell, gates[t], cells[t], cells[t + 1])
            if t:
                d_hidden[t - 1].addmm_(d_gates[t], over)
        flat = d_gates.flatten(0, 1)
        d_inputs = (flat @ into).view_as(inputs) if ctx.needs_input_grad[0] else None
        turned, summed = _fast().turn(flat), _fast().sum(flat)
        d_into = turned @ inputs.flatten(0, 1)
        d_over = turned[:, count:] @ hidden[:-1].flatten(0, 1)
        return d_inputs, d_into.float(), d_over.float(), summed


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    # Compiled, powers of two take half the time of torch's own functions; the error is far below bfloat16's.
    return 1 / (1 + torch.exp2(-math.log2(math.e) * x))


def _tanh(x: torch.Tensor) -> torch.Tensor:
    return 2 * _sigmoid(2 * x) - 1


def _step(
    gates: torch.Tensor, bias: torch.Tensor, before: torch.Tensor, cell: torch.Tensor, hidden: torch.Tensor
) -> None:
    """One step of all windows behind its products: activates gates ``[B, 4 H]`` in place, makes cells and outputs."""
    enter, keep, new, out = (gates.float() + bias).chunk(4, dim=1)
    enter, keep, new, out = _sigmoid(enter), _sigmoid(keep), _tanh(new), _sigmoid(out)
    after = enter * new + keep * before
    gates.copy_(torch.cat([enter, keep, new, out], dim=1))
    cell.copy_(after)
    hidden.copy_(out * _tanh(after))


def _step_back(
    d_gates: torch.Tensor,
    d_hidden: torch.Tensor,
    d_cell: torch.Tensor,
    gates: torch.Tensor,
    before: torch.Tensor,
    cell: torch.Tensor,
) -> None:
    """The gradient of :func:`_step`: of the gates before activation, and in place of the cell before the step."""
    enter, keep, new, out = gates.float().chunk(4, dim=1)
    d_out, squashed = d_hidden.float(), _tanh(cell)
    d_after = d_cell + d_out * out * (1 - squashed * squashed)
    d_enter = d_after * new * enter * (1 - enter)
    d_keep = d_after * before * keep * (1 - keep)
    d_new = d_after * enter * (1 - new * new)
    d_gates.copy_(torch.cat([d_enter, d_keep, d_new, d_out * squashed * out * (1 - out)], dim=1))
    d_cell.copy_(d_after * keep)


def _turn(x: torch.Tensor) -> torch.Tensor:
    """``[n, rows]``: oneDNN multiplies a transposed left side at half its pace, so it pays to turn it round first."""
    return x.t().contiguous()


def _sum(x: torch.Tensor) -> torch.Tensor:
    """The sum of the rows, float32."""
    return x.float().sum(0)


@dataclass(frozen=True)
class _Fast:
    """The functions above, compiled: as they are, they take longer than the products do."""

    step: RowFunction
    step_back: RowFunction
    turn: RowFunction
    sum: RowFunction


@cache
def _fast() -> _Fast:
    return _Fast(*compiled(torch.device("cpu"), "training the head alone", _step, _step_back, _turn, _sum))


class _Linear(torch.autograd.Function):
    """A linear layer ``[N, I]`` to ``[N, O]`` in bfloat16 whose inputs need no gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inputs)
        return nn.functional.linear(inputs, weight.to(_BF16), bias.to(_BF16))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        gradient = gradients[0]
        return None, (_fast().turn(gradient) @ inputs).float(), _fast().sum(gradient)


_layer: Callable[..., torch.Tensor] = _Layer.apply  # type: ignore[assignment]
_linear: Callable[..., torch.Tensor] = _Linear.apply  # type: ignore[assignment]
