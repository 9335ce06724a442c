"""Cuts a recording into episodes: one for each recording, at pauses, or where a marker says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.rosbag.bag import Bag
from mobile_vla_data.convert.rosbag.mapping import BagMapping, same_topic
from mobile_vla_data.convert.rosbag.messages import MARKER_TYPES, gripper_value, open_episode, velocity

#: Commands slower than this are standing still [m/s, rad/s].
_STILL = 1e-3


@dataclass(frozen=True)
class Segment:
    """A part of a recording that becomes an episode."""

    start_ns: int
    end_ns: int
    labels: dict[str, str] = field(default_factory=dict)
    """Labels that the recording gives: language, task, category."""


def cut(bag: Bag, mapping: BagMapping) -> list[Segment]:
    """Return the segments of a recording, in order. Raises :class:`ConvertError` when it is damaged."""
    if mapping.episodes.by == "bag":
        return [Segment(*bag.times_ns)]
    found = list(_by_marker(bag, mapping) if mapping.episodes.by == "marker" else _by_pauses(bag, mapping))
    if not found:
        why = (
            f"'{mapping.episodes.marker}' never says that an episode is open"
            if mapping.episodes.by == "marker"
            else f"'{mapping.velocity.topic}' never commands a movement"
        )
        raise ConvertError(f"{bag.path}: no episodes: {why}; set episodes.by in the mapping file")
    return found


def _by_marker(bag: Bag, mapping: BagMapping) -> Iterator[Segment]:
    opened: tuple[int, dict[str, str]] | None = None
    for message in bag.messages({bag.require(mapping.episodes.marker, MARKER_TYPES)}):
        labels = open_episode(bag.decode(message), message.msgtype)
        if opened is not None and labels != opened[1]:
            yield Segment(opened[0], message.time_ns, opened[1])
            opened = None
        if opened is None and labels is not None:
            opened = message.time_ns, labels
    if opened is not None:
        yield Segment(opened[0], bag.times_ns[1], opened[1])


def _by_pauses(bag: Bag, mapping: BagMapping) -> Iterator[Segment]:
    idle_ns, lead_ns = round(mapping.episodes.idle_s * 1e9), round(mapping.episodes.lead_s * 1e9)
    first_ns, last_ns = bag.times_ns
    begin = last = 0
    for moved_ns in _movements(bag, mapping):
        if begin and moved_ns - last > idle_ns:
            yield Segment(max(begin - lead_ns, first_ns), last + lead_ns)
            begin = 0
        begin, last = begin or moved_ns, moved_ns
    if begin:
        yield Segment(max(begin - lead_ns, first_ns), min(last + lead_ns, last_ns))


def _movements(bag: Bag, mapping: BagMapping) -> Iterator[int]:
    """Yield the times at which a movement is commanded; a velocity holds until the next, or until it is too old."""
    max_age_ns = round(mapping.velocity.max_age_s * 1e9)
    wheels = same_topic(mapping.velocity.topic)
    gripper = mapping.gripper_command
    topics = {wheels} if gripper is None else {wheels, same_topic(gripper.topic)}
    moving_since, position = 0, None
    for message in bag.messages(topics):
        content = bag.decode(message)
        if message.topic == wheels:
            if moving_since:
                yield min(message.time_ns, moving_since + max_age_ns)
            command = velocity(content, message.msgtype)
            still = max(abs(command.x), abs(command.y), abs(command.yaw_rate)) < _STILL
            moving_since = 0 if still else message.time_ns
            if moving_since:
                yield moving_since
        elif gripper is not None:
            value = gripper_value(content, message.msgtype, gripper)
            if value is not None and position is not None and value != position:
                yield message.time_ns
            position = position if value is None else value
