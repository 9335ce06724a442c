"""What the launch files share: arguments, checks that come before anything starts, the robot's side, teleop.

An installed module, because launch files cannot import each other. Plain ``launch`` as every distribution from Humble
on has it, and as ``tools/ros2_lite`` stands in for it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from mobile_vla_ros.run import LAUNCH_PID

SHARE = FindPackageShare("mobile_vla_bringup")
CONFIG = PathJoinSubstitution([SHARE, "config"])
BOOLEAN = ["true", "false"]


# Values of arguments --------------------------------------------------------------------------------------------------


def text(name: str) -> ParameterValue:
    """The launch argument as a string parameter, even if it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def whole(name: str) -> ParameterValue:
    """The launch argument as a whole number."""
    return ParameterValue(LaunchConfiguration(name), value_type=int)


def switch(name: str) -> ParameterValue:
    """The launch argument as true or false."""
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def equal(name: str, wanted: str) -> IfCondition:
    """Condition: the launch argument is ``wanted``."""
    return IfCondition(PythonExpression(["'", LaunchConfiguration(name), f"' == '{wanted}'"]))


def boolean(*expression: Any) -> PythonExpression:
    """``true`` or ``false``, as arguments spell it, of a Python expression made of texts and substitutions."""
    return PythonExpression(["'true' if ", *expression, " else 'false'"])


def parameter_file(name: str) -> PathJoinSubstitution:
    """A file of ``config/``."""
    return PathJoinSubstitution([CONFIG, name])


# Arguments ------------------------------------------------------------------------------------------------------------


def common_arguments() -> list[Any]:
    """What every launch file begins with; the nodes learn whose they are, and end when their launch is gone."""
    return [
        SetEnvironmentVariable(LAUNCH_PID, str(os.getpid())),
        DeclareLaunchArgument(
            "contract", default_value=parameter_file("robot.yaml"), description="contract file: what this robot is"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="ROS namespace of every node"),
        DeclareLaunchArgument(
            "stamped",
            default_value="false",
            choices=BOOLEAN,
            description="TwistStamped instead of Twist on every velocity topic",
        ),
    ]


def compressed_argument() -> DeclareLaunchArgument:
    """Whether cameras publish JPEGs besides."""
    return DeclareLaunchArgument(
        "compressed",
        default_value="false",
        choices=BOOLEAN,
        description="cameras publish image_raw/compressed, too: for a slow network",
    )


def robot_arguments() -> list[Any]:
    """Arguments of the robot's side: simulator or cameras, dashboard."""
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
            description="serve the web page; for this machine only, unless an address is set (docs/dashboard.md)",
        ),
        DeclareLaunchArgument("dashboard_port", default_value="8080", description="TCP port of the web page"),
        DeclareLaunchArgument(
            "static_camera",
            default_value="",
            description="with sim:=false, what camera_node reads for the static camera: a device such as 0 or "
            "/dev/video0, a video file, or a folder of images; empty: a driver of your own publishes it",
        ),
        DeclareLaunchArgument("gripper_camera", default_value="", description="the same for the gripper camera"),
        compressed_argument(),
    ]


# Checks, for an OpaqueFunction before anything starts -----------------------------------------------------------------


def value(context: Any, name: str) -> str:
    """The value of a launch argument."""
    return str(LaunchConfiguration(name).perform(context))


def require_contract(context: Any) -> None:
    """Raise RuntimeError, one line, unless the contract is a file."""
    if not Path(value(context, "contract")).is_file():
        raise RuntimeError(
            f"contract '{value(context, 'contract')}' does not exist: name a file like config/robot.yaml"
        )


def require_teleop(context: Any) -> None:
    """Raise RuntimeError, one line, if what the chosen teleop needs is not there."""
    teleop = value(context, "teleop")
    if teleop == "web" and value(context, "dashboard") != "true":
        raise RuntimeError("teleop:=web drives from the dashboard: it needs dashboard:=true")
    if teleop == "expert" and value(context, "sim") != "true":
        raise RuntimeError("teleop:=expert reads the simulator's ground truth: it needs sim:=true")
    if teleop == "joy":
        try:
            get_package_prefix("joy")
        except PackageNotFoundError:
            raise RuntimeError("teleop:=joy needs joy_node: install ros-$ROS_DISTRO-joy with apt-get") from None


# Actions --------------------------------------------------------------------------------------------------------------


def ended(event: Any, context: Any) -> Any:
    """``on_exit`` of a node without which the launch makes no sense: end with it, and with its success or failure."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; its own lines above say why")
    return Shutdown(reason=f"{event.process_name} has ended")


def include(name: str, condition: IfCondition | None = None, **arguments: Any) -> GroupAction:
    """Another launch file of ours, with ``arguments`` of its own besides those that are set already."""
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", name]))
    # In a group of its own: what an included file sets must not leak into the one that includes it.
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())], condition=condition)


def robot(parameters: Any, compressed: Any = None) -> GroupAction:
    """The robot's side with the arguments above; ``parameters`` is the parameter file of gate, cameras, dashboard."""
    names = (
        "contract",
        "namespace",
        "stamped",
        "sim",
        "dashboard",
        "dashboard_port",
        "static_camera",
        "gripper_camera",
    )
    return include(
        "robot.launch.py",
        **{name: LaunchConfiguration(name) for name in names},
        compressed=compressed or LaunchConfiguration("compressed"),
        web_teleop=boolean("'", LaunchConfiguration("teleop"), "' == 'web'"),
        parameters=parameters,
    )


def namespaced(*actions: Any) -> GroupAction:
    """Nodes in the namespace of the launch."""
    return GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), *actions])


def ends_with_launch() -> str | None:
    """``prefix`` of a node that is not ours, and does not know LAUNCH_PID: the kernel ends it when its launch is gone.

    setpriv is part of util-linux; without it, None, such a node ends only with a launch that ends in good order.
    """
    return "setpriv --pdeathsig TERM" if shutil.which("setpriv") else None


def joystick(parameters: Any) -> GroupAction:
    """The nodes of ``teleop:=joy``."""
    return GroupAction(
        [
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
                parameters=[parameters, {"contract": text("contract"), "stamped": switch("stamped")}],
            ),
        ],
        condition=equal("teleop", "joy"),
    )


def keyboard_hint(words: str) -> LogInfo:
    """How to drive with ``teleop:=keyboard``: a launched node has no terminal to read keys from."""
    namespace = LaunchConfiguration("namespace")
    return LogInfo(
        msg=[
            f"{words} from a second terminal: ",
            "ros2 run mobile_vla_collect keyboard_teleop_node --ros-args -p contract:=",
            LaunchConfiguration("contract"),
            " -p stamped:=",
            LaunchConfiguration("stamped"),
            PythonExpression(["' -r __ns:=/' + '", namespace, "'.strip('/') if '", namespace, "' else ''"]),
        ],
        condition=equal("teleop", "keyboard"),
    )
