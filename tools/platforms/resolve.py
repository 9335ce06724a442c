"""Resolve the requirements of every platform from wheels only, without installing anything. Needs ``uv``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from platforms.matrix import LOCKS, PLATFORMS, REQUIREMENTS, Lock, Platform, plan

#: In wheels nowhere; pure Python.
_FROM_SOURCE = ("empy", "lark-parser")
#: Chosen by torch itself; they differ between machines.
_OF_TORCH = ("nvidia-", "cuda-", "triton")
_TORCH = "torch==2.13.0"


class ResolveError(RuntimeError):
    """The requirements contradict each other, or a wheel is missing. The message says which, in one line."""


@dataclass(frozen=True)
class Resolved:
    """What pip would install on one platform."""

    platform: Platform
    packages: dict[str, str]
    error: str = ""


def resolve_all(platforms: Iterable[Platform] = PLATFORMS) -> list[Resolved]:
    """Resolve each platform as ``make setup`` would there."""
    return [_resolve(platform) for platform in platforms]


def _resolve(platform: Platform) -> Resolved:
    try:
        planned = plan.plan(REQUIREMENTS, platform.python, platform.ros, platform.brought, platform.extras)
        # uv does not know what the platform brings: name it, so that what depends on it must agree.
        kept = [line for line in planned.constraints if line.split("==")[0] in {"numpy", "torch"} & {*platform.brought}]
        wanted = [*planned.requirements, *kept]
        lines = compile_pins(wanted, planned.constraints, platform.python, platform.machine)
    except (ResolveError, plan.PlanError) as error:
        return Resolved(platform, {}, str(error))
    return Resolved(platform, dict(line.split("==") for line in lines))


def lock(locks: Iterable[Lock] = LOCKS) -> list[Path]:
    """Write requirements/constraints anew, keeping versions that still fit.

    Both machines must agree, so that one file serves both. Raises :class:`ResolveError`.
    """
    files = ["app", *plan.EXTRAS, "colcon"]
    wanted = [line for name in files for line in plan._lines(REQUIREMENTS / f"{name}.txt")]
    wanted += ["empy", "lark-parser", "setuptools"]
    written = []
    for one in locks:
        path = REQUIREMENTS / "constraints" / f"{one.name}.txt"
        fixed = [one.numpy, _TORCH, "setuptools<80"]
        before = path.read_text() if path.exists() else ""
        found = [compile_pins(wanted, fixed, one.python, machine, before) for machine in ("x86_64", "aarch64")]
        pins = [[line for line in lines if not line.startswith(_OF_TORCH)] for lines in found]
        if pins[0] != pins[1]:
            different = ", ".join(sorted(set(pins[0]) ^ set(pins[1])))
            raise ResolveError(f"{path.name}: x86_64 and aarch64 need different versions: {different}")
        path.write_text("\n".join(pins[0]) + "\n")
        written.append(path)
    return written


def compile_pins(
    requirements: Iterable[str], constraints: Iterable[str], python: str, machine: str, before: str = ""
) -> list[str]:
    """Return ``name==version`` lines that satisfy the requirements; versions in ``before`` are kept where possible.

    Raises :class:`ResolveError`.
    """
    uv = shutil.which("uv")
    if not uv:
        raise ResolveError("uv is not installed: python3 -m pip install uv")
    with TemporaryDirectory(prefix="mobile_vla_resolve_") as name:
        folder = Path(name)
        (folder / "wanted.txt").write_text("\n".join(requirements) + "\n")
        (folder / "constraints.txt").write_text("\n".join(constraints) + "\n")
        (folder / "pins.txt").write_text(before)
        command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
        command += [word for name in _FROM_SOURCE for word in ("--no-binary", name)]
        command += ["--python-version", python, "--python-platform", f"{machine}-manylinux_2_28"]
        command += ["-c", "constraints.txt", "wanted.txt", "-o", "pins.txt"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise ResolveError(" ".join(done.stderr.replace("╰─▶", "").split()))
        return (folder / "pins.txt").read_text().split()
