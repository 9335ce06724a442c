"""Commands that add episodes of another tool's format to a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mobile_vla_data.cli.choices import Actions, Category, Encoding
from mobile_vla_data.cli.output import App, JsonOption, print_error, print_json, print_line, progress_bar
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.adopt import Imported
from mobile_vla_data.convert.hdf5.aloha import import_aloha
from mobile_vla_data.convert.hdf5.robomimic import import_robomimic
from mobile_vla_data.convert.labels import Defaults
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.rosbag.importing import BagImport, ImportedSegment, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping

import_app = App(help="Add episodes of another tool's format to a dataset.", no_args_is_help=True)

NewDatasetArgument = Annotated[
    Path, typer.Argument(help="Dataset folder to add to; created if missing.", show_default=False)
]
ContractOption = Annotated[
    Path | None,
    typer.Option(help="The robot's contract, for a dataset that was not exported by this program.", show_default=False),
]
CategoryOption = Annotated[
    Category | None,
    typer.Option(
        help="Category of all episodes, for a dataset that was not exported by this program.", show_default=False
    ),
]
LanguageOption = Annotated[
    str,
    typer.Option(
        help="Instruction of all episodes, for files that were not exported by this program.", show_default=False
    ),
]
EncodingOption = Annotated[
    Encoding | None,
    typer.Option(help="How to store images; by default as before the export, or jpeg.", show_default=False),
]
QualityOption = Annotated[
    int | None, typer.Option(min=1, max=100, help="Quality of images that are encoded.", show_default=False)
]


@import_app.command("lerobot")
def import_from_lerobot(
    source: Annotated[Path, typer.Argument(help="Folder of a LeRobotDataset v3.0.", show_default=False)],
    dataset: NewDatasetArgument,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder from which it was exported: its labels replace those that LeRobot's tools removed.",
            show_default=False,
        ),
    ] = None,
    contract: ContractOption = None,
    language: LanguageOption = "",
    category: CategoryOption = None,
    encoding: EncodingOption = None,
    quality: QualityOption = None,
    json: JsonOption = False,
) -> None:
    """Add the episodes of a LeRobotDataset v3.0; those that the dataset has already are left out."""
    options = LeRobotImport(
        Contract.load(contract) if contract is not None else None,
        language,
        category.value if category is not None else "",
        labels,
        encoding.value if encoding is not None else None,
        quality,
    )
    with progress_bar("importing", quiet=json) as progress:
        done = import_lerobot(source, dataset, options, progress)
    _print_imported(done, json)


@import_app.command("rosbag")
def import_from_rosbag(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar="BAG...", help="rosbag2 folders, MCAP, SQLite or bag files.", show_default=False),
    ],
    dataset: NewDatasetArgument,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Mapping file: topics, cutting, labels; by default the contract's topics.", show_default=False
        ),
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
            {
                "dataset": str(dataset),
                "episodes": done.episodes,
                "left_out": done.left_out,
                "segments": segments,
                "problems": done.problems,
                "splits_written": done.splits_written,
                "notes": done.notes,
            }
        )
    else:
        for segment in done.segments:
            print_line(_describe(segment))
        _print_notes(done.notes)
        left_out = f"; {done.left_out} were already in the dataset" if done.left_out else ""
        print_line(f"{dataset}: {done.episodes} episodes added{left_out}")
    for problem in done.problems:
        print_error(f"mobile-vla-data: {problem}")
    if done.problems:
        raise typer.Exit(1)


def _describe(segment: ImportedSegment) -> str:
    part = f"{segment.bag}, {segment.start_s:.1f} to {segment.end_s:.1f} s"
    if not segment.episode_id:
        return f"{part}: no episode: {segment.remark}"
    dropped = f", {segment.dropped_ticks} dropped ticks" if segment.dropped_ticks else ""
    remark = f" ({segment.remark})" if segment.remark else ""
    return f"{part}: {segment.episode_id}, {segment.steps} steps{dropped}{remark}"


@import_app.command("robomimic")
def import_from_robomimic(
    source: Annotated[Path, typer.Argument(help="robomimic file.", show_default=False)],
    dataset: NewDatasetArgument,
    contract: ContractOption = None,
    language: LanguageOption = "",
    category: CategoryOption = None,
    actions: Annotated[
        Actions | None,
        typer.Option(
            help="Unit of the actions, for a file that was not exported by this program: metres (and radians) in one "
            "control period, or scaled: -1 .. 1 for the contract's limits in one period.",
            show_default=False,
        ),
    ] = None,
    encoding: EncodingOption = None,
    quality: QualityOption = None,
    json: JsonOption = False,
) -> None:
    """Add the demonstrations of a robomimic file; those that the dataset has already are left out."""
    importer = partial(import_robomimic, actions=actions.value if actions is not None else None)
    _import_hdf5(importer, source, dataset, _defaults(contract, language, category, encoding, quality), json)


@import_app.command("aloha")
def import_from_aloha(
    source: Annotated[Path, typer.Argument(help="Folder of episode_N.hdf5 files.", show_default=False)],
    dataset: NewDatasetArgument,
    contract: ContractOption = None,
    language: LanguageOption = "",
    category: CategoryOption = None,
    encoding: EncodingOption = None,
    quality: QualityOption = None,
    json: JsonOption = False,
) -> None:
    """Add the episodes of a folder of ACT / ALOHA files; those that the dataset has already are left out."""
    _import_hdf5(import_aloha, source, dataset, _defaults(contract, language, category, encoding, quality), json)


def _defaults(
    contract: Path | None, language: str, category: Category | None, encoding: Encoding | None, quality: int | None
) -> Defaults:
    return Defaults(
        Contract.load(contract) if contract is not None else None,
        language,
        category.value if category is not None else "",
        encoding.value if encoding is not None else None,
        quality,
    )


def _import_hdf5(
    importer: Callable[..., Imported], source: Path, dataset: Path, defaults: Defaults, json: bool
) -> None:
    with progress_bar("importing", quiet=json) as progress:
        done = importer(source, dataset, defaults, progress)
    _print_imported(done, json)


def _print_imported(done: Imported, json: bool) -> None:
    if json:
        print_json({**asdict(done), "dataset": str(done.dataset)})
        return
    _print_notes(done.notes)
    left_out = f"; {done.left_out} were already in the dataset" if done.left_out else ""
    print_line(f"{done.dataset}: {done.episodes} episodes, {done.steps} steps added{left_out}")


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        print_error(f"note: {note}", style="yellow")
