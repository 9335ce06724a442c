"""``mobile-vla-policy``: train a policy, make an untrained one, look at one, measure one. No ROS needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path, typer.Option(help="Settings; config/train.yaml is an example.")]
DatasetOption = Annotated[Path, typer.Option(help="Folder of episodes.")]
OutputOption = Annotated[Path, typer.Option(help="Folder to write to.")]
OverrideArgument = Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Override settings.")]
CheckpointArgument = Annotated[Path, typer.Argument(help="Checkpoint folder, or output folder of a training.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command()
def train(
    config: ConfigOption,
    dataset: DatasetOption,
    output: OutputOption,
    overrides: OverrideArgument = None,
    max_minutes: Annotated[float | None, typer.Option(help="Time budget; the schedule ends with it.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the training in --output.")] = False,
) -> None:
    """Train on the train split; best and last checkpoint, metrics.csv and loss.png are left in --output.

    Several processes or machines: accelerate launch -m mobile_vla_policy.cli train ...
    """
    from mobile_vla_policy.config import load_train_settings
    from mobile_vla_policy.training.run import train as run

    console = Console(stderr=True)
    budget = [] if max_minutes is None else [f"max_minutes={max_minutes}"]
    best = run(load_train_settings(config, [*(overrides or []), *budget]), dataset, output, console, resume)
    console.print(f"{output}: " + (f"best validation loss {best:.4f}" if best >= 0 else "trained, without validation"))


@app.command()
def init(
    config: ConfigOption, dataset: DatasetOption, output: OutputOption, overrides: OverrideArgument = None
) -> None:
    """Write an untrained checkpoint: what training begins from, and a control to compare with."""
    from mobile_vla_policy.config import load_train_settings
    from mobile_vla_policy.training.run import init as run

    run(load_train_settings(config, overrides or []), dataset, output, Console(stderr=True))


@app.command()
def info(checkpoint: CheckpointArgument, as_json: JsonOption = False) -> None:
    """Say what a checkpoint is: architecture, tensors, robot, and how it was trained."""
    from mobile_vla_policy.info import describe

    facts = describe(checkpoint)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, title=str(checkpoint))
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    Console().print(table)


@app.command()
def evaluate(
    checkpoint: CheckpointArgument,
    dataset: DatasetOption,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    output: Annotated[Path | None, typer.Option(help="Folder for metrics.json and paths.png.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="An action within this is right [m].")] = 0.01,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare predicted with recorded actions, by task, and see whether the instruction matters to the policy."""
    from mobile_vla_policy.evaluation.report import print_report, write_report
    from mobile_vla_policy.evaluation.run import evaluate as run

    result = run(checkpoint, dataset, split, tolerance, device)
    if output is not None:
        write_report(result, output)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print_report(result, Console())


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 failure with one line on stderr, 2 wrong usage."""
    # OpenMP threads that spin while they wait take the cores from whoever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(_run(app))


def _run(command: Callable[[], None]) -> int:
    try:
        command()
    except (ValueError, OSError, RuntimeError) as error:
        print(f"mobile-vla-policy: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mobile-vla-policy: stopped; go on with train --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    main()
