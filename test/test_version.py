"""One version, in one place."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import mobile_vla_data
import mobile_vla_policy
import mobile_vla_sim

ROOT = Path(__file__).resolve().parents[1]


def workspace_version() -> str:
    command = [sys.executable, str(ROOT / "tools/version.py")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_package_has_the_same_version_and_python_sees_it():
    expected = workspace_version()
    assert {module.__version__ for module in (mobile_vla_data, mobile_vla_policy, mobile_vla_sim)} == {expected}
    assert {version(path.parent.name) for path in (ROOT / "src").glob("*/setup.py")} == {expected}


def test_the_changelog_begins_with_unreleased_changes_and_then_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", workspace_version()]


def test_no_setup_file_repeats_the_version():
    for setup in (ROOT / "src").glob("*/setup.py"):
        assert 'version=ElementTree.parse("package.xml")' in setup.read_text(), setup


def test_what_is_no_version_is_refused():
    command = [sys.executable, str(ROOT / "tools/version.py"), "next"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "three numbers" in done.stderr
