"""One MCAP file while it is written: on a thread of its own, and under its final name only when it is complete."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from mobile_vla_collect.raw_recorder.definitions import definition
from mobile_vla_data.convert.rosbag.bag import CUSTOM_KEY
from mobile_vla_data.storage.durable import publish

#: Messages that may wait for the disk, together [bytes]: 2 s of two cameras of 640 x 480 at 30 Hz.
_WAITING_BYTES = 128 << 20
_LIBRARY = "mobile_vla_collect"


@dataclass(frozen=True)
class RawMessage:
    """A message as it came over the network."""

    topic: str
    """Full name."""
    msgtype: str
    """For example ``sensor_msgs/msg/Image``."""
    time_ns: int
    """When it was sent, or where that is not known, when it came; for a control tick, its stamp."""
    data: bytes
    """Serialised (CDR)."""


class RawFile:
    """Writes messages to ``.NAME.open`` and renames it to ``path`` in :meth:`finish`.

    ``latched`` topics keep their newest message for late subscribers when the file is played.
    """

    def __init__(self, path: Path, latched: frozenset[str]) -> None:
        self.path = path
        self.failure = ""
        """Why no more can be written, in one line; empty while all is well."""
        self.lost = 0
        """Messages that were dropped because the disk was too slow."""
        self.cut_off = ""
        """Why it ends before its episode, in one line; empty when it does not."""
        self.newest_ns = 0
        """Time of the newest message that was written; 0 before the first."""
        self._latched = latched
        self._open_path = path.with_name(f".{path.name}.open")
        self._file = self._open_path.open("wb")
        # Images of a real camera hardly compress; LZ4 tries that in a seventh of zstd's time.
        self._writer = Writer(self._file, compression=CompressionType.LZ4)
        self._writer.start(profile="ros2", library=_LIBRARY)
        self._channels: dict[tuple[str, str], int] = {}
        self._queue: queue.SimpleQueue[RawMessage | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="raw writer", daemon=True)
        self._thread.start()

    def add(self, message: RawMessage) -> None:
        """Take a message; drops it when too much waits already."""
        with self._lock:
            if self._waiting_bytes + len(message.data) > _WAITING_BYTES:
                self.lost += 1
                return
            self._waiting_bytes += len(message.data)
        self._queue.put(message)

    def end(self) -> None:
        """Write what waits; nothing can be added afterwards. Idempotent."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def finish(self, labels: Mapping[str, Any]) -> None:
        """End, add the labels of the episode, and give the file its final name. Raises OSError."""
        self.end()
        if labels:
            self._writer.add_metadata(CUSTOM_KEY, {CUSTOM_KEY: json.dumps(labels, ensure_ascii=False)})
        self._writer.finish()
        self._file.close()
        publish(self._open_path, self.path)

    def discard(self) -> None:
        """End and remove the file."""
        self.end()
        self._file.close()
        self._open_path.unlink(missing_ok=True)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                if not self.failure:
                    self._write(message)
            except Exception as error:  # whatever it is, the node must report it and go on
                self.failure = " ".join(f"{self._open_path}: {error}".split())
            with self._lock:
                self._waiting_bytes -= len(message.data)

    def _write(self, message: RawMessage) -> None:
        key = message.topic, message.msgtype
        if key not in self._channels:
            schema = self._writer.register_schema(message.msgtype, "ros2msg", definition(message.msgtype).encode())
            metadata = {"offered_qos_profiles": _LATCHED_QOS} if message.topic in self._latched else {}
            self._channels[key] = self._writer.register_channel(message.topic, "cdr", schema, metadata)
        self._writer.add_message(self._channels[key], message.time_ns, message.data, message.time_ns)
        self.newest_ns = max(self.newest_ns, message.time_ns)


#: As rosbag2 writes it: `ros2 bag play` offers the topic like this.
_LATCHED_QOS = """- history: 1
  depth: 1
  reliability: 1
  durability: 1
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false
"""
