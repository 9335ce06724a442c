"""Reads recordings: rosbag2 folders, single MCAP or SQLite files, and ROS 1 bags, through ``rosbags``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.rosbag.mapping import same_topic

EXTRA = "rosbag"
#: Key of an episode's labels in a recording: in ``metadata.yaml``, or in a metadata record of a single MCAP file.
CUSTOM_KEY = "mobile_vla"
#: Among the labels, in raw recordings only: the times of the first tick and of the end of the last step [ns].
SPAN = "span_ns"
#: Among them, too: the recorder's ``command_max_age_s`` [s]; messages that a slow disk cost; why it ended early.
COMMAND_MAX_AGE, LOST_MESSAGES, CUT_OFF = "command_max_age_s", "lost_messages", "cut_off"
_PACKAGE = "mobile_vla_msgs"


@lru_cache(maxsize=1)
def typestore() -> Any:
    """Return the message types of ROS 2 and of ``mobile_vla_msgs``: for bags that do not bring their own."""
    typesys = import_extra("rosbags.typesys", EXTRA)
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    known: dict[str, Any] = {}
    for file in sorted(files(__package__).joinpath("msg").iterdir(), key=lambda item: item.name):
        name = f"{_PACKAGE}/msg/{file.name.removesuffix('.msg')}"
        known |= typesys.get_types_from_msg(file.read_text(encoding="utf-8"), name)
    store.register(known)
    return store


#: The types of the recording that was opened last.
_newest: list[Any] = []


def _compiled(store: Any) -> Any:
    """Return the last recording's types if they equal ``store``'s: every store compiles its own decoders."""
    if not _newest or _newest[0].fielddefs != store.fielddefs:
        _newest[:] = [store]
    return _newest[0]


@dataclass(frozen=True)
class BagMessage:
    """One message of a recording."""

    topic: str
    """Without a leading slash."""
    msgtype: str
    """For example ``sensor_msgs/msg/Image``."""
    time_ns: int
    """When it was recorded."""
    data: bytes
    """As it was sent."""


class Bag:
    """An open recording. Use :func:`open_bag`."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path = path
        self._reader = reader
        self._kept_topics: frozenset[str] = frozenset()
        self._kept: list[BagMessage] = []

    @property
    def types(self) -> dict[str, str]:
        """Topic, without a leading slash -> message type, of the topics that have messages."""
        return {same_topic(item.topic): item.msgtype for item in self._reader.connections if item.msgcount}

    def require(self, topic: str, types: Collection[str]) -> str:
        """Return the topic without a leading slash.

        Raises:
            ConvertError: it has no messages, or messages of another type than ``types``.
        """
        topic, known = same_topic(topic), self.types
        if topic not in known:
            listed = ", ".join(f"/{name} ({msgtype})" for name, msgtype in sorted(known.items()))
            raise ConvertError(f"{self.path}: no topic '/{topic}'; it has {listed}. Correct the mapping file")
        if known[topic] not in types:
            raise ConvertError(f"{self.path}: '/{topic}' is {known[topic]}; use one of {', '.join(types)}")
        return topic

    @property
    def times_ns(self) -> tuple[int, int]:
        """Times of the first message and of the last."""
        return int(self._reader.start_time), int(self._reader.end_time) - 1

    @property
    def custom_data(self) -> dict[str, str]:
        """Additions of the writer: to ``metadata.yaml``, or as metadata record of a single MCAP file."""
        if self.path.is_file() and self.path.suffix == ".mcap":
            return self._metadata_record()
        about = getattr(getattr(self._reader.readers[0], "storage", None), "metadata", None)
        return dict(getattr(about, "custom", None) or {})

    def _metadata_record(self) -> dict[str, str]:
        mcap, errors = import_extra("mcap.reader", EXTRA), import_extra("mcap.exceptions", EXTRA)
        with self.path.open("rb") as stream, suppress(errors.McapError):
            for item in mcap.make_reader(stream).iter_metadata():
                if item.name == CUSTOM_KEY:
                    return dict(item.metadata)
        return {}

    def count(self, topics: Collection[str]) -> int:
        """Number of messages on some topics."""
        return sum(item.msgcount for item in self._connections(topics))

    def keep(self, topics: Collection[str]) -> None:
        """Read the messages on small topics in one pass: :meth:`messages` has them from memory then."""
        self._kept, self._kept_topics = list(self.messages(topics)), frozenset(topics)

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages on some topics in the order in which they were recorded.

        Raises:
            ConvertError: the recording is damaged.
        """
        if self._kept_topics.issuperset(topics):
            yield from (message for message in self._kept if message.topic in topics)
            return
        connections = self._connections(topics)
        if not connections:
            return
        with _reading(self.path):
            for connection, time_ns, data in self._reader.messages(connections=connections):
                yield BagMessage(same_topic(connection.topic), connection.msgtype, int(time_ns), data)

    def decode(self, message: BagMessage) -> Any:
        """Return a message with its fields as attributes. Raises :class:`ConvertError`."""
        with _reading(self.path):
            return self._reader.deserialize(message.data, message.msgtype)

    def _connections(self, topics: Collection[str]) -> list[Any]:
        return [item for item in self._reader.connections if same_topic(item.topic) in topics]


@contextmanager
def open_bag(path: str | Path) -> Iterator[Bag]:
    """Open a recording: a rosbag2 folder, or one of its files, or a ROS 1 bag.

    Raises:
        ConvertError: it does not exist, is not a recording, or is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise ConvertError(f"{path}: no such recording")
    highlevel = import_extra("rosbags.highlevel", EXTRA)
    with _reading(path):
        reader = highlevel.AnyReader([path], default_typestore=typestore())
        reader.open()
        reader.typestore = _compiled(reader.typestore)
    try:
        if not reader.message_count:
            raise ConvertError(f"{path}: has no messages")
        yield Bag(path, reader)
    finally:
        reader.close()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any exception that the library raises on a damaged recording into one line."""
    try:
        yield
    except ConvertError:
        raise
    except Exception as error:  # its own, and those of apsw, zstd, lz4, struct and of Python: it checks little
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConvertError(
            f"{path}: no readable recording: {reason[:160]}. If it was cut off, repair it{_REPAIR}"
        ) from None


_REPAIR = " with 'mcap recover' (MCAP) or 'ros2 bag reindex' (folders)"
