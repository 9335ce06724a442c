"""A trained policy, ready to drive: images, state and an instruction in, a chunk of future actions out.

The policy's memory is explicit: the LSTM inputs of past frames. Each prediction runs the LSTM from an empty state over
the window so far, at the stride of training, so that the robot acts from the first frame and no state drifts. All steps
but that of the newest frame can run while the robot waits for it (:meth:`Policy.prepare`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mobile_vla_data.action import gripper, motion
from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.maps import side_of
from mobile_vla_policy.backbones.tokenizer import MAX_INSTRUCTION_TOKENS, InstructionCache, Tokens, load_tokenizer
from mobile_vla_policy.checkpoint import CheckpointInfo
from mobile_vla_policy.engine.protocol import Engine
from mobile_vla_policy.engine.stages import HEAD, TEXT, VISION
from mobile_vla_policy.model.head import LstmState
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.preprocess import Frame, FrameError, stack_cameras, to_float


@dataclass(frozen=True)
class PredictedChunk:
    """The actions of the next ``horizon`` control periods."""

    actions: npt.NDArray[np.float32]
    """float32 ``[horizon, 3 or 4]``, in the columns of :mod:`mobile_vla_data.action`; the gripper is the probability
    that it is to be closed."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon, 2 or 3]``: delta_x, delta_y [m] in the robot frame and, if trained, delta_yaw [rad]."""
        return np.asarray(motion(self.actions))

    @property
    def gripper(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon]``: probability that the gripper is to be closed."""
        return np.asarray(gripper(self.actions))


@dataclass(frozen=True)
class PredictedMaps:
    """Where the policy believes things are in the first camera's image: probabilities over a square grid of cells."""

    target: npt.NDArray[np.float32]
    """float32 ``[side, side]``, upper row first: the instructed target is in this cell."""
    robot: npt.NDArray[np.float32] | None
    """float32 ``[side, side]``: the robot is in this cell; None if the policy does not look for it."""


@dataclass(frozen=True)
class PolicyMemory:
    """LSTM inputs of past frames, oldest first, with the control period of each."""

    inputs: tuple[torch.Tensor, ...] = ()
    """Each float ``[1024]``."""
    periods: tuple[int, ...] = ()
    """Control periods since the first frame."""


@dataclass(frozen=True)
class _Past:
    """The LSTM's state after the frames before the newest."""

    inputs: tuple[torch.Tensor, ...]
    state: LstmState

    def is_of(self, inputs: list[torch.Tensor]) -> bool:
        """Return whether the state comes from exactly these LSTM inputs."""
        return len(inputs) == len(self.inputs) and all(a is b for a, b in zip(inputs, self.inputs, strict=True))


class Policy:
    """An engine with its memory, normalisation and contract. Use :func:`mobile_vla_policy.load_policy.load_policy`.

    For one thread at a time, except :meth:`check_instruction` and :meth:`instruction_length`.
    """

    def __init__(self, engine: Engine, info: CheckpointInfo) -> None:
        self.engine = engine
        """The engine that runs the network."""
        self._info = info
        self._tokenizer = InstructionCache(load_tokenizer(info.folder))
        self._tokenising = threading.Lock()
        self._followed: tuple[str, Tokens] | None = None
        """The instruction of the last prediction, padded and on the device; only predictions use it."""
        self._past: _Past | None = None
        self._seen: tuple[torch.Tensor, Tokens] | None = None
        """Latents and instruction of the last prediction."""
        self.stage_latency_s: dict[str, float] = {}
        """Duration of each stage of the last prediction, in order [s]."""

    @property
    def contract(self) -> Contract:
        """Contract of the robot that it was trained for."""
        return self._info.contract

    @property
    def config(self) -> PolicySettings:
        """Settings of the network; ``config.head`` has horizon, window and frame_stride."""
        return self._info.settings

    @property
    def normalisation(self) -> Normalisation:
        """Ranges of actions and states."""
        return self._info.normalisation

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that it uses."""
        return self.config.backbone.cameras

    @property
    def horizon(self) -> int:
        """Actions in a chunk."""
        return self.config.head.horizon

    @property
    def device(self) -> torch.device:
        """Device that it runs on."""
        return self.engine.device

    def initial_memory(self) -> PolicyMemory:
        """Return the memory before the first frame. Start with a new one when the instruction changes."""
        return PolicyMemory()

    def check_instruction(self, instruction: str) -> str:
        """Return why the instruction cannot be followed, in one line; empty if it can. Callable from any thread."""
        try:
            length = self.instruction_length(instruction)
        except ValueError as error:
            return str(error)
        if length > self.max_instruction_tokens:
            exported = self.engine.shape.instruction_tokens and length <= MAX_INSTRUCTION_TOKENS
            advice = "shorten it" + (f", or export with --tokens {length}" if exported else "")
            return f"the instruction has {length} tokens, at most {self.max_instruction_tokens} are allowed; {advice}"
        return ""

    def instruction_length(self, instruction: str) -> int:
        """Return its number of tokens. Raises ValueError if it is empty. Callable from any thread."""
        return int(self._tokenise(instruction).lengths[0])

    @property
    def max_instruction_tokens(self) -> int:
        """Longest instruction that it can follow [tokens]."""
        return self.engine.shape.instruction_tokens or MAX_INSTRUCTION_TOKENS

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
            instruction: for example 'go to the kitchen'.
            memory: from :meth:`initial_memory` or the previous prediction.
            elapsed_periods: control periods since the previous prediction.

        Raises:
            FrameError: a camera's image is missing or malformed, or the state is not finite.
            ValueError: the instruction is empty.
        """
        began = time.perf_counter()
        head = self.config.head
        if not np.isfinite(state).all():
            raise FrameError(f"the state {state.tolist()} is not finite")
        engine, device = self.engine, self.engine.device
        stacked = stack_cameras(images, self.config.backbone.cameras, engine.shape.image_size)
        pixels = to_float(torch.from_numpy(stacked).to(device))
        where = self._info.normalisation.normalise_state(torch.as_tensor(state, dtype=torch.float32)).to(device)
        tokens = self._follow(instruction)
        prepared = self._now()
        latents = engine.see(pixels)
        self._seen = latents, tokens
        seen = self._now()
        new_input = engine.read(latents, tokens, where)
        read = self._now()
        memory = remember(memory, new_input, elapsed_periods, (head.window - 1) * head.frame_stride)
        chunk = self._info.normalisation.action.denormalise(self._act(self._window(memory)).cpu())
        decided = self._now()
        self.stage_latency_s = {
            "preprocess": prepared - began,
            VISION: seen - prepared,
            TEXT: read - seen,
            HEAD: decided - read,
        }
        set_gripper_probability(chunk, self._info.contract)
        return PredictedChunk(chunk.numpy().astype(np.float32)), memory

    @torch.inference_mode()
    def prepare(self, memory: PolicyMemory) -> None:
        """Compute the part of the next prediction that depends on past frames only.

        It changes no result, only when the work is done. Without it, or if the next frame comes in another period,
        :meth:`predict` does all of the work.
        """
        recurrent, head = self.engine.recurrent, self.config.head
        if recurrent is None or not memory.inputs:
            return
        expected = remember(memory, memory.inputs[-1], 1, (head.window - 1) * head.frame_stride)
        *past, _ = self._window(expected)
        self._past = _Past(tuple(past), recurrent.state_after(torch.stack(past))) if past else None

    @torch.inference_mode()
    def maps(self) -> PredictedMaps | None:
        """Return the heatmaps of the last prediction; None without one, or from a policy without heatmaps.

        They are computed once more, because a policy that only drives never returns them.
        """
        maps = self.engine.maps(*self._seen) if self._seen is not None else None
        if maps is None:
            return None
        return PredictedMaps(_grid(maps.target), None if maps.robot is None else _grid(maps.robot))

    def _window(self, memory: PolicyMemory) -> list[torch.Tensor]:
        head = self.config.head
        return [memory.inputs[i] for i in strided(memory.periods, head.window, head.frame_stride)]

    def _act(self, window: list[torch.Tensor]) -> torch.Tensor:
        past, recurrent = self._past, self.engine.recurrent
        if past is not None and recurrent is not None and past.is_of(window[:-1]):
            return recurrent.chunk(window[-1], past.state)
        return self.engine.act(torch.stack(window))

    def _follow(self, instruction: str) -> Tokens:
        if self._followed is None or self._followed[0] != instruction:
            tokens = self.engine.pad(self._tokenise(instruction)).to(self.engine.device)
            self._followed = (instruction, tokens)
        return self._followed[1]

    def _tokenise(self, instruction: str) -> Tokens:
        # Hugging Face's fast tokenizers raise 'Already borrowed' at times when two threads use one.
        with self._tokenising:
            return self._tokenizer([instruction])

    def _now(self) -> float:
        # CUDA runs asynchronously: without waiting, the last stage would be charged with the work of all.
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        return time.perf_counter()


def _grid(logits: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return probabilities ``[side, side]`` of logits ``[1, side * side]``."""
    side = side_of(logits.shape[1])
    shares: npt.NDArray[np.float32] = logits[0].float().softmax(0).reshape(side, side).cpu().numpy()
    return shares


def set_gripper_probability(chunks: torch.Tensor, contract: Contract) -> None:
    """Turn the gripper's logits in float ``[..., 3 or 4]`` into probabilities of being closed; 0 without a gripper."""
    if contract.has_gripper:
        gripper(chunks).sigmoid_()
    else:
        gripper(chunks).zero_()


def remember(memory: PolicyMemory, new_input: torch.Tensor, elapsed_periods: int, span: int) -> PolicyMemory:
    """Add a frame's LSTM input, and forget inputs more than ``span`` control periods old."""
    now = memory.periods[-1] + max(1, elapsed_periods) if memory.periods else 0
    first = next((i for i, period in enumerate(memory.periods) if period >= now - span), len(memory.periods))
    return PolicyMemory((*memory.inputs[first:], new_input), (*memory.periods[first:], now))


def strided(periods: tuple[int, ...], window: int, stride: int) -> list[int]:
    """Return the indices of the newest frame and of those 1, 2, ... strides before it, oldest first.

    A missing frame (a slow policy skips control periods) is replaced by the newest one before it.
    """
    chosen = [len(periods) - 1]
    for step in range(1, window):
        wanted = periods[-1] - step * stride
        index = next((i for i in range(chosen[-1], -1, -1) if periods[i] <= wanted), None)
        if index is None:
            break
        chosen.append(index)
    return chosen[::-1]
