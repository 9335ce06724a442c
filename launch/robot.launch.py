"""The robot's side, the same for collecting and for inference: simulator or cameras, the gate, the dashboard."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching
from mobile_vla_bringup.launching import is_true, switch, text, value


def start(context):
    """Return the nodes that the arguments ask for."""
    launching.require_one_simulator(context)
    parameters = [
        LaunchConfiguration("parameters"),
        {"contract": text("contract"), "stamped": text("stamped"), "compressed": switch("compressed")},
    ]
    gate = Node(
        package="mobile_vla_control",
        executable="command_gate_node",
        output="screen",
        parameters=parameters,
        # Without it nothing can move the robot, or stop it.
        on_exit=launching.ended,
    )
    nodes = [gate]
    if is_true(context, "dashboard"):
        nodes.append(
            Node(
                package="mobile_vla_dashboard",
                executable="dashboard_node",
                output="screen",
                parameters=[
                    *parameters,
                    {"teleop": switch("web_teleop"), "port": launching.page_port(context), "images": text("images")},
                    {"plan": text("plan")},
                ],
            )
        )
    if is_true(context, "sim"):
        sim = launching.include(context, "sim.launch.py", *launching.COMMON, "compressed")
        return [sim, launching.namespaced(context, *nodes)]
    cameras = [camera(name, parameters) for name in ("static", "gripper") if value(context, f"{name}_camera")]
    robot = [*cameras, *launching.gripper_adapter(context), *nodes]
    return [*launching.contract_hint(context), launching.namespaced(context, *robot)]


def camera(name, parameters):
    """Return a camera_node for one camera of the contract."""
    return Node(
        package="mobile_vla_collect",
        executable="camera_node",
        name=f"{name}_camera_node",
        output="screen",
        parameters=[*parameters, {"camera": name, "source": text(f"{name}_camera")}],
    )


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
        *launching.path_argument("plan", description="collection plan whose instructions the page offers; empty: none"),
        *launching.path_argument(
            "parameters",
            default=launching.parameter_file("collect.yaml"),
            description="parameter file of gate, cameras and dashboard",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
