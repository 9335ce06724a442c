"""Isolation of tests that run nodes."""

import os

import pytest

from mobile_vla_ros.testing import unique_domain


@pytest.mark.parametrize(("distribution", "localhost_only"), [("humble", "1"), ("jazzy", None)])
def test_a_test_graph_stays_on_this_machine_on_every_distribution(
    distribution: str, localhost_only: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", distribution)
    monkeypatch.delenv("ROS_LOCALHOST_ONLY", raising=False)
    with unique_domain():
        assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
        assert os.environ.get("ROS_LOCALHOST_ONLY") == localhost_only
    assert "ROS_LOCALHOST_ONLY" not in os.environ
