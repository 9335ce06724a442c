"""One inference step on an accelerator: ways to run it beside the products of its shapes, and what they predict.

Every function takes a device, so that the tests run it on the CPU with a small network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from common import Figure
from full_size import step_of, tell

from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.benchmark.products import kosmos2_products, runner
from mobile_vla_policy.engine.optimise import Precision, optimise
from mobile_vla_policy.model.network import PolicyNetwork

PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "int8")
OVER_PRODUCTS = "<= 1.3"
#: Percent; what test_engine_optimise.py allows 16-bit and int8 networks on the CPU. At full size: 0.5 and 1.5.
PARITY = "<= 5"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_WARM_UP = 3

Way = Callable[[], object]


def step_figures(
    network: PolicyNetwork,
    images: torch.Tensor,
    tokens: Tokens,
    turns: int,
    precisions: Sequence[Precision] = PRECISIONS,
) -> list[Figure]:
    """Time each precision, with and without a CUDA graph, beside the products alone, in turns.

    The network may be on the CPU; the inputs are on the device that is measured. One precision is there at a time, so
    that 16 GB suffice. What this device cannot run is left out with a line on standard error. Ratios are of times
    within one turn.
    """
    figures: list[Figure] = []
    for precision in precisions:
        try:
            figures += _figures_of(network, precision, images, tokens, turns)
        except RuntimeError as error:
            tell(f"{precision} does not run on {images.device}: {one_line(error)}")
        if images.device.type == "cuda":
            torch.cuda.empty_cache()
    return figures


def _figures_of(
    network: PolicyNetwork, precision: Precision, images: torch.Tensor, tokens: Tokens, turns: int
) -> list[Figure]:
    device = images.device
    # Copied outside of inference mode, whose tensors cannot be changed later.
    step = partial(step_of, optimise(deepcopy(network).to(device), precision), images, tokens)
    limit = "fp16" if precision == "fp16" else "bf16"
    makers: dict[str, Callable[[], Way]] = {f"step {precision}": lambda: step}
    if device.type == "cuda":
        makers[f"step {precision}, CUDA graph"] = partial(graphed, step)
    products = f"products {limit} beside {precision}"
    makers[products] = partial(_products, network, images, tokens, _DTYPES[limit])
    ways: dict[str, Way] = {}
    with torch.inference_mode():
        for name, make in makers.items():
            _add(ways, name, make)
        times = in_turns(ways, device, turns)
    figures = [Figure(f"{name}, median", median(taken), "s") for name, taken in times.items()]
    if products in times:
        goal = OVER_PRODUCTS if device.type == "cuda" else ""
        for name in [name for name in ways if name != products]:
            ratio = median(one / other for one, other in zip(times[name], times[products], strict=True))
            figures.append(Figure(f"{name} over its products", ratio, "x", goal))
    return figures


def parity_figures(
    network: PolicyNetwork,
    frames: Sequence[torch.Tensor],
    tokens: Tokens,
    device: torch.device,
    precisions: Sequence[Precision] = PRECISIONS,
) -> list[Figure]:
    """Deviation of the actions on ``device`` from those of the same network on the CPU, in percent of their norm."""
    figures = []
    expected = _actions(network, frames, tokens, torch.device("cpu"))
    for precision in precisions:
        try:
            found = _actions(optimise(deepcopy(network).to(device), precision), frames, tokens, device)
        except RuntimeError as error:
            tell(f"{precision} does not run on {device}: {one_line(error)}")
            continue
        percent = 100 * float((found - expected).norm() / expected.norm())
        figures.append(Figure(f"actions {precision} on {device.type}, from those on the CPU", percent, "%", PARITY))
    return figures


def in_turns(ways: Mapping[str, Way], device: torch.device, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each way, one per turn, after a warm-up; the device is idle before and after each."""
    for run in ways.values():
        for _ in range(_WARM_UP):
            run()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, run in ways.items():
            synchronise(device)
            began = time.perf_counter()
            run()
            synchronise(device)
            taken[name].append(time.perf_counter() - began)
    return taken


def graphed(run: Way) -> Way:
    """Return a replay of ``run`` captured as a CUDA graph: one launch instead of hundreds."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_line(error: Exception) -> str:
    """Return the first line of an error, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _add(ways: dict[str, Way], name: str, make: Callable[[], Way]) -> None:
    try:
        run = make()
        run()
    except RuntimeError as error:
        tell(f"{name}: does not run here: {one_line(error)}")
        return
    ways[name] = run


@torch.inference_mode()
def _actions(
    network: PolicyNetwork, frames: Sequence[torch.Tensor], tokens: Tokens, device: torch.device
) -> torch.Tensor:
    chunks = [step_of(network, frame.to(device), tokens.to(device)) for frame in frames]
    return torch.stack(chunks).float().cpu()


def _products(network: PolicyNetwork, images: torch.Tensor, tokens: Tokens, dtype: torch.dtype) -> Way:
    assert isinstance(network.backbone, Kosmos2Backbone)
    shapes = kosmos2_products(network.backbone.model.config, images.shape[1], tokens.ids.shape[1])
    return runner(shapes, dtype, images.device)
