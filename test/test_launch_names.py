"""Namespaces, names of topics and the clock in launch arguments: they reach every node, or are refused in one line."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launch_commands import ROOT, Launched

from mobile_vla_bringup.ports import port_of
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_ros.graph import full_name
from mobile_vla_ros.testing import Probe, changed_contract, wait_for

pytestmark = pytest.mark.alone

CONTRACT = ROOT / "config/robot.yaml"


def episode(folder: Path) -> Path:
    """Write an episode of three steps."""
    contract = Contract.load(CONTRACT)
    metadata = EpisodeMetadata("go to the kitchen", "go_to_kitchen", "navigation", "teleop", {})
    writer = EpisodeWriter(folder, contract, metadata, cameras=("static",))
    for step in range(3):
        stamp_ns = 10**9 + step * contract.period_ns
        image, zeros = np.full((224, 224, 3), 40 * step, np.uint8), np.zeros(3, np.float32)
        stamps_ns = dict.fromkeys(("static", "odom", "gripper_state"), stamp_ns)
        writer.add_step(stamp_ns=stamp_ns, images={"static": image}, state=zeros, action=zeros, stamps_ns=stamps_ns)
    return writer.commit("success")


@pytest.mark.parametrize(
    ("file", "arguments", "nodes"),
    [
        ("collect.launch.py", ["dataset:={tmp}/data", "record_raw:=true"], ["recorder_node", "raw_recorder_node"]),
        ("inference.launch.py", ["inference_host:=remote", "dataset:={tmp}/data"], ["recorder_node"]),
        ("robot.launch.py", [], ["gripper_adapter_node"]),
        ("replay.launch.py", ["episode:={episode}", "repeat:=true"], ["replay_node"]),
    ],
)
def test_simulated_time_reaches_every_node(
    ros2: str, start: Callable[..., Launched], tmp_path: Path, file: str, arguments: list[str], nodes: list[str]
) -> None:
    contract = changed_contract(tmp_path, CONTRACT, gripper_driver={"command": {"type": "float", "name": "hand"}})
    given = [word.format(tmp=tmp_path, episode=episode(tmp_path)) for word in arguments]
    if file != "replay.launch.py":
        nodes = [*nodes, "command_gate_node", "dashboard_node"]
    with Probe() as probe:
        launched = start(
            ros2, "launch", "mobile_vla_bringup", file, *given, f"contract:={contract}", "use_sim_time:=true",
            "dashboard_port:=0",
        )  # fmt: skip
        for node in nodes:
            assert probe.parameters(node, "use_sim_time") == [True], (node, launched.output)


@pytest.mark.parametrize(
    ("file", "arguments", "said"),
    [
        ("sim.launch.py", ["use_sim_time:=true"], "publishes no /clock"),
        ("robot.launch.py", ["sim:=true", "use_sim_time:=true"], "publishes no /clock"),
        ("collect.launch.py", ["sim:=true", "use_sim_time:=true", "dataset:=/tmp/data"], "publishes no /clock"),
        ("inference.launch.py", ["sim:=true", "use_sim_time:=true", "checkpoint:=/tmp"], "publishes no /clock"),
        (
            "replay.launch.py",
            ["sim:=true", "use_sim_time:=true", "mode:=actions", "episode:=a.h5"],
            "publishes no /clock",
        ),
        ("sim.launch.py", ["namespace:=robot-2"], "namespace 'robot-2': ROS takes letters, digits and _"),
        ("robot.launch.py", ["namespace:=2nd"], "namespace '2nd': ROS takes letters, digits and _"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(ros2: str, file: str, arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [ros2, "launch", "mobile_vla_bringup", file, *arguments], capture_output=True, text=True, timeout=30
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert said in printed and "process started" not in printed


def nodes_on(probe: Probe, topic: str) -> tuple[set[str], set[str]]:
    """Return the nodes that publish a topic, and those that subscribe to it."""
    node = probe.node
    publishers, subscribers = node.get_publishers_info_by_topic(topic), node.get_subscriptions_info_by_topic(topic)
    return {full_name(info) for info in publishers}, {full_name(info) for info in subscribers}


def test_the_robots_topics_have_the_names_of_the_arguments(
    ros2: str, start: Callable[..., Launched], tmp_path: Path
) -> None:
    gate, recorder = "/fleet/robot2/command_gate_node", "/fleet/robot2/recorder_node"
    with Probe() as probe:
        start(
            ros2, "launch", "mobile_vla_bringup", "collect.launch.py", f"dataset:={tmp_path}", "dashboard:=false",
            "namespace:=fleet/robot2", "cmd_vel:=base/command", "odom:=/shared/odom", "gripper_command:=hand/goal",
            "gripper_state:=hand/state",
        )  # fmt: skip
        publishes = {"/fleet/robot2/base/command", "/fleet/robot2/hand/goal"}
        reads = {*publishes, "/shared/odom", "/fleet/robot2/hand/state"}
        wait_for(lambda: all(gate in nodes_on(probe, topic)[0] for topic in publishes), 60, "the gate's topics")
        wait_for(lambda: all(recorder in nodes_on(probe, topic)[1] for topic in reads), 60, "the recorder's topics")
        for name in ("cmd_vel", "odom", "gripper/command", "gripper/state"):
            assert nodes_on(probe, f"/fleet/robot2/{name}") == (set(), set())


def test_a_robot_may_have_its_transforms_in_its_namespace(
    ros2: str, start: Callable[..., Launched], build_messages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in build_messages("tf2_msgs").items():
        monkeypatch.setenv(name, text)
    contract = changed_contract(tmp_path, CONTRACT, state={"pose": "tf"})
    with Probe() as probe:
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "collect.launch.py", f"dataset:={tmp_path / 'data'}",
            f"contract:={contract}", "dashboard:=false", "namespace:=robot2", "tf:=tf",
        )  # fmt: skip
        for topic in ("/robot2/tf", "/robot2/tf_static"):
            wait_for(lambda t=topic: "/robot2/recorder_node" in nodes_on(probe, t)[1], 60, topic)
        assert nodes_on(probe, "/tf") == (set(), set()), launched.output


@pytest.mark.parametrize(
    ("namespace", "port"),
    [("", 8080), ("robot1", 8081), ("/fleet/robot02", 8082), ("a2", 8082), ("robot999", 9079)],
)
def test_a_short_number_at_the_end_of_a_namespace_is_the_place_of_its_page(namespace: str, port: int) -> None:
    assert port_of(namespace) == port


def test_any_other_namespace_has_a_port_of_the_upper_range_that_stays_the_same() -> None:
    others = ["kitchen", "robot0", "robot000", "robot1000", "robot1002", "fleet/robot20260101", "west/kitchen"]
    ports = [port_of(namespace) for namespace in others]
    assert all(9080 <= port < 10080 for port in ports) and len(set(ports)) == len(others)
    assert port_of("kitchen") == 9780
