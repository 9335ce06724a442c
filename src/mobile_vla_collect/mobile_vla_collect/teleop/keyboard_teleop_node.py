"""Drive the robot and control the recorder from a plain terminal, also over SSH."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from mobile_vla_collect.teleop.episode_client import EpisodeClient
from mobile_vla_collect.teleop.keyboard import DIRECTIONS, HELP, Command, HoldToMove, KeyDecoder, KeySettings
from mobile_vla_collect.teleop.speeds import speeds
from mobile_vla_collect.teleop.terminal import LostTerminalError, Terminal, TerminalError
from mobile_vla_msgs.msg import GateStatus, RecorderStatus
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.diagnostics import OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import load_contract, number, path, stamping
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import StartError, run

_RATE_HZ = 20.0
_SPEED_STEP = 1.25
#: Recorder and gate publish their status at least twice a second [s].
_SILENT_S = 3.0
_DRIVERS = {
    GateStatus.DRIVER_NONE: "no driver",
    GateStatus.DRIVER_TELEOP: "you drive",
    GateStatus.DRIVER_POLICY: "the policy drives",
    GateStatus.DRIVER_STOPPED: "STOPPED (# resumes)",
}
_RECORDER_STATES = {
    RecorderStatus.STATE_INACTIVE: "recorder inactive",
    RecorderStatus.STATE_IDLE: "ready",
    RecorderStatus.STATE_SAVING: "saving",
    RecorderStatus.STATE_ERROR: "ERROR",
}


class KeyboardTeleopNode(Node):
    """Publishes ``cmd_vel_teleop`` at 20 Hz while keys are held, zeros on release, then nothing."""

    def __init__(self) -> None:
        super().__init__("keyboard_teleop_node")
        contract = load_contract(self)
        stamped = stamping(self)
        self._hold = HoldToMove(
            KeySettings(
                *speeds(self, contract.limits, "while a key is held"),
                contract.base == "holonomic",
                number(self, "first_hold_s", 0.6, "a first key press counts this long [s]", above=0),
                number(self, "repeat_hold_s", 0.2, "a repeated key press counts this long [s]", above=0),
                number(self, "zeros_s", 0.3, "duration of the zeros after release; then nothing is sent [s]", above=0),
            )
        )
        terminal = path(self, "terminal", "terminal to read keys from, for example /dev/tty; empty: stdin")
        self._episodes = EpisodeClient(self, self._say)
        self._commands = CommandPublisher(self, "teleop", contract.action.frame, stamped=stamped)
        self.create_subscription(RecorderStatus, "recorder/status", self._on_status, LATCHED)
        self.create_subscription(GateStatus, "gate/status", self._on_gate, LATCHED)
        self._status: RecorderStatus | None = None
        self._gate = ""
        self._status_s = self._gate_s = float("-inf")
        self._decoder = KeyDecoder()
        self.exit_code: int | None = None
        try:
            self._terminal = Terminal(str(terminal or ""))
        except TerminalError as error:
            raise StartError(f"keyboard_teleop_node: {error}", status=2) from None
        self._terminal.say(HELP)
        self._actions = self._make_actions()
        self._timer = self.create_timer(1.0 / _RATE_HZ, self._tick, clock=STEADY)
        self._line_timer = self.create_timer(0.25, self._show, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health)

    def close(self) -> None:
        """Send zeros, if the robot was being driven, and restore the terminal."""
        self._timer.cancel()
        self._line_timer.cancel()
        if self._hold.velocity(time.monotonic()) is not None:
            self._commands.stop()
        self._terminal.close()

    def _make_actions(self) -> dict[str, Callable[[], None]]:
        episodes = self._episodes
        return {
            Command.OPEN.value: lambda: self._move_gripper(0.0),
            Command.CLOSE.value: lambda: self._move_gripper(1.0),
            Command.FASTER.value: lambda: self._change_speed(_SPEED_STEP),
            Command.SLOWER.value: lambda: self._change_speed(1 / _SPEED_STEP),
            Command.START.value: episodes.start,
            Command.SUCCESS.value: lambda: episodes.stop("success"),
            Command.FAILURE.value: lambda: episodes.stop("failure"),
            Command.DISCARD.value: episodes.discard,
            Command.RERECORD.value: episodes.rerecord,
            Command.STOP.value: lambda: episodes.gate("stop"),
            Command.RESUME.value: lambda: episodes.gate("resume"),
            Command.HELP.value: lambda: self._say(HELP),
        }

    def _tick(self) -> None:
        try:
            keys = self._decoder.feed(self._terminal.read())
        except LostTerminalError as error:
            # No key can be held any more; close() sends the zeros.
            self.get_logger().error(f"the terminal is lost ({error}); the robot stands still")
            self.exit_code = 1
            return
        for key in keys:
            if key == "\x04":
                self.exit_code = 0
            elif key in DIRECTIONS:
                self._press(key)
            elif key in self._actions:
                self._actions[key]()
        velocity = self._hold.velocity(time.monotonic())
        if velocity is not None:
            self._commands.send(velocity)

    def _press(self, key: str) -> None:
        before_s = self._hold.first_hold_s
        self._hold.press(key, time.monotonic())
        if self._hold.first_hold_s != before_s:
            now_s = self._hold.first_hold_s
            self._say(
                f"this keyboard repeats late, so a single press now counts {now_s:.2f} s (first_hold_s was "
                f"{before_s:g}); a shorter delay stops the robot sooner: xset r rate 250 30, or the keyboard settings"
            )

    def _move_gripper(self, position: float) -> None:
        self._commands.send_gripper(position)
        self._say("gripper: close" if position > 0.5 else "gripper: open")

    def _change_speed(self, factor: float) -> None:
        self._hold.change_speed(factor)
        self._say(f"speed: {self._hold.scale:.0%}")

    def _on_status(self, message: RecorderStatus) -> None:
        self._status, self._status_s = message, time.monotonic()

    def _on_gate(self, message: GateStatus) -> None:
        driver = _DRIVERS.get(message.driver, "?")
        self._gate = f"{driver}: {message.fault}" if message.fault else driver
        self._gate_s = time.monotonic()

    def _say(self, line: str) -> None:
        self._terminal.say(line)
        self._show()

    def _show(self) -> None:
        # The last status of a node that has ended must not look current.
        recorder = describe(None if _silent(self._status_s) else self._status)
        self._terminal.show(f"{recorder} | {'no gate' if _silent(self._gate_s) else self._gate}")

    def _health(self) -> Health:
        silent = []
        if _silent(self._gate_s):
            silent.append("nothing arrives on 'gate/status', so the robot does not move; start command_gate_node")
        # None at all is no fault: an operator may only take over from a policy.
        if self._status is not None and _silent(self._status_s):
            silent.append("'recorder/status' has fallen silent; start recorder_node again to record episodes")
        if silent:
            return Health(WARN, "; ".join(silent))
        return Health(OK, "driving" if self._hold.velocity(time.monotonic()) is not None else "no key is held")


def _silent(heard_s: float) -> bool:
    """Return whether a status that arrived last at ``heard_s`` on the monotonic clock [s] is overdue."""
    return time.monotonic() - heard_s >= _SILENT_S


def describe(status: Any) -> str:
    """Return the recorder's status in one short line."""
    if status is None:
        return "no recorder"
    if status.state == RecorderStatus.STATE_RECORDING:
        line = f"REC {status.episode_id} '{status.language}' {status.steps} steps, {status.real_rate_hz:.1f} Hz"
        return line + (f", {status.dropped_ticks} DROPPED" if status.dropped_ticks else "")
    state = _RECORDER_STATES.get(status.state, "?")
    line = f"{state}, {status.episodes_saved} episodes"
    if status.message:
        return f"{line}: {status.message}"
    return f"{line}, next: '{status.next_language}'" if status.next_language else line


def main() -> None:
    """Run until Ctrl-C, Ctrl-D, or the terminal is lost."""
    sys.exit(run(KeyboardTeleopNode))


if __name__ == "__main__":
    main()
