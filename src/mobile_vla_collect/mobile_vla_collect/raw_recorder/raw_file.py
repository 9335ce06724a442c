"""One MCAP file while it is written: on a thread of its own, and under its final name only when it is complete."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from mobile_vla_collect.promise import promise
from mobile_vla_collect.raw_recorder.definitions import definition
from mobile_vla_data.convert.rosbag.bag import CUSTOM_KEY
from mobile_vla_data.storage.durable import as_disk_full, explained, publish

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


class Backlog:
    """Bytes that wait for the disk, of all files together: an ended file may still be written while the next begins."""

    def __init__(self, limit_bytes: int = _WAITING_BYTES) -> None:
        self._room_bytes = limit_bytes
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Count ``size_bytes`` more; returns False, and counts nothing, when they are too many."""
        with self._lock:
            if size_bytes > self._room_bytes:
                return False
            self._room_bytes -= size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Count ``size_bytes`` as written."""
        with self._lock:
            self._room_bytes += size_bytes


class RawFile:
    """Writes messages to ``.NAME.open`` on its own thread; :meth:`finish` renames it to ``path``.

    ``latched`` topics keep their newest message for late subscribers when the file is played. One of :meth:`finish`,
    :meth:`discard` and :meth:`abandon` ends it. They return at once; the thread first writes what waits.
    """

    def __init__(self, path: Path, latched: frozenset[str], backlog: Backlog) -> None:
        self.path = path
        self.open_path = path.with_name(f".{path.name}.open")
        """Path of the file until it is finished."""
        self.failure = ""
        """Why no more can be written, in one line; empty while all is well."""
        self.lost = 0
        """Messages that were dropped because the disk was too slow."""
        self.cut_off = ""
        """Why it ends before its episode, in one line; empty when it does not."""
        self.newest_ns = 0
        """Time of the newest message that was written; 0 before the first."""
        self._latched = latched
        self._file = self.open_path.open("wb")
        # Images of a real camera hardly compress; LZ4 tries that in a seventh of zstd's time.
        self._writer = Writer(self._file, compression=CompressionType.LZ4)
        self._writer.start(profile="ros2", library=_LIBRARY)
        self._channels: dict[tuple[str, str], int] = {}
        self._queue: queue.SimpleQueue[RawMessage | Callable[[], None]] = queue.SimpleQueue()
        self._backlog = backlog
        self._thread = threading.Thread(target=self._run, name="raw writer", daemon=True)
        self._thread.start()

    def add(self, message: RawMessage) -> None:
        """Take a message; drops it when too much waits already."""
        if self._backlog.take(len(message.data)):
            self._queue.put(message)
        else:
            self.lost += 1

    def finish(self, labels: Callable[[], Mapping[str, Any]]) -> Future[int | None]:
        """Add the labels of the episode and give the file its final name; the result is its size [bytes].

        ``labels`` is called on the thread of the file, when all messages are written. After an error the file keeps
        its first name.
        """

        def work() -> int:
            self.cut_off = self.cut_off or self.failure
            self._complete(labels)
            publish(self.open_path, self.path)
            return self.path.stat().st_size

        return self._end(work)

    def discard(self) -> Future[int | None]:
        """Remove the file; the result is None."""

        def work() -> None:
            # On a full disk closing fails, too, and what it could not write is not wanted.
            with contextlib.suppress(OSError):
                self._file.close()
            self.open_path.unlink(missing_ok=True)

        return self._end(work)

    def abandon(self) -> Future[int | None]:
        """Close the file under its first name, readable if the disk allows; the result is None."""

        def work() -> None:
            with contextlib.suppress(OSError):
                self._complete(dict)

        return self._end(work)

    def _end(self, work: Callable[[], int | None]) -> Future[int | None]:
        future, answer = promise(work)
        self._queue.put(answer)
        return future

    def _complete(self, labels: Callable[[], Mapping[str, Any]]) -> None:
        try:
            if given := labels():
                self._writer.add_metadata(CUSTOM_KEY, {CUSTOM_KEY: json.dumps(given, ensure_ascii=False)})
            self._writer.finish()
        finally:
            self._file.close()

    def _run(self) -> None:
        while isinstance(item := self._queue.get(), RawMessage):
            try:
                if not self.failure:
                    self._write(item)
            except OSError as error:
                self.failure = explained(as_disk_full(error, self.open_path))
            except Exception as error:  # whatever it is, the node must report it and go on
                self.failure = " ".join(f"{self.open_path}: {error}".split())
            self._backlog.release(len(item.data))
        item()

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
