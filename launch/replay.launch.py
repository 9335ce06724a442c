"""Replay a recorded episode: publish its inputs, or drive its actions again through the gate.

    ros2 launch mobile_vla_bringup replay.launch.py episode:=$HOME/episodes/episode_000007.h5
    ros2 launch mobile_vla_bringup replay.launch.py episode:=$HOME/episodes/episode_000007.h5 mode:=actions sim:=true \
        speed:=0.5 output:=/tmp/replay.json

docs/how-to/replay.md says what each is for.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_teleop
from mobile_vla_bringup.launching import decimal, is_true, switch, text, value

PARAMETERS = launching.parameter_file("inference.yaml")


def start(context):
    """Check the arguments and return what they ask for."""
    if not value(context, "episode"):
        raise RuntimeError("argument 'episode' is missing: name the file, episode:=/path/to/episode_000000.h5")
    launching.require_contract(context)
    replay = Node(
        package="mobile_vla_collect",
        executable="replay_node",
        output="screen",
        parameters=[
            {"contract": text("contract"), "stamped": text("stamped")},
            {"episode": text("episode"), "mode": text("mode"), "speed": decimal("speed")},
            {"repeat": switch("repeat"), "output": text("output"), "max_deviation_m": decimal("max_deviation_m")},
        ],
        on_exit=launching.ended,
    )
    if value(context, "mode") == "inputs":
        # They stand for the sensors of a robot; no other robot may be there.
        if is_true(context, "sim"):
            raise RuntimeError("mode:=inputs publishes what the simulator would publish: leave sim:=true out")
        return [launching.namespaced(context, replay)]
    if is_true(context, "repeat"):
        raise RuntimeError("repeat:=true is for mode:=inputs: a robot does not end where it began")
    launching.require_one_simulator(context)
    launching_teleop.require_teleop(context)
    return [
        launching.robot(context, PARAMETERS),
        launching.namespaced(context, replay, *launching_teleop.joystick(context, PARAMETERS)),
        *launching_teleop.keyboard_hint(context, PARAMETERS, "take over"),
    ]


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        *launching.path_argument("episode", description="episode file to replay; required"),
        DeclareLaunchArgument(
            "mode",
            default_value="inputs",
            choices=["inputs", "actions"],
            description="inputs: publish the images, positions and gripper states of the episode, without a robot; "
            "actions: drive what was commanded, and report how far the robot stays from the recorded path",
        ),
        DeclareLaunchArgument(
            "speed",
            default_value="1.0",
            description="factor on the recorded speed: 0.5 takes twice as long, on the same path",
        ),
        DeclareLaunchArgument(
            "repeat",
            default_value="false",
            choices=launching.BOOLEAN,
            description="mode:=inputs: begin again at the end",
        ),
        *launching.path_argument(
            "output", description="mode:=actions: JSON file for the two paths and their distance; empty: none"
        ),
        DeclareLaunchArgument(
            "max_deviation_m",
            default_value="0.5",
            description="mode:=actions: stop the robot when it is further from the recorded position [m]",
        ),
        launching_teleop.takeover_argument("mode:=actions: "),
        *launching.robot_arguments(),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
