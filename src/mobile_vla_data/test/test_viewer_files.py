"""The layout of Foxglove and the configuration of RViz name the topics that exports and robots have."""

from __future__ import annotations

import json
import re

import yaml

from mobile_vla_data.convert.rosbag.compose import compose
from mobile_vla_data.episode.reader import Episode


def test_every_topic_and_field_of_the_foxglove_layout_is_in_an_exported_recording(record, robot_yaml):
    layout = json.loads((robot_yaml.parent / "foxglove/mobile_vla.json").read_text())
    with Episode.open(record(steps=5)) as episode:
        messages = {made.topic: made.message for made in compose(episode, episode.cameras, stamped=False)}
    named = re.findall(r'"(/[a-z_/]+(?:\.[a-z_.]+)?)"', json.dumps(layout))
    assert len(named) >= 10
    for path in named:
        topic, _, fields = path.partition(".")
        message = messages[topic]
        for field in fields.split(".") if fields else ():
            message = getattr(message, field)


def panels(tree):
    return [tree] if isinstance(tree, str) else panels(tree["first"]) + panels(tree["second"])


def test_every_panel_of_the_layout_is_configured_and_shown_once(robot_yaml):
    layout = json.loads((robot_yaml.parent / "foxglove/mobile_vla.json").read_text())
    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])


def test_rviz_shows_the_topics_of_the_contract(robot_yaml, contract):
    displays = yaml.safe_load((robot_yaml.parent / "rviz/mobile_vla.rviz").read_text())["Visualization Manager"][
        "Displays"
    ]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert topics == {*(camera.topic for camera in contract.cameras.values()), contract.state.odometry_topic}
