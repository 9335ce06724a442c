"""Compares threads that sleep while they wait, the default here, with threads that spin (OMP_WAIT_POLICY).

OpenMP reads the variable once, so each way has its own processes, which take turns. What spinning costs beside
another busy process is not measured here: start this script next to one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median

import model_stage2
import torch
from common import Figure
from full_size import figures_of_process, network_and_input, step_of, straightforward_way, tell, time_of

from mobile_vla_policy.engine.optimise import optimise

#: Value of the variable, and what a figure calls it.
_WAYS = {"PASSIVE": "threads sleep", "ACTIVE": "threads spin"}


def measure(quick: bool) -> list[Figure]:
    """Medians over the turns."""
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in _WAYS}
    for turn in range(1 if quick else 3):
        for way in _WAYS:
            tell(f"turn {turn + 1}, {_WAYS[way]}")
            environment = {**os.environ, "OMP_WAIT_POLICY": way}
            taken[way].append(figures_of_process(Path(__file__), *(["--quick"] if quick else []), env=environment))
    units = {
        "stage 2": "windows/s",
        "inference step bf16": "s",
        "inference step int8": "s",
        "straightforward way over bf16": "x",
        "straightforward way over int8": "x",
    }
    return [
        Figure(f"{called}: {name}", median(turn[name] for turn in taken[way]), unit)
        for name, unit in units.items()
        for way, called in _WAYS.items()
    ]


def one_way(quick: bool) -> dict[str, float]:
    """In this process: stage 2, then full-size inference in turns with the straightforward way."""
    (rate,) = (figure.value for figure in model_stage2.measure(quick))
    network, images, tokens = network_and_input()
    bf16, int8 = optimise(deepcopy(network), "bf16"), optimise(deepcopy(network), "int8")
    runs: dict[str, Callable[[], object]] = {
        "bf16": lambda: step_of(bf16, images, tokens),
        "int8": lambda: step_of(int8, images, tokens),
        "plain": straightforward_way(network, images, tokens),
    }
    with torch.inference_mode():
        # The first allocates and compiles.
        turns = [{name: time_of(run) for name, run in runs.items()} for _ in range(4 if quick else 13)][1:]
    return {
        "stage 2": rate,
        **{f"inference step {name}": median(turn[name] for turn in turns) for name in ("bf16", "int8")},
        **{
            f"straightforward way over {name}": median(turn["plain"] / turn[name] for turn in turns)
            for name in ("bf16", "int8")
        },
    }


if __name__ == "__main__":
    print(json.dumps(one_way("--quick" in sys.argv)))
