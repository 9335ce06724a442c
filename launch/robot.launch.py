"""The robot's side, the same for collecting and for inference: simulator or cameras, the gate, the dashboard."""

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("mobile_vla_bringup")
CONFIG = PathJoinSubstitution([SHARE, "config"])


def ended(event, context):
    """End the launch with the gate: without it nothing can move the robot, or stop it."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; its own lines above say why")
    return Shutdown(reason=f"{event.process_name} has ended")


def generate_launch_description():
    contract = {"contract": ParameterValue(LaunchConfiguration("contract"), value_type=str)}
    stamped = {"stamped": ParameterValue(LaunchConfiguration("stamped"), value_type=bool)}
    parameters = LaunchConfiguration("parameters")
    arguments = [
        DeclareLaunchArgument(
            "sim",
            default_value="false",
            choices=["true", "false"],
            description="true: the simulated robot; false: a real one, whose drivers publish odom and gripper/state",
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
            description="serve the web page (config: address, port)",
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
        DeclareLaunchArgument(
            "gripper_camera",
            default_value="",
            description="the same for the gripper camera",
        ),
        DeclareLaunchArgument(
            "web_teleop",
            default_value="false",
            choices=["true", "false"],
            description="let the web page drive the robot",
        ),
        DeclareLaunchArgument(
            "parameters",
            default_value=PathJoinSubstitution([CONFIG, "collect.yaml"]),
            description="parameter file of gate, cameras and dashboard",
        ),
    ]
    sim = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "sim.launch.py"])),
        launch_arguments={name: LaunchConfiguration(name) for name in ("contract", "namespace", "stamped")}.items(),
        condition=IfCondition(LaunchConfiguration("sim")),
    )
    cameras = GroupAction(
        [camera(name, [parameters, contract]) for name in ("static", "gripper")],
        condition=UnlessCondition(LaunchConfiguration("sim")),
    )
    gate = Node(
        package="mobile_vla_control",
        executable="command_gate_node",
        output="screen",
        parameters=[parameters, contract, stamped],
        on_exit=ended,
    )
    dashboard = Node(
        package="mobile_vla_dashboard",
        executable="dashboard_node",
        output="screen",
        parameters=[
            parameters,
            contract,
            stamped,
            {"teleop": ParameterValue(LaunchConfiguration("web_teleop"), value_type=bool)},
        ],
        condition=IfCondition(LaunchConfiguration("dashboard")),
    )
    nodes = GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), cameras, gate, dashboard])
    return LaunchDescription([*arguments, sim, nodes])


def camera(name, parameters):
    """A camera_node for one camera of the contract, if its source is named."""
    source = LaunchConfiguration(f"{name}_camera")
    return Node(
        package="mobile_vla_collect",
        executable="camera_node",
        name=f"{name}_camera_node",
        output="screen",
        parameters=[*parameters, {"camera": name, "source": ParameterValue(source, value_type=str)}],
        condition=UnlessCondition(PythonExpression(["'", source, "' == ''"])),
    )
