"""The command ``mobile-vla-data``. Exit status: 0 done, 1 findings or failure, 2 wrong usage."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mobile_vla_data import __version__
from mobile_vla_data.action import ACTION, DELTA_YAW, STATE, UNITS
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.validate import ValidationReport, check_episode, has_errors, validate_dataset
from mobile_vla_data.cli import edit as cli_edit
from mobile_vla_data.cli import hub as cli_hub
from mobile_vla_data.cli import look as cli_look
from mobile_vla_data.cli.exports import export_app
from mobile_vla_data.cli.imports import import_app
from mobile_vla_data.cli.output import (
    App,
    DatasetArgument,
    JsonOption,
    PathArgument,
    RayOption,
    print_error,
    print_json,
    print_line,
    print_table,
    progress_bar,
)
from mobile_vla_data.cli.skill import print_skill, skill_document
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.info import dataset_info, episode_info
from mobile_vla_data.dataset.skill import measure_dataset
from mobile_vla_data.dataset.split import SPLIT_NAMES, split_dataset
from mobile_vla_data.dataset.stats import compute_statistics
from mobile_vla_data.episode.reader import Episode, EpisodeError
from mobile_vla_data.interrupt import Interrupted, raise_interrupted
from mobile_vla_data.look.view import ViewError
from mobile_vla_data.repair.recover import fix_dataset
from mobile_vla_data.storage.durable import explained
from mobile_vla_data.storage.lock import DatasetLock, FolderBusyError

app = App(
    name="mobile-vla-data",
    help="Check, describe, split and edit folders of recorded episodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _command in (
    cli_look.progress,
    cli_look.view,
    cli_look.report,
    cli_edit.recover,
    cli_edit.relabel,
    cli_edit.annotate,
    cli_edit.trim,
    cli_edit.delete,
    cli_edit.merge,
    cli_hub.push,
    cli_hub.pull,
):
    app.command()(_command)
app.add_typer(export_app, name="export")
app.add_typer(import_app, name="import")


@app.command()
def validate(
    path: PathArgument,
    json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="First recover unfinished episodes and remove absent ones from the splits.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes to use; one per core by default.")] = None,
    ray: RayOption = False,
    skill: Annotated[
        bool, typer.Option("--skill", help="Also measure the skill of the demonstrations; this adds no findings.")
    ] = False,
) -> None:
    """Check an episode or a whole dataset; exit 1 when something is wrong."""
    if fix and not path.is_file():
        Dataset.open(path)
        with DatasetLock(path):
            for repair in fix_dataset(path):
                print_error(f"fixed: {repair}", style="default")
    if path.is_file():
        report = ValidationReport(str(path), 1, _steps(path), check_episode(path))
    else:
        with progress_bar("validating", quiet=json) as progress:
            report = validate_dataset(path, processes=jobs, ray=ray, progress=progress)
    skills = measure_dataset(path) if skill and path.is_dir() else []
    if json:
        print_json({**report.as_dict(), **({"skill": skill_document(skills)} if skill else {})})
    else:
        if skill:
            print_skill(skills)
        _print_report(report)
    if not report.ok or (strict and report.findings):
        raise typer.Exit(1)


@app.command()
def info(path: PathArgument, json: JsonOption = False) -> None:
    """Describe an episode or a dataset; exit 1 when an episode cannot be read."""
    described = episode_info(path) if path.is_file() else dataset_info(path)
    problems = described.get("problems", [])
    if json:
        print_json(described)
    else:
        shown = [(name, _readable(value)) for name, value in described.items() if name != "problems"]
        print_table(str(path), ("field", "value"), shown)
        for problem in problems:
            print_error(problem)
    if problems:
        raise typer.Exit(1)


@app.command()
def split(
    dataset: DatasetArgument,
    train: Annotated[float, typer.Option(help="Fraction of episodes to train on.")] = 0.8,
    validation: Annotated[
        float, typer.Option(help="Fraction of episodes for validation, which chooses the best checkpoint.")
    ] = 0.1,
    test: Annotated[float, typer.Option(help="Fraction of episodes for the final test.")] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same splits.")] = 0,
    include_failures: Annotated[bool, typer.Option(help="Also use episodes whose outcome is failure.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave episodes where an earlier split put them; assign only the new ones.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Assign episodes to train, validation and test, in the same proportion for every task."""
    document = split_dataset(dataset, (train, validation, test), seed, include_failures=include_failures, keep=keep)
    if json:
        print_json(document)
        return
    if untrained := document.get("untrained_tasks"):
        print_error(
            f"warning: training sees no episode of {', '.join(untrained)}; record more of them, and split again",
            style="yellow",
        )
    rows = [(name, len(document["splits"][name])) for name in SPLIT_NAMES]
    print_table(f"{dataset}/splits.json, seed {seed}", ("split", "episodes"), rows)


@app.command()
def stats(
    dataset: DatasetArgument,
    split: Annotated[str | None, typer.Option(help="Only the episodes of this split.")] = None,
    json: JsonOption = False,
) -> None:
    """Mean, deviation, range and quantiles of actions and states."""
    folder = Dataset.open(dataset)
    paths = folder.episode_paths
    if split is not None:
        splits = folder.splits()
        if splits is None or split not in splits:
            raise typer.BadParameter(f"{dataset} has no split '{split}'", param_hint="--split")
        paths = [folder.episode_path(episode_id) for episode_id in splits[split]]
    statistics = compute_statistics(paths)
    if json:
        sys.stdout.write(statistics.to_json() + "\n")
        return
    rows = []
    for kind, vector, names in (
        ("action", statistics.actions, (*ACTION, DELTA_YAW)),
        ("state", statistics.states, STATE),
    ):
        columns = (vector.mean, vector.std, vector.min, vector.q01, vector.q99, vector.max)
        for name, *values in zip(names, *columns, strict=False):
            unit = f" [{UNITS[name]}]" if UNITS[name] else ""
            rows.append((f"{kind} {name}{unit}", *values))
    title = f"{dataset}: {statistics.num_episodes} episodes, {statistics.num_steps} steps"
    print_table(title, ("", "mean", "std", "min", "q01", "q99", "max"), rows)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; expected failures become one line on stderr and exit status 1, Ctrl-C one and 130."""
    raise_interrupted()
    try:
        app()
    except Interrupted:
        print_error("mobile-vla-data: stopped; no file was left incomplete", style="default")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(explained(error))
    except (ValueError, FolderBusyError, ViewError) as error:
        _fail(str(error))


def _fail(why: str) -> NoReturn:
    print_error(f"mobile-vla-data: {why}")
    sys.exit(1)


def _print_report(report: ValidationReport) -> None:
    for finding in report.findings:
        print_line(f"{finding.severity}: {finding}", _style(finding))
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    verdict = "ok" if not has_errors(report.findings) else "not fit for training"
    print_line(
        f"{report.dataset}: {report.num_episodes} episodes, {report.num_steps} steps, "
        f"{errors} errors, {warnings} warnings: {verdict}",
        "bold",
    )


def _style(finding: Finding) -> str:
    return "red" if finding.severity == "error" else "yellow"


def _steps(path: Path) -> int:
    try:
        with Episode.open(path) as episode:
            return episode.num_steps
    except EpisodeError:
        return 0


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    return "none" if value is None else str(value)


if __name__ == "__main__":
    main()
