"""The tiny policy alone, without ROS: every backend side by side, on the cores policy_node would take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Figure


def measure(checkpoint: Path, quick: bool) -> list[Figure]:
    """Through ``mobile-vla-policy benchmark``: each backend in its own process, exports made again."""
    with tempfile.TemporaryDirectory(prefix="bench_backends_") as cache:
        environment = {**os.environ, "MOBILE_VLA_CACHE": cache}
        environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
        command = [sys.executable, "-m", "mobile_vla_policy.cli", "benchmark", str(checkpoint), "--backend", "all"]
        command += ["--steps", "100" if quick else "500", "--json"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures = []
    for result in json.loads(done.stdout):
        if result["error"]:
            raise RuntimeError(f"backend {result['backend']}: {result['error']}")
        name = f"backend {result['backend']} {result['precision']}"
        p50_s, p99_s = result["stages_s"]["total"]
        figures += [
            Figure(f"{name}: steps", result["rate_hz"], "1/s"),
            Figure(f"{name}: step, p50", 1e3 * p50_s, "ms"),
            Figure(f"{name}: step, p99", 1e3 * p99_s, "ms"),
            Figure(f"{name}: step over products alone", p50_s / result["products_s"], "x"),
            Figure(f"{name}: peak memory", result["peak_memory_bytes"] / 1e6, "MB"),
        ]
    return figures
