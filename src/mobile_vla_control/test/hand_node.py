"""A gripper with an action or a trajectory: repeats on hand/got what it was told.

The second argument says how its action ends: succeed (default), abort, stall, reject, or never.
"""

import sys

import rclpy
from rclpy.action import ActionServer, GoalResponse
from rclpy.task import Future
from std_msgs.msg import Float64MultiArray

from mobile_vla_ros.qos import LATCHED

rclpy.init()
node = rclpy.create_node("hand")
# An action is sent once: who listens may discover this node later.
got = node.create_publisher(Float64MultiArray, "hand/got", LATCHED)

if "action" in sys.argv:
    from control_msgs.action import GripperCommand

    end = sys.argv[2] if sys.argv[2:] and sys.argv[2] in ("abort", "stall", "reject", "never") else "succeed"

    def asked(request):
        command = request.command
        got.publish(Float64MultiArray(data=[command.position, command.max_effort]))
        return GoalResponse.REJECT if end == "reject" else GoalResponse.ACCEPT

    async def execute(goal):
        if end == "never":
            await Future()
        (goal.succeed if end == "succeed" else goal.abort)()
        # As gripper_action_controller does by default: a gripper that stalls aborts.
        return GripperCommand.Result(position=0.02, stalled=end == "stall", reached_goal=end == "succeed")

    server = ActionServer(node, GripperCommand, "hand/command", execute, goal_callback=asked)
else:
    from trajectory_msgs.msg import JointTrajectory

    def take(message):
        (point,) = message.points
        assert message.joint_names == ["finger"]
        time = point.time_from_start
        got.publish(Float64MultiArray(data=[*point.positions, time.sec + 1e-9 * time.nanosec]))

    node.create_subscription(JointTrajectory, "hand/command", take, 10)
rclpy.spin(node)
