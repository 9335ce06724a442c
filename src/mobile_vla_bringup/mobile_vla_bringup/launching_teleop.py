"""How an operator drives: the argument ``teleop``, its checks, and what it starts. See :mod:`launching`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, LogInfo
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node

from mobile_vla_bringup.launching import is_true, text, value


def takeover_argument(when: str = "") -> DeclareLaunchArgument:
    """Declare how an operator takes over; ``when`` says, in the description, when that has an effect."""
    return DeclareLaunchArgument(
        "teleop",
        default_value="keyboard",
        choices=["keyboard", "joy", "web"],
        description=f"{when}how an operator takes over: keyboard (in a second terminal), joy, web (the dashboard)",
    )


def require_teleop(context: Any) -> None:
    """Raise RuntimeError, one line, if something that the chosen teleop needs is missing."""
    teleop = value(context, "teleop")
    if teleop == "web" and not is_true(context, "dashboard"):
        raise RuntimeError("teleop:=web drives from the dashboard: it needs dashboard:=true")
    if teleop == "expert" and not is_true(context, "sim"):
        raise RuntimeError("teleop:=expert reads the simulator's ground truth: it needs sim:=true")
    if teleop == "joy":
        try:
            get_package_prefix("joy")
        except PackageNotFoundError:
            raise RuntimeError("teleop:=joy needs joy_node: install ros-$ROS_DISTRO-joy with apt-get") from None


def ends_with_launch() -> str | None:
    """Return a ``prefix`` for a node of another project, which ignores LAUNCH_PID: the kernel ends it with its launch.

    setpriv is part of util-linux; without it (None) such a node ends only when its launch ends normally.
    """
    return "setpriv --pdeathsig TERM" if shutil.which("setpriv") else None


def joystick(context: Any, parameters: Any) -> list[Node]:
    """Return the nodes of ``teleop:=joy``; none for any other teleop."""
    if value(context, "teleop") != "joy":
        return []
    return [
        Node(
            package="joy",
            executable="joy_node",
            output="screen",
            parameters=[parameters],
            prefix=ends_with_launch(),
        ),
        Node(
            package="mobile_vla_collect",
            executable="joy_teleop_node",
            output="screen",
            parameters=[parameters, {"contract": text("contract"), "stamped": text("stamped")}],
        ),
    ]


def keyboard_hint(context: Any, parameters: PathJoinSubstitution, purpose: str) -> list[LogInfo]:
    """Print the command for ``teleop:=keyboard``: a launched node has no terminal to read keys from."""
    if value(context, "teleop") != "keyboard":
        return []
    contract = os.path.abspath(value(context, "contract"))
    if yaml.safe_load(contract) != contract:
        contract = json.dumps(contract, ensure_ascii=False)  # ROS reads the value as YAML
    words = ["ros2", "run", "mobile_vla_collect", "keyboard_teleop_node", "--ros-args"]
    words += ["--params-file", parameters.perform(context)]
    words += ["-p", f"contract:={contract}", "-p", f"stamped:={value(context, 'stamped')}"]
    if is_true(context, "use_sim_time"):
        # Its stamps are compared with the gate's time.
        words += ["-p", "use_sim_time:=true"]
    if namespace := value(context, "namespace").strip("/"):
        words += ["-r", f"__ns:=/{namespace}"]
    return [LogInfo(msg=f"{purpose} from a second terminal: {shlex.join(words)}")]
