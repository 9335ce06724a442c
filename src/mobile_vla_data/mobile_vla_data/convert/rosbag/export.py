"""Episodes to recordings: one rosbag2 folder with an MCAP file for each, for ``ros2 bag play`` and Foxglove.

A recording holds the robot's inputs and commands under the contract's topics: images as stored, odometry,
gripper state, and the commands that the actions represent. From its ticks and labels, an import restores the episode.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mobile_vla_data.convert.building import Progress, building, write_each
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.labels import describe
from mobile_vla_data.convert.rosbag.bag import CUSTOM_KEY, EXTRA, typestore
from mobile_vla_data.convert.rosbag.compose import LATCHED_TOPICS, compose
from mobile_vla_data.convert.selection import SelectedEpisode, Selection, select
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_data.storage.durable import fsync_path

_PART = ".part"


@dataclass(frozen=True)
class BagExport:
    """Options of an export to rosbag2."""

    stamped: bool = False
    """TwistStamped instead of Twist."""
    cameras: tuple[str, ...] = ()
    """Cameras to take; empty for all."""
    outcomes: tuple[str, ...] = ()
    """Outcomes to take; empty for all."""


def export_rosbag(
    dataset: str | Path,
    target: str | Path,
    options: BagExport,
    progress: Progress | None = None,
    spread: Spread = HERE,
) -> Selection:
    """Write each episode of a dataset as a rosbag2 folder ``TARGET/EPISODE_ID``; returns which.

    Interrupted, the next call with the same arguments continues. ``progress`` gets episodes done and episodes in all;
    ``spread`` says where they are written.

    Raises:
        ConvertError: ``target`` exists, the dataset does not fit, or a library is missing.
        EpisodeError: a file cannot be read.
        OSError: the disk is full.
    """
    target = Path(target)
    selection = select(dataset, options.cameras, options.outcomes)
    with building(target, {"options": asdict(options), "episodes": selection.identity}) as (work, _):
        left = [item for item in selection.episodes if not (work / item.episode_id).exists()]
        prepare = partial(_BagWriter, work, selection.cameras, options)
        write_each(spread, prepare, _BagWriter.write, left, len(selection.episodes), progress)
    return selection


@dataclass(frozen=True)
class _BagWriter:
    work: Path
    cameras: tuple[str, ...]
    options: BagExport

    def write(self, item: SelectedEpisode) -> None:
        with Episode.open(item.path) as episode:
            _write_bag(episode, item.split, self.work / item.episode_id, self.cameras, self.options)


def _write_bag(episode: Episode, split: str, folder: Path, cameras: tuple[str, ...], options: BagExport) -> None:
    rosbag2 = import_extra("rosbags.rosbag2", EXTRA)
    # rosbags names the file after its folder.
    part = folder.parent / _PART / folder.name
    shutil.rmtree(part, ignore_errors=True)
    store = typestore()
    with rosbag2.Writer(part, version=8, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        writer.set_custom_data(CUSTOM_KEY, json.dumps(describe(episode, split, cameras), ensure_ascii=False))
        connections: dict[str, Any] = {}
        for made in compose(episode, cameras, stamped=options.stamped):
            if made.topic not in connections:
                qos = [_latched()] if made.topic in LATCHED_TOPICS else []
                connections[made.topic] = writer.add_connection(
                    made.topic, made.msgtype, typestore=store, offered_qos_profiles=qos
                )
            writer.write(connections[made.topic], made.time_ns, store.serialize_cdr(made.message, made.msgtype))
    for path in part.iterdir():
        fsync_path(path)
    part.rename(folder)


def _latched() -> Any:
    """Return the QoS of a topic that keeps its newest message for late subscribers, as rosbag2 writes it."""
    ros = import_extra("rosbags.interfaces", EXTRA)
    forever = ros.QosTime(9_223_372_036, 854_775_807)
    return ros.Qos(
        ros.QosHistory.KEEP_LAST,
        1,
        ros.QosReliability.RELIABLE,
        ros.QosDurability.TRANSIENT_LOCAL,
        forever,
        forever,
        ros.QosLiveliness.AUTOMATIC,
        forever,
        False,
    )
