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

from mobile_vla_policy.engine.cpu.compiling import RowFunction, compiled
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.training.packing import pack, packed_sizes, unpack

_BF16 = torch.bfloat16


class HeadOnFeatures(nn.Module):
    """Chunks of ACT states: the part of :class:`~mobile_vla_policy.model.network.PolicyNetwork` behind the backbone."""

    def __init__(self, head: ActionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor, state: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Chunks ``[B, W, horizon, 3]``; without meaning where a window has no step.

        Args:
            features: ACT states ``[rows, hidden]``, packed.
            state: normalised, ``[B, W, 3]``.
            valid: bool ``[B, W]``, the longest window first.
        """
        sizes = packed_sizes(valid)
        mixed = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == _BF16
        if features.device.type == "cpu" and mixed:
            return unpack(_chunks(self.head, features, pack(state, sizes), sizes), sizes, valid)
        chunks: torch.Tensor
        chunks, _ = self.head(self.head.embed(unpack(features, sizes, valid), state))
        return chunks


def _chunks(head: ActionHead, features: torch.Tensor, state: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Chunks ``[rows, horizon, 3]``; everything packed."""
    inputs = _linear(features.to(_BF16), head.project.weight, head.project.bias)
    if head.project_state is not None:
        inputs = inputs + head.project_state(state)
    lstm = head.lstm
    for layer in range(lstm.num_layers):
        if layer and head.training and lstm.dropout:
            inputs = _dropout(inputs, lstm.dropout)
        weights = (getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        inputs = _layer(inputs, weight_ih, weight_hh, bias_ih + bias_hh, sizes)
    chunks: torch.Tensor = head.output(inputs)
    return torch.unflatten(chunks, -1, (head.horizon, -1))


def _dropout(inputs: torch.Tensor, share: float) -> torch.Tensor:
    """Dropout from 16 random bits a value, in a tenth of the time of PyTorch's on a CPU."""
    words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    draws = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
    bound = round(share * 65536)
    keep = (draws >= bound - 32768).to(inputs.dtype)
    return inputs * keep.mul_(65536 / (65536 - bound))


class _Layer(torch.autograd.Function):
    """One LSTM layer over packed steps from an empty state: ``[rows, I]`` to ``[rows, H]``, bfloat16; cells float32."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight_ih: torch.Tensor,
        weight_hh: torch.Tensor,
        bias: torch.Tensor,
        sizes: list[int],
    ) -> torch.Tensor:
        size = weight_hh.shape[1]
        into, over = weight_ih.to(_BF16), weight_hh.to(_BF16)
        gates, hidden = nn.functional.linear(inputs, into), inputs.new_empty(len(inputs), size)
        cells, active = [torch.zeros(sizes[0], size)], []
        run, step_gates, step_hidden = _fast().step, gates.split(sizes), hidden.split(sizes)
        for t, count in enumerate(sizes):
            if t:
                step_gates[t].addmm_(step_hidden[t - 1][:count], over.t())
            active_now, cell = run(step_gates[t], bias, cells[t][:count], step_hidden[t])
            active.append(active_now)
            cells.append(cell)
        ctx.sizes = sizes
        ctx.save_for_backward(inputs, into, over, hidden, *active, *cells)
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        sizes: list[int] = ctx.sizes
        inputs, into, over, hidden, *rest = ctx.saved_tensors
        gates, cells = rest[: len(sizes)], rest[len(sizes) :]
        d_gates, d_hidden = hidden.new_empty(len(hidden), len(over)), gradients[0].to(_BF16).clone()
        # Of a window that is shorter than others, nothing has come back yet where they have steps and it has none.
        d_cell = torch.zeros(sizes[0], hidden.shape[1])
        run_back = _fast().step_back
        step_d_gates, step_d_hidden = d_gates.split(sizes), d_hidden.split(sizes)
        for t in range(len(sizes) - 1, -1, -1):
            count = sizes[t]
            now = (step_d_gates[t], step_d_hidden[t], d_cell[:count])
            run_back(*now, gates[t], cells[t][:count], cells[t + 1])
            if t:
                # In halves: oneDNN gives the whole of such a product to one thread.
                for part, weight in zip(step_d_hidden[t - 1][:count].chunk(2, 1), over.chunk(2, 1), strict=True):
                    part.addmm_(step_d_gates[t], weight)
        d_inputs = d_gates @ into if ctx.needs_input_grad[0] else None
        turned, summed = _fast().turn(d_gates), _fast().sum(d_gates)
        before = torch.cat([hidden[:0], *(x[:count] for x, count in zip(hidden.split(sizes), sizes[1:], strict=False))])
        d_into, d_over = turned @ inputs, turned[:, sizes[0] :] @ before
        return d_inputs, d_into.float(), d_over.float(), summed, None


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    # Compiled, powers of two take half the time of torch's own functions; the error is far below bfloat16's.
    return 1 / (1 + torch.exp2(-math.log2(math.e) * x))


def _tanh(x: torch.Tensor) -> torch.Tensor:
    return 2 * _sigmoid(2 * x) - 1


def _step(
    gates: torch.Tensor, bias: torch.Tensor, before: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of all windows behind its products, gates ``[B, 4 H]``: the active gates and cells; fills ``hidden``."""
    enter, keep, new, out = (gates.float() + bias).chunk(4, dim=1)
    enter, keep, new, out = _sigmoid(enter), _sigmoid(keep), _tanh(new), _sigmoid(out)
    after = enter * new + keep * before
    hidden.copy_(out * _tanh(after))
    return _cat(enter, keep, new, out), after


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
    d_cell.copy_(d_after * keep)
    d_gates.copy_(_cat(d_enter, d_keep, d_new, d_out * squashed * out * (1 - out)))


def _cat(*gates: torch.Tensor) -> torch.Tensor:
    # Rounded first: the compiler puts the parts together in memory.
    return torch.cat([gate.to(_BF16) for gate in gates], dim=1)


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
