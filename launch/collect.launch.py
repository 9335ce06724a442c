"""Collect episodes: robot (simulated or real), teleoperation, recorder.

ros2 launch mobile_vla_bringup collect.launch.py sim:=true teleop:=expert dataset:=/tmp/episodes
ros2 launch mobile_vla_bringup collect.launch.py static_camera:=/dev/video0 teleop:=joy dataset:=$HOME/episodes
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_teleop
from mobile_vla_bringup.launching import is_true, text, value, whole

PARAMETERS = launching.parameter_file("collect.yaml")


def start(context):
    """Check the arguments, each fault in one line, and return the nodes that they ask for."""
    if not value(context, "dataset"):
        raise RuntimeError("argument 'dataset' is missing: name the folder for the episodes, dataset:=/path/to/folder")
    launching.require_contract(context)
    launching.require_one_simulator(context)
    launching_teleop.require_teleop(context)
    shared = {"contract": text("contract"), "stamped": text("stamped")}
    expert = value(context, "teleop") == "expert"
    # The expert has tasks of its own.
    nodes = [launching.recorder(PARAMETERS, plan=not expert), *launching_teleop.joystick(context, PARAMETERS)]
    if is_true(context, "record_raw"):
        nodes.append(raw_recorder())
    if expert:
        nodes.append(
            Node(
                package="mobile_vla_sim",
                executable="expert_node",
                output="screen",
                parameters=[
                    launching.parameter_file("sim.yaml"),
                    shared,
                    {"episodes": whole("episodes"), "seed": whole("seed"), "tasks": text("task")},
                ],
                on_exit=launching.ended,
            )
        )
    return [
        launching.robot(context, PARAMETERS),
        launching.namespaced(context, *nodes),
        *launching_teleop.keyboard_hint(context, PARAMETERS, "drive"),
    ]


def raw_recorder():
    """Return the node that writes an MCAP file beside each episode."""
    return Node(
        package="mobile_vla_collect",
        executable="raw_recorder_node",
        output="screen",
        parameters=[PARAMETERS, {"contract": text("contract"), "images": text("images")}],
        # Otherwise days of recording could pass without what was asked for.
        on_exit=launching.ended,
    )


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        DeclareLaunchArgument(
            "teleop",
            default_value="keyboard",
            choices=["keyboard", "joy", "web", "expert"],
            description="how to drive: keyboard (in a second terminal), joy, web (the dashboard), or expert (in sim)",
        ),
        *launching.path_argument("dataset", description="folder for the episodes; required"),
        *launching.path_argument(
            "plan",
            default=launching.parameter_file("collection_plan.yaml"),
            description="collection plan for a new dataset folder; empty: none. teleop:=expert uses its own tasks",
        ),
        DeclareLaunchArgument(
            "record_raw",
            default_value="false",
            choices=launching.BOOLEAN,
            description="also write every message of the robot, unsampled, into an MCAP file beside each episode",
        ),
        *launching.robot_arguments(),
        DeclareLaunchArgument(
            "episodes", default_value="0", description="teleop:=expert: end after this many episodes; 0: never"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="teleop:=expert: seed of the series of scenes"),
        DeclareLaunchArgument(
            "task",
            default_value="",
            description="teleop:=expert: tasks to demonstrate, comma-separated (docs/explanation/simulator.md); "
            "empty: all, as often as the plan asks for each",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
