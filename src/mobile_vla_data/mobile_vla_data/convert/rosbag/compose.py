"""The messages that an episode represents: the robot's inputs and commands, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from mobile_vla_data.action import ActionCodec, displacement, gripper, position, yaw
from mobile_vla_data.contract import GRIPPER_STATE, ODOMETRY, TRANSFORMS
from mobile_vla_data.convert.rosbag import messages as ros
from mobile_vla_data.convert.rosbag.bag import typestore
from mobile_vla_data.episode.reader import Episode

_STATE_RECORDING, _STATE_IDLE = 2, 1
_DRIVER_TELEOP, _DRIVER_POLICY = 1, 2
_TICKS, _STATUS = "/recorder/tick", "/recorder/status"
_VELOCITY, _GRIPPER_COMMAND, _DRIVER = "/cmd_vel", "/gripper/command", "/gate/status"
#: Topics whose newest message late subscribers get.
LATCHED_TOPICS = frozenset({_STATUS, _DRIVER})
#: Between two ticks a command is sent again after this long, as by the gate: an old one counts as silence [ns].
_REPEAT_NS = 150_000_000


@dataclass(frozen=True)
class Composed:
    """One message, and when it was recorded."""

    time_ns: int
    topic: str
    msgtype: str
    message: Any
    """Object of ``rosbags``' type store."""


@dataclass(frozen=True)
class _Made:
    topic: str
    msgtype: str
    message: Any


@dataclass(frozen=True, order=True)
class _Entry:
    """Times of messages and functions that make them: images are read only when they are due."""

    time_ns: int
    rank: int
    """Order among messages of one time."""
    number: int
    make: Callable[[], list[_Made]] = field(compare=False)


def compose(episode: Episode, cameras: tuple[str, ...], *, stamped: bool) -> Iterator[Composed]:
    """Yield the messages of an episode. Raises :class:`EpisodeError` when the file cannot be read."""
    composer = _Composer(episode, stamped)
    for entry in sorted(composer.entries(cameras)):
        for made in entry.make():
            yield Composed(entry.time_ns, made.topic, made.msgtype, made.message)


_STATUS_BEFORE, _INPUT, _TICK, _COMMAND, _STATUS_AFTER = range(5)


class _Composer:
    def __init__(self, episode: Episode, stamped: bool) -> None:
        self._episode, self._contract = episode, episode.contract
        self._types = typestore().types
        self._stamped = stamped
        self._codec = ActionCodec(self._contract)
        self._states, self._actions = episode.states, episode.actions
        self._ticks, self._takeover = episode.timestamps_ns, episode.takeover

    def entries(self, cameras: tuple[str, ...]) -> Iterator[_Entry]:
        """Yield the entries of the episode, in any order."""
        ticks = self._ticks.tolist()
        for number, (stream, make) in enumerate(self._inputs(cameras).items()):
            stamps = self._episode.stamps_ns.get(stream, self._ticks).tolist()
            for step, (stamp_ns, tick_ns) in enumerate(zip(stamps, ticks, strict=True)):
                if step == 0 or stamp_ns != stamps[step - 1]:
                    # Stamps later than their tick exist where clocks differ; the tick must still find the value.
                    yield _Entry(min(stamp_ns, tick_ns), _INPUT, number, partial(make, stamp_ns, step))
        end_ns = ticks[-1] + self._contract.period_ns
        yield _Entry(ticks[0] - 1, _COMMAND, 0, partial(self._commands, ticks[0] - 1, 0))
        for step, (tick_ns, next_ns) in enumerate(pairwise([*ticks, end_ns, end_ns + 2])):
            yield _Entry(tick_ns, _TICK, 0, partial(self._tick, tick_ns))
            commanded = min(step, len(ticks) - 1)
            # After its tick, or the step before would get it.
            for time_ns in range(tick_ns + 1, next_ns, _REPEAT_NS):
                yield _Entry(time_ns, _COMMAND, 0, partial(self._commands, time_ns, commanded))
            # A period is a takeover if a human drives at any time in it: before its tick the human must have stopped.
            time_ns = tick_ns + 1 if self._human_drives(commanded) else tick_ns - 1
            yield _Entry(time_ns, _COMMAND, 1, partial(self._driver, time_ns, commanded))
        for time_ns, rank, state in (
            (ticks[0] - 2, _STATUS_BEFORE, _STATE_RECORDING),
            (end_ns + 2, _STATUS_AFTER, _STATE_IDLE),
        ):
            yield _Entry(time_ns, rank, 0, partial(self._status, time_ns, state))

    def _inputs(self, cameras: tuple[str, ...]) -> dict[str, Callable[[int, int], list[_Made]]]:
        images = {camera: partial(self._image, camera) for camera in cameras}
        state = {ODOMETRY: self._odometry, GRIPPER_STATE: self._gripper_state}
        return {**images, **{stream: state[stream] for stream in self._contract.state_streams}}

    def _image(self, camera: str, time_ns: int, step: int) -> list[_Made]:
        header, topic = self._header(time_ns, camera), _absolute(self._contract.cameras[camera].topic)
        data = self._episode.jpeg(camera, step)
        if data is not None:
            message = self._types[ros.COMPRESSED](header, "jpeg", np.frombuffer(data, dtype=np.uint8))
            return [_Made(f"{topic}/compressed", ros.COMPRESSED, message)]
        image = self._episode.image(camera, step)
        height, width = image.shape[:2]
        raw = self._types[ros.IMAGE](
            header, height, width, "rgb8", 0, 3 * width, np.ascontiguousarray(image).reshape(-1)
        )
        return [_Made(topic, ros.IMAGE, raw)]

    def _odometry(self, time_ns: int, step: int) -> list[_Made]:
        x, y = (float(value) for value in position(self._states)[step])
        header, child = self._header(time_ns, self._contract.state.odometry_frame), self._contract.action.frame
        unturned = self._make("Quaternion", 0.0, 0.0, 0.0, 1.0)
        if self._contract.state.pose == "tf":
            moved = self._make("Transform", self._make("Vector3", x, y, 0.0), unturned)
            transforms = [self._make("TransformStamped", header, child, moved)]
            return [_Made(TRANSFORMS, ros.TF, self._types[ros.TF](transforms))]
        pose = self._make("Pose", self._make("Point", x, y, 0.0), unturned)
        still = self._make("Twist", self._make("Vector3", 0.0, 0.0, 0.0), self._make("Vector3", 0.0, 0.0, 0.0))
        unknown = np.zeros(36)
        message = self._types[ros.ODOMETRY](
            header,
            child,
            self._make("PoseWithCovariance", pose, unknown),
            self._make("TwistWithCovariance", still, unknown),
        )
        return [_Made(_absolute(self._contract.state.odometry_topic), ros.ODOMETRY, message)]

    def _gripper_state(self, time_ns: int, step: int) -> list[_Made]:
        value = float(gripper(self._states)[step])
        message = self._types[ros.GRIPPER_STATE](self._header(time_ns, ""), value, False)
        return [_Made(_absolute(self._contract.state.gripper_topic), ros.GRIPPER_STATE, message)]

    def _commands(self, time_ns: int, step: int) -> list[_Made]:
        twist, header = self._twist(step), self._header(time_ns, self._contract.action.frame)
        wheels = _Made(_VELOCITY, ros.TWIST, twist)
        if self._stamped:
            wheels = _Made(_VELOCITY, ros.TWIST_STAMPED, self._types[ros.TWIST_STAMPED](header, twist))
        if not self._contract.has_gripper:
            return [wheels]
        grip = self._types[ros.GRIPPER_COMMAND](header, float(gripper(self._actions)[step]))
        return [wheels, _Made(_GRIPPER_COMMAND, ros.GRIPPER_COMMAND, grip)]

    def _twist(self, step: int) -> Any:
        action = self._actions[step]
        turn = yaw(action)
        delta_x, delta_y = (float(value) for value in displacement(action))
        velocity = self._codec.to_velocity(delta_x, delta_y, 0.0 if turn is None else float(turn))
        linear = self._make("Vector3", velocity.x, velocity.y, 0.0)
        return self._make("Twist", linear, self._make("Vector3", 0.0, 0.0, velocity.yaw_rate))

    def _human_drives(self, step: int) -> bool:
        return self._episode.metadata.source != "policy" or bool(self._takeover[step])

    def _driver(self, time_ns: int, step: int) -> list[_Made]:
        message = self._types[ros.GATE_STATUS](
            header=self._header(time_ns, self._contract.action.frame),
            driver=_DRIVER_TELEOP if self._human_drives(step) else _DRIVER_POLICY,
            stopped=False,
            reason="",
            fault="",
            output=self._twist(step),
            gripper=float(gripper(self._actions)[step]),
            teleop_age_s=-1.0,
            policy_age_s=-1.0,
            clamped=0,
            refused=0,
            timeouts=0,
        )
        return [_Made(_DRIVER, ros.GATE_STATUS, message)]

    def _tick(self, time_ns: int) -> list[_Made]:
        return [_Made(_TICKS, ros.HEADER, self._header(time_ns, ""))]

    def _status(self, time_ns: int, state: int) -> list[_Made]:
        metadata, contract = self._episode.metadata, self._contract
        message = self._types[ros.RECORDER_STATUS](
            header=self._header(time_ns, ""),
            state=state,
            dataset="",
            episode_id=self._episode.episode_id,
            language=metadata.language,
            task=metadata.task,
            category=metadata.category,
            steps=self._episode.num_steps if state == _STATE_IDLE else 0,
            dropped_ticks=self._episode.dropped_ticks,
            lost_yaw_rad=self._episode.lost_yaw_rad or 0.0,
            duration_s=0.0,
            declared_rate_hz=contract.control_rate_hz,
            real_rate_hz=0.0,
            episodes_saved=0,
            disk_free_bytes=0,
            streams=[],
            next_task="",
            next_language="",
            message="",
        )
        return [_Made(_STATUS, ros.RECORDER_STATUS, message)]

    def _header(self, time_ns: int, frame: str) -> Any:
        stamp = self._types["builtin_interfaces/msg/Time"](time_ns // 1_000_000_000, time_ns % 1_000_000_000)
        return self._types[ros.HEADER](stamp, frame)

    def _make(self, name: str, *values: Any) -> Any:
        return self._types[f"geometry_msgs/msg/{name}"](*values)


def _absolute(topic: str) -> str:
    return topic if topic.startswith("/") else f"/{topic}"
