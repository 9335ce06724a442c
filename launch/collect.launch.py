"""Collect episodes: robot (simulated or real), teleop, recorder.

ros2 launch mobile_vla_bringup collect.launch.py sim:=true teleop:=expert dataset:=/tmp/episodes
ros2 launch mobile_vla_bringup collect.launch.py static_camera:=/dev/video0 teleop:=joy dataset:=$HOME/episodes
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("mobile_vla_bringup")
CONFIG = PathJoinSubstitution([SHARE, "config"])
PARAMETERS = PathJoinSubstitution([CONFIG, "collect.yaml"])
PASSED_ON = ("sim", "contract", "dashboard", "namespace", "stamped", "static_camera", "gripper_camera")


def check(context):
    """Say what is missing in one line, before anything starts."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ("dataset", "contract", "teleop")}
    if not value["dataset"]:
        raise RuntimeError("argument 'dataset' is missing: name the folder for the episodes, dataset:=/path/to/folder")
    if not Path(value["contract"]).is_file():
        raise RuntimeError(f"contract '{value['contract']}' does not exist: name a file like config/robot.yaml")
    if value["teleop"] == "web" and LaunchConfiguration("dashboard").perform(context) != "true":
        raise RuntimeError("teleop:=web drives from the dashboard: it needs dashboard:=true")
    if value["teleop"] == "expert" and LaunchConfiguration("sim").perform(context) != "true":
        raise RuntimeError("teleop:=expert reads the simulator's ground truth: it needs sim:=true")
    if value["teleop"] == "joy":
        try:
            get_package_prefix("joy")
        except PackageNotFoundError:
            raise RuntimeError("teleop:=joy needs joy_node: install ros-$ROS_DISTRO-joy with apt-get") from None


def ended(event, context):
    """End the launch with the recorder or the expert, and with their success or failure."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; its own lines above say why")
    return Shutdown(reason=f"{event.process_name} has ended")


def teleop_is(name):
    """Condition on the teleop argument."""
    return IfCondition(PythonExpression(["'", LaunchConfiguration("teleop"), f"' == '{name}'"]))


def generate_launch_description():
    contract = {"contract": ParameterValue(LaunchConfiguration("contract"), value_type=str)}
    stamped = {"stamped": ParameterValue(LaunchConfiguration("stamped"), value_type=bool)}
    arguments = [
        DeclareLaunchArgument(
            "sim",
            default_value="false",
            choices=["true", "false"],
            description="true: the simulated robot; false: a real one, whose drivers publish odom and gripper/state",
        ),
        DeclareLaunchArgument(
            "teleop",
            default_value="keyboard",
            choices=["keyboard", "joy", "web", "expert"],
            description="who demonstrates: keyboard (in a second terminal), joy, web (the dashboard), expert (in sim)",
        ),
        DeclareLaunchArgument("dataset", default_value="", description="folder the episodes go to; required"),
        DeclareLaunchArgument(
            "plan",
            default_value=PathJoinSubstitution([CONFIG, "collection_plan.yaml"]),
            description="collection plan that a new dataset folder gets; empty: none. The expert has tasks of its own",
        ),
        DeclareLaunchArgument(
            "contract",
            default_value=PathJoinSubstitution([CONFIG, "robot.yaml"]),
            description="contract file: what this robot is",
        ),
        DeclareLaunchArgument(
            "dashboard",
            default_value="true",
            choices=["true", "false"],
            description="serve the web page (config/collect.yaml: address, port)",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="ROS namespace of every node"),
        DeclareLaunchArgument(
            "stamped",
            default_value="false",
            choices=["true", "false"],
            description="TwistStamped instead of Twist on every velocity topic",
        ),
        DeclareLaunchArgument(
            "static_camera",
            default_value="",
            description="with sim:=false, what camera_node reads for the static camera: a device such as 0 or "
            "/dev/video0, a video file, or a folder of images; empty: a driver of your own publishes it",
        ),
        DeclareLaunchArgument("gripper_camera", default_value="", description="the same for the gripper camera"),
        DeclareLaunchArgument(
            "episodes", default_value="0", description="teleop:=expert: end after this many episodes; 0: never"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="teleop:=expert: seed of the first episode"),
    ]
    robot = GroupAction(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
                launch_arguments={
                    **{name: LaunchConfiguration(name) for name in PASSED_ON},
                    "web_teleop": PythonExpression(
                        ["'", LaunchConfiguration("teleop"), "' == 'web' and 'true' or 'false'"]
                    ),
                    "parameters": PARAMETERS,
                }.items(),
            )
        ]
    )
    plan = PythonExpression(
        ["'' if '", LaunchConfiguration("teleop"), "' == 'expert' else '", LaunchConfiguration("plan"), "'"]
    )
    recorder = Node(
        package="mobile_vla_collect",
        executable="recorder_node",
        output="screen",
        parameters=[
            PARAMETERS,
            contract,
            stamped,
            {"dataset": ParameterValue(LaunchConfiguration("dataset"), value_type=str), "autostart": True},
            {"plan": ParameterValue(plan, value_type=str)},
        ],
        on_exit=ended,
    )
    # A launched node has no terminal to read keys from.
    keyboard = LogInfo(
        msg=[
            "drive from a second terminal: ros2 run mobile_vla_collect keyboard_teleop_node --ros-args -p contract:=",
            LaunchConfiguration("contract"),
            " -p stamped:=",
            LaunchConfiguration("stamped"),
            PythonExpression(
                [
                    "' -r __ns:=/' + '",
                    LaunchConfiguration("namespace"),
                    "'.strip('/') if '",
                    LaunchConfiguration("namespace"),
                    "' else ''",
                ]
            ),
        ],
        condition=teleop_is("keyboard"),
    )
    joy = GroupAction(
        [
            Node(package="joy", executable="joy_node", output="screen", parameters=[PARAMETERS]),
            Node(
                package="mobile_vla_collect",
                executable="joy_teleop_node",
                output="screen",
                parameters=[PARAMETERS, contract, stamped],
            ),
        ],
        condition=teleop_is("joy"),
    )
    expert = Node(
        package="mobile_vla_sim",
        executable="expert_node",
        output="screen",
        parameters=[
            PathJoinSubstitution([CONFIG, "sim.yaml"]),
            contract,
            stamped,
            {name: ParameterValue(LaunchConfiguration(name), value_type=int) for name in ("episodes", "seed")},
        ],
        on_exit=ended,
        condition=teleop_is("expert"),
    )
    nodes = GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), recorder, joy, expert])
    return LaunchDescription([*arguments, OpaqueFunction(function=check), robot, nodes, keyboard])
