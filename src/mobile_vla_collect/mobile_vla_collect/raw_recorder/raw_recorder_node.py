"""Record raw messages as a node: topics in, one MCAP file for each episode; raw_file.py writes it.

A process of its own, with low priority: the recorder's ticks do not wait for it. It listens to ``recorder/status``: an
episode that begins opens a file, which also gets the messages of the last seconds; an episode that is saved gives the
file its name and labels, and one that is discarded removes it.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from mobile_vla_collect.raw_recorder.definitions import UnknownTypeError, definition, message_type
from mobile_vla_collect.raw_recorder.raw_file import Backlog, RawFile, RawMessage
from mobile_vla_collect.raw_recorder.topics import STATUS, TICK, wanted_topics
from mobile_vla_data.convert.labels import describe
from mobile_vla_data.convert.rosbag.bag import COMMAND_MAX_AGE, CUT_OFF, LOST_MESSAGES, SPAN
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.reader import Episode, EpisodeError
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S
from mobile_vla_data.storage.durable import as_disk_full, explained, free_bytes
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.clock import STEADY, now_ns
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.diagnostics import ERROR, OK, Diagnostics, Health
from mobile_vla_ros.parameters import compressed_images, load_contract, number, text
from mobile_vla_ros.run import run

_LOOK_PERIOD_S = 0.25
#: rclpy says when a message was sent (from Iron on). That time does not depend on how busy this process is.
_WITH_INFO = hasattr(Subscription, "CallbackType")
#: A message may have been on its way this long [ns].
_LATE_NS = 2_000_000_000
#: Time that the recorder may take to save its last episode when both are stopped together [s].
_SAVED_WITHIN_S = 4.0
_NICE = 5


class RawRecorderNode(Node):
    """Writes ``EPISODE_ID.mcap`` beside each episode of the recorder."""

    def __init__(self) -> None:
        super().__init__("raw_recorder_node")
        contract = load_contract(self)
        compressed = compressed_images(self)
        extra = text(self, "extra_topics", "", "further topics to record, comma-separated")
        self._lead_ns = int(
            1e9 * number(self, "lead_s", 3.0, "a file begins this long before its episode [s]", at_least=1, at_most=60)
        )
        # Below the recorder's own limit nothing may be taken from it.
        self._min_free_bytes = 2e6 * number(
            self, "min_free_mb", 500.0, "raw recording ends below twice this much free space [MB]", at_least=0
        )
        what = "as the recorder has it; imports of the files use it [s]"
        self._command_max_age_s = number(self, "command_max_age_s", COMMAND_MAX_AGE_S, what, above=0)
        names = tuple(name.strip() for name in extra.split(",") if name.strip())
        self._wanted = {
            self.resolve_topic_name(topic.name): topic
            for topic in wanted_topics(contract, compressed=compressed, extra=names)
        }
        self._latched = frozenset(name for name, topic in self._wanted.items() if topic.latched)
        self._tick, self._status = (self.resolve_topic_name(name) for name in (TICK, STATUS))
        self._types: dict[str, str] = {}
        self._subscriptions_by_topic: dict[str, Any] = {}
        self._before: deque[RawMessage] = deque()
        """Messages of the last ``lead_s``."""
        self._newest: dict[tuple[str, ...], RawMessage] = {}
        """Newest message of each latched topic; of /tf_static for each set of frames: it has several publishers."""
        self._backlog = Backlog()
        self._episode_id = ""
        """The episode that is being recorded, with a file or without one after a failure."""
        self._file: RawFile | None = None
        self._ended: list[RawFile] = []
        """Files whose episodes are being saved or discarded."""
        self._closing: dict[RawFile, Future[int | None]] = {}
        """Files that are being finished, discarded or abandoned, on their own threads."""
        self._written = 0
        self._problem = ""
        self._timer = self.create_timer(_LOOK_PERIOD_S, self._look, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health)

    def close(self) -> None:
        """Finish the files of episodes that are saved; wait for the recorder, which may be saving its last one."""
        self._timer.cancel()
        self._end_file()
        deadline = time.monotonic() + _SAVED_WITHIN_S
        while self._ended and time.monotonic() < deadline:
            self._settle()
            time.sleep(0.05)
        for file in self._ended:
            # An episode that was left for `recover`: its messages may be all there is.
            self._closing[file] = file.finish(dict)
        self._ended = []
        wait(self._closing.values())
        self._settle()

    def _look(self) -> None:
        """Subscribe to topics that have appeared, and settle ended files."""
        for name, types in self.get_topic_names_and_types():
            if name in self._wanted and types and types[0] != self._types.get(name):
                self._subscribe(name, types[0])
        self._settle()
        if self._file is not None:
            self._check_disk(self._file)

    def _check_disk(self, file: RawFile) -> None:
        """End the recording when its disk is full or does not answer."""
        folder = file.path.parent
        try:
            full = free_bytes(folder) < self._min_free_bytes
        except OSError as error:
            self._file = None
            self._abandon(file, error)
            return
        if file.failure or full:
            file.cut_off = file.failure or f"{folder}: less than {self._min_free_bytes / 1e6:.0f} MB free"
            self._report(f"raw recording of {file.path.stem} ended: {file.cut_off}")
            self._end_file()

    def _subscribe(self, name: str, msgtype: str) -> None:
        self._types[name] = msgtype
        if (old := self._subscriptions_by_topic.pop(name, None)) is not None:
            self.destroy_subscription(old)
        try:
            definition(msgtype)
            kind = message_type(msgtype)
        except UnknownTypeError as error:
            self.get_logger().warning(f"'{name}' is not recorded: {error}")
            return
        take: Callable[..., None] = partial(self._on_message if _WITH_INFO else self._on_arrival, name, msgtype)
        self._subscriptions_by_topic[name] = self.create_subscription(
            kind, name, take, self._wanted[name].qos, raw=True
        )

    def _on_arrival(self, name: str, msgtype: str, data: bytes) -> None:
        self._take(name, msgtype, data, now_ns(self))

    def _on_message(self, name: str, msgtype: str, data: bytes, info: Any) -> None:
        arrived_ns, sent_ns = now_ns(self), int(info["source_timestamp"])
        # A simulated clock, or the clock of another machine, is not comparable.
        self._take(name, msgtype, data, sent_ns if 0 <= arrived_ns - sent_ns < _LATE_NS else arrived_ns)

    def _take(self, name: str, msgtype: str, data: bytes, time_ns: int) -> None:
        if name == self._tick:
            # As the recorder's clock said: an import takes the newest of everything before it.
            time_ns = to_ns(deserialize_message(data, Header).stamp)
        message = RawMessage(name, msgtype, time_ns, data)
        if self._before and time_ns < self._before[-1].time_ns - max(self._lead_ns, _LATE_NS):
            self._begin_again(time_ns)
        self._before.append(message)
        while self._before and self._before[0].time_ns < time_ns - self._lead_ns:
            self._before.popleft()
        if name in self._latched:
            self._newest[(name, *_frames(msgtype, data))] = message
        if self._file is not None:
            self._file.add(message)
        if name == self._status:
            self._on_status(deserialize_message(data, RecorderStatus))

    def _begin_again(self, time_ns: int) -> None:
        """Forget what came before a simulated clock was set back; what is latched is still valid."""
        self._before.clear()
        self._newest = {
            key: RawMessage(message.topic, message.msgtype, time_ns - 1, message.data)
            for key, message in self._newest.items()
        }

    def _on_status(self, status: RecorderStatus) -> None:
        recording = status.episode_id if status.state == RecorderStatus.STATE_RECORDING else ""
        if recording == self._episode_id:
            return
        self._end_file()
        path = schema.raw_path(Path(status.dataset), recording) if recording else None
        if path and not self._is_free(path):
            self._episode_id = ""  # tried again with the next status
            return
        self._episode_id = recording
        if path:
            self._begin_file(path)

    def _is_free(self, path: Path) -> bool:
        """Return whether no earlier file has this name still; one that has goes.

        The recorder gives the number of an episode to the next one only if it was discarded.
        """
        for file in [file for file in self._ended if file.path == path]:
            self._ended.remove(file)
            self._closing[file] = file.discard()
        return all(file.path != path for file in self._closing)

    def _begin_file(self, path: Path) -> None:
        try:
            if _exists(path):
                self._report(f"{path} exists; it is not overwritten")
                return
            self._file = RawFile(path, self._latched, self._backlog)
        except OSError as error:
            self._report(f"{path.stem} gets no raw recording: {explained(as_disk_full(error, path))}")
            return
        self._problem = ""
        begin_ns = self._before[0].time_ns if self._before else now_ns(self)
        for message in self._newest.values():
            if message.time_ns < begin_ns:
                # Its time is that of the begin: in a file times only rise, and what is latched is valid until then.
                self._file.add(RawMessage(message.topic, message.msgtype, begin_ns, message.data))
        for message in self._before:
            self._file.add(message)

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._ended.append(file)

    def _abandon(self, file: RawFile, error: OSError) -> None:
        """Leave what was written as it is: the disk does not answer, so the end of the episode is not known."""
        reason = f"{file.path.parent}: {error.strerror or error}; is its disk still mounted?"
        self._report(
            f"raw recording of {file.path.stem} ended: {reason} What was written stays in {file.open_path.name}"
        )
        self._closing[file] = file.abandon()

    def _settle(self) -> None:
        """Finish or discard the files whose episodes were saved or discarded; report those that are done."""
        for file in list(self._ended):
            try:
                closing = self._close_file(file)
            except OSError as error:
                self._ended.remove(file)
                self._abandon(file, error)
                continue
            if closing is not None:
                self._ended.remove(file)
                self._closing[file] = closing
        for file, closing in list(self._closing.items()):
            if closing.done():
                del self._closing[file]
                self._report_closed(file, closing)

    def _close_file(self, file: RawFile) -> Future[int | None] | None:
        """Begin to finish or discard a file; returns None while its episode is being saved. Raises OSError."""
        folder, episode_id = file.path.parent, file.path.stem
        saved = schema.final_path(folder, episode_id)
        # Asked first: the recorder renames this file to the saved one.
        unsaved = _exists(schema.part_path(folder, episode_id))
        if _exists(saved):
            return file.finish(partial(self._labels, saved, file))
        if unsaved:
            return None
        # Without its disk, a folder looks as if the episode had been discarded.
        os.stat(file.open_path)
        return file.discard()

    def _report_closed(self, file: RawFile, closing: Future[int | None]) -> None:
        if (error := closing.exception()) is not None:
            line = explained(as_disk_full(error, file.path)) if isinstance(error, OSError) else f"{file.path}: {error}"
            self._report(f"{line}; what was written stays in {file.open_path.name}")
        elif (size_bytes := closing.result()) is not None:
            self._written += 1
            lost = f"; {file.lost} messages were lost: the disk is too slow" if file.lost else ""
            ended = f"; it ends before its episode: {file.cut_off}" if file.cut_off else ""
            self.get_logger().info(f"{file.path}: {size_bytes / 1e6:.1f} MB{lost}{ended}")

    def _report(self, problem: str) -> None:
        self._problem = problem
        self.get_logger().error(problem)

    def _labels(self, path: Path, file: RawFile) -> dict[str, Any]:
        """Return the labels of a saved episode, and what an import of its messages needs to know."""
        try:
            with Episode.open(path) as episode:
                ticks = episode.timestamps_ns
                # The last step ends with the tick after it, which may come late.
                end_ns = int(ticks[-1]) + episode.contract.period_ns * 3 // 2
                if file.cut_off:
                    end_ns = min(end_ns, file.newest_ns)
                return {
                    **describe(episode),
                    SPAN: [int(ticks[0]), end_ns],
                    COMMAND_MAX_AGE: self._command_max_age_s,
                    LOST_MESSAGES: file.lost,
                    CUT_OFF: file.cut_off,
                }
        except EpisodeError:
            return {}

    def _health(self) -> Health:
        values = {
            "topics": len(self._subscriptions_by_topic),
            "files": self._written,
            "lost messages": self._file.lost if self._file is not None else 0,
        }
        return Health(ERROR if self._problem else OK, self._problem or "OK", values)


def _exists(path: Path) -> bool:
    """Return whether ``path`` exists. Raises OSError when the disk does not answer; newer ``Path.exists`` does not."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _frames(msgtype: str, data: bytes) -> list[str]:
    """Return the frames that a message of transforms places; nothing for other types."""
    if msgtype != "tf2_msgs/msg/TFMessage":
        return []
    return sorted(item.child_frame_id for item in deserialize_message(data, message_type(msgtype)).transforms)


def main() -> None:
    """Record until it is stopped."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    sys.exit(run(RawRecorderNode))


if __name__ == "__main__":
    main()
