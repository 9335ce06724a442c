"""One small pair of functions shared by training and driving: real units to [-1, 1] and back.

The 1 % and 99 % quantiles of the training split become -1 and 1 (as in openpi's quantile normalisation), so that a
few outliers do not squeeze everything else. An action's gripper is 0 or 1 already and left alone.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

#: Below this spread [m] a dimension is constant, such as delta_y of a base that cannot strafe.
_LEAST_SPREAD_M = 1e-4


class NormalisationError(ValueError):
    """Statistics are missing or malformed. The message is one line."""


@dataclass(frozen=True)
class Range:
    """Quantiles of two dimensions (x and y) in metres."""

    q01: tuple[float, float]
    q99: tuple[float, float]

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.q01, *self.q99))):
            raise NormalisationError(f"quantiles are {self.q01} and {self.q99}; they must be finite")

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        """Map the first two of the last dimension ``[..., >=2]`` from metres to about [-1, 1]; leave the rest."""
        centre, half = self._centre_and_half(values)
        return torch.cat([(values[..., :2] - centre) / half, values[..., 2:]], dim=-1)

    def denormalise(self, values: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`normalise`."""
        centre, half = self._centre_and_half(values)
        return torch.cat([values[..., :2] * half + centre, values[..., 2:]], dim=-1)

    def _centre_and_half(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = torch.tensor(self.q01, dtype=like.dtype, device=like.device)
        high = torch.tensor(self.q99, dtype=like.dtype, device=like.device)
        return (high + low) / 2, ((high - low) / 2).clamp(min=_LEAST_SPREAD_M)


@dataclass(frozen=True)
class Normalisation:
    """The ranges of actions (delta_x, delta_y per control period) and states (x, y in the odometry frame)."""

    action: Range
    state: Range

    def normalise_state(self, state: torch.Tensor) -> torch.Tensor:
        """States ``[..., 3]`` as the network sees them: all three within about [-1, 1].

        The gripper's 0 .. 1 is stretched too: an input that is 0 half of the time is learned from half as fast.
        """
        return torch.cat([self.state.normalise(state)[..., :2], state[..., 2:] * 2 - 1], dim=-1)

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
    low, high = ([float(value) for value in data[key]] for key in ("q01", "q99"))
    if len(low) != 2 or len(high) != 2:
        raise ValueError(f"expected 2 quantiles, got {len(low)} and {len(high)}")
    return Range((low[0], low[1]), (high[0], high[1]))
