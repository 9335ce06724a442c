"""``mobile-vla-policy``: train a policy, make an untrained one, look at one, measure one, export one. No ROS needed."""

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

from mobile_vla_data.interrupt import Interrupted, raise_interrupted

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path, typer.Option(help="Settings; config/train.yaml is an example.")]
DatasetOption = Annotated[Path, typer.Option(help="Folder of episodes.")]
OutputOption = Annotated[Path, typer.Option(help="Folder to write to.")]
OverrideArgument = Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Override settings.")]
CheckpointArgument = Annotated[Path, typer.Argument(help="Checkpoint folder, output of a training, or hf:USER/NAME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command()
def train(
    config: ConfigOption,
    dataset: DatasetOption,
    output: OutputOption,
    overrides: OverrideArgument = None,
    max_minutes: Annotated[float | None, typer.Option(help="Time budget; the schedule ends with it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training in --output.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on the train split; best and last checkpoint, metrics.csv and loss.png are left in --output.

    Several processes or machines: accelerate launch -m mobile_vla_policy.cli train ...
    """
    from accelerate import PartialState

    from mobile_vla_policy.training.settings import load_train_settings
    from mobile_vla_policy.training.train import train as run

    if resume and overwrite:
        raise typer.BadParameter("--resume goes on with what --overwrite would remove; give one of them")
    console = Console(stderr=True)
    budget = [] if max_minutes is None else [f"max_minutes={max_minutes}"]
    settings = load_train_settings(config, [*(overrides or []), *budget])
    try:
        result = run(settings, dataset, output, console, resume, overwrite)
    except Interrupted:
        raise Interrupted(_how_to_go_on(output)) from None
    if not PartialState().is_main_process:
        return
    best = result.best_loss
    reached = "trained without validation" if best is None else f"best validation loss {best:.4f}"
    console.print(f"{output}: {reached}", markup=False)
    _print_what_it_uses(output, dataset, console)
    if as_json:
        _print_described(output)


def _print_what_it_uses(output: Path, dataset: Path, console: Console) -> None:
    from mobile_vla_policy.evaluation.evaluate import what_it_uses

    try:
        lines = what_it_uses(output, dataset)
    except Exception as error:
        # The training is done and saved; that this look failed (memory, say) must not turn it into a failure.
        console.print(f"could not test what the policy uses: {error}", markup=False)
        return
    for line in lines:
        console.print(f"Warning: {line}", style="bold yellow", markup=False)
    if not lines:
        console.print("the policy looks at the images and listens to the instruction; now drive it", markup=False)


@app.command()
def init(
    config: ConfigOption,
    dataset: DatasetOption,
    output: OutputOption,
    overrides: OverrideArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Write an untrained checkpoint: what training begins from, and a control to compare with."""
    from mobile_vla_policy.training.settings import load_train_settings
    from mobile_vla_policy.training.train import init as run

    run(load_train_settings(config, overrides or []), dataset, output, Console(stderr=True))
    if as_json:
        _print_described(output)


@app.command()
def push(
    checkpoint: CheckpointArgument,
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="Hub repository; made if it is not there.")],
    private: Annotated[bool, typer.Option(help="When it is made: for yourself only.")] = False,
    message: Annotated[str, typer.Option(help="Commit message.")] = "Checkpoint of a mobile VLA policy",
    as_json: JsonOption = False,
) -> None:
    """Upload a checkpoint to a hub repository. Whatever takes a checkpoint takes hf:USER/NAME[@REVISION], too."""
    from mobile_vla_policy.checkpoint import CheckpointError, is_export, read_info, resolve
    from mobile_vla_policy.hub import push as run

    folder = resolve(checkpoint)
    read_info(folder)
    if is_export(folder):
        raise CheckpointError(f"{folder} is an export, for one kind of machine; push the checkpoint it was made from")
    address = run(folder, repo, private=private, message=message)
    print(json.dumps({"folder": str(folder), "repo": repo, "commit": address}) if as_json else f"{repo}: {address}")


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
    tolerance: Annotated[float, typer.Option(min=0, help="An action within this many metres is right.")] = 0.01,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare predicted with recorded actions, by task, and see whether the instruction matters to the policy."""
    from mobile_vla_policy.evaluation.evaluate import evaluate as run
    from mobile_vla_policy.evaluation.report import print_report, write_report
    from mobile_vla_policy.training.output import require_folder

    if output is not None:
        require_folder(output)
    result = run(checkpoint, dataset, split, tolerance, device)
    if output is not None:
        write_report(result, output)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2, allow_nan=False))
    else:
        print_report(result, Console())


@app.command()
def export(
    checkpoint: CheckpointArgument,
    output: Annotated[Path, typer.Argument(help="Folder to write; an export that stands there is replaced.")],
    format_: Annotated[str, typer.Option("--format", help="torchscript, onnx or pt2.")],
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16; onnx: fp32 or fp16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where it is to run.")] = "auto",
    tokens: Annotated[int, typer.Option(help="Longest instruction; each costs the time of this many tokens.")] = 24,
    dataset: Annotated[Path | None, typer.Option(help="Episodes to verify on, besides random frames.")] = None,
    tolerance: Annotated[float | None, typer.Option(min=0, help="Allowed deviation; by precision otherwise.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint for another engine, and compare that with eager frame by frame before it counts.

    torchscript: traced, frozen, optimised for the machine that loads it. onnx: for ONNX Runtime and for trtexec.
    pt2: compiled for this very machine. policy_node and mobile-vla-sim take the folder as they take a checkpoint.
    """
    from mobile_vla_policy.export.export import ExportSettings
    from mobile_vla_policy.export.export import export as run

    console = Console(stderr=True)
    settings = ExportSettings(format_, precision, device, tokens, tolerance, dataset)
    report = run(checkpoint, output, settings, lambda line: console.print(line, highlight=False))
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        console.print(
            f"{output}: {report.format} in {report.precision} for {report.device}, {report.size_bytes / 1e6:.1f} MB, "
            f"{report.took_s:.0f} s; instructions of up to {report.instruction_tokens} tokens",
            soft_wrap=True,
            highlight=False,
        )


@app.command()
def benchmark(
    checkpoint: CheckpointArgument,
    backend: Annotated[str, typer.Option(help="auto, eager, torchscript, onnxruntime, aoti, or all.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8.")] = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="With eager: torch.compile.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure, after warming up.")] = 100,
    instruction: Annotated[str, typer.Option(help="What the policy is told.")] = "go to the kitchen",
    trace: Annotated[Path | None, typer.Option(help="File for a Chrome trace of the steps; not with all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Time every stage of a step, and compare with what the matrix products alone take on this machine.

    A backend other than the checkpoint's own exports first; the export is kept in ~/.cache/mobile_vla.
    """
    from mobile_vla_policy.benchmark.measure import BenchmarkSettings, measure, measure_all
    from mobile_vla_policy.benchmark.table import print_results
    from mobile_vla_policy.engine.choices import EngineOptions

    settings = BenchmarkSettings(steps, instruction, trace)
    if backend == "all":
        results = measure_all(checkpoint, device, precision, settings, Console(stderr=True))
    else:
        results = [measure(checkpoint, EngineOptions(device, backend, precision, compile_), settings)]
    if as_json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
    else:
        print_results(results, Console())


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 failure with one line on stderr, 2 wrong usage."""
    # OpenMP threads that spin while they wait take the cores from whoever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(_run(app))


def _run(command: Callable[[], None]) -> int:
    raise_interrupted()
    try:
        command()
    except (ValueError, OSError, RuntimeError) as error:
        print(f"mobile-vla-policy: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except Interrupted as stopped:
        print(f"mobile-vla-policy: stopped{stopped}", file=sys.stderr)
        return 130
    return 0


def _how_to_go_on(output: Path) -> str:
    from mobile_vla_policy.checkpoint import RESUME
    from mobile_vla_policy.training.resume import ResumeError, load_position

    try:
        step = load_position(output / RESUME).step
    except ResumeError:
        return " before the first step was done, so nothing was saved; train again"
    return f"; {output} holds everything up to step {step}, go on from there with the same command and --resume"


def _print_described(output: Path) -> None:
    from mobile_vla_policy.info import describe

    print(json.dumps(describe(output), indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
