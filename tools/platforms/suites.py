"""Run every test of this checkout package by package, and make a table of the results of all platforms.

Results are JUnit files in out/platforms/PLATFORM/, so that runs on several machines can be put side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache
from pathlib import Path

import typecheck

from platforms.matrix import ROOT

RESULTS = ROOT / "out" / "platforms"
SUITES = (*sorted(path.parent for path in (ROOT / "src").glob("*/test")), ROOT / "tools", ROOT / "test")
#: Tests that run nodes or measure time get a second try, as in tools/test.sh.
KINDS = {"": ("-m", "not alone"), "-alone": ("-m", "alone", "--reruns", "1")}
_NO_TESTS = 5
#: Not those of tools/ros2_lite, which finds packages as ROS does.
_TEST_FILES = ("src/*/test/*.py", "tools/platforms/test/*.py", "test/*.py")


def platform_name() -> str:
    """Return a name for this environment: ``jazzy-wheels-3.12``, ``humble-3.10`` or ``no-ros-3.10``."""
    python = "{}.{}".format(*sys.version_info)
    origin = ROOT / ".venv" / ".origin"
    if not origin.is_file() or Path(sys.prefix) != ROOT / ".venv":
        return f"no-ros-{python}"
    ros = origin.read_text().split()[-1]
    if ros.startswith("wheels-"):
        return f"{ros.removeprefix('wheels-')}-wheels-{python}"
    return f"{Path(ros).name}-{python}"


def suites_of(name: str, wanted: Container[str] = ()) -> list[Path]:
    """Return the suites that have tests for a platform: all, or those whose names are wanted."""
    return [suite for suite in SUITES if (not wanted or suite.name in wanted) and tests_of(name, suite)]


def tests_of(name: str, suite: Path) -> list[Path]:
    """Return what pytest runs of a suite: all of it, or without ROS the test files that import none."""
    if not name.startswith("no-ros"):
        return [suite]
    return [path for path in ros_free_files() if path.is_relative_to(suite) and path.name.startswith("test_")]


@cache
def ros_free_files() -> list[Path]:
    """Return the files in test folders, tests and helpers, that import ROS neither themselves nor through others."""
    modules = {typecheck.module_name(path): path for path in (ROOT / "src").glob("*/mobile_vla_*/**/*.py")}
    for path in sorted(path for pattern in _TEST_FILES for path in ROOT.glob(pattern)):
        # Helpers are imported by their bare names; names of tests repeat.
        modules[str(path) if path.name.startswith(("test_", "conftest")) else path.stem] = path
    return [path for path in typecheck.ros_free(modules) if "test" in path.relative_to(ROOT).parts]


def run_suites(name: str, suites: Iterable[Path] = SUITES) -> bool:
    """Run the suites one after the other; without ROS, only tests that import none. Return whether all passed."""
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    passed = True
    for suite in suites:
        for kind, options in KINDS.items():
            file = folder / f"{suite.name}{kind}.xml"
            file.unlink(missing_ok=True)
            tests = map(str, tests_of(name, suite))
            command = [sys.executable, "-m", "pytest", "-q", *tests, *options, f"--junitxml={file}"]
            with file.with_suffix(".log").open("w") as log:
                env = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
                status = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=env).returncode
            passed &= status in (0, _NO_TESTS)
            print(f"{suite.name}{kind}: {file.with_suffix('.log').read_text().splitlines()[-1]}", flush=True)
    return passed


def counts(folder: Path) -> Counter[str]:
    """Add up the JUnit files of a folder: tests, failed, skipped, passed."""
    found: Counter[str] = Counter()
    for file in folder.glob("*.xml"):
        for suite in ElementTree.parse(file).getroot().iter("testsuite"):
            found["tests"] += int(suite.get("tests", 0))
            found["failed"] += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            found["skipped"] += int(suite.get("skipped", 0))
    found["passed"] = found["tests"] - found["failed"] - found["skipped"]
    return found


def failures(folder: Path) -> list[str]:
    """Return the tests that failed, as ``suite: test``."""
    return [
        f"{file.stem}: {case.get('name')}"
        for file in sorted(folder.glob("*.xml"))
        for case in ElementTree.parse(file).getroot().iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]


def table(results: Path = RESULTS) -> str:
    """Return a Markdown table of all platforms that were tested."""
    lines = ["| platform | passed | failed | skipped |", "|---|---:|---:|---:|"]
    for folder in sorted(path for path in results.glob("*") if path.is_dir()):
        found = counts(folder)
        lines.append(f"| {folder.name} | {found['passed']} | {found['failed']} | {found['skipped']} |")
        lines += [f"| failed there: {name} | | | |" for name in failures(folder)]
    return "\n".join(lines)
