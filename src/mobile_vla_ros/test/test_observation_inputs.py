"""The subscriptions of the contract's streams."""

from pathlib import Path

import pytest
from nav_msgs.msg import Odometry

from mobile_vla_data.contract import Contract
from mobile_vla_ros import observation_inputs
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.qos import SENSOR_OFFERED
from mobile_vla_ros.testing import Probe, unique_domain, wait_for

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")


@pytest.fixture(scope="module", autouse=True)
def domain():
    with unique_domain():
        yield


def test_a_stream_that_has_a_publisher_and_does_not_arrive_is_subscribed_anew_and_others_are_left_alone(monkeypatch):
    monkeypatch.setattr(observation_inputs, "SILENT_S", 1.5)
    with Probe("listener") as listener, Probe("robot") as robot:
        inputs = ObservationInputs(listener.node, CONTRACT)
        silent = robot.publisher(Odometry, "odom", SENSOR_OFFERED)

        def subscriptions(topic):
            return {bytes(info.endpoint_gid) for info in robot.node.get_subscriptions_info_by_topic(topic)}

        first, unpublished = subscriptions("/odom"), subscriptions("/gripper/state")
        wait_for(lambda: len(now := subscriptions("/odom")) == 1 and now != first, what="a new subscription")
        assert subscriptions("/gripper/state") == unpublished

        message = Odometry()
        message.header.stamp, message.header.frame_id = robot.node.get_clock().now().to_msg(), "odom"
        odometry = inputs.builder.streams[-2]

        def arrived():
            silent.publish(message)
            return odometry.counters.received

        wait_for(arrived, what="odometry on the new subscription")
        inputs.destroy()
