"""The simulated robot alone: cameras, odometry and gripper state out; cmd_vel and gripper/command in."""

from launch.actions import DeclareLaunchArgument, GroupAction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

CONFIG = PathJoinSubstitution([FindPackageShare("mobile_vla_bringup"), "config"])


def ended(event, context):
    """End the launch with the simulator: nothing else in it makes sense without a robot."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}; its own lines above say why")
    return Shutdown(reason=f"{event.process_name} has ended")


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(
            "contract",
            default_value=PathJoinSubstitution([CONFIG, "robot.yaml"]),
            description="contract file: what this robot is",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="ROS namespace of every node"),
        DeclareLaunchArgument(
            "stamped",
            default_value="false",
            choices=["true", "false"],
            description="TwistStamped instead of Twist on every velocity topic",
        ),
    ]
    sim = Node(
        package="mobile_vla_sim",
        executable="sim_node",
        output="screen",
        parameters=[
            PathJoinSubstitution([CONFIG, "sim.yaml"]),
            {
                "contract": ParameterValue(LaunchConfiguration("contract"), value_type=str),
                "stamped": ParameterValue(LaunchConfiguration("stamped"), value_type=bool),
            },
        ],
        on_exit=ended,
    )
    return LaunchDescription([*arguments, GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), sim])])
