"""The policy alone, on a machine other than the robot, which runs inference.launch.py inference_host:=remote.

ros2 launch mobile_vla_bringup policy.launch.py checkpoint:=/models/kosmos2 contract:=robot.yaml

Both machines share a network and a ROS_DOMAIN_ID (docs/remote.md). inference.launch.py includes this file, too.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_policy
from mobile_vla_bringup.launching import switch, text


def check(context):
    """Say what is missing in one line, before anything starts."""
    launching_policy.require_policy(context)
    launching.require_contract(context)


def policy(context):
    """The node, with the arguments that are given in place of what its parameter file says."""
    node = Node(
        package="mobile_vla_policy",
        executable="policy_node",
        output="screen",
        parameters=[
            launching.parameter_file("inference.yaml"),
            {"stamped": switch("stamped"), "autostart": True, **launching_policy.overrides(context)},
            {name: text(name) for name in ("contract", "checkpoint", "instruction", "images")},
        ],
        on_exit=launching.ended,
    )
    return [launching.namespaced(node)]


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        *launching_policy.policy_arguments("required"),
        DeclareLaunchArgument(
            "images",
            default_value="compressed",
            choices=["raw", "compressed"],
            description="what it subscribes of the cameras: image_raw/compressed (JPEG), or image_raw",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=check), OpaqueFunction(function=policy)])
