import sys
from pathlib import Path

import pytest

from mobile_vla_ros.testing import Probe, unique_domain

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def domain():
    """A ROS domain that no other test uses."""
    with unique_domain():
        yield


@pytest.fixture
def probe(domain):
    """A node of this process."""
    with Probe() as probe:
        yield probe
