"""policy_node with a policy whose behaviour is chosen on the command line: a test's way to make inference misbehave.

    python scripted_policy_node.py BEHAVIOUR --ros-args ...

BEHAVIOUR is one or more of these, joined by commas: ``slow=SECONDS`` (each pass sleeps), ``load=SECONDS`` (loading
sleeps), ``nan`` and ``nan-gripper`` (from the fifth pass on), ``raise`` (from the fifth pass on), ``stuck`` (the fifth
pass never returns), ``echo-length`` (delta_x is the instruction's length in millimetres), ``echo-x`` (delta_x is a
hundredth of the odometry's x), ``undecided`` (the gripper opens, and from the fifth pass on says nothing about it),
``arrives`` (stands still from the fifteenth pass on), ``no-maps`` (it has no heatmaps),
``count`` (prints how many policies of before are still in memory when one is loaded), ``no-timer`` (activation fails
at its end).
"""

from __future__ import annotations

import sys
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_policy.node.drive import Drive
from mobile_vla_policy.node.policy_node import main

HORIZON = 5
DELTA_X, DELTA_Y, GRIPPER = 0.03, -0.01, 0.9


@dataclass(frozen=True)
class Chunk:
    deltas: np.ndarray
    gripper: np.ndarray


@dataclass(frozen=True)
class Maps:
    target: np.ndarray
    robot: np.ndarray


class ScriptedPolicy:
    def __init__(self, contract: Contract, behaviours: dict[str, str]) -> None:
        self.contract, self.horizon, self.cameras = contract, HORIZON, tuple(contract.cameras)
        self.stage_latency_s = {"preprocess": 0.001, "vision": 0.001, "text": 0.001, "head": 0.001}
        self._behaviours, self._passes = behaviours, 0

    def initial_memory(self) -> int:
        return 0

    def check_instruction(self, instruction: str) -> str:
        return f"'{instruction}' is beyond me" if "impossible" in instruction else ""

    def predict(
        self, images: Any, state: np.ndarray, instruction: str, memory: int, *, elapsed_periods: int = 1
    ) -> tuple[Chunk, int]:
        assert images["static"].shape == (224, 224, 3) and state.shape == (3,)
        self._passes += 1
        time.sleep(float(self._behaviours.get("slow", 0.0)))
        delta_x = len(instruction) * 1e-3 if "echo-length" in self._behaviours else DELTA_X
        delta_x = float(state[0]) * 1e-2 if "echo-x" in self._behaviours else delta_x
        deltas = np.tile(np.float32([delta_x, DELTA_Y]), (HORIZON, 1))
        gripper = np.full(HORIZON, 0.1 if "undecided" in self._behaviours else GRIPPER, dtype=np.float32)
        if "arrives" in self._behaviours and self._passes >= 15:
            deltas[:] = 0.0
        if self._passes >= 5:
            self._misbehave(deltas, gripper)
        return Chunk(deltas, gripper), memory + 1

    def prepare(self, memory: int) -> None:
        pass

    def maps(self) -> Maps | None:
        print("heatmaps are computed", flush=True)
        if "no-maps" in self._behaviours:
            return None
        target, robot = np.zeros((2, 28, 28), np.float32)
        target[3, 20], target[4, 20], robot[14, 7] = 0.5, 0.25, 1.0
        return Maps(target, robot)

    def _misbehave(self, deltas: np.ndarray, gripper: np.ndarray) -> None:
        if "undecided" in self._behaviours:
            gripper[:] = 0.5
        if "nan" in self._behaviours:
            deltas[2, 1] = np.nan
        if "nan-gripper" in self._behaviours:
            gripper[0] = np.nan
        if "raise" in self._behaviours:
            raise RuntimeError("the network has come undone")
        if "stuck" in self._behaviours:
            time.sleep(1e6)


BEHAVIOURS = dict(item.partition("=")[::2] for item in sys.argv[1].split(","))
LOADED: weakref.WeakSet[ScriptedPolicy] = weakref.WeakSet()


def load(_checkpoint: Path, _device: str, contract: Contract) -> ScriptedPolicy:
    if "count" in BEHAVIOURS:
        print(f"policies in memory: {len(LOADED)}", flush=True)
    time.sleep(float(BEHAVIOURS.get("load", 0.0)))
    policy = ScriptedPolicy(contract, BEHAVIOURS)
    LOADED.add(policy)
    return policy


def no_timer(drive: Drive, instruction: str, _rate_hz: float) -> None:
    drive.driver.start()
    drive.driver.follow(instruction)
    raise OSError("there are no timers left")


if __name__ == "__main__":
    if "no-timer" in BEHAVIOURS:
        Drive.begin = no_timer  # type: ignore[method-assign]
    main(load)
