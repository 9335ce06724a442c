"""How tests run: alone in a package's folder, and the summary of what was skipped and retried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import os, pytest

@pytest.mark.alone
def test_flaky():
    if not os.path.exists("been here"):
        open("been here", "w").close()
        raise RuntimeError("the first try fails")

def test_skipped():
    pytest.skip("no robot on this machine")
"""


def summary(notes: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "tools/test_notes.py", notes], capture_output=True, text=True)


def run(folder: Path, notes: Path, *options: str) -> int:
    (folder / "test_some.py").write_text(TESTS)
    environment = {**os.environ, "MOBILE_VLA_TEST_NOTES": str(notes), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode


@pytest.mark.parametrize("workers", ["0", "2"])
def test_skips_and_retries_are_listed_once_with_their_reasons(tmp_path: Path, workers: str) -> None:
    notes = tmp_path / "notes"
    assert run(tmp_path, notes, "--reruns", "1", "-n", workers) == 0
    done = summary(notes)
    assert done.returncode == 0
    assert "SKIPPED 1: no robot on this machine\n    test_some.py::test_skipped\n" in done.stdout
    assert done.stdout.count("RETRIED test_some.py::test_flaky: RuntimeError: the first try fails\n") == 1


def test_more_than_two_retries_fail(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    for status in (0, 0, 1):
        (tmp_path / "been here").unlink(missing_ok=True)
        run(tmp_path, notes, "--reruns", "1", "-m", "alone")
        done = summary(notes)
        assert done.returncode == status
    assert "3 tests needed a second try; 2 may" in done.stdout


def test_only_tests_that_run_alone_are_retried() -> None:
    lines = (ROOT / "tools/test.sh").read_text().splitlines()
    runs = [line for line in lines if "--reruns" in line]
    assert len(runs) == 1 and runs[0].endswith("-m alone")


def test_worker_processes_find_the_tests_of_a_package_that_is_tested_in_its_folder() -> None:
    # As `colcon test` does.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/test_parallel.py"]
    done = subprocess.run(
        [*command, "-k", "order and processes"], cwd=ROOT / "src/mobile_vla_data", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
