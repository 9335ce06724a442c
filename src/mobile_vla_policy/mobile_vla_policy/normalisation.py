"""Normalisation shared by training and driving: real units to [-1, 1] and back.

The 1 % and 99 % quantiles of the training split become -1 and 1 (as in openpi's quantile normalisation), so that a
few outliers do not squeeze everything else. The gripper of an action is 0 or 1 already and stays unchanged.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mobile_vla_data.action import GRIPPER, motion_columns

#: Below this spread [m, rad] a dimension is constant, such as delta_y of a base that cannot strafe.
_LEAST_SPREAD = 1e-4


class NormalisationError(ValueError):
    """Statistics are missing or malformed. The message is one line."""


@dataclass(frozen=True)
class Range:
    """Quantiles of every column but the gripper: metres, and radians for delta_yaw."""

    q01: tuple[float, ...]
    q99: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.q01, *self.q99))):
            raise NormalisationError(f"quantiles are {self.q01} and {self.q99}; they must be finite")
        if len(self.q01) != len(self.q99):
            raise NormalisationError(f"there are {len(self.q01)} quantiles of 1 % and {len(self.q99)} of 99 %")

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        """Map ``[..., columns]`` to about [-1, 1]; the gripper's column stays unchanged."""
        centre, half = self._centre_and_half(values)
        return (values - centre) / half

    def denormalise(self, values: torch.Tensor) -> torch.Tensor:
        """Invert :meth:`normalise`."""
        centre, half = self._centre_and_half(values)
        return values * half + centre

    def _centre_and_half(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return centre and half-width of each column; 0 and 1 for the gripper."""
        columns = motion_columns(like.shape[-1])
        if len(columns) != len(self.q01):
            raise NormalisationError(f"{like.shape[-1]} columns do not fit {len(self.q01)} quantiles and the gripper")
        centre, half = torch.zeros(like.shape[-1], dtype=like.dtype), torch.ones(like.shape[-1], dtype=like.dtype)
        low, high = torch.tensor(self.q01, dtype=like.dtype), torch.tensor(self.q99, dtype=like.dtype)
        centre[list(columns)] = (high + low) / 2
        half[list(columns)] = ((high - low) / 2).clamp(min=_LEAST_SPREAD)
        return centre.to(like.device), half.to(like.device)


@dataclass(frozen=True)
class Normalisation:
    """The ranges of actions (motion per control period) and of states (x, y in the odometry frame)."""

    action: Range
    state: Range

    def normalise_state(self, state: torch.Tensor) -> torch.Tensor:
        """Map states ``[..., 3]`` to about [-1, 1] in all columns, as the network reads them.

        The gripper's 0 .. 1 is stretched too: an input that is 0 half of the time is learned from half as fast.
        """
        normalised = self.state.normalise(state)
        normalised[..., GRIPPER] = normalised[..., GRIPPER] * 2 - 1
        return normalised

    def to_json(self) -> str:
        """Serialise to the text of a checkpoint's ``stats.json``."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> Normalisation:
        """Read a checkpoint's ``stats.json``; raises :class:`NormalisationError` naming file and field."""
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{name: _range(data[name]) for name in ("action", "state")})
        except FileNotFoundError:
            raise NormalisationError(f"{path}: missing; the checkpoint is incomplete, save it again") from None
        except NormalisationError as error:
            raise NormalisationError(f"{path}: {error}; the checkpoint is damaged, train it again") from None
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise NormalisationError(f"{path}: malformed statistics: {error!r}") from None


def _range(data: Any) -> Range:
    low, high = (tuple(float(value) for value in data[key]) for key in ("q01", "q99"))
    return Range(low, high)
