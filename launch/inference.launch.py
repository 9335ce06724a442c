"""Drive with a trained policy: robot (simulated or real), policy, and an operator who can take over.

    ros2 launch mobile_vla_bringup inference.launch.py sim:=true checkpoint:=out/demo/checkpoint \
        instruction:="go to the kitchen"
    ros2 launch mobile_vla_bringup inference.launch.py static_camera:=/dev/video0 checkpoint:=/models/kosmos2

dataset:=DIR adds a recorder for episodes of the policy and for the operator's corrections (docs/how-to/corrections.md).
inference_host:=remote runs the policy on another machine with policy.launch.py (docs/how-to/remote-inference.md).
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_policy, launching_teleop
from mobile_vla_bringup.launching import is_true, text, value, whole

PARAMETERS = launching.parameter_file("inference.yaml")


def check(context):
    """Raise RuntimeError, one line, if an argument is missing or contradicts the others."""
    if value(context, "inference_host") == "local":
        launching_policy.require_policy(context)
    else:
        launching_policy.refuse_policy(context)
    launching.require_contract(context)
    launching.require_one_simulator(context)
    launching_teleop.require_teleop(context)
    trials = value(context, "trials")
    if not trials.isdigit():
        raise RuntimeError(f"trials is '{trials}': it must be a whole number, 0 for none")
    if trials != "0" and not is_true(context, "sim"):
        raise RuntimeError("trials need sim:=true: the simulator judges them")


def start(context):
    """Check the arguments and return what they ask for."""
    check(context)
    remote = value(context, "inference_host") == "remote"
    nodes = launching_teleop.joystick(context, PARAMETERS)
    if value(context, "dataset"):
        nodes.append(launching.recorder(PARAMETERS))
    if value(context, "trials") != "0":
        nodes.append(trials())
    return [
        launching.robot(context, PARAMETERS, remote=remote),
        *([] if remote else [policy(context)]),
        launching.namespaced(context, *nodes),
        *launching_teleop.keyboard_hint(context, PARAMETERS, "take over"),
    ]


def policy(context):
    """Include the policy, on this machine."""
    passed_on = (*launching.COMMON, "images", *launching_policy.NAMES)
    return launching.include(context, "policy.launch.py", *passed_on)


def trials():
    """Return the node that sets tasks in the simulator and judges the driving."""
    return Node(
        package="mobile_vla_sim",
        executable="trial_node",
        output="screen",
        parameters=[
            launching.parameter_file("sim.yaml"),
            {"contract": text("contract"), "stamped": text("stamped")},
            {"trials": whole("trials"), "seed": whole("seed"), "tasks": text("task")},
            {"output": text("trial_output"), "record": text("trial_record")},
        ],
        on_exit=launching.ended,
    )


def generate_launch_description():
    arguments = [
        *launching.common_arguments(),
        DeclareLaunchArgument(
            "inference_host",
            default_value="local",
            choices=["local", "remote"],
            description="where the policy runs; remote: no policy here, cameras publish image_raw/compressed, and "
            "policy.launch.py is started on the other machine (docs/how-to/remote-inference.md)",
        ),
        *launching_policy.policy_arguments("required, unless it runs remotely"),
        launching_teleop.takeover_argument(),
        *launching.robot_arguments(),
        *launching.path_argument(
            "dataset",
            description="folder for episodes of the policy, with the operator's corrections marked; start and stop "
            "them with the keyboard, the joystick, the page or recorder/start_episode; empty: nothing is recorded",
        ),
        *launching.path_argument(
            "plan",
            default=launching.parameter_file("collection_plan.yaml"),
            description="collection plan for a new dataset, used to find the task of an instruction; empty: none",
        ),
        DeclareLaunchArgument(
            "trials", default_value="0", description="sim:=true: drive this many trials, then end; 0: none"
        ),
        *launching.path_argument("trial_output", description="JSON file for the result of the trials"),
        *launching.path_argument("trial_record", description="animation (GIF or WebP) of a trial; empty: none"),
        DeclareLaunchArgument("seed", default_value="0", description="seed of the series of trials"),
        DeclareLaunchArgument(
            "task", default_value="", description="tasks of the trials, comma-separated; empty: every task in turn"
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
