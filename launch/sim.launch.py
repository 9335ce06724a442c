"""The simulated robot alone: cameras, odometry and gripper state out; cmd_vel and gripper/command in."""

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching
from mobile_vla_bringup.launching import switch, text


def start(context):
    """Return the simulator."""
    launching.require_real_time(context)
    sim = Node(
        package="mobile_vla_sim",
        executable="sim_node",
        output="screen",
        parameters=[
            launching.parameter_file("sim.yaml"),
            {"contract": text("contract"), "stamped": text("stamped"), "compressed": switch("compressed")},
        ],
        # Nothing else in a launch makes sense without a robot.
        on_exit=launching.ended,
    )
    return [launching.namespaced(context, sim)]


def generate_launch_description():
    arguments = [*launching.common_arguments(), launching.compressed_argument()]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
