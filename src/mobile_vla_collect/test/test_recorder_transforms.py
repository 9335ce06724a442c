"""A robot whose pose is in /tf: recorded in the frame of its map."""

import sys

import numpy as np
import pytest
from recorder_client import CONTRACT_PATH, Recording, recorder_process

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.reader import Episode
from mobile_vla_ros.testing import FakeRobot, NodeProcess, changed_contract, transforms_node, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def environment(build_messages):
    """The environment with tf2_msgs, which is part of every distribution but of no wheel."""
    return build_messages("tf2_msgs")


@pytest.fixture
def contract(tmp_path):
    return changed_contract(tmp_path, CONTRACT_PATH, state={"pose": "tf", "odometry_frame": "map"})


def test_the_pose_of_a_robot_that_localises_itself_is_recorded_in_its_map(probe, tmp_path, contract, environment):
    FakeRobot(probe, Contract.load(contract), commands=True).silent = {"odom"}
    transforms = NodeProcess("", "", env=environment, command=[sys.executable, transforms_node.PATH])
    dataset = tmp_path / "data"
    with transforms, Recording(probe) as recording:
        recorder = recorder_process(dataset, contract=str(contract), env=environment)
        try:
            recording.start()
            recording.until_steps(8)
            path = recording.stop().path
        finally:
            recorder.stop()
    with Episode.open(path) as episode:
        # (1, 0.5) in odom, turned by 90 degrees, and moved by (2, 3).
        assert np.abs(episode.states[:, :2] - [1.5, 4.0]).max() < 1e-5


@pytest.mark.parametrize(
    ("behaviour", "missing"),
    [
        ("lost", "no transform from 'map' to 'base_link': 'odom' has no parent"),
        ("stale", "the transform from 'map' to 'odom' is older than 0.2 s: it is not renewed, or the clocks differ"),
    ],
)
def test_a_chain_without_the_map_is_named(probe, tmp_path, contract, environment, behaviour, missing):
    FakeRobot(probe, Contract.load(contract), commands=True).silent = {"odom"}
    with (
        NodeProcess("", "", env=environment, command=[sys.executable, transforms_node.PATH, behaviour]),
        Recording(probe) as recording,
    ):
        recorder = recorder_process(tmp_path / "data", contract=str(contract), env=environment)
        try:
            said = f"messages on '/tf' are refused: {missing}"
            wait_for(lambda: said in recording.status.message, what="the missing link")
        finally:
            recorder.stop()
