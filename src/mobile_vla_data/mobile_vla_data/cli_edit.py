"""Commands that change a dataset folder; all of them take its lock first."""

from __future__ import annotations

import typer

from mobile_vla_data.cli_output import DatasetArgument, JsonOption, print_json, print_line
from mobile_vla_data.lock import DatasetLock
from mobile_vla_data.recover import recover_dataset


def recover(dataset: DatasetArgument, json: JsonOption = False) -> None:
    """Turn what a crash left into valid episodes, or say why that cannot be; exit 1 when something was lost."""
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
