"""Commands that write a dataset in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobile_vla_data.cli.choices import Codec, Compression, Outcome
from mobile_vla_data.cli.output import (
    App,
    DatasetArgument,
    JsonOption,
    RayOption,
    print_json,
    print_line,
    progress_bar,
)
from mobile_vla_data.convert.hdf5.aloha import AlohaExport, export_aloha
from mobile_vla_data.convert.hdf5.robomimic import RobomimicExport, export_robomimic
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.selection import Selection
from mobile_vla_data.parallel import Spread

export_app = App(help="Write a dataset in the format of another tool.", no_args_is_help=True)

TargetArgument = Annotated[Path, typer.Argument(help="Folder to create; it must not exist.", show_default=False)]
CameraOption = Annotated[
    list[str],
    typer.Option("--camera", help="Camera to export, may be repeated; all by default.", show_default=False),
]
OutcomeOption = Annotated[
    list[Outcome],
    typer.Option("--outcome", help="Outcome to export, may be repeated; all by default.", show_default=False),
]


@export_app.command("lerobot")
def export_to_lerobot(
    dataset: DatasetArgument,
    target: TargetArgument,
    images: Annotated[bool, typer.Option("--images", help="Store images, without loss, instead of videos.")] = False,
    codec: Annotated[Codec, typer.Option(help="Codec of the videos.")] = Codec.H264,
    crf: Annotated[
        int | None,
        typer.Option(min=0, max=63, help="Quality of the videos: lower is better and larger.", show_default=False),
    ] = None,
    camera: CameraOption = [],  # noqa: B006 - typer copies it
    outcome: OutcomeOption = [],  # noqa: B006
    ray: RayOption = False,
    json: JsonOption = False,
) -> None:
    """Write a LeRobotDataset v3.0; interrupted, the same command continues it."""
    settings = None if images else VideoSettings(codec.value, DEFAULT_CRF[codec.value] if crf is None else crf)
    options = LeRobotExport(settings, tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_lerobot(dataset, target, options, progress, Spread(ray=ray))
    if json:
        print_json({"target": str(done.target), "episodes": done.episodes, "steps": done.steps, "splits": done.splits})
        return
    splits = ", ".join(f"{name} {count}" for name, count in done.splits.items())
    again = "; continued an interrupted export" if done.continued else ""
    print_line(f"{done.target}: {done.episodes} episodes, {done.steps} steps ({splits}){again}")


@export_app.command("rosbag")
def export_to_rosbag(
    dataset: DatasetArgument,
    target: TargetArgument,
    stamped: Annotated[bool, typer.Option("--stamped", help="Write TwistStamped instead of Twist.")] = False,
    camera: CameraOption = [],  # noqa: B006 - typer copies it
    outcome: OutcomeOption = [],  # noqa: B006
    ray: RayOption = False,
    json: JsonOption = False,
) -> None:
    """Write each episode as a rosbag2 folder with an MCAP file; interrupted, the same command continues."""
    options = BagExport(stamped, tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_rosbag(dataset, target, options, progress, Spread(ray=ray))
    _print_exported(target, done, json)


@export_app.command("robomimic")
def export_to_robomimic(
    dataset: DatasetArgument,
    target: Annotated[Path, typer.Argument(help="HDF5 file to create; it must not exist.", show_default=False)],
    compression: Annotated[Compression, typer.Option(help="Filter of the images.")] = Compression.LZF,
    camera: CameraOption = [],  # noqa: B006 - typer copies it
    outcome: OutcomeOption = [],  # noqa: B006
    json: JsonOption = False,
) -> None:
    """Write one robomimic file: image observations, actions in -1 .. 1, masks for the splits."""
    options = RobomimicExport(_filter(compression), tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_robomimic(dataset, target, options, progress)
    _print_exported(target, done, json)


@export_app.command("aloha")
def export_to_aloha(
    dataset: DatasetArgument,
    target: TargetArgument,
    length: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of each file, for ACT's own loader; labels are left out.", show_default=False),
    ] = None,
    compression: Annotated[Compression, typer.Option(help="Filter of the images.")] = Compression.NONE,
    camera: CameraOption = [],  # noqa: B006 - typer copies it
    outcome: OutcomeOption = [],  # noqa: B006
    ray: RayOption = False,
    json: JsonOption = False,
) -> None:
    """Write one ACT / ALOHA file for each episode; interrupted, the same command continues."""
    options = AlohaExport(length, _filter(compression), tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_aloha(dataset, target, options, progress, Spread(ray=ray))
    _print_exported(target, done, json)


def _filter(compression: Compression) -> str | None:
    return None if compression is Compression.NONE else compression.value


def _print_exported(target: Path, done: Selection, json: bool) -> None:
    splits = {name: len(ids) for name, ids in done.split_ranges.items()}
    if json:
        print_json({"target": str(target), "episodes": len(done.episodes), "steps": done.num_steps, "splits": splits})
        return
    print_line(f"{target}: {len(done.episodes)} episodes, {done.num_steps} steps")
