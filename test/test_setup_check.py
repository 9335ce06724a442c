"""The last step of make setup: a policy is built, loaded and run, or one line says why not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the check; modules in ``folder`` come first."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(ROOT / "tools/setup/check.py")]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


def test_an_environment_that_works_is_named_by_its_versions(tmp_path: Path) -> None:
    done = checked(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("    a policy loads and predicts with torch ") and "transformers" in done.stdout


@pytest.mark.parametrize(
    ("module", "code", "line"),
    [
        ("transformers", "Kosmos2Config = None", "ImportError: cannot import name 'Kosmos2Model' from 'transformers'"),
        (
            "torch",
            "raise OSError('libcuda.so.1: cannot open\\nshared object file')",
            "OSError: libcuda.so.1: cannot open shared",
        ),
    ],
)
def test_what_is_broken_is_one_line_and_the_status_is_1(module: str, code: str, line: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(code + "\n")
    done = checked(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"error: no policy can run in this environment: {line}")
