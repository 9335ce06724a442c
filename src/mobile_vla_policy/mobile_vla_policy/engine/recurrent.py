"""The head one frame at a time: what does not depend on the newest frame is computed before it comes.

With a window of 8 frames, 7 are known while the robot waits for the next one. Their LSTM state is computed then, and
the frame that arrives costs one step instead of eight.
"""

from __future__ import annotations

import torch

from mobile_vla_policy.model.head import ActionHead, LstmState


class RecurrentHead:
    """Runs an :class:`ActionHead` from an explicit LSTM state. Keeps nothing from one call to the next."""

    def __init__(self, head: ActionHead) -> None:
        self._head = head
        lstm = head.lstm
        self._weights = [
            [getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for layer in range(lstm.num_layers)
        ]

    def state_after(self, inputs: torch.Tensor) -> LstmState:
        """The LSTM's state after frames ``[n, input_size]``, from an empty one."""
        state: LstmState
        _, state = self._head.lstm(inputs[None])
        return state

    def chunk(self, newest: torch.Tensor, state: LstmState) -> torch.Tensor:
        """The chunk float32 ``[horizon, 3]`` of one more frame ``[input_size]``."""
        hidden = newest[None]
        for layer, weights in enumerate(self._weights):
            # Not through nn.LSTM: on a CPU it repacks all of its weights, which takes longer than this one step.
            hidden, _ = torch.lstm_cell(hidden, (state[0][layer], state[1][layer]), *weights)
        chunk: torch.Tensor = self._head.output(hidden)[0].unflatten(-1, (self._head.horizon, -1))
        return chunk.float()
