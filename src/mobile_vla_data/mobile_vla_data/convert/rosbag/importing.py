"""Recordings of ROS to episodes of a dataset folder, through the recorder's own sampling code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.convert.adopt import Adoption, Numbers, adopting
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.labels import slug
from mobile_vla_data.convert.rosbag import messages as ros
from mobile_vla_data.convert.rosbag.bag import (
    COMMAND_MAX_AGE,
    CUSTOM_KEY,
    CUT_OFF,
    LOST_MESSAGES,
    SPAN,
    Bag,
    BagMessage,
    open_bag,
)
from mobile_vla_data.convert.rosbag.mapping import BagMapping, same_topic
from mobile_vla_data.convert.rosbag.play import Player
from mobile_vla_data.convert.rosbag.segments import Segment, cut
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError, utc
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.sampling.sampler import EpisodeTicks, SampledStep


@dataclass(frozen=True)
class BagImport:
    """Options of an import."""

    contract: Contract | None = None
    """The robot's contract; None: that of the episode from which the recording was exported."""
    mapping: BagMapping | None = None
    """None: the topics are those of the contract."""
    encoding: str = "jpeg"
    jpeg_quality: int = 95


@dataclass(frozen=True)
class ImportedSegment:
    """Result for one part of a recording."""

    bag: Path
    start_s: float
    """Since the beginning of the recording [s]."""
    end_s: float
    episode_id: str
    """Empty when it became no episode."""
    steps: int
    dropped_ticks: int
    remark: str
    """Why it became no episode, or why ticks were dropped; empty when all is well."""
    left_out: bool = False
    """True if the dataset already had the episode."""


@dataclass
class ImportedBags:
    """Result of an import."""

    dataset: Path
    segments: list[ImportedSegment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One line for each recording that became no episode."""
    splits_written: bool = False
    notes: list[str] = field(default_factory=list)
    """What of the recordings was left out, one line each."""

    @property
    def episodes(self) -> int:
        """Number of episodes that were added."""
        return sum(bool(segment.episode_id) and not segment.left_out for segment in self.segments)

    @property
    def left_out(self) -> int:
        """Number of episodes that the dataset had already."""
        return sum(segment.left_out for segment in self.segments)


def import_rosbags(
    bags: list[Path],
    dataset: str | Path,
    options: BagImport,
    progress: Callable[[int, int], None] | None = None,
) -> ImportedBags:
    """Add the episodes of recordings to a dataset folder, which is created if missing.

    Episodes that the folder holds already are left out, so an interrupted import can be repeated. A recording that is
    damaged, does not fit the mapping or the dataset's contract, or holds no episode does not end the import; it becomes
    a line in ``problems``. ``progress`` is called with messages done and messages in all.

    Raises:
        ConvertError: no recording became an episode.
        DatasetBusyError: another process writes to the dataset.
        OSError: the disk is full.
    """
    result = ImportedBags(Path(dataset))
    with adopting(dataset) as adoption:
        for path in bags:
            before = len(result.segments)
            try:
                with open_bag(path) as bag:
                    _BagImporter(bag, options, adoption, result, progress).run()
            except (ConvertError, ContractError, MetadataError) as error:
                result.problems.append(str(error))
                continue
            found = result.segments[before:]
            if not any(segment.episode_id for segment in found):
                reasons = "; ".join(dict.fromkeys(segment.remark for segment in found))
                result.problems.append(f"{path}: no episode could be made: {reasons}")
        result.splits_written = adoption.write_splits()
        result.notes = adoption.notes
    if not any(segment.episode_id for segment in result.segments):
        raise ConvertError("; ".join(result.problems))
    return result


class _BagImporter:
    """Makes episodes of one recording."""

    def __init__(
        self,
        bag: Bag,
        options: BagImport,
        adoption: Adoption,
        result: ImportedBags,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._bag, self._adoption, self._result = bag, adoption, result
        self._progress = progress
        self._labels = _labels(bag)
        self.options = options
        self.contract = options.contract or self._own_contract()
        mapping = options.mapping or BagMapping.of_contract(self.contract)
        self.mapping = mapping.with_max_age(self._labels.get(COMMAND_MAX_AGE))
        adoption.require_contract(self.contract, str(bag.path))
        self._player = Player(bag, self.contract, self.mapping)
        bag.keep([topic for topic in self.mapping.outline if bag.types.get(topic) not in ros.IMAGE_TYPES])
        self.ticks_topic = self._recorded_ticks()
        """Topic of the recorder's own ticks; None: ticks at the contract's rate."""
        longest_s = max(camera.max_age_s for camera in self.contract.cameras.values())
        self.image_lead_ns = round(2e9 * longest_s)
        """Images that arrive earlier than this before an episode are not read: none could be fresh [ns]."""

    def run(self) -> None:
        """Read the recording once, from its first message to its last."""
        messages = self._messages()
        message = next(messages, None)
        for segment in self._segments():
            current = _OpenSegment(segment, self._bag, self._player, self._adoption, self)
            try:
                while message is not None and message.time_ns <= segment.end_ns:
                    current.take(message)
                    message = next(messages, None)
                found = current.finish()
            except BaseException:
                current.discard()
                raise
            self._result.segments.append(found)

    def _segments(self) -> list[Segment]:
        """Return the parts that become episodes: a raw recording of an episode says which part that is."""
        span_ns = self._labels.get(SPAN)
        if span_ns is not None and self.mapping.episodes.by == "marker":
            return [Segment(*span_ns)]
        return cut(self._bag, self.mapping)

    def _own_contract(self) -> Contract:
        if "contract" not in self._labels:
            raise ConvertError(f"{self._bag.path}: was not exported by this program; give the robot's --contract")
        return Contract.from_dict(self._labels["contract"], str(self._bag.path))

    def _messages(self) -> Iterator[BagMessage]:
        topics = self._player.topics | ({self.ticks_topic} if self.ticks_topic else frozenset())
        total = self._bag.count(topics)
        for number, message in enumerate(self._bag.messages(topics), start=1):
            yield message
            if self._progress is not None and (number % 64 == 0 or number == total):
                self._progress(number, total)

    def _recorded_ticks(self) -> str | None:
        """Topic of the recorder's ticks, if the recording has them at the contract's rate."""
        wanted = self.mapping.ticks
        if wanted is None or self._bag.types.get(same_topic(wanted)) != ros.HEADER:
            return None
        topic = same_topic(wanted)
        times = [message.time_ns for message in self._bag.messages({topic})]
        if len(times) < 2:
            return None
        gaps = sorted(after - before for before, after in pairwise(times))
        period_ns = self.contract.period_ns
        return topic if abs(gaps[len(gaps) // 2] - period_ns) < period_ns // 10 else None

    def metadata(self, segment: Segment) -> EpisodeMetadata:
        """Labels of a segment: the recording's own, then the marker's, then the mapping's."""
        given = self.mapping.labels
        own: dict[str, Any] = {**segment.labels, **self._labels}
        language = own.get("language") or given.language
        category = own.get("category") or given.category
        if not language:
            raise ConvertError(f"{self._bag.path}: has no instruction; set labels.language in the mapping file")
        if not category:
            raise ConvertError(f"{self._bag.path}: has no category; set labels.category in the mapping file")
        task = own.get("task") or given.task or slug(language)
        environment = {**given.environment, **own.get("environment", {"recording": self._bag.path.stem})}
        alternatives = tuple(own.get("language_alternatives", ()))
        return EpisodeMetadata(language, task, category, own.get("source") or given.source, environment, alternatives)

    def episode_id(self) -> str:
        """Id that the episode had before the recording was exported, where it is free; otherwise the next free one."""
        return self._adoption.free_id(str(self._labels.get("episode_id") or ""))

    def created_at(self, first_ns: int) -> str:
        """When the episode that begins at ``first_ns`` was recorded, UTC, ISO 8601."""
        return str(self._labels.get("created_at") or utc(first_ns * 1e-9))

    def outcome(self) -> str:
        """Outcome of the episodes."""
        return str(self._labels.get("outcome") or self.mapping.labels.outcome)

    def split(self) -> str:
        """Split that the episode was in before the recording was exported; empty for none."""
        return str(self._labels.get("split") or "")

    def losses(self) -> list[str]:
        """One line for each way in which a raw recording is incomplete."""
        lost, cut_off = self._labels.get(LOST_MESSAGES), self._labels.get(CUT_OFF)
        found = [f"the recording lacks {lost} messages: the disk was too slow"] if lost else []
        return [*found, f"the recording ended before the episode: {cut_off}"] if cut_off else found


def _labels(bag: Bag) -> dict[str, Any]:
    """Return the labels that an export or the raw recorder wrote; empty for recordings of other programs."""
    try:
        return dict(json.loads(bag.custom_data.get(CUSTOM_KEY, "{}")))
    except (ValueError, TypeError) as error:
        raise ConvertError(f"{bag.path}: its labels are damaged: {error}") from None


class _OpenSegment:
    """A segment that is being read."""

    def __init__(
        self,
        segment: Segment,
        bag: Bag,
        player: Player,
        adoption: Adoption,
        importer: _BagImporter,
    ) -> None:
        self.segment = segment
        self._bag, self._player = bag, player
        self._adoption, self._importer = adoption, importer
        self._next_ns = segment.start_ns
        self._writer: EpisodeWriter | None = None
        self._ticks: EpisodeTicks | None = None
        self._actions: list[npt.NDArray[np.float32]] = []
        self._states: list[npt.NDArray[np.float32]] = []
        self._stamps_ns: list[int] = []
        self._lost_yaw_rad = 0.0
        self._waiting_for = ""
        self._metadata = importer.metadata(segment)

    def take(self, message: BagMessage) -> None:
        """Take a message of the segment, or of the time before it."""
        self._tick_until(message.time_ns)
        if message.topic == self._importer.ticks_topic:
            if message.time_ns >= self.segment.start_ns:
                tick = self._bag.decode(message)
                self._tick(message.time_ns, ros.time_ns(tick.stamp), ros.missed_ticks(tick))
        elif (
            message.topic not in self._player.image_topics
            or message.time_ns >= self.segment.start_ns - self._importer.image_lead_ns
        ):
            self._player.feed(message)

    def finish(self) -> ImportedSegment:
        """End the episode and commit it, unless it is too short or there already."""
        self._tick_until(self.segment.end_ns + 1)
        sampler, writer, ticks = self._player.sampler, self._writer, self._ticks
        if writer is None or ticks is None:
            return self._describe("", 0, 0, self._waiting_for or "it is shorter than a control period")
        counters = sampler.counters()
        sampler.end()
        steps, dropped = writer.num_steps, ticks.dropped
        if steps < self._importer.mapping.episodes.min_steps:
            writer.discard()
            why = f"; {ticks.last_drop}" if ticks.last_drop else ""
            return self._describe("", steps, dropped, f"only {steps} steps{why}")
        numbers = Numbers(np.array(self._actions), np.array(self._states), np.array(self._stamps_ns, dtype=np.int64))
        known = self._adoption.find(numbers.fingerprint)
        if known is not None:
            writer.discard()
            self._adoption.note_split(known, self._importer.split())
            return self._describe(known, steps, dropped, "it was there already", left_out=True)
        outcome = self._importer.outcome()
        path = writer.commit(outcome, dropped, input_counters=counters, lost_yaw_rad=self._lost_yaw_rad)
        self._adoption.publish(path)
        self._adoption.remember(numbers.fingerprint, writer.episode_id)
        self._adoption.note_split(writer.episode_id, self._importer.split())
        remarks = [*([ticks.last_drop] if ticks.last_drop else []), *self._importer.losses()]
        return self._describe(writer.episode_id, steps, dropped, "; ".join(remarks))

    def discard(self) -> None:
        """Remove what was written."""
        if self._writer is not None:
            self._writer.discard()

    def _tick_until(self, time_ns: int) -> None:
        """Make the ticks at the contract's rate that come before ``time_ns``, unless the recording has ticks."""
        if self._importer.ticks_topic is not None:
            return
        while self._next_ns < time_ns:
            self._tick(self._next_ns, self._next_ns)
            self._next_ns += self._importer.contract.period_ns

    def _tick(self, mono_ns: int, stamp_ns: int, missed: int = 0) -> None:
        self._player.before_tick(mono_ns)
        sampler = self._player.sampler
        if self._ticks is None:
            problems = sampler.problems(mono_ns, stamp_ns)
            if problems:
                self._waiting_for = "; ".join(problems)
                return
            cameras = sampler.cameras_present(stamp_ns)
            source = self._metadata.source
            self._ticks, _ = sampler.begin(mono_ns, cameras, policy_drives=source == "policy")
            self._writer = EpisodeWriter(
                self._adoption.workplace,
                self._importer.contract,
                self._metadata,
                cameras=cameras,
                encoding=self._importer.options.encoding,
                jpeg_quality=self._importer.options.jpeg_quality,
                episode_id=self._importer.episode_id(),
                created_at=self._importer.created_at(stamp_ns),
            )
        step = sampler.tick(mono_ns, stamp_ns, missed)
        if step is not None and self._writer is not None:
            self._add(self._writer, step)

    def _add(self, writer: EpisodeWriter, step: SampledStep) -> None:
        writer.add_step(
            stamp_ns=step.stamp_ns,
            images=step.images,
            jpegs=step.jpegs,
            state=step.state,
            action=step.action,
            stamps_ns=step.stamps_ns,
            takeover=step.takeover,
            source_encodings=step.encodings,
        )
        self._lost_yaw_rad += step.lost_yaw_rad
        self._actions.append(step.action)
        self._states.append(step.state)
        self._stamps_ns.append(step.stamp_ns)

    def _describe(
        self, episode_id: str, steps: int, dropped: int, remark: str, *, left_out: bool = False
    ) -> ImportedSegment:
        first_ns = self._bag.times_ns[0]
        start_s, end_s = (self.segment.start_ns - first_ns) * 1e-9, (self.segment.end_ns - first_ns) * 1e-9
        return ImportedSegment(self._bag.path, start_s, end_s, episode_id, steps, dropped, remark, left_out)
