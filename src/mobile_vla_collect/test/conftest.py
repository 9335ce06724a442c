"""Fixtures of the collect tests: a DDS domain, a probe, and a recorder on its own folder.

They import ROS themselves: tests of plain Python run without it.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def domain():
    if find_spec("rclpy") is None:
        yield None
        return
    from mobile_vla_ros.testing import unique_domain

    with unique_domain() as domain_id:
        yield domain_id


@pytest.fixture
def probe():
    from mobile_vla_ros.testing import Probe

    with Probe() as probe:
        yield probe


@pytest.fixture
def start_recorder(tmp_path):
    """Starts recorders; those still running are stopped at the end."""
    from recorder_client import recorder_process

    started = []

    def start(dataset=tmp_path, namespace="", **parameters):
        started.append(recorder_process(dataset, namespace, **parameters))
        return started[-1]

    yield start
    for recorder in started:
        recorder.stop()
