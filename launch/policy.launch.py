"""The policy alone, on a machine other than the robot, which runs inference.launch.py inference_host:=remote.

ros2 launch mobile_vla_bringup policy.launch.py checkpoint:=/models/kosmos2 contract:=robot.yaml

Both machines share a network and a ROS_DOMAIN_ID (docs/how-to/remote-inference.md). inference.launch.py includes this.
"""

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_policy
from mobile_vla_bringup.launching import text


def start(context):
    """Return the node; arguments that are given override its parameter file."""
    launching_policy.require_policy(context)
    launching.require_contract(context)
    policy = Node(
        package="mobile_vla_policy",
        executable="policy_node",
        output="screen",
        parameters=[
            launching.parameter_file("inference.yaml"),
            {"stamped": text("stamped"), "autostart": True, **launching_policy.overrides(context)},
            {name: text(name) for name in ("contract", "checkpoint", "instruction", "images")},
        ],
        on_exit=launching.ended,
    )
    return [launching.namespaced(context, policy)]


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        *launching_policy.policy_arguments("required"),
        launching.images_argument("compressed"),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
