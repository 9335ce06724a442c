"""Collect episodes: robot (simulated or real), teleop, recorder.

ros2 launch mobile_vla_bringup collect.launch.py sim:=true teleop:=expert dataset:=/tmp/episodes
ros2 launch mobile_vla_bringup collect.launch.py static_camera:=/dev/video0 teleop:=joy dataset:=$HOME/episodes
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from mobile_vla_bringup import launching
from mobile_vla_bringup.launching import switch, text, whole

PARAMETERS = launching.parameter_file("collect.yaml")


def check(context):
    """Say what is missing in one line, before anything starts."""
    if not launching.value(context, "dataset"):
        raise RuntimeError("argument 'dataset' is missing: name the folder for the episodes, dataset:=/path/to/folder")
    launching.require_contract(context)
    launching.require_teleop(context)


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        DeclareLaunchArgument(
            "teleop",
            default_value="keyboard",
            choices=["keyboard", "joy", "web", "expert"],
            description="who demonstrates: keyboard (in a second terminal), joy, web (the dashboard), expert (in sim)",
        ),
        DeclareLaunchArgument("dataset", default_value="", description="folder the episodes go to; required"),
        DeclareLaunchArgument(
            "plan",
            default_value=launching.parameter_file("collection_plan.yaml"),
            description="collection plan that a new dataset folder gets; empty: none. The expert has tasks of its own",
        ),
        *launching.robot_arguments(),
        DeclareLaunchArgument(
            "episodes", default_value="0", description="teleop:=expert: end after this many episodes; 0: never"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="teleop:=expert: seed of the first episode"),
    ]
    shared = {"contract": text("contract"), "stamped": switch("stamped")}
    plan = PythonExpression(
        ["'' if '", LaunchConfiguration("teleop"), "' == 'expert' else '", LaunchConfiguration("plan"), "'"]
    )
    recorder = Node(
        package="mobile_vla_collect",
        executable="recorder_node",
        output="screen",
        parameters=[
            PARAMETERS,
            shared,
            {"dataset": text("dataset"), "plan": ParameterValue(plan, value_type=str), "autostart": True},
        ],
        on_exit=launching.ended,
    )
    expert = Node(
        package="mobile_vla_sim",
        executable="expert_node",
        output="screen",
        parameters=[
            launching.parameter_file("sim.yaml"),
            shared,
            {"episodes": whole("episodes"), "seed": whole("seed")},
        ],
        on_exit=launching.ended,
        condition=launching.equal("teleop", "expert"),
    )
    return LaunchDescription(
        [
            *arguments,
            OpaqueFunction(function=check),
            launching.robot(PARAMETERS),
            launching.namespaced(recorder, launching.joystick(PARAMETERS), expert),
            launching.keyboard_hint("drive"),
        ]
    )
