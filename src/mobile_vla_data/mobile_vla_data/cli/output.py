"""Shared by the commands: tables on stdout, progress and errors on stderr, paths with ``~``, and JSON."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

DatasetArgument = Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)]
PathArgument = Annotated[Path, typer.Argument(help="Dataset folder or one episode file.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
RayOption = Annotated[
    bool, typer.Option("--ray", help="Spread over a Ray cluster; every machine must see the same files.")
]


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text literally: ``[b]`` in an instruction is not markup, ``:cup:`` not an emoji."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


OUT = plain_console()
ERR = plain_console(stderr=True)


_Command = TypeVar("_Command", bound=Callable[..., Any])


class App(typer.Typer):
    """A ``typer.Typer`` whose commands get paths with ``~`` expanded, which shells leave in ``--plan=~/plan.yaml``."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[_Command], _Command]:
        """Register a command, as typer's own does."""
        register = super().command(*args, **kwargs)

        def add(function: _Command) -> _Command:
            register(_expanding(function))
            return function

        return add


def _expanding(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{name: _expanded(value) for name, value in kwargs.items()})

    return call


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    return [_expanded(item) for item in value] if isinstance(value, list) else value


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str, style: str | None = None) -> None:
    """Print one line of plain text to stdout, never wrapped."""
    OUT.print(text, style=style, soft_wrap=True)


def print_error(text: str, style: str = "red") -> None:
    """Print one line of plain text to stderr, never wrapped."""
    ERR.print(text, style=style, soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; columns whose cells are all numbers are right-aligned."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    OUT.print(table)


@contextmanager
def progress_bar(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while the block runs; gives a function taking done and total."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, transient=True, disable=quiet or not ERR.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
