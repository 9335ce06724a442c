"""Drive the robot and control the recorder from a joystick: sensor_msgs/Joy in, teleop commands out."""

from __future__ import annotations

import sys
import time

from rclpy.node import Node
from sensor_msgs.msg import Joy

from mobile_vla_collect.teleop.episode_client import EpisodeClient
from mobile_vla_collect.teleop.joystick import JoyMap, Joystick
from mobile_vla_collect.teleop.speeds import speeds
from mobile_vla_data.action import Velocity
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import integer, load_contract, number, stamping
from mobile_vla_ros.run import run

_RATE_HZ = 20.0
#: The defaults fit an Xbox pad under joy_node: A, B, X, Y, LB, RB, back, start.
_BUTTONS = {"close": 0, "open": 1, "failure": 2, "success": 3, "discard": 6, "start": 7, "stop": 8, "resume": -1}


class JoyTeleopNode(Node):
    """Publishes ``cmd_vel_teleop`` at 20 Hz while the deadman button is held, zeros after it, then nothing."""

    def __init__(self) -> None:
        super().__init__("joy_teleop_node")
        contract = load_contract(self)
        linear_m_s, angular_rad_s = speeds(self, contract.limits, "at full deflection")
        stamped = stamping(self)
        self._timeout_s = number(
            self, "joy_timeout_s", 0.3, "silence of the joystick after which the robot stands still [s]", above=0
        )
        self._zeros_s = number(
            self, "zeros_s", 0.3, "duration of the zeros after release; then nothing is sent [s]", above=0
        )
        self._joystick = Joystick(
            JoyMap(
                axis_forward=self._index("axis_forward", 1),
                axis_left=self._index("axis_left", 0),
                axis_turn=self._index("axis_turn", 3),
                button_deadman=integer(
                    self, "button_deadman", 4, "index of the button to hold while driving", at_least=0, at_most=63
                ),
                button_turbo=self._index("button_turbo", 5),
                linear_m_s=linear_m_s,
                angular_rad_s=angular_rad_s,
                turbo=number(self, "turbo", 2.0, "factor while the turbo button is held", at_least=1, at_most=10),
                deadzone=number(self, "deadzone", 0.1, "smaller deflections count as zero", at_least=0, at_most=0.9),
                buttons={name: self._index(f"button_{name}", default) for name, default in _BUTTONS.items()},
            )
        )
        self._episodes = EpisodeClient(self, lambda line: self.get_logger().info(line))
        self._commands = CommandPublisher(self, "teleop", contract.action.frame, stamped=stamped)
        self.create_subscription(Joy, "joy", self._on_joy, 10)
        self._velocity: Velocity | None = None
        self._missing: list[str] = []
        self._can_drive = True
        self._heard_s = self._driven_s = float("-inf")
        self._timer = self.create_timer(1.0 / _RATE_HZ, self._tick, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health)

    def close(self) -> None:
        """Send zeros if the robot was being driven."""
        self._timer.cancel()
        if time.monotonic() - self._driven_s < self._zeros_s:
            self._commands.stop()

    def _index(self, name: str, default: int) -> int:
        kind = "axis" if name.startswith("axis") else "button"
        return integer(self, name, default, f"index of the {kind}, -1: none", at_least=-1, at_most=63)

    def _on_joy(self, message: Joy) -> None:
        self._heard_s = time.monotonic()
        self._check(message)
        self._velocity = self._joystick.velocity(message.axes, message.buttons)
        for name in self._joystick.pressed(message.buttons):
            self._act(name)

    def _check(self, message: Joy) -> None:
        """Report, once for each joystick, the configured buttons and axes that it does not have."""
        self._can_drive = self._joystick.has_deadman(message.buttons)
        missing = self._joystick.missing(message.axes, message.buttons)
        if missing != self._missing:
            self._missing = missing
            for line in missing:
                self.get_logger().error(f"{line}; set the parameter to one of those, or to -1")

    def _act(self, name: str) -> None:
        if name in ("open", "close"):
            self._commands.send_gripper(1.0 if name == "close" else 0.0)
        elif name in ("success", "failure"):
            self._episodes.stop(name)
        elif name in ("stop", "resume"):
            self._episodes.gate(name)
        else:
            {"start": self._episodes.start, "discard": self._episodes.discard}[name]()

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._velocity is not None and now_s - self._heard_s <= self._timeout_s:
            self._driven_s = now_s
            self._commands.send(self._velocity)
        elif now_s - self._driven_s < self._zeros_s:
            self._commands.send(Velocity())

    def _health(self) -> Health:
        if time.monotonic() - self._heard_s > 2.0:
            return Health(WARN, "nothing arrives on 'joy'; start joy_node (ros2 run joy joy_node)")
        if self._missing:
            consequence = "" if self._can_drive else "; without its deadman button it cannot drive the robot"
            return Health(WARN if self._can_drive else ERROR, "; ".join(self._missing) + consequence)
        return Health(OK, "driving" if self._velocity is not None else "deadman button released")


def main() -> None:
    """Run until it is stopped."""
    sys.exit(run(JoyTeleopNode))


if __name__ == "__main__":
    main()
