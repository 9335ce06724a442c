"""Fixtures of the dashboard's tests. They import ROS themselves: tests of plain Python run without it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode leaves the test folder off the path; the helper beside the tests is imported from there.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[3] / "benchmarks"))

from chromium import Chromium, NoBrowserError


@pytest.fixture(scope="module")
def stage():
    """A robot, the page's node, and operators."""
    from dashboard_stage import Stage

    from mobile_vla_ros.testing import Probe, unique_domain

    with unique_domain(), Probe() as probe:
        stage = Stage(probe)
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A real browser; one for all tests of a file."""
    try:
        browser = Chromium()
    except NoBrowserError as error:
        pytest.skip(str(error))
    with browser:
        yield browser


@pytest.fixture
def server(dataset: Path):
    """The web application for the ``dataset`` of a file's tests, without a robot."""
    from episodes_stage import Server

    server = Server(dataset)
    yield server
    server.close()


@pytest.fixture
def driving(stage):
    """An operator with the wheel, and what arrives on cmd_vel_teleop."""
    from geometry_msgs.msg import Twist

    from mobile_vla_ros.qos import COMMAND
    from mobile_vla_ros.testing import wait_for

    commands = stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)
    wheel = stage.open("drive")
    assert json.loads(wheel.recv(timeout=20)) == {"has_wheel": True}
    wait_for(lambda: stage.probe.node.count_publishers("cmd_vel_teleop") >= 1, what="the teleop publisher")
    yield wheel, commands
    wheel.close()
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
