"""The gate in its own process, and what sends it commands, for tests."""

from pathlib import Path

from geometry_msgs.msg import Twist

from mobile_vla_ros.testing import NodeProcess

CONTRACT = str(Path(__file__).parents[3] / "config" / "robot.yaml")


def start_gate(env=None, **parameters):
    return NodeProcess("mobile_vla_control", "command_gate_node", {"contract": CONTRACT, **parameters}, env=env)


def twist(x=0.0, y=0.0):
    message = Twist()
    message.linear.x, message.linear.y = x, y
    return message


class Sender:
    """Publishes a message at 40 Hz until told otherwise."""

    def __init__(self, probe, message_type, topic, make):
        self.publisher = probe.publisher(message_type, topic)
        self.timer = probe.node.create_timer(0.025, lambda: self.publisher.publish(make()))

    def stop(self):
        self.timer.cancel()
