"""The head alone on features, as stage 2 trains it; on a CPU in bfloat16 with an LSTM of its own.

PyTorch hands an LSTM on a CPU to oneDNN, whose backward pass in bfloat16 is slower than in float32. Written out in
matrix products, forward and backward, the same LSTM is over twice as fast; parameters, results and gradients are those
of the head's ``nn.LSTM``, up to the rounding of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mobile_vla_policy.model.head import ActionHead

_BF16 = torch.bfloat16
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


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
    # Time first, so that one step of all windows is one block of memory.
    seen = features.transpose(0, 1).to(_BF16).contiguous()
    inputs = _linear(seen.flatten(0, 1), head.project.weight, head.project.bias).unflatten(0, seen.shape[:2])
    if head.project_state is not None:
        inputs = inputs + head.project_state(state.transpose(0, 1))
    lstm = head.lstm
    for layer in range(lstm.num_layers):
        if layer and head.training and lstm.dropout:
            inputs = _dropout(inputs, lstm.dropout)
        weights = (getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        inputs = _layer(inputs.contiguous(), weight_ih, weight_hh, bias_ih + bias_hh)
    flat: torch.Tensor = head.output(inputs)
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
        gates = nn.functional.linear(inputs.flatten(0, 1), into, bias.to(_BF16)).view(steps, count, 4 * size)
        hidden, squashed = inputs.new_empty(steps, count, size), inputs.new_empty(steps, count, size)
        cells = torch.empty(steps, count, size)
        for t in range(steps):
            if t:
                gates[t].addmm_(hidden[t - 1], over.t())
            enter, keep, new, out = gates[t].chunk(4, dim=1)
            gates[t, :, : 2 * size].sigmoid_()
            new.tanh_()
            out.sigmoid_()
            torch.mul(enter, new, out=cells[t])
            if t:
                cells[t].addcmul_(keep, cells[t - 1])
            squashed[t].copy_(cells[t]).tanh_()
            torch.mul(out, squashed[t], out=hidden[t])
        ctx.save_for_backward(inputs, into, over, gates, hidden, cells, squashed)
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, into, over, gates, hidden, cells, squashed = ctx.saved_tensors
        steps, count, size = hidden.shape
        d_gates = torch.empty_like(gates)
        before = cells[:-1].to(_BF16)
        d_cell, work = torch.zeros(count, size, dtype=_BF16), torch.empty(count, size, dtype=_BF16)
        d_hidden = gradients[0].to(_BF16).clone()
        for t in range(steps - 1, -1, -1):
            enter, keep, new, out = gates[t].chunk(4, dim=1)
            d_enter, d_keep, d_new, d_out = d_gates[t].chunk(4, dim=1)
            torch.mul(d_hidden[t], out, out=work)
            d_cell.add_(_tanh_backward(work, squashed[t], grad_input=work))
            _sigmoid_backward(torch.mul(d_hidden[t], squashed[t], out=work), out, grad_input=d_out)
            _sigmoid_backward(torch.mul(d_cell, new, out=work), enter, grad_input=d_enter)
            _tanh_backward(torch.mul(d_cell, enter, out=work), new, grad_input=d_new)
            if t:
                _sigmoid_backward(torch.mul(d_cell, before[t - 1], out=work), keep, grad_input=d_keep)
                d_hidden[t - 1].addmm_(d_gates[t], over)
                d_cell.mul_(keep)
            else:
                d_keep.zero_()
        flat = d_gates.flatten(0, 1)
        d_inputs = (flat @ into).view_as(inputs) if ctx.needs_input_grad[0] else None
        turned = flat.t().contiguous()
        d_into = turned @ inputs.flatten(0, 1)
        d_over = turned[:, count:] @ hidden[:-1].flatten(0, 1)
        return d_inputs, d_into.float(), d_over.float(), turned.sum(1, dtype=torch.float32)


class _Linear(torch.autograd.Function):
    """A linear layer ``[N, I]`` to ``[N, O]`` in bfloat16 whose inputs need no gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inputs)
        return nn.functional.linear(inputs, weight.to(_BF16), bias.to(_BF16))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        # oneDNN multiplies a transposed left side at less than half its pace: it pays to turn it round first.
        turned = gradients[0].t().contiguous()
        return None, (turned @ inputs).float(), turned.sum(1, dtype=torch.float32)


_layer: Callable[..., torch.Tensor] = _Layer.apply  # type: ignore[assignment]
_linear: Callable[..., torch.Tensor] = _Linear.apply  # type: ignore[assignment]
