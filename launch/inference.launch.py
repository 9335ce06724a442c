"""Drive with a trained policy: robot (simulated or real), policy, and a human who can take over.

    ros2 launch mobile_vla_bringup inference.launch.py sim:=true checkpoint:=out/demo/checkpoint \
        instruction:="go to the kitchen"
    ros2 launch mobile_vla_bringup inference.launch.py static_camera:=/dev/video0 checkpoint:=/models/kosmos2
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
PARAMETERS = PathJoinSubstitution([CONFIG, "inference.yaml"])
PASSED_ON = ("sim", "contract", "dashboard", "namespace", "stamped", "static_camera", "gripper_camera")


def check(context):
    """Say what is missing in one line, before anything starts."""
    names = ("checkpoint", "contract", "teleop", "trials")
    value = {name: LaunchConfiguration(name).perform(context) for name in names}
    if not value["checkpoint"]:
        raise RuntimeError("argument 'checkpoint' is missing: name a folder written by mobile-vla-policy train")
    if not Path(value["checkpoint"]).expanduser().is_dir():
        raise RuntimeError(
            f"checkpoint '{value['checkpoint']}' is no folder: name one written by mobile-vla-policy train"
        )
    if not Path(value["contract"]).is_file():
        raise RuntimeError(f"contract '{value['contract']}' does not exist: name a file like config/robot.yaml")
    if value["teleop"] == "web" and LaunchConfiguration("dashboard").perform(context) != "true":
        raise RuntimeError("teleop:=web drives from the dashboard: it needs dashboard:=true")
    if not value["trials"].isdigit():
        raise RuntimeError(f"trials is '{value['trials']}': it must be a whole number, 0 for none")
    if value["trials"] != "0" and LaunchConfiguration("sim").perform(context) != "true":
        raise RuntimeError("trials are judged by the simulator: they need sim:=true")
    if value["teleop"] == "joy":
        try:
            get_package_prefix("joy")
        except PackageNotFoundError:
            raise RuntimeError("teleop:=joy needs joy_node: install ros-$ROS_DISTRO-joy with apt-get") from None


def ended(event, context):
    """End the launch with the policy or the trials, and with their success or failure."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; its own lines above say why")
    return Shutdown(reason=f"{event.process_name} has ended")


def teleop_is(name):
    """Condition on the teleop argument."""
    return IfCondition(PythonExpression(["'", LaunchConfiguration("teleop"), f"' == '{name}'"]))


def text(name):
    """The launch argument as a string parameter."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    contract = {"contract": text("contract")}
    stamped = {"stamped": ParameterValue(LaunchConfiguration("stamped"), value_type=bool)}
    arguments = [
        DeclareLaunchArgument(
            "sim",
            default_value="false",
            choices=["true", "false"],
            description="true: the simulated robot; false: a real one, whose drivers publish odom and gripper/state",
        ),
        DeclareLaunchArgument("checkpoint", default_value="", description="folder of a trained policy; required"),
        DeclareLaunchArgument(
            "instruction", default_value="", description="what to do; empty: wait for policy/set_instruction or a goal"
        ),
        DeclareLaunchArgument(
            "device",
            default_value="auto",
            choices=["auto", "cpu", "cuda"],
            description="where the model runs; auto: the GPU where there is one",
        ),
        DeclareLaunchArgument(
            "teleop",
            default_value="keyboard",
            choices=["keyboard", "joy", "web"],
            description="how a human takes over: keyboard (in a second terminal), joy, web (the dashboard)",
        ),
        DeclareLaunchArgument(
            "contract",
            default_value=PathJoinSubstitution([CONFIG, "robot.yaml"]),
            description="contract file: what this robot is; must be the one the policy was trained under",
        ),
        DeclareLaunchArgument(
            "dashboard",
            default_value="true",
            choices=["true", "false"],
            description="serve the web page (config/inference.yaml: address, port)",
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
            "trials", default_value="0", description="sim:=true: drive this many trials, then end; 0: none"
        ),
        DeclareLaunchArgument("trial_output", default_value="", description="JSON file for the result of the trials"),
        DeclareLaunchArgument(
            "trial_record", default_value="", description="animation (GIF) of the trials; empty: none"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="seed of the first trial"),
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
    policy = Node(
        package="mobile_vla_policy",
        executable="policy_node",
        output="screen",
        parameters=[
            PARAMETERS,
            contract,
            stamped,
            {name: text(name) for name in ("checkpoint", "instruction", "device")},
            {"autostart": True},
        ],
        on_exit=ended,
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
    # A launched node has no terminal to read keys from.
    keyboard = LogInfo(
        msg=[
            "take over in a second terminal: ros2 run mobile_vla_collect keyboard_teleop_node --ros-args -p contract:=",
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
    trials = Node(
        package="mobile_vla_sim",
        executable="trial_node",
        output="screen",
        parameters=[
            PathJoinSubstitution([CONFIG, "sim.yaml"]),
            contract,
            stamped,
            {name: ParameterValue(LaunchConfiguration(name), value_type=int) for name in ("trials", "seed")},
            {"output": text("trial_output"), "record": text("trial_record")},
        ],
        on_exit=ended,
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("trials"), "' != '0'"])),
    )
    nodes = GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), policy, joy, trials])
    return LaunchDescription([*arguments, OpaqueFunction(function=check), robot, nodes, keyboard])
