"""Drive with a trained policy: robot (simulated or real), policy, and a human who can take over.

    ros2 launch mobile_vla_bringup inference.launch.py sim:=true checkpoint:=out/demo/checkpoint \
        instruction:="go to the kitchen"
    ros2 launch mobile_vla_bringup inference.launch.py static_camera:=/dev/video0 checkpoint:=/models/kosmos2

With dataset:=DIR episodes of its driving, and of the human's corrections, can be recorded (docs/collecting.md).
With inference_host:=remote the policy runs on another machine (policy.launch.py there, docs/remote.md).
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node

from launch import LaunchDescription
from mobile_vla_bringup import launching, launching_policy
from mobile_vla_bringup.launching import switch, text, whole

PARAMETERS = launching.parameter_file("inference.yaml")


def check(context):
    """Say what is missing in one line, before anything starts."""
    if launching.value(context, "inference_host") == "local":
        launching_policy.require_policy(context)
    else:
        launching_policy.refuse_policy(context)
    launching.require_contract(context)
    launching.require_teleop(context)
    trials = launching.value(context, "trials")
    if not trials.isdigit():
        raise RuntimeError(f"trials is '{trials}': it must be a whole number, 0 for none")
    if trials != "0" and launching.value(context, "sim") != "true":
        raise RuntimeError("trials are judged by the simulator: they need sim:=true")


def generate_launch_description():
    host = LaunchConfiguration("inference_host")
    arguments = [
        *launching.common_arguments(),
        DeclareLaunchArgument(
            "inference_host",
            default_value="local",
            choices=["local", "remote"],
            description="where the policy runs; remote: no policy here, cameras publish image_raw/compressed, and "
            "policy.launch.py is started on the other machine (docs/remote.md)",
        ),
        *launching_policy.policy_arguments("required, unless it runs remotely"),
        DeclareLaunchArgument(
            "teleop",
            default_value="keyboard",
            choices=["keyboard", "joy", "web"],
            description="how a human takes over: keyboard (in a second terminal), joy, web (the dashboard)",
        ),
        *launching.robot_arguments(),
        DeclareLaunchArgument(
            "dataset",
            default_value="",
            description="folder for episodes of the policy's driving, takeovers marked, started and stopped by the "
            "keyboard, the joystick, the page or recorder/start_episode; empty: nothing is recorded",
        ),
        DeclareLaunchArgument(
            "plan",
            default_value=launching.parameter_file("collection_plan.yaml"),
            description="collection plan that a new dataset gets, to find the task of an instruction; empty: none",
        ),
        DeclareLaunchArgument(
            "trials", default_value="0", description="sim:=true: drive this many trials, then end; 0: none"
        ),
        DeclareLaunchArgument("trial_output", default_value="", description="JSON file for the result of the trials"),
        DeclareLaunchArgument(
            "trial_record", default_value="", description="animation (GIF) of the trials; empty: none"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="seed of the first trial"),
    ]
    compressed = launching.boolean("'", host, "' == 'remote' or '", LaunchConfiguration("compressed"), "' == 'true'")
    policy = launching.include(
        "policy.launch.py",
        condition=launching.equal("inference_host", "local"),
        images="raw",
        **{name: LaunchConfiguration(name) for name in ("contract", "namespace", "stamped", *launching_policy.NAMES)},
    )
    recorder = Node(
        package="mobile_vla_collect",
        executable="recorder_node",
        output="screen",
        parameters=[
            PARAMETERS,
            {"contract": text("contract"), "stamped": switch("stamped"), "autostart": True},
            {"dataset": text("dataset"), "plan": text("plan")},
        ],
        on_exit=launching.ended,
        condition=UnlessCondition(PythonExpression(["'", LaunchConfiguration("dataset"), "' == ''"])),
    )
    trials = Node(
        package="mobile_vla_sim",
        executable="trial_node",
        output="screen",
        parameters=[
            launching.parameter_file("sim.yaml"),
            {"contract": text("contract"), "stamped": switch("stamped")},
            {"trials": whole("trials"), "seed": whole("seed")},
            {"output": text("trial_output"), "record": text("trial_record")},
        ],
        on_exit=launching.ended,
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("trials"), "' != '0'"])),
    )
    return LaunchDescription(
        [
            *arguments,
            OpaqueFunction(function=check),
            launching.robot(PARAMETERS, compressed),
            policy,
            launching.namespaced(recorder, launching.joystick(PARAMETERS), trials),
            launching.keyboard_hint("take over"),
        ]
    )
