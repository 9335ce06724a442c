"""Fixtures of the control tests. They import ROS themselves: tests of plain Python run without it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def probe(domain):
    """A node of this process."""
    from mobile_vla_ros.testing import Probe

    with Probe() as probe:
        yield probe
