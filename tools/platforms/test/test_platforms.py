"""Results of tests per platform, and what every platform would install."""

import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

from platforms import matrix, resolve, suites  # noqa: E402

PASSED = '<testcase name="test_a"/>'
FAILED = '<testcase name="test_b"><failure message="no">no</failure></testcase>'
SKIPPED = '<testcase name="test_c"><skipped message="why"/></testcase>'


def write(file: Path, tests: int, failures: int, skipped: int, cases: str) -> None:
    file.parent.mkdir(exist_ok=True)
    counts = f'tests="{tests}" failures="{failures}" errors="0" skipped="{skipped}"'
    file.write_text(f"<testsuites><testsuite {counts}>{cases}</testsuite></testsuites>")


def test_the_table_adds_up_the_suites_of_each_platform_and_names_what_failed(tmp_path: Path) -> None:
    write(tmp_path / "jazzy-wheels-3.12/one.xml", 2, 0, 1, PASSED + SKIPPED)
    write(tmp_path / "jazzy-wheels-3.12/one-alone.xml", 1, 0, 0, PASSED)
    write(tmp_path / "humble-3.10/one.xml", 2, 1, 0, PASSED + FAILED)
    assert suites.table(tmp_path).splitlines()[2:] == [
        "| humble-3.10 | 1 | 1 | 0 |",
        "| failed there: one: test_b | | | |",
        "| jazzy-wheels-3.12 | 2 | 0 | 1 |",
    ]


def test_the_command_of_the_page_runs() -> None:
    command = [str(ROOT / "tools/run_script.sh"), "tools/platforms", "table"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("| platform | passed |"), done.stderr


def test_suites_run_one_by_one_and_a_failure_is_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "RESULTS", tmp_path / "results")
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, says in ((good, True), (bad, False)):
        folder.mkdir()
        (folder / "test_it.py").write_text(f"def test_it():\n    assert {says}\n")
    assert suites.run_suites("here", [good])
    assert not suites.run_suites("here", [good, bad])
    found = suites.counts(tmp_path / "results" / "here")
    assert (found["passed"], found["failed"]) == (1, 1)


def test_without_ros_every_test_runs_that_imports_none() -> None:
    found = {suite.name: [path.name for path in suites.tests_of("no-ros-3.10", suite)] for suite in suites.SUITES}
    assert {"test_gate.py", "test_obstacles.py"} <= set(found["mobile_vla_control"])
    assert {"test_setup_plan.py", "test_setup_choice.py"} <= set(found["test"])
    assert found["tools"] == ["test_platforms.py"]
    assert not {"test_command_gate_node.py", "test_words.py", "test_launch.py"}.intersection(chain(*found.values()))
    # Tests beside a conftest.py with ROS cannot be loaded.
    assert set(ROOT.glob("src/*/test/conftest.py")) | {ROOT / "test/conftest.py"} <= set(suites.ros_free_files())


def test_suites_are_chosen_by_name_and_run_where_they_have_tests() -> None:
    assert suites.suites_of("kilted-wheels-3.11") == list(suites.SUITES)
    assert [suite.name for suite in suites.suites_of("no-ros-3.10", ["tools"])] == ["tools"]


def test_every_platform_can_be_planned() -> None:
    for platform in matrix.PLATFORMS:
        planned = matrix.plan.plan(
            matrix.REQUIREMENTS, platform.python, platform.ros, platform.brought, platform.extras
        )
        assert planned.requirements, platform.name
    pythons = {platform.python for platform in matrix.PLATFORMS}
    assert pythons == {"3.10", "3.11", "3.12", "3.13", "3.14"} == {lock.python for lock in matrix.LOCKS}


def test_every_constraint_file_has_an_entry() -> None:
    files = {path.stem for path in (matrix.REQUIREMENTS / "constraints").glob("*.txt")}
    assert files == {lock.name for lock in matrix.LOCKS}


def test_without_uv_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(resolve.ResolveError, match="pip install uv"):
        resolve.compile_pins(["numpy"], [], "3.12", "x86_64")
