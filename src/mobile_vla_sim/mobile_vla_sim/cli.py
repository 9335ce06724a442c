"""``mobile-vla-sim``: collect episodes, evaluate a checkpoint in closed loop, render an image; all without ROS."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mobile_vla_data.cli.output import App, RayOption, plain_console
from mobile_vla_data.contract import Contract
from mobile_vla_data.interrupt import Interrupted, raise_interrupted
from mobile_vla_data.parallel import Spread
from mobile_vla_sim.defaults import config_file
from mobile_vla_sim.headless.conditions import ABLATIONS, Condition
from mobile_vla_sim.tasks.catalogue import TASKS, load_plan
from mobile_vla_sim.world.plans import FAMILIES
from mobile_vla_sim.world.scene import LIGHTINGS

if TYPE_CHECKING:
    from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
    from mobile_vla_sim.headless.evaluate import EvaluateConfig
    from mobile_vla_sim.headless.trial import Trial
    from mobile_vla_sim.world.odometry import OdometryKind

app = App(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
_console = plain_console(stderr=True)

_DEFAULT_TASKS = ",".join(TASKS)
DEFAULT_CONTRACT, DEFAULT_PLAN = config_file("robot.yaml"), config_file("collection_plan.yaml")

ContractOption = Annotated[Path, typer.Option("--contract", help="The robot's contract.")]
PlanOption = Annotated[Path, typer.Option("--plan", help="Collection plan: share and wordings of each task.")]
SeedOption = Annotated[
    int, typer.Option(min=0, max=(1 << 28) - 1, help="The same seed gives the same episodes or trials.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
TasksOption = Annotated[str, typer.Option(help=f"Comma-separated, out of: {', '.join(TASKS)}.")]
WorkersOption = Annotated[str, typer.Option(help="Processes, or 'auto' for one per core.")]
LocalisedOption = Annotated[
    bool, typer.Option("--localised", help="Odometry without drift, as of a robot localised in a map.")
]


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_console,
        disable=quiet,
    )


@app.command()
def collect(
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes in the series.")],
    output: Annotated[
        Path, typer.Option(help="Dataset folder; episodes that it already has are kept, not made again.")
    ],
    seed: SeedOption = 0,
    workers: WorkersOption = "auto",
    ray: RayOption = False,
    tasks: TasksOption = _DEFAULT_TASKS,
    top_up: Annotated[bool, typer.Option(help="Count every episode in the folder towards --episodes.")] = False,
    noise: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Noise added to the velocity [m/s]; it is not recorded.")
    ] = 0.22,
    localised: LocalisedOption = False,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint that drives the first part of each episode; the expert's commands are recorded all the "
            "same (DAgger). Another --seed gives other scenes."
        ),
    ] = None,
    plan: PlanOption = DEFAULT_PLAN,
    contract: ContractOption = DEFAULT_CONTRACT,
    as_json: JsonOption = False,
) -> None:
    """Let the scripted expert drive episodes into a dataset, faster than real time."""
    from mobile_vla_sim.headless.collect import CollectConfig
    from mobile_vla_sim.headless.collect import collect as run

    spread, robot = Spread(_workers(workers), ray), Contract.load(contract)
    load = _policy_loader(policy, "cpu", robot, spread.many) if policy else None
    name = "/".join(policy.resolve().parts[-2:]) if policy else ""
    config = CollectConfig(output, robot, load_plan(plan), seed, _tasks(tasks), noise, _odometry(localised), load, name)
    started, made, steps = time.monotonic(), 0, 0
    left_out: list[str] = []
    try:
        with _progress(as_json) as progress:
            bar = progress.add_task("collecting", total=None, rate="")
            for length in run(
                config,
                episodes,
                spread=spread,
                top_up=top_up,
                on_plan=lambda all_: progress.update(bar, total=all_),
                on_left_out=left_out.append,
            ):
                made, steps = made + 1, steps + length
                rate = 60.0 * made / (time.monotonic() - started)
                progress.update(bar, advance=1, rate=f"{rate:.0f} episodes/min")
    except Interrupted:
        raise Interrupted(f" after {made} episodes; run the same command again to continue") from None
    elapsed_s = time.monotonic() - started
    summary = {
        "dataset": str(output),
        "made": made,
        "left_out": left_out,
        "steps": steps,
        "elapsed_s": round(elapsed_s, 2),
        "episodes_per_minute": round(60.0 * made / elapsed_s, 1),
    }
    if as_json:
        print(json.dumps(summary))
    else:
        for why in left_out:
            _console.print(f"left out: {why}")
        _console.print(f"{made} episodes made, {steps} steps, in {elapsed_s:.1f} s: {output}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, or the output folder of a training.")],
    trials: Annotated[int, typer.Option(min=1, help="Scenes to drive, on floor plans never collected on.")] = 24,
    seed: SeedOption = 0,
    tasks: TasksOption = _DEFAULT_TASKS,
    replan: Annotated[int, typer.Option(min=1, help="Actions of a chunk to execute before predicting again.")] = 1,
    ablate: Annotated[
        list[str] | None,
        typer.Option(
            help="Drive the same scenes again without this input; may be repeated. One of: "
            + ", ".join(condition.value for condition in ABLATIONS)
            + "."
        ),
    ] = None,
    swap_instruction: Annotated[
        bool,
        typer.Option(help="Drive the same scenes again with another instruction, to see which goal is reached."),
    ] = False,
    held_out_wordings: Annotated[
        bool, typer.Option(help="Drive the same scenes again with wordings that were never collected.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(min=1.0, help="Simulated seconds that a trial may take; default: 15."),
    ] = None,
    localised: LocalisedOption = False,
    workers: WorkersOption = "1",
    ray: RayOption = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plan: PlanOption = DEFAULT_PLAN,
    contract: ContractOption = DEFAULT_CONTRACT,
    report: Annotated[Path | None, typer.Option(help="HTML page to write; it shows the first trials.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a policy drive in closed loop, without ROS, and count how often it does what it is told."""
    from mobile_vla_data.trials.page import TILES
    from mobile_vla_sim.headless.evaluate import EvaluateConfig
    from mobile_vla_sim.headless.report import document, print_report

    conditions = (
        Condition.PLAIN,
        *([Condition.HELD_OUT_WORDING] if held_out_wordings else []),
        *([Condition.SWAPPED] if swap_instruction else []),
        *_ablations(ablate or []),
    )
    config = EvaluateConfig(
        Contract.load(contract),
        load_plan(plan),
        seed,
        _tasks(tasks),
        conditions,
        replan,
        time_limit,
        _odometry(localised),
    )
    spread = Spread(_workers(workers), ray)
    load = _policy_loader(checkpoint, device, config.contract, spread.many)
    done, latencies_s = _drive(config, load, trials, spread, quiet=as_json)
    result = document(config, done, latencies_s)
    if report:
        _write_report(config, load, min(trials, TILES), result, report)
    if as_json:
        print(json.dumps(result))
    else:
        print_report(result, _console)


@app.command()
def render(
    output: Annotated[Path, typer.Option(help="PNG or JPEG file to write.")] = Path("flat.png"),
    size: Annotated[int, typer.Option(min=16, max=4096, help="Edge of the square image in pixels.")] = 1024,
    seed: Annotated[int, typer.Option(help="Scene to show.")] = 0,
    task: Annotated[str, typer.Option(help="Task of the scene.")] = "pick_up_object",
    family: Annotated[str, typer.Option(help=f"{', '.join(FAMILIES)}; empty: one that is collected on.")] = "",
    camera: Annotated[str, typer.Option(help="static or gripper.")] = "static",
    lighting: Annotated[str, typer.Option(help=f"{', '.join(LIGHTINGS)}; empty: the scene's.")] = "",
    plain: Annotated[bool, typer.Option(help="Render as in episodes: no shadows, no smooth edges.")] = False,
    plan: PlanOption = DEFAULT_PLAN,
    contract: ContractOption = DEFAULT_CONTRACT,
) -> None:
    """Write an image of a scene."""
    from dataclasses import replace

    from PIL import Image

    from mobile_vla_sim.tasks.draw import draw
    from mobile_vla_sim.world.world import World

    loaded = Contract.load(contract)
    _require("--camera", camera, loaded.cameras)
    for name, value, known in (("--lighting", lighting, LIGHTINGS), ("--family", family, FAMILIES)):
        if value:
            _require(name, value, known)
    _require("--task", task, TASKS)
    assignment = draw(seed, [task], load_plan(plan), families=(family,) if family else ())[0]
    scene = assignment.scene
    world = World(loaded, image_size=size, high_quality=not plain)
    try:
        world.reset(replace(scene, lighting=lighting) if lighting else scene)
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(world.render(camera)).save(output)
    finally:
        world.close()
    _console.print(f"{output}: {size} x {size}, seed {seed}, plan family {scene.plan.family}: '{assignment.language}'")


def _drive(
    config: EvaluateConfig, load: partial[DrivingPolicy], trials: int, spread: Spread, *, quiet: bool
) -> tuple[list[Trial], list[float]]:
    """Run every trial under every condition; returns the trials and the latencies of the predictions [s]."""
    from mobile_vla_sim.headless.evaluate import jobs_of, run_trials

    jobs = jobs_of(config, trials)
    done: list[Trial] = []
    latencies_s: list[float] = []
    with _progress(quiet) as progress:
        bar = progress.add_task("driving", total=len(jobs), rate="")
        for trial, some_s in run_trials(config, load, jobs, spread):
            done.append(trial)
            latencies_s += some_s
            plain = [item.success for item in done if item.condition == Condition.PLAIN.value]
            progress.update(bar, advance=1, rate=f"{sum(plain)} of {len(plain)} done")
    return done, latencies_s


def _write_report(
    config: EvaluateConfig, load: partial[DrivingPolicy], tiles: int, result: dict[str, Any], output: Path
) -> None:
    from mobile_vla_sim.headless.page import film, write_page
    from mobile_vla_sim.world.world import World

    world = World(config.contract)
    with TemporaryDirectory() as folder, closing(world):
        animation = Path(folder) / "trials.webp"
        film(world, load(), config, animation, tiles)
        write_page(result, animation, output, "Trials in the simulator")
    _console.print(f"report: {output}")


def _policy_loader(checkpoint: Path, device: str, contract: Contract, one_of_many: bool) -> partial[DrivingPolicy]:
    """Return what loads the policy in each process. Raise RuntimeError, one line, if no policy can run here."""
    # Here, not above: collecting and rendering must work where torch is not installed.
    from mobile_vla_policy.start import torch_fault

    if fault := torch_fault():
        raise RuntimeError(fault)
    return partial(_load_policy, checkpoint, device, contract, one_of_many)


def _load_policy(checkpoint: Path, device: str, contract: Contract, one_of_many: bool) -> DrivingPolicy:
    import torch

    from mobile_vla_policy.load_policy import load_policy

    if one_of_many:
        torch.set_num_threads(1)
    return load_policy(checkpoint, device=device, contract=contract)


def _tasks(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise typer.BadParameter(f"--tasks has '{', '.join(unknown)}'; the catalogue has {', '.join(TASKS)}")
    return names


def _workers(text: str) -> int:
    from mobile_vla_sim.headless.collect import default_workers

    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise typer.BadParameter(f"--workers is '{text}'; use 'auto' or a number from 1")
    return default_workers() if text == "auto" else int(text)


def _ablations(names: list[str]) -> list[Condition]:
    known = {condition.value: condition for condition in ABLATIONS}
    for name in names:
        _require("--ablate", name, known)
    return [known[name] for name in dict.fromkeys(names)]


def _odometry(localised: bool) -> OdometryKind:
    return "localised" if localised else "drifting"


def _require(option: str, value: str, known: Any) -> None:
    if value not in known:
        raise typer.BadParameter(f"{option} is '{value}'; use one of {', '.join(known)}")


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 failure with one line on stderr, 2 wrong usage."""
    raise_interrupted()
    try:
        app()
    except Interrupted as stopped:
        print(f"mobile-vla-sim: stopped{stopped}", file=sys.stderr)
        sys.exit(130)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
