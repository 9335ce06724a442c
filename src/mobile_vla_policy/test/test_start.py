"""Entry points say in one line that torch and transformers do not go together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def started(entry: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an entry point; packages in ``folder`` come first."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    script = f"import sys; sys.argv = ['program', '--help']; from mobile_vla_policy.start import {entry}; {entry}()"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)


def install(folder: Path, name: str, version: str, *requirements: str) -> None:
    """Write the metadata of a package, all that pip leaves to look at."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requirements)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("entry", ["policy", "policy_node"])
def test_a_transformers_that_switches_the_installed_torch_off_is_named_in_one_line(entry: str, tmp_path: Path) -> None:
    install(tmp_path, "transformers", "99.1", 'torchvision; extra == "vision"', 'torch>=98.2; extra == "torch"')
    done = started(entry, tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("program: transformers 99.1 needs torch>=98.2, and torch 2.")
    assert "pip install transformers -c .venv/constraints.txt" in line


def test_a_build_of_the_platform_s_torch_counts_by_its_number(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.7.0a0+git1")
    install(tmp_path, "transformers", "5.20.2", 'torch>=2.6; extra == "torch"')
    done = started("policy", tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
