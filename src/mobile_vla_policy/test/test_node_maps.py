"""Heatmaps of policy_node over DDS: there for whoever looks, and no work for a policy that nobody watches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image

from mobile_vla_msgs.msg import ActionChunk, PolicyStatus
from mobile_vla_ros.qos import LATCHED, SENSOR
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone


def test_heatmaps_are_computed_and_published_only_while_there_is_a_subscriber(probe, robot, start_node) -> None:
    chunks = probe.collect(ActionChunk, "policy/action_chunk")
    statuses = probe.collect(PolicyStatus, "policy/status", LATCHED)
    node = start_node("steady", instruction="go to the kitchen")
    # Two statuses after driving has begun: each looks for subscribers.
    wait_for(lambda: len(chunks) > 5 and len(statuses) > 3)
    assert "heatmaps are computed" not in node.output

    targets: list[Any] = []
    subscription = probe.node.create_subscription(Image, "policy/target_map", targets.append, SENSOR)
    robots = probe.collect(Image, "policy/robot_map", SENSOR)
    wait_for(lambda: len(targets) > 2 and len(robots) > 2, what="two heatmaps")
    image = targets[-1]
    grid = np.asarray(image.data, np.uint8).reshape(image.height, image.width)
    assert (image.encoding, image.header.frame_id, grid.shape) == ("mono8", "static", (28, 28))
    assert (grid[3, 20], grid[4, 20], grid.sum()) == (255, 128, 383)
    stamps = [(chunk.header.stamp.sec, chunk.header.stamp.nanosec) for chunk in chunks]
    assert (image.header.stamp.sec, image.header.stamp.nanosec) in stamps
    probe.node.destroy_subscription(subscription)


def test_a_policy_without_heatmaps_drives_on_for_a_subscriber(probe, robot, start_node) -> None:
    targets = probe.collect(Image, "policy/target_map", SENSOR)
    chunks = probe.collect(ActionChunk, "policy/action_chunk")
    node = start_node("no-maps", instruction="go to the kitchen")
    wait_for(lambda: node.output.count("heatmaps are computed") > 2 and len(chunks) > 10)
    assert targets == []
