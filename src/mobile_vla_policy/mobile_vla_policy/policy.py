"""A trained policy, ready to drive: images, state and an instruction in, a chunk of future actions out.

The policy's memory is explicit: the LSTM inputs of the past frames. Each prediction runs the LSTM anew over the window
of what exists, at the stride it was trained with, so that the robot acts from the first frame and no state drifts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mobile_vla_data.contract import Contract
from mobile_vla_policy.checkpoint import CheckpointInfo, load_network, read_info, resolve
from mobile_vla_policy.config import PolicySettings
from mobile_vla_policy.model.backbone import Tokens
from mobile_vla_policy.model.lora import merge_lora
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.preprocess import Frame, FrameError, stack_cameras, to_float

#: Longer instructions than this are refused [tokens]; every one costs time in each step.
MAX_INSTRUCTION_TOKENS = 128


@dataclass(frozen=True)
class PredictedChunk:
    """The actions of the next ``horizon`` control periods."""

    deltas: npt.NDArray[np.float32]
    """float32 ``[horizon, 2]``: delta_x, delta_y [m] in the robot frame."""
    gripper: npt.NDArray[np.float32]
    """float32 ``[horizon]``: probability that the gripper is to be closed."""


@dataclass(frozen=True)
class PolicyMemory:
    """LSTM inputs of the past frames, oldest first, with the control period each was seen in."""

    inputs: tuple[torch.Tensor, ...] = ()
    """Each float ``[1024]``."""
    periods: tuple[int, ...] = ()
    """Control periods since the first frame."""


class Policy:
    """A network with its normalisation and contract. Use :meth:`load`. For one thread at a time."""

    def __init__(self, network: PolicyNetwork, info: CheckpointInfo, device: torch.device) -> None:
        self._network = network
        self._info = info
        self._device = device
        self._tokens: dict[str, Tokens] = {}
        self.stage_latency_s: dict[str, float] = {}
        """Seconds that each stage of the last prediction took, in the order in which they ran."""

    @classmethod
    def load(cls, checkpoint: str | Path, *, device: str = "auto", contract: Contract | None = None) -> Policy:
        """Load a checkpoint folder, or the best checkpoint of a training output folder.

        Args:
            checkpoint: the folder.
            device: auto (CUDA if there is one), cpu, cuda, cuda:1 ...
            contract: the robot's; a policy trained for another robot is refused.

        Raises:
            CheckpointError: the checkpoint is missing, incomplete or damaged.
            ContractError: the robot's contract differs in meaning; the message names the fields.
            BackboneError: base weights cannot be loaded.
        """
        info = read_info(resolve(checkpoint))
        if contract is not None:
            info.contract.require_same(contract, f"the checkpoint {info.folder}", "this robot")
        target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        network = load_network(info, _storage(info.settings, target)).to(target)
        if info.settings.lora.enabled and info.settings.backbone.load_in == "full":
            merge_lora(network.backbone)
        return cls(network.eval(), info, target)

    @property
    def contract(self) -> Contract:
        """The robot it was trained for."""
        return self._info.contract

    @property
    def config(self) -> PolicySettings:
        """The architecture; ``config.head`` has horizon, window and frame_stride."""
        return self._info.settings

    @property
    def horizon(self) -> int:
        """Actions in a chunk."""
        return self.config.head.horizon

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._device

    def initial_memory(self) -> PolicyMemory:
        """The memory before the first frame. Begin anew when the instruction changes."""
        return PolicyMemory()

    def check_instruction(self, instruction: str) -> str:
        """Why the instruction cannot be followed, in one line; empty when it can."""
        try:
            length = int(self._tokenise(instruction).lengths[0])
        except ValueError as error:
            return str(error)
        if length > MAX_INSTRUCTION_TOKENS:
            return f"the instruction has {length} tokens, at most {MAX_INSTRUCTION_TOKENS} are allowed; say it shorter"
        return ""

    @torch.inference_mode()
    def predict(
        self,
        images: Mapping[str, Frame],
        state: npt.NDArray[np.float32],
        instruction: str,
        memory: PolicyMemory,
        *,
        elapsed_periods: int = 1,
    ) -> tuple[PredictedChunk, PolicyMemory]:
        """Predict the next actions, from this control period on.

        Args:
            images: camera name -> RGB uint8 ``[h, w, 3]``.
            state: float32 ``[3]``: x [m], y [m], gripper 0 .. 1.
            instruction: what to do.
            memory: from :meth:`initial_memory`, or of the prediction before.
            elapsed_periods: control periods since the prediction before.

        Raises:
            FrameError: a camera's image is missing or malformed, or the state is not finite.
            ValueError: the instruction is empty.
        """
        began = time.perf_counter()
        head = self.config.head
        if not np.isfinite(state).all():
            raise FrameError(f"the state {state.tolist()} is not finite")
        stacked = stack_cameras(images, self.config.backbone.cameras, self._network.backbone.image_size)
        pixels = to_float(torch.from_numpy(stacked)[None].to(self._device))
        where = self._info.normalisation.normalise_state(torch.as_tensor(state, dtype=torch.float32))
        tokens = self._tokenise(instruction)
        prepared = self._now()
        features = self._network.backbone.encode(pixels, tokens)
        new_input = self._network.head.embed(features, where.to(self._device)[None])[0].float()
        seen = self._now()
        memory = remember(memory, new_input, elapsed_periods, (head.window - 1) * head.frame_stride)
        window = torch.stack([memory.inputs[i] for i in strided(memory.periods, head.window, head.frame_stride)])
        chunks, _ = self._network.head(window[None])
        chunk = self._info.normalisation.action.denormalise(chunks[0, -1].float().cpu())
        decided = self._now()
        self.stage_latency_s = {"preprocess": prepared - began, "backbone": seen - prepared, "head": decided - seen}
        deltas = chunk[:, :2].numpy().astype(np.float32)
        return PredictedChunk(deltas, torch.sigmoid(chunk[:, 2]).numpy().astype(np.float32)), memory

    def _tokenise(self, instruction: str) -> Tokens:
        if instruction not in self._tokens:
            self._tokens = {instruction: self._network.backbone.tokenise([instruction]).to(self._device)}
        return self._tokens[instruction]

    def _now(self) -> float:
        # CUDA runs behind: without waiting, the last stage would be charged with everybody's work.
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def remember(memory: PolicyMemory, new_input: torch.Tensor, elapsed_periods: int, span: int) -> PolicyMemory:
    """Add a frame's LSTM input, and forget what is more than ``span`` control periods old."""
    now = memory.periods[-1] + max(1, elapsed_periods) if memory.periods else 0
    first = next((i for i, period in enumerate(memory.periods) if period >= now - span), len(memory.periods))
    return PolicyMemory((*memory.inputs[first:], new_input), (*memory.periods[first:], now))


def strided(periods: tuple[int, ...], window: int, stride: int) -> list[int]:
    """Indices of the newest frame and of those 1, 2, ... strides before it, oldest first.

    A frame that was not seen (a slow policy skips control periods) is replaced by the newest one before it.
    """
    chosen = [len(periods) - 1]
    for step in range(1, window):
        wanted = periods[-1] - step * stride
        index = next((i for i in range(chosen[-1], -1, -1) if periods[i] <= wanted), None)
        if index is None:
            break
        chosen.append(index)
    return chosen[::-1]


def _storage(settings: PolicySettings, device: torch.device) -> torch.dtype:
    """How weights are stored: the small model in full precision, large ones in 16 bits."""
    if settings.backbone.kind == "kosmos2-tiny":
        return torch.float32
    return torch.float16 if device.type == "cuda" and not torch.cuda.is_bf16_supported() else torch.bfloat16
