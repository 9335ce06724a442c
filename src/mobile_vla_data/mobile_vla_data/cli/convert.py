"""Commands that convert datasets to and from the formats of other tools."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mobile_vla_data.cli.output import App, DatasetArgument, JsonOption, print_json, print_line, progress_bar
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, ImportedSegment, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping

export_app = App(help="Write a dataset in the format of another tool.", no_args_is_help=True)
import_app = App(help="Add episodes of another tool's format to a dataset.", no_args_is_help=True)


class Codec(str, Enum):
    """Codecs of videos."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class Outcome(str, Enum):
    """Outcomes of episodes."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNLABELLED = "unlabelled"


class Category(str, Enum):
    """Categories of tasks."""

    NAVIGATION = "navigation"
    MANIPULATION = "manipulation"
    COMBINED = "combined"


class Encoding(str, Enum):
    """How episodes store images."""

    JPEG = "jpeg"
    RAW = "raw"


TargetArgument = Annotated[Path, typer.Argument(help="Folder to create; it must not exist.", show_default=False)]
NewDatasetArgument = Annotated[
    Path, typer.Argument(help="Dataset folder to add to; created if missing.", show_default=False)
]
CameraOption = Annotated[
    list[str],
    typer.Option("--camera", help="Camera to export, may be repeated; all by default.", show_default=False),
]
OutcomeOption = Annotated[
    list[Outcome],
    typer.Option("--outcome", help="Outcome to export, may be repeated; all by default.", show_default=False),
]
ContractOption = Annotated[
    Path | None,
    typer.Option(help="The robot's contract, for a dataset that was not exported from here.", show_default=False),
]
CategoryOption = Annotated[
    Category | None,
    typer.Option(help="Category of all episodes, for a dataset that was not exported from here.", show_default=False),
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
    json: JsonOption = False,
) -> None:
    """Write a LeRobotDataset v3.0; interrupted, the same command continues it."""
    settings = None if images else VideoSettings(codec.value, DEFAULT_CRF[codec.value] if crf is None else crf)
    options = LeRobotExport(settings, tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_lerobot(dataset, target, options, progress)
    if json:
        print_json({"target": str(done.target), "episodes": done.episodes, "steps": done.steps, "splits": done.splits})
        return
    splits = ", ".join(f"{name} {count}" for name, count in done.splits.items())
    again = "; continued an interrupted export" if done.continued else ""
    print_line(f"{done.target}: {done.episodes} episodes, {done.steps} steps ({splits}){again}")


@import_app.command("lerobot")
def import_from_lerobot(
    source: Annotated[Path, typer.Argument(help="Folder of a LeRobotDataset v3.0.", show_default=False)],
    dataset: NewDatasetArgument,
    contract: ContractOption = None,
    category: CategoryOption = None,
    encoding: Annotated[
        Encoding | None,
        typer.Option(help="How to store images; by default as before the export, or jpeg.", show_default=False),
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Quality of images that are encoded.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add the episodes of a LeRobotDataset v3.0; those that the dataset has already are left out."""
    options = LeRobotImport(
        Contract.load(contract) if contract is not None else None,
        category.value if category is not None else "",
        encoding.value if encoding is not None else None,
        quality,
    )
    with progress_bar("importing", quiet=json) as progress:
        done = import_lerobot(source, dataset, options, progress)
    if json:
        print_json(
            {
                "dataset": str(done.dataset),
                "episodes": done.episodes,
                "steps": done.steps,
                "left_out": done.left_out,
                "splits_written": done.splits_written,
            }
        )
        return
    left_out = f"; {done.left_out} were there already" if done.left_out else ""
    print_line(f"{done.dataset}: {done.episodes} episodes, {done.steps} steps added{left_out}")


@export_app.command("rosbag")
def export_to_rosbag(
    dataset: DatasetArgument,
    target: TargetArgument,
    stamped: Annotated[bool, typer.Option("--stamped", help="Write TwistStamped instead of Twist.")] = False,
    camera: CameraOption = [],  # noqa: B006 - typer copies it
    outcome: OutcomeOption = [],  # noqa: B006
    json: JsonOption = False,
) -> None:
    """Write each episode as a rosbag2 folder with an MCAP file; interrupted, the same command continues."""
    options = BagExport(stamped, tuple(camera), tuple(item.value for item in outcome))
    with progress_bar("exporting", quiet=json) as progress:
        done = export_rosbag(dataset, target, options, progress)
    if json:
        print_json({"target": str(target), "episodes": len(done.episodes), "steps": done.num_steps})
        return
    print_line(f"{target}: {len(done.episodes)} recordings, {done.num_steps} steps")


@import_app.command("rosbag")
def import_from_rosbag(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar="BAG...", help="rosbag2 folders, MCAP, SQLite or bag files.", show_default=False),
    ],
    dataset: NewDatasetArgument,
    mapping: Annotated[
        Path | None,
        typer.Option(help="Which topics are what; by default those of the contract.", show_default=False),
    ] = None,
    contract: ContractOption = None,
    encoding: Annotated[Encoding, typer.Option(help="How to store images.")] = Encoding.JPEG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG images.")] = 95,
    json: JsonOption = False,
) -> None:
    """Add the episodes of recordings, sampled as the recorder samples; those that are there already are left out."""
    options = BagImport(
        Contract.load(contract) if contract is not None else None,
        BagMapping.load(mapping) if mapping is not None else None,
        encoding.value,
        quality,
    )
    with progress_bar("importing", quiet=json) as progress:
        done = import_rosbags(bags, dataset, options, progress)
    if json:
        segments = [{**asdict(segment), "bag": str(segment.bag)} for segment in done.segments]
        print_json(
            {"dataset": str(dataset), "episodes": done.episodes, "left_out": done.left_out, "segments": segments}
        )
        return
    for segment in done.segments:
        print_line(_describe(segment))
    left_out = f"; {done.left_out} were there already" if done.left_out else ""
    print_line(f"{dataset}: {done.episodes} episodes added{left_out}")


def _describe(segment: ImportedSegment) -> str:
    part = f"{segment.bag}, {segment.start_s:.1f} to {segment.end_s:.1f} s"
    if not segment.episode_id:
        return f"{part}: no episode: {segment.remark}"
    dropped = f", {segment.dropped_ticks} dropped ticks" if segment.dropped_ticks else ""
    remark = f" ({segment.remark})" if segment.remark else ""
    return f"{part}: {segment.episode_id}, {segment.steps} steps{dropped}{remark}"
