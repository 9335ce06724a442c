"""Success rates of trials with their 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_Z = 1.959964
"""97.5 % quantile of the normal distribution."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a success rate (Wilson, 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, _Z * _Z
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    # Exact at the ends, where the formula leaves a rounding error.
    return (0.0 if successes == 0 else max(0.0, middle - half)), (
        1.0 if successes == trials else min(1.0, middle + half)
    )


def rate(outcomes: Iterable[bool]) -> dict[str, Any]:
    """Return trials, successes, success rate and its 95 % interval."""
    found = list(outcomes)
    low, high = wilson(sum(found), len(found))
    return {
        "trials": len(found),
        "successes": sum(found),
        "success_rate": round(sum(found) / len(found), 4) if found else 0.0,
        "interval_95": [round(low, 4), round(high, 4)],
    }
