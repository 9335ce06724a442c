"""Shared by all benchmarks: the machine, the commit, figures with goals, the table."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured value and its goal."""

    name: str
    value: float
    unit: str
    goal: str = ""
    """``<= 5``, ``>= 10`` or ``== 0`` in the same unit; empty for a value without a goal."""

    @property
    def holds(self) -> bool | None:
        """True if the goal is met; None without a goal."""
        if not self.goal:
            return None
        relation, _, bound = self.goal.partition(" ")
        limit = float(bound.replace(",", ""))
        compared = {"<=": self.value <= limit, ">=": self.value >= limit, "==": self.value == limit}
        if relation not in compared:
            raise ValueError(f"goal '{self.goal}' of '{self.name}': write '<= 5', '>= 10' or '== 0'")
        return compared[relation]


def say(what: str) -> None:
    """Print on standard error what is being measured; a full run takes long."""
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory_kb = (_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]
    board = Path("/proc/device-tree/model")
    return {
        "cpu": board.read_text().rstrip("\0") if board.exists() else cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory_kb) / 1e6, 1),
        "gpu": _line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or "none",
        "system": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"') or platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The commit that was measured, with ``-dirty`` when files differ from it; ``unknown`` outside a repository."""
    return _line("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or "unknown"


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process [MB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def print_figures(title: str, figures: Sequence[Figure], taken: dict[str, Any]) -> None:
    """Print a table of figures; ``taken`` has the ``machine`` and the ``commit`` they were measured on."""
    table = Table(title=title, title_justify="left")
    for column in ("figure", "value", "unit", "goal", ""):
        table.add_column(column, justify="right" if column == "value" else "left")
    verdicts = {True: "[green]holds", False: "[red]does not hold", None: ""}
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.4g}", figure.unit, figure.goal, verdicts[figure.holds])
    console = Console(highlight=False)
    console.print(table)
    here = taken["machine"]
    console.print(
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gb']} GB, GPU {here['gpu']}, {here['system']}, "
        f"Python {here['python']}, load before {here['load_before']}; commit {taken['commit']}",
        soft_wrap=True,
    )


def _field(path: str, name: str, separator: str = ":") -> str:
    """The value of the first ``name separator value`` line of a text file; empty when there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(separator, 1)[1].strip() for line in lines if line.startswith(name)), "")


def _line(*command: str) -> str:
    """The first line a command prints; empty when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]
