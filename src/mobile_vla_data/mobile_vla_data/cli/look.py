"""Commands that show what was recorded."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress_bar import ProgressBar
from rich.table import Table

from mobile_vla_data.checks.structure import check_structure
from mobile_vla_data.cli.output import (
    OUT,
    DatasetArgument,
    JsonOption,
    print_error,
    print_json,
    print_line,
    progress_bar,
)
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.dataset.progress import Tally, TaskProgress
from mobile_vla_data.episode.metadata import CATEGORIES
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look.report import write_report
from mobile_vla_data.look.rerun_view import open_in_rerun
from mobile_vla_data.look.view import ViewError, write_contact_sheet, write_video
from mobile_vla_data.storage.durable import require_writable


def progress(
    dataset: DatasetArgument,
    plan: Annotated[
        Path | None, typer.Option(help="Collection plan; by default the dataset's plan.yaml.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Episodes done and wanted per category and task, what to record next, and when it will be finished."""
    loaded = CollectionPlan.load(plan) if plan is not None else CollectionPlan.of_dataset(dataset)
    tally = Tally.of(dataset)
    tasks = tally.tasks(loaded)
    proposal = tally.propose(loaded) if loaded is not None else None
    finish = tally.forecast(loaded, datetime.now(timezone.utc).date()) if loaded is not None else None
    if json:
        print_json(
            {
                "dataset": str(dataset),
                "episodes": tally.episodes,
                "steps": tally.steps,
                "wanted": loaded.episodes if loaded is not None else None,
                "tasks": [asdict(item) for item in tasks],
                "next": asdict(proposal) if proposal is not None else None,
                "forecast": finish.isoformat() if finish is not None else None,
                "problems": tally.problems,
            }
        )
        return
    for problem in tally.problems:
        print_error(problem)
    OUT.print(_table(str(dataset), tasks))
    if loaded is None:
        print_line("no collection plan; put one into the folder as plan.yaml, or pass --plan")
        return
    print_line(_forecast(finish, all(item.done >= item.wanted for item in tasks)))
    if proposal is not None:
        environment = ", ".join(f"{name} {value}" for name, value in proposal.environment.items())
        print_line(f"next: {proposal.task}: '{proposal.language}' ({environment})", "bold")


def _table(title: str, tasks: list[TaskProgress]) -> Table:
    table = Table(title=title, title_justify="left")
    for column, justify in (
        ("task", "left"),
        ("done", "right"),
        ("wanted", "right"),
        ("failed", "right"),
        ("", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for category in CATEGORIES:
        rows = [item for item in tasks if item.category == category]
        if rows:
            done = sum(min(item.done, item.wanted) or item.done for item in rows)
            wanted, failed = (sum(getattr(item, name) for item in rows) for name in ("wanted", "failed"))
            table.add_row(*_row(category, done, wanted, failed), style="bold")
            for item in rows:
                table.add_row(*_row(f"  {item.task}", item.done, item.wanted, item.failed))
            table.add_section()
    return table


def _row(name: str, done: int, wanted: int, failed: int) -> tuple[Any, ...]:
    bar = ProgressBar(total=wanted, completed=min(done, wanted), width=30) if wanted else "not in the plan"
    return name, str(done), str(wanted or ""), str(failed or ""), bar


def _forecast(finish: date | None, fulfilled: bool) -> str:
    if fulfilled:
        return "the plan is fulfilled"
    return (
        f"at the pace of the last week, the plan will be finished on {finish}"
        if finish
        else "no episodes in the last week; cannot forecast"
    )


def view(
    episode: Annotated[Path, typer.Argument(help="Episode file.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Folder for the files; created if missing.")] = Path(),
    video: Annotated[bool, typer.Option(help="Write the MP4.")] = True,
    sheet: Annotated[bool, typer.Option(help="Write the contact sheet.")] = True,
    rerun: Annotated[bool, typer.Option("--rerun", help="Open rerun's viewer as well.")] = False,
    rrd: Annotated[bool, typer.Option("--rrd", help="Write a recording for rerun's viewer.")] = False,
) -> None:
    """Make an MP4 and a contact sheet of an episode: cameras, instruction, actions, states and path."""
    with Episode.open(episode) as opened:
        if findings := check_structure(opened):
            raise ViewError(f"{findings[0]}; run 'mobile-vla-data validate'")
        require_writable(output)
        if sheet:
            target = output / f"{episode.stem}.png"
            write_contact_sheet(opened, target)
            print_line(str(target))
        if video:
            target = output / f"{episode.stem}.mp4"
            with progress_bar("writing video") as bar:
                write_video(opened, target, bar)
            print_line(str(target))
        if rrd:
            target = output / f"{episode.stem}.rrd"
            open_in_rerun(opened, target)
            print_line(str(target))
        if rerun:
            open_in_rerun(opened)


def report(
    dataset: DatasetArgument,
    output: Annotated[
        Path | None, typer.Option(help="HTML file; by default report.html in the dataset.", show_default=False)
    ] = None,
) -> None:
    """Write one HTML page about a dataset: plan, lengths, rates, actions, paths, findings, images."""
    target = output or dataset / "report.html"
    with progress_bar("validating") as bar:
        write_report(dataset, target, bar)
    print_line(str(target))
