"""Measurements as a table, backends side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mobile_vla_policy.benchmark.measure import BenchmarkResult


def print_results(results: Sequence[BenchmarkResult], console: Console) -> None:
    """Print one column per backend; times in milliseconds, median / 99th percentile."""
    measured = [result for result in results if not result.error]
    if measured:
        console.print(_table(measured))
        first = measured[0]
        threads = f"{first.threads} thread{'s' if first.threads > 1 else ''}"
        console.print(f"{first.device}, {threads}, {first.steps} steps; times in ms, median / p99")
    for result in results:
        if result.error:
            console.print(f"{result.backend}: {result.error}", soft_wrap=True)


def _table(results: Sequence[BenchmarkResult]) -> Table:
    table = Table()
    table.add_column("", no_wrap=True)
    for result in results:
        table.add_column(f"{result.backend} {result.precision}", justify="right", no_wrap=True)
    for stage in results[0].stages_s:
        cells = [result.stages_s[stage] for result in results]
        table.add_row(stage, *(f"{1e3 * p50:.1f} / {1e3 * p99:.1f}" for p50, p99 in cells))
    table.add_row("steps/s", *(f"{result.rate_hz:.1f}" for result in results))
    limits = [result.products_s for result in results]
    table.add_row("products alone", *("-" if limit is None else f"{1e3 * limit:.1f}" for limit in limits))
    table.add_row("total over products", *(_over(result) for result in results))
    table.add_row("peak memory [MB]", *(f"{result.peak_memory_bytes / 1e6:.0f}" for result in results))
    table.add_row("load, in s", *(f"{result.load_s:.1f}" for result in results))
    return table


def _over(result: BenchmarkResult) -> str:
    if result.products_s is None:
        return "-"
    return f"{result.stages_s['total'][0] / result.products_s:.2f}"
