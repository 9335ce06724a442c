"""Fixtures of the control tests. They import ROS themselves: tests of plain Python run without it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def domain():
    """A ROS domain that no other test uses."""
    from mobile_vla_ros.testing import unique_domain

    with unique_domain():
        yield


@pytest.fixture
def probe(domain):
    """A node of this process."""
    from mobile_vla_ros.testing import Probe

    with Probe() as probe:
        yield probe
