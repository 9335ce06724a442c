"""Replay an episode as a node: parameters and the course of a replay; inputs.py and actions.py do the work."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rclpy.node import Node

from mobile_vla_collect.replay.actions import ActionReplay
from mobile_vla_collect.replay.inputs import InputReplay
from mobile_vla_data.contract import ContractError
from mobile_vla_data.episode.reader import Episode, EpisodeError
from mobile_vla_data.storage.durable import require_writable, write_text_atomically
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.diagnostics import OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import flag, load_contract, number, path, stamping, text
from mobile_vla_ros.run import StartError, run

_PERIOD_S = 0.01
#: Time before the first and between further searches for other publishers of the inputs [s].
_LOOK_AROUND_S = 1.0


class ReplayNode(Node):
    """Publishes the inputs of an episode, or drives its actions; ends with 0 if all was replayed, otherwise with 1."""

    def __init__(self) -> None:
        super().__init__("replay_node")
        self._contract = load_contract(self)
        self._file = path(self, "episode", "episode file to replay", required=True)
        self._mode = text(
            self,
            "mode",
            "inputs",
            "inputs: publish what the robot's sensors said; actions: drive what the robot was told, through the gate",
            choices=("inputs", "actions"),
        )
        self._speed = number(self, "speed", 1.0, "factor on the recorded speed", above=0, at_most=10)
        self._repeat = flag(self, "repeat", False, "inputs: begin again at the end")
        self._wait_s = number(self, "wait_s", 15.0, "actions: time to wait for gate and position [s]", at_least=0)
        self._max_deviation_m = number(
            self, "max_deviation_m", 0.5, "actions: stop further from the recorded position [m]", above=0
        )
        self._output = path(self, "output", "actions: JSON file for the result; empty: none")
        self._stamped = stamping(self)
        self.exit_code: int | None = None
        self._message = "starting"
        self._episode: Episode | None = None
        self._inputs: InputReplay | None = None
        self._actions: ActionReplay | None = None
        self._opened_s = self._looked_s = self._began_s = 0.0
        self._driving = False
        # Steady: the speed of the wheels must not follow a clock that is set.
        self._timer = self.create_timer(_PERIOD_S, self._tick, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health)

    def close(self) -> None:
        """Stop the robot; a replay that was driving is reported up to here."""
        self._timer.cancel()
        if self._actions is not None:
            if self._driving:
                self._actions.abort("the replay was stopped")
                self._report(self._actions)
            self._actions.close()
        if self._episode is not None:
            self._episode.close()

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._episode is None:
            self._open()
            self._opened_s = self._looked_s = now_s
        elif self._inputs is not None:
            self._tick_inputs(self._inputs, now_s)
        elif self._actions is not None:
            self._tick_actions(self._actions, now_s)

    def _open(self) -> None:
        """Open the episode and make the part of the chosen mode. Raises :class:`StartError`."""
        assert self._file is not None
        try:
            self._episode = episode = Episode.open(self._file)
            self._contract.require_same(episode.contract, "this robot", str(self._file))
            if self._mode == "inputs":
                self._inputs = InputReplay(self, self._contract, episode, self._speed)
                return
            if self._output is not None:
                require_writable(self._output.absolute().parent)
            self._actions = ActionReplay(
                self,
                self._contract,
                episode,
                speed=self._speed,
                max_deviation_m=self._max_deviation_m,
                stamped=self._stamped,
            )
        except (EpisodeError, ContractError, OSError) as error:
            raise StartError(str(error)) from None

    def _tick_inputs(self, inputs: InputReplay, now_s: float) -> None:
        # Not only before it begins: on a busy machine another publisher may be discovered late.
        if now_s - self._looked_s >= _LOOK_AROUND_S:
            self._looked_s = now_s
            if other := inputs.other_publishers():
                raise StartError(other)
            if not self._began_s:
                self._began_s = now_s
                assert self._episode is not None
                self._say(f"{self._episode.episode_id}: publishing '{self._episode.metadata.language}'")
        if not self._began_s:
            return
        inputs.send_until(now_s - self._began_s)
        if inputs.done and self._repeat:
            inputs.restart()
            # A period lies between the last step and the first of the next round.
            self._began_s = now_s + self._contract.period_s / self._speed
        elif inputs.done:
            self._say(f"published all {inputs.sent} inputs")
            self.exit_code = 0

    def _tick_actions(self, actions: ActionReplay, now_s: float) -> None:
        if not self._driving:
            if missing := actions.missing(now_s):
                self._message = f"waiting: {missing}"
                if now_s - self._opened_s > self._wait_s:
                    raise StartError(f"waited {self._wait_s:g} s: {missing}")
                return
            self._driving = True
            assert self._episode is not None
            words = f"'{self._episode.metadata.language}', {actions.steps} steps at speed {self._speed:g}"
            self._say(f"{self._episode.episode_id}: driving {words}; teleop takes over at any time")
        if actions.tick(now_s):
            self._driving = False
            self._report(actions)
            self.exit_code = 1 if actions.ended else 0

    def _report(self, actions: ActionReplay) -> None:
        """Log the deviation, and write it to the output file."""
        assert self._episode is not None
        deviation = actions.deviation
        limited = f"; the gate reduced {actions.limited} commands" if actions.limited else ""
        self._say(f"drove {len(actions.driven)} of {actions.steps} steps: {deviation}{limited}")
        if actions.ended:
            self.get_logger().error(f"ended early: {actions.ended}")
            self._message = actions.ended
        if self._output is not None:
            _write(self._output, self._episode, actions, self._speed)

    def _say(self, line: str) -> None:
        self._message = line
        self.get_logger().info(line)

    def _health(self) -> Health:
        waiting = self._message.startswith("waiting")
        return Health(WARN if waiting else OK, self._message, {"mode": self._mode, "episode": self._file})


def _write(output: Path, episode: Episode, actions: ActionReplay, speed: float) -> None:
    deviation = actions.deviation
    document: dict[str, Any] = {
        "episode": str(episode.path),
        "language": episode.metadata.language,
        "speed": speed,
        "steps": actions.steps,
        "steps_driven": len(actions.driven),
        "ended": actions.ended or "complete",
        "commands_reduced_by_gate": actions.limited,
        "deviation": asdict(deviation) if deviation is not None else None,
        "recorded_m": actions.recorded[: len(actions.driven)].round(4).tolist(),
        "driven_m": [[round(x, 4), round(y, 4)] for x, y in actions.driven],
    }
    write_text_atomically(output, json.dumps(document, indent=1) + "\n")


def main() -> None:
    """Replay an episode, then end."""
    sys.exit(run(ReplayNode))


if __name__ == "__main__":
    main()
