"""The robot's side, the same for collecting and for inference: simulator or cameras, the gate, the dashboard."""

from launch.actions import DeclareLaunchArgument, GroupAction
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching
from mobile_vla_bringup.launching import switch, text, whole


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        *launching.robot_arguments(),
        DeclareLaunchArgument(
            "web_teleop",
            default_value="false",
            choices=launching.BOOLEAN,
            description="let the web page drive the robot",
        ),
        DeclareLaunchArgument(
            "parameters",
            default_value=launching.parameter_file("collect.yaml"),
            description="parameter file of gate, cameras and dashboard",
        ),
    ]
    parameters = [
        LaunchConfiguration("parameters"),
        {"contract": text("contract"), "stamped": switch("stamped"), "compressed": switch("compressed")},
    ]
    sim = launching.include(
        "sim.launch.py",
        condition=IfCondition(LaunchConfiguration("sim")),
        **{name: LaunchConfiguration(name) for name in ("contract", "namespace", "stamped", "compressed")},
    )
    cameras = GroupAction(
        [camera(name, parameters) for name in ("static", "gripper")],
        condition=UnlessCondition(LaunchConfiguration("sim")),
    )
    gate = Node(
        package="mobile_vla_control",
        executable="command_gate_node",
        output="screen",
        parameters=parameters,
        # Without it nothing can move the robot, or stop it.
        on_exit=launching.ended,
    )
    dashboard = Node(
        package="mobile_vla_dashboard",
        executable="dashboard_node",
        output="screen",
        parameters=[*parameters, {"teleop": switch("web_teleop"), "port": whole("dashboard_port")}],
        condition=IfCondition(LaunchConfiguration("dashboard")),
    )
    return LaunchDescription([*arguments, sim, launching.namespaced(cameras, gate, dashboard)])


def camera(name, parameters):
    """A camera_node for one camera of the contract, if its source is named."""
    source = LaunchConfiguration(f"{name}_camera")
    return Node(
        package="mobile_vla_collect",
        executable="camera_node",
        name=f"{name}_camera_node",
        output="screen",
        parameters=[*parameters, {"camera": name, "source": text(f"{name}_camera")}],
        condition=UnlessCondition(PythonExpression(["'", source, "' == ''"])),
    )
