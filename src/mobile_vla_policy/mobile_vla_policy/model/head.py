"""The action head: one frame's ACT state at a time through an LSTM to a chunk of future actions.

    ACT state -> linear 1024 [+ linear of the robot's state] -> LSTM 512 x 2 (dropout 0.1 between) -> linear 5 x 3
                                                                                  (5 x 4 with delta_yaw)

It predicts at every window position. The LSTM's state is an argument and a result, never hidden in the module, so
streaming one frame at a time equals the whole window.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mobile_vla_data.action import ACTION, GRIPPER, STATE
from mobile_vla_policy.config import Frozen

LstmState = tuple[torch.Tensor, torch.Tensor]
"""Hidden and cell state, each float ``[layers, B, hidden_size]``."""

#: What the head reads of the robot's state, and the columns of the state that these are.
StateInput = Literal["none", "gripper", "full"]
_COLUMNS: dict[StateInput, list[int]] = {"none": [], "gripper": [GRIPPER], "full": list(range(len(STATE)))}


class HeadSettings(Frozen):
    """The LSTM that turns a window of frames into chunks of actions."""

    input_size: int = Field(default=1024, ge=1)
    """The backbone's ACT state is projected to this size."""
    hidden_size: int = Field(default=512, ge=1)
    """Width of the LSTM."""
    layers: int = Field(default=2, ge=1)
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Between the LSTM layers."""
    window: int = Field(default=8, ge=1)
    """Frames the LSTM sees."""
    frame_stride: int = Field(default=1, ge=1)
    """Control periods between two frames of a window, in training and when driving."""
    horizon: int = Field(default=5, ge=1)
    """Future actions predicted at every window position."""
    state: StateInput = "none"
    """Robot state that the LSTM reads beside the ACT state: none, gripper (its position), or full (x, y and gripper).
    Use full only with odometry that is localised in a map: with any other, the policy learns a table from places to
    directions, which is wrong as soon as the robot is switched on elsewhere."""


class ActionHead(nn.Module):
    """Projection, LSTM and output layer."""

    def __init__(self, feature_size: int, settings: HeadSettings, action_dim: int = len(ACTION)) -> None:
        super().__init__()
        self.horizon, self.action_dim = settings.horizon, action_dim
        self.project = nn.Linear(feature_size, settings.input_size)
        self._columns = _COLUMNS[settings.state]
        self.project_state = nn.Linear(len(self._columns), settings.input_size) if self._columns else None
        self.lstm = nn.LSTM(
            settings.input_size,
            settings.hidden_size,
            settings.layers,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
            batch_first=True,
        )
        self.output = nn.Linear(settings.hidden_size, settings.horizon * action_dim)

    def embed(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return LSTM inputs ``[..., input_size]`` of ACT states ``[..., feature_size]`` and states ``[..., 3]``."""
        inputs: torch.Tensor = self.project(features.to(self.project.weight.dtype))
        if self.project_state is not None:
            inputs = inputs + self.project_state(state[..., self._columns].to(inputs.dtype))
        return inputs

    def forward(self, inputs: torch.Tensor, memory: LstmState | None = None) -> tuple[torch.Tensor, LstmState]:
        """Return chunks ``[B, W, horizon, action_dim]`` of inputs ``[B, W, input_size]``, and the LSTM's new state.

        The motion of an action is normalised, and its gripper is a logit.
        """
        hidden, memory = self.lstm(inputs, memory)
        return self.output(hidden).unflatten(-1, (self.horizon, self.action_dim)), memory


class HeadOnFeatures(nn.Module):
    """The part of the network behind the backbone, for training the head alone on features (stage 2)."""

    def __init__(self, head: ActionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return chunks ``[B, W, horizon, action_dim]`` of ACT states ``[B, W, hidden]`` and states ``[B, W, 3]``."""
        chunks: torch.Tensor
        chunks, _ = self.head(self.head.embed(features, state))
        return chunks


class RecurrentHead:
    """Runs an :class:`ActionHead` one frame at a time, from an explicit LSTM state. Keeps nothing between calls.

    With a window of 8 frames, 7 are known while the robot waits for the next one. Their LSTM state is computed then,
    and the frame that arrives costs one step instead of eight.
    """

    def __init__(self, head: ActionHead) -> None:
        self._head = head
        lstm = head.lstm
        self._weights = [
            [getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for layer in range(lstm.num_layers)
        ]

    def state_after(self, inputs: torch.Tensor) -> LstmState:
        """Return the LSTM's state after frames ``[n, input_size]``, from an empty state."""
        state: LstmState
        _, state = self._head.lstm(inputs[None])
        return state

    def chunk(self, newest: torch.Tensor, state: LstmState) -> torch.Tensor:
        """Return the chunk float32 ``[horizon, action_dim]`` of one more frame ``[input_size]``."""
        hidden = newest[None]
        for layer, weights in enumerate(self._weights):
            # Not nn.LSTM: on a CPU it repacks all of its weights, which takes longer than this one step.
            hidden, _ = torch.lstm_cell(hidden, (state[0][layer], state[1][layer]), *weights)
        chunk: torch.Tensor = self._head.output(hidden)[0].unflatten(-1, (self._head.horizon, -1))
        return chunk.float()
