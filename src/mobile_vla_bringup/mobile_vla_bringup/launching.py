"""Shared by the launch files: arguments, checks that run before anything starts, the robot's side.

An installed module, because launch files cannot import each other. A launch file declares its arguments and then hands
over to one function of the context (``OpaqueFunction``), which checks them and returns what to start. So choices are
plain Python, and no text of a user is ever evaluated. Uses only API that ``launch`` has in every distribution from
Humble on, and that ``tools/ros2_lite`` provides.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace, SetParameter, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from mobile_vla_bringup.ports import port_of
from mobile_vla_data.contract import STATIC_TRANSFORMS, TRANSFORMS, Contract, ContractError
from mobile_vla_ros.run import LAUNCH_PID

SHARE = FindPackageShare("mobile_vla_bringup")
BOOLEAN = ["true", "false"]
#: A name that ROS takes as a namespace.
_NAMESPACE = re.compile(r"/?([A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*")
#: Launch arguments for the topics of the robot, their meaning, and their names without the argument.
TOPICS = {
    "cmd_vel": ("velocity commands", "cmd_vel"),
    "odom": ("odometry", "the one in the contract"),
    "gripper_command": ("commands of the gripper", "gripper/command"),
    "gripper_state": ("the position of the gripper", "the one in the contract"),
    "tf": ("transforms, if state.pose is tf in the contract; NAME_static replaces /tf_static", TRANSFORMS),
}
#: Arguments that every launch file has.
COMMON = ("contract", "namespace", "stamped", "use_sim_time", *TOPICS)


# Values of arguments --------------------------------------------------------------------------------------------------


def value(context: Any, name: str) -> str:
    """Return the value of a launch argument."""
    return str(LaunchConfiguration(name).perform(context))


def is_true(context: Any, name: str) -> bool:
    """Return the value of a launch argument whose choices are :data:`BOOLEAN`."""
    return value(context, name) == "true"


def text(name: str) -> ParameterValue:
    """Return the launch argument as a string parameter, even if it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def whole(name: str) -> ParameterValue:
    """Return the launch argument as a whole number."""
    return ParameterValue(LaunchConfiguration(name), value_type=int)


def decimal(name: str) -> ParameterValue:
    """Return the launch argument as a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=float)


def switch(name: str) -> ParameterValue:
    """Return the launch argument as true or false."""
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def parameter_file(name: str) -> PathJoinSubstitution:
    """Return the path of a file of ``config/``."""
    return PathJoinSubstitution([SHARE, "config", name])


#: The contract without the argument: the simulated robot's.
CONTRACT = parameter_file("robot.yaml")


# Arguments ------------------------------------------------------------------------------------------------------------


def path_argument(name: str, *, default: Any = "", description: str) -> list[Any]:
    """Declare an argument that may name a file or a folder; a leading ``~`` becomes the home folder."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description),
        OpaqueFunction(function=_expand_home, args=[name]),
    ]


def _expand_home(context: Any, name: str) -> None:
    # The shell leaves the ~ of dataset:=~/kitchen alone.
    context.launch_configurations[name] = os.path.expanduser(value(context, name))


def _require_namespace(context: Any) -> None:
    namespace = value(context, "namespace")
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise RuntimeError(
            f"namespace '{namespace}': ROS takes letters, digits and _, parts joined by /, none beginning with a digit"
        )


def common_arguments() -> list[Any]:
    """Declare what every launch file begins with; nodes learn which launch they belong to and end when it is gone."""
    return [
        SetEnvironmentVariable(LAUNCH_PID, str(os.getpid())),
        *path_argument("contract", default=CONTRACT, description="contract file of this robot"),
        DeclareLaunchArgument("namespace", default_value="", description="ROS namespace of every node"),
        OpaqueFunction(function=_require_namespace),
        DeclareLaunchArgument(
            "stamped",
            default_value="auto",
            choices=["auto", *BOOLEAN],
            description="velocity topics: true is TwistStamped, false is Twist; auto: the gate sends what the robot "
            "subscribes to",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=BOOLEAN,
            description="take the time from /clock, for a robot in Gazebo or Isaac Sim; not for sim:=true",
        ),
        *(
            DeclareLaunchArgument(
                name,
                default_value="",
                description=f"topic of the robot for {meaning}; empty: {usual}",
            )
            for name, (meaning, usual) in TOPICS.items()
        ),
    ]


def compressed_argument() -> DeclareLaunchArgument:
    """Declare whether cameras also publish JPEG images."""
    return DeclareLaunchArgument(
        "compressed",
        default_value="false",
        choices=BOOLEAN,
        description="cameras also publish image_raw/compressed, for a slow network",
    )


def images_argument(default: str = "raw") -> DeclareLaunchArgument:
    """Declare which images of the cameras the nodes subscribe to."""
    return DeclareLaunchArgument(
        "images",
        default_value=default,
        choices=["raw", "compressed"],
        description="camera topics to subscribe to: image_raw, or image_raw/compressed (JPEG)",
    )


def robot_arguments() -> list[Any]:
    """Declare the arguments of the robot's side: simulator or cameras, dashboard."""
    return [
        DeclareLaunchArgument(
            "sim",
            default_value="false",
            choices=BOOLEAN,
            description="true: the simulated robot; false: a real one, whose drivers publish odom and gripper/state",
        ),
        DeclareLaunchArgument(
            "dashboard",
            default_value="true",
            choices=BOOLEAN,
            description="serve the web page; only this machine can open it by default (docs/how-to/dashboard.md)",
        ),
        DeclareLaunchArgument(
            "dashboard_port",
            default_value="auto",
            description="TCP port of the web page; auto: 8080, and another for each namespace, 8082 for robot2",
        ),
        *path_argument(
            "static_camera",
            description="with sim:=false, source of the static camera for camera_node: a device such as 0 or "
            "/dev/video0, a GStreamer pipeline, a video file, or a folder of images; empty: your own driver publishes",
        ),
        *path_argument("gripper_camera", description="source of the gripper camera, as for static_camera"),
        compressed_argument(),
        images_argument(),
    ]


# Checks, before anything starts ---------------------------------------------------------------------------------------


def require_contract(context: Any) -> None:
    """Raise RuntimeError, one line, unless the contract is a file."""
    if not Path(value(context, "contract")).is_file():
        raise RuntimeError(
            f"contract '{value(context, 'contract')}' does not exist: name a file like config/robot.yaml"
        )


def require_one_simulator(context: Any) -> None:
    """Raise RuntimeError, one line, if our simulator, which runs in real time, is to run on a simulated clock."""
    if is_true(context, "sim"):
        require_real_time(context)


def require_real_time(context: Any) -> None:
    """Raise RuntimeError, one line, if nodes that run in real time are to take the time from /clock."""
    if is_true(context, "use_sim_time"):
        raise RuntimeError(
            "this project's simulator runs in real time and publishes no /clock: leave use_sim_time:=true out"
        )


# Actions --------------------------------------------------------------------------------------------------------------


def ended(event: Any, context: Any) -> Any:
    """``on_exit`` of a node that the launch cannot do without: end with it, and with its success or failure."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; see its messages above")
    return Shutdown(reason=f"{event.process_name} has ended")


def include(context: Any, name: str, *passed_on: str, **arguments: Any) -> GroupAction:
    """Include another launch file of ours with the arguments ``passed_on`` by name, and ``arguments`` of its own."""
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", name]))
    given = {**{argument: value(context, argument) for argument in passed_on}, **arguments}
    # In a group of its own: what an included file sets must not leak into the one that includes it.
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=given.items())])


def robot(context: Any, parameters: Any, *, remote: bool = False) -> GroupAction:
    """Include the robot's side; ``parameters`` is the parameter file of gate, cameras and dashboard.

    Its cameras publish JPEGs if that was asked for, if nodes here subscribe to them, or for a ``remote`` policy.
    """
    compressed = remote or is_true(context, "compressed") or value(context, "images") == "compressed"
    return include(
        context,
        "robot.launch.py",
        *COMMON,
        *("sim", "dashboard", "dashboard_port", "static_camera", "gripper_camera", "images"),
        compressed=str(compressed).lower(),
        web_teleop=str(value(context, "teleop") == "web").lower(),
        plan=context.launch_configurations.get("plan", ""),
        parameters=parameters,
    )


def namespaced(context: Any, *actions: Any) -> GroupAction:
    """Put nodes into the namespace of the launch, and give the robot's topics the names of the arguments."""
    remaps = [SetRemap(src=source, dst=target) for source, target in _remaps(context)]
    simulated = SetParameter("use_sim_time", is_true(context, "use_sim_time"))
    return GroupAction([PushRosNamespace(value(context, "namespace")), simulated, *remaps, *actions])


def _remaps(context: Any) -> list[tuple[str, str]]:
    """Return the robot's topics that were given other names."""
    given = {name: topic for name in TOPICS if (topic := value(context, name))}
    names = {"cmd_vel": "cmd_vel", "gripper_command": "gripper/command", "tf": TRANSFORMS}
    if given.keys() - names.keys():
        state = Contract.load(value(context, "contract")).state
        names |= {"odom": state.odometry_topic, "gripper_state": state.gripper_topic}
    remaps = [(names[name], topic) for name, topic in given.items()]
    if "tf" in given:
        remaps.append((STATIC_TRANSFORMS, f"{given['tf']}_static"))
    return remaps


def contract_hint(context: Any) -> list[LogInfo]:
    """Say that a real robot has the simulated one's limits, where no contract was named."""
    if value(context, "contract") != CONTRACT.perform(context):
        return []
    return [
        LogInfo(
            msg="no contract:=FILE: this robot has topics and limits of the simulated one, without obstacles and "
            f"keep_in ({value(context, 'contract')})"
        )
    ]


def recorder(parameters: Any, *, plan: bool = True) -> Node:
    """Return the recorder; ``parameters`` is its parameter file. With ``plan``, that of the argument is used."""
    given = ("contract", "stamped", "dataset", "images", *(["plan"] if plan else []))
    return Node(
        package="mobile_vla_collect",
        executable="recorder_node",
        output="screen",
        parameters=[parameters, {**{name: text(name) for name in given}, "autostart": True}],
        on_exit=ended,
    )


def gripper_adapter(context: Any) -> list[Node]:
    """Return the node for a gripper with another interface; none if the contract names none."""
    try:
        contract = Contract.load(value(context, "contract"))
    except ContractError as error:
        raise RuntimeError(str(error)) from None
    if contract.gripper_driver is None or not contract.has_gripper:
        return []
    return [
        Node(
            package="mobile_vla_control",
            executable="gripper_adapter_node",
            output="screen",
            parameters=[{"contract": text("contract")}],
        )
    ]


def page_port(context: Any) -> int:
    """Return the port of the web page: that of the argument, or one for the namespace.

    Raises RuntimeError, one line, if the argument is neither auto nor a number.
    """
    given = value(context, "dashboard_port")
    if given.isdigit():
        return int(given)
    if given != "auto":
        raise RuntimeError(f"dashboard_port is '{given}': it must be auto or a number")
    return port_of(value(context, "namespace"))
