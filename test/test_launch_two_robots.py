"""Two simulated robots with two policies in one graph: each has its own topics, page and stop."""

import sys
import urllib.request
from collections.abc import Callable

import pytest
from launch_commands import ROOT, Launched
from std_srvs.srv import Trigger

from mobile_vla_msgs.msg import SimState
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.graph import full_name
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

pytestmark = pytest.mark.alone

CONTRACT = ROOT / "config/robot.yaml"
SCRIPTED_POLICY = ROOT / "src/mobile_vla_policy/test/scripted_policy_node.py"
#: Namespaces, with the topic of each robot's base. The pages are at 8080 + 731 and 8080 + 732.
ROBOTS = {"robot731": "cmd_vel", "robot732": "base/command"}
#: Topics that all robots share in ROS.
SHARED = ("/diagnostics", "/rosout", "/parameter_events")


def test_two_robots_in_one_graph_do_not_hear_each_other(ros2: str, start: Callable[..., Launched]) -> None:
    with Probe() as probe:
        states = {name: probe.collect(SimState, f"/{name}/sim/state", SENSOR) for name in ROBOTS}
        launches = [
            start(
                ros2, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "inference_host:=remote",
                f"namespace:={name}", f"cmd_vel:={base}",
            )
            for name, base in ROBOTS.items()
        ]  # fmt: skip
        policies = [
            NodeProcess(
                "", "", {"contract": str(CONTRACT), "checkpoint": str(ROOT), "autostart": True, "images": "compressed"},
                namespace=f"/{name}", command=[sys.executable, str(SCRIPTED_POLICY), "steady"],
            )
            for name in ROBOTS
        ]  # fmt: skip
        try:
            wait_for(lambda: all(states.values()) or any(item.process.poll() for item in launches), 90, "both robots")

            def instruct(name: str) -> bool:
                request = SetInstruction.Request(instruction="go to the kitchen")
                return bool(probe.call(SetInstruction, f"/{name}/policy/set_instruction", request, 60).success)

            def drives(name: str) -> bool:
                seen = len(states[name])
                wait_for(lambda: len(states[name]) > seen + 50, 60, "states")
                # The base is told to drive; against a wall it stands.
                return all(state.commanded_speed > 0.1 for state in states[name][seen + 25 :])

            one, two = ROBOTS
            assert instruct(one)
            wait_for(lambda: drives(one), 60, "motion of the first")
            assert not drives(two), launches[1].output
            assert instruct(two)
            wait_for(lambda: drives(two), 60, "motion of the second")
            assert probe.call(Trigger, f"/{one}/gate/stop").success
            wait_for(lambda: not drives(one), 60, "the first to stand")
            assert drives(two)

            assert not strangers(probe)
            heard = probe.node.get_subscriptions_info_by_topic(f"/{two}/base/command")
            assert f"/{two}/sim_node" in map(full_name, heard)
            for number in (731, 732):
                with urllib.request.urlopen(f"http://127.0.0.1:{8080 + number}/healthz", timeout=20) as answer:
                    assert answer.read() == b'{"ok":true}'
        finally:
            for policy in policies:
                policy.stop()


def strangers(probe: Probe) -> list[str]:
    """Return the nodes of a robot that are on a topic outside its namespace."""
    found = []
    for topic, _ in probe.node.get_topic_names_and_types():
        for infos in (
            probe.node.get_publishers_info_by_topic(topic),
            probe.node.get_subscriptions_info_by_topic(topic),
        ):
            for node in map(full_name, infos):
                robot = node.split("/")[1]
                if robot in ROBOTS and topic not in SHARED and not topic.startswith(f"/{robot}/"):
                    found.append(f"{node}: {topic}")
    return found
