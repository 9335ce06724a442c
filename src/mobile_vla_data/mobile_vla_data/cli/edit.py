"""Commands that change a dataset folder; all of them take its lock first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobile_vla_data.cli.output import DatasetArgument, JsonOption, print_json, print_line, progress_bar
from mobile_vla_data.dataset import edit, trash
from mobile_vla_data.dataset.edit import Labels
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.paraphrase import Paraphrases
from mobile_vla_data.episode.metadata import CATEGORIES, OUTCOMES, parse_environment
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look.click import click_target
from mobile_vla_data.repair.recover import recover_dataset
from mobile_vla_data.storage.lock import DatasetLock


def recover(dataset: DatasetArgument, json: JsonOption = False) -> None:
    """Recover episodes that a crash left unfinished; exit 1 if any was lost."""
    Dataset.open(dataset)  # the lock would create a missing folder
    with DatasetLock(dataset):
        recoveries = recover_dataset(dataset)
    if json:
        print_json({"dataset": str(dataset), "recoveries": [recovery.as_dict() for recovery in recoveries]})
    else:
        for recovery in recoveries:
            style = "red" if recovery.result == "lost" else "green"
            print_line(f"{recovery.episode_id}: {recovery.result}, {recovery.steps} steps: {recovery.reason}", style)
        if not recoveries:
            print_line(f"{dataset}: nothing to recover")
    if any(recovery.result == "lost" for recovery in recoveries):
        raise typer.Exit(1)


EpisodeArgument = Annotated[Path, typer.Argument(help="Episode file.", show_default=False)]


def relabel(
    episodes: Annotated[list[Path], typer.Argument(help="Episode files.", show_default=False)],
    language: Annotated[str | None, typer.Option(help="The instruction.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="Name of the task in the plan.", show_default=False)] = None,
    category: Annotated[str | None, typer.Option(help=", ".join(CATEGORIES), show_default=False)] = None,
    outcome: Annotated[str | None, typer.Option(help=", ".join(OUTCOMES), show_default=False)] = None,
    environment: Annotated[str | None, typer.Option(help="JSON object.", show_default=False)] = None,
    alternative: Annotated[
        list[str] | None,
        typer.Option(help="A further wording of the instruction; may be repeated.", show_default=False),
    ] = None,
    paraphrases: Annotated[
        Path | None,
        typer.Option(
            help="Draw each instruction from this file (a plan, or task: [wordings]); the others become alternatives.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same wordings.")] = 0,
) -> None:
    """Correct the labels of episodes."""
    if paraphrases is not None:
        _paraphrase(episodes, Paraphrases.load(paraphrases), seed)
    elif all(value is None for value in (language, task, category, outcome, environment)) and not alternative:
        raise typer.BadParameter(
            "give at least one of --language, --task, --category, --outcome, --environment, --alternative, "
            "--paraphrases"
        )
    if all(value is None for value in (language, task, category, outcome, environment)) and not alternative:
        return
    parsed = parse_environment(environment) if environment is not None else None
    labels = Labels(language, task, category, outcome, parsed, alternative or None)
    for path in episodes:
        Episode.open(path).close()  # the lock would create a missing folder
        with DatasetLock(path.resolve().parent):
            edit.relabel(path, labels)
        print_line(f"{path}: relabelled")


def _paraphrase(episodes: list[Path], paraphrases: Paraphrases, seed: int) -> None:
    """Draw a wording for each episode; none is changed unless all can be."""
    drawn = {}
    for path in episodes:
        with Episode.open(path) as episode:
            drawn[path] = paraphrases.draw(episode.metadata, path.stem, seed)
    for path, labels in drawn.items():
        with DatasetLock(path.resolve().parent):
            edit.relabel(path, labels)
        print_line(f"{path}: {labels.language} (and {len(labels.language_alternatives or ())} other wordings)")


def trim(
    episode: EpisodeArgument,
    first: Annotated[int, typer.Option(min=0, help="First step to keep.")] = 0,
    last: Annotated[
        int | None, typer.Option(min=0, help="Last step to keep; the episode's last by default.", show_default=False)
    ] = None,
) -> None:
    """Cut an episode at its ends; the whole one stays in the trash folder."""
    with Episode.open(episode) as opened:
        steps = opened.num_steps
    end = steps - 1 if last is None else last
    with DatasetLock(episode.resolve().parent):
        edit.trim(episode, first, end)
    print_line(f"{episode}: {end - first + 1} of {steps} steps kept")


def delete(
    dataset: DatasetArgument,
    episode_ids: Annotated[
        list[str], typer.Argument(metavar="EPISODE_ID...", help="Such as episode_000007.", show_default=False)
    ],
) -> None:
    """Move episodes into the dataset's trash folder, and out of its splits."""
    Dataset.open(dataset)
    with DatasetLock(dataset):
        for path in trash.delete(dataset, episode_ids):
            print_line(f"moved to {path}")


def merge(
    target: Annotated[
        Path, typer.Argument(help="Dataset folder to copy into; created if missing.", show_default=False)
    ],
    sources: Annotated[list[Path], typer.Argument(help="Dataset folders to copy from.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Copy the episodes of other datasets into one, under new ids; what is there already is left out."""
    for source in sources:
        Dataset.open(source)  # the lock would make the target's folder
    with DatasetLock(target), progress_bar("merging", quiet=json) as progress:
        copied = edit.merge(target, sources, progress)
    if json:
        print_json({"target": str(target), "copied": copied})
    else:
        print_line(f"{target}: {len(copied)} episodes copied; run 'mobile-vla-data split {target}' again")


def annotate(
    episodes: Annotated[list[Path], typer.Argument(help="Episode files.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,ROW",
            help="Place of the target in the first camera's image [px]; without it, click it in a window.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Mark the target of the instruction in the first camera's image, once per episode.

    The target is valid until the gripper closes on it.
    """
    given = _place(at) if at is not None else None
    for path in episodes:
        with Episode.open(path) as episode:
            place = given or click_target(episode)
        if place is None:
            print_line(f"{path}: skipped")
            continue
        with DatasetLock(path.resolve().parent):
            steps = edit.annotate(path, *place)
        print_line(f"{path}: target at column {place[0]}, row {place[1]} in the first {steps} steps")


def _place(text: str) -> tuple[int, int]:
    try:
        column, row = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not COLUMN,ROW, such as 120,45", param_hint="--at") from None
    return column, row
