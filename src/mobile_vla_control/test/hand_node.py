"""A gripper with an action or a trajectory: repeats on hand/got what it was told."""

import sys

import rclpy
from rclpy.action import ActionServer
from std_msgs.msg import Float64MultiArray

rclpy.init()
node = rclpy.create_node("hand")
got = node.create_publisher(Float64MultiArray, "hand/got", 10)

if "action" in sys.argv:
    from control_msgs.action import GripperCommand

    def execute(goal):
        command = goal.request.command
        got.publish(Float64MultiArray(data=[command.position, command.max_effort]))
        goal.succeed()
        return GripperCommand.Result(position=command.position, reached_goal=True)

    server = ActionServer(node, GripperCommand, "hand/command", execute)
else:
    from trajectory_msgs.msg import JointTrajectory

    def take(message):
        (point,) = message.points
        assert message.joint_names == ["finger"]
        time = point.time_from_start
        got.publish(Float64MultiArray(data=[*point.positions, time.sec + 1e-9 * time.nanosec]))

    node.create_subscription(JointTrajectory, "hand/command", take, 10)
rclpy.spin(node)
