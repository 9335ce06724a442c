"""The command ``mobile-vla-policy``: train, evaluate, export, measure and share policies. It needs no ROS."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from mobile_vla_data.cli.output import plain_console
from mobile_vla_data.interrupt import Interrupted, raise_interrupted
from mobile_vla_data.parallel import Spread

app = typer.Typer(
    help="Train, evaluate, export, measure and share policies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

OUT = plain_console()
ERR = plain_console(stderr=True)


def path(text: str) -> Path:
    """Return a path given by the user; ``~`` is the home folder."""
    return Path(text).expanduser()


ConfigOption = Annotated[Path, typer.Option(parser=path, help="Settings file; config/train.yaml is an example.")]


def dataset_path(text: str) -> Path:
    """Return the folder of a dataset given by the user; one on object storage is copied into the cache first."""
    from mobile_vla_data.cli.output import progress_bar
    from mobile_vla_data.hub import storage

    if not storage.is_url(text):
        return path(text)
    try:
        with progress_bar(f"receiving {text}") as progress:
            return storage.cached(text, progress)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


DatasetOption = Annotated[
    Path,
    typer.Option(parser=dataset_path, help="Dataset folder, or an address such as s3://bucket/flat, kept in a cache."),
]
OutputOption = Annotated[Path, typer.Option(parser=path, help="Folder to write to.")]
OverrideArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Settings that override those of the file.")
]
CheckpointArgument = Annotated[
    Path,
    typer.Argument(parser=path, help="Checkpoint folder, output folder of a training, or hf:USER/NAME[@REVISION]."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]


@app.command()
def train(
    config: ConfigOption,
    dataset: DatasetOption,
    output: OutputOption,
    overrides: OverrideArgument = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Time budget; the learning rate reaches zero at its end.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training in --output.")] = False,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Compute the features of a frozen backbone on a Ray cluster; every machine must see the same files.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on the train split; write the best and the last checkpoint, metrics.csv and loss.png to --output.

    With several processes or machines: accelerate launch -m mobile_vla_policy.cli train ...
    """
    from accelerate import PartialState

    from mobile_vla_policy.training.resume import how_to_continue
    from mobile_vla_policy.training.settings import load_train_settings
    from mobile_vla_policy.training.train import train as run

    if resume and overwrite:
        raise typer.BadParameter("--resume continues what --overwrite would remove; give one of them")
    budget = [] if max_minutes is None else [f"max_minutes={max_minutes}"]
    settings = load_train_settings(config, [*(overrides or []), *budget])
    try:
        result = run(settings, dataset, output, ERR, resume, overwrite, Spread(ray=ray, gpu=True))
    except Interrupted:
        raise Interrupted(how_to_continue(output)) from None
    if not PartialState().is_main_process:
        return
    best = result.best_loss
    reached = "trained without validation" if best is None else f"best validation loss {best:.4f}"
    ERR.print(f"{output}: {reached}", soft_wrap=True)
    _print_what_it_uses(output, dataset)
    if as_json:
        _print_described(output)


@app.command()
def init(
    config: ConfigOption,
    dataset: DatasetOption,
    output: OutputOption,
    overrides: OverrideArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Write an untrained checkpoint: the start of a training, and a control to compare with."""
    from mobile_vla_policy.training.settings import load_train_settings
    from mobile_vla_policy.training.train import init as run

    run(load_train_settings(config, overrides or []), dataset, output, ERR)
    if as_json:
        _print_described(output)


@app.command()
def push(
    checkpoint: CheckpointArgument,
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="Hub repository; created if it is missing.")],
    private: Annotated[bool, typer.Option(help="Create the repository as a private one.")] = False,
    message: Annotated[str, typer.Option(help="Commit message.")] = "Checkpoint of a mobile VLA policy",
    as_json: JsonOption = False,
) -> None:
    """Upload a checkpoint to a repository of the Hugging Face hub.

    Afterwards every command and node that takes a checkpoint also takes hf:USER/NAME[@REVISION].
    """
    from mobile_vla_policy.checkpoint import CheckpointError, is_export, read_info, resolve
    from mobile_vla_policy.hub import push as run

    folder = resolve(checkpoint)
    read_info(folder)
    if is_export(folder):
        raise CheckpointError(f"{folder} is an export, for one kind of machine; push the checkpoint it was made from")
    address = run(folder, repo, private=private, message=message)
    if as_json:
        _print_json({"folder": str(folder), "repo": repo, "commit": address})
    else:
        OUT.print(f"{repo}: {address}", soft_wrap=True)


@app.command()
def info(checkpoint: CheckpointArgument, as_json: JsonOption = False) -> None:
    """Describe a checkpoint or an export: architecture, tensors, robot and training."""
    from mobile_vla_policy.info import describe

    facts = describe(checkpoint)
    if as_json:
        _print_json(facts)
        return
    table = Table(show_header=False, title=str(checkpoint))
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    OUT.print(table)


@app.command()
def evaluate(
    checkpoint: CheckpointArgument,
    dataset: DatasetOption,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    output: Annotated[
        Path | None, typer.Option(parser=path, help="Folder to write metrics.json and paths.png to.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="An action is right within this distance of the recorded one [m].")
    ] = 0.01,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare predicted with recorded actions by task, and test what the policy uses.

    It predicts again with black images, another episode's images, another task's instruction and a state of zeros.
    """
    from mobile_vla_policy.evaluation.evaluate import evaluate as run
    from mobile_vla_policy.evaluation.report import print_report, write_report

    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; give a folder as --output")
    result = run(checkpoint, dataset, split, tolerance, device)
    if output is not None:
        write_report(result, output)
    if as_json:
        _print_json(result.to_dict())
    else:
        print_report(result, OUT)


@app.command()
def export(
    checkpoint: CheckpointArgument,
    output: Annotated[Path, typer.Argument(parser=path, help="Folder to write; an export in it is replaced.")],
    format_: Annotated[str, typer.Option("--format", help="torchscript, onnx or pt2.")],
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16; onnx takes fp32 or fp16.")] = "auto",
    device: Annotated[str, typer.Option(help="Device that will run the export: auto, cpu or cuda.")] = "auto",
    tokens: Annotated[
        int, typer.Option(help="Longest instruction; every instruction costs the time of this many tokens.")
    ] = 24,
    dataset: Annotated[
        Path | None, typer.Option(parser=path, help="Recorded episodes to verify on, in addition to random frames.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Allowed deviation from eager; by default it follows the precision.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint for another engine, and compare the result with eager, frame by frame.

    torchscript: traced, frozen, and optimised on the machine that loads it. onnx: for ONNX Runtime and trtexec.
    pt2: compiled for this machine only. policy_node and mobile-vla-sim take the folder in place of a checkpoint.
    """
    from mobile_vla_policy.export.export import ExportSettings
    from mobile_vla_policy.export.export import export as run

    settings = ExportSettings(format_, precision, device, tokens, tolerance, dataset)
    report = run(checkpoint, output, settings, lambda line: ERR.print(line))
    if as_json:
        _print_json(report.to_dict())
    else:
        ERR.print(
            f"{output}: {report.format} in {report.precision} for {report.device}, {report.size_bytes / 1e6:.1f} MB, "
            f"{report.took_s:.0f} s; instructions of up to {report.instruction_tokens} tokens",
            soft_wrap=True,
        )


@app.command()
def benchmark(
    checkpoint: CheckpointArgument,
    backend: Annotated[str, typer.Option(help="auto, eager, torchscript, onnxruntime, aoti, or all.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8.")] = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="With eager: use torch.compile.")] = False,
    device: DeviceOption = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Forward passes to measure, after the warm-up.")] = 100,
    instruction: Annotated[str, typer.Option(help="Instruction for the policy.")] = "go to the kitchen",
    trace: Annotated[
        Path | None,
        typer.Option(parser=path, help="File for a Chrome trace of the forward passes; not with --backend all."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time every stage of a forward pass, and the matrix products alone for comparison.

    A backend other than eager exports the checkpoint first; the export is kept in ~/.cache/mobile_vla.
    """
    from mobile_vla_policy.benchmark.measure import BenchmarkSettings, measure, measure_all
    from mobile_vla_policy.benchmark.table import print_results
    from mobile_vla_policy.engine.choices import EngineOptions

    settings = BenchmarkSettings(steps, instruction, trace)
    if backend == "all":
        results = measure_all(checkpoint, device, precision, settings, ERR)
    else:
        results = [measure(checkpoint, EngineOptions(device, backend, precision, compile_), settings)]
    if as_json:
        _print_json([result.to_dict() for result in results])
    else:
        print_results(results, OUT)


def main() -> NoReturn:
    """Run the command; exit with 0 when done, 1 after a failure with one line on stderr, 2 after wrong usage."""
    # OpenMP threads that spin while they wait take the cores from every other program here. Training is what its
    # machine is for, and is 1.7 times as fast with them: the small policy, two cores, 258 against 153 frames/s.
    os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE" if sys.argv[1:2] == ["train"] else "PASSIVE")
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


def _print_what_it_uses(output: Path, dataset: Path) -> None:
    from mobile_vla_policy.evaluation.evaluate import what_it_uses

    try:
        lines = what_it_uses(output, dataset)
    except Exception as error:
        # The training is done and saved; a failure of this look (memory, for example) must not change that.
        ERR.print(f"could not test what the policy uses: {error}", soft_wrap=True)
        return
    for line in lines:
        ERR.print(f"Warning: {line}", style="bold yellow", soft_wrap=True)
    if not lines:
        ERR.print("the policy looks at the images and listens to the instruction; now drive it", soft_wrap=True)


def _print_described(output: Path) -> None:
    from mobile_vla_policy.info import describe

    _print_json(describe(output))


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
