"""``mobile-vla-sim``: collect episodes, evaluate a checkpoint in closed loop, render a picture; all without ROS."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mobile_vla_data.contract import Contract
from mobile_vla_data.interrupt import Interrupted, raise_interrupted
from mobile_vla_sim.scene import LIGHTINGS, make_scene
from mobile_vla_sim.tasks import DEFAULT_TASKS, TASKS

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
_console = Console(stderr=True)

ContractOption = Annotated[Path, typer.Option("--contract", help="The robot's contract.")]
SeedOption = Annotated[int, typer.Option(min=0, max=(1 << 28) - 1, help="Same seed, same episodes or trials.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
TasksOption = Annotated[str, typer.Option(help=f"Comma-separated, out of: {', '.join(TASKS)}.")]

_DEFAULT_TASKS = ",".join(DEFAULT_TASKS)


def _default_contract() -> Path:
    """The repository's contract where there is one, else the installed one."""
    local = Path("config/robot.yaml")
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    installed = [prefix / "share/mobile_vla_bringup/config/robot.yaml" for prefix in prefixes]
    return next((path for path in (local, *installed) if path.is_file()), local)


DEFAULT_CONTRACT = _default_contract()


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
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes the series is to hold.")],
    output: Annotated[Path, typer.Option(help="Dataset folder; what is there already is kept and not made again.")],
    seed: SeedOption = 0,
    workers: Annotated[str, typer.Option(help="Processes, or 'auto' for one per core.")] = "auto",
    tasks: TasksOption = _DEFAULT_TASKS,
    top_up: Annotated[bool, typer.Option(help="Count every episode in the folder towards --episodes.")] = False,
    noise: Annotated[float, typer.Option(min=0.0, max=0.5, help="Noise on the driving [m/s], not recorded.")] = 0.22,
    contract: ContractOption = DEFAULT_CONTRACT,
    as_json: JsonOption = False,
) -> None:
    """Let the scripted expert drive episodes into a dataset, faster than real time."""
    from mobile_vla_sim.collect import CollectConfig, default_workers
    from mobile_vla_sim.collect import collect as run

    if workers != "auto" and not (workers.isdigit() and int(workers) > 0):
        raise typer.BadParameter(f"--workers is '{workers}'; use 'auto' or a number from 1")
    count = default_workers() if workers == "auto" else int(workers)
    config = CollectConfig(output, Contract.load(contract), seed, _tasks(tasks), noise)
    started, made, steps = time.monotonic(), 0, 0
    try:
        with _progress(as_json) as progress:
            bar = progress.add_task("collecting", total=None, rate="")
            for length in run(
                config, episodes, workers=count, top_up=top_up, on_plan=lambda all_: progress.update(bar, total=all_)
            ):
                made, steps = made + 1, steps + length
                rate = 60.0 * made / (time.monotonic() - started)
                progress.update(bar, advance=1, rate=f"{rate:.0f} episodes/min")
    except Interrupted:
        raise Interrupted(f" after {made} episodes; the same command goes on from there") from None
    elapsed_s = time.monotonic() - started
    summary = {
        "dataset": str(output),
        "made": made,
        "steps": steps,
        "elapsed_s": round(elapsed_s, 2),
        "episodes_per_minute": round(60.0 * made / elapsed_s, 1),
    }
    if as_json:
        print(json.dumps(summary))
    else:
        _console.print(f"{made} episodes made, {steps} steps, in {elapsed_s:.1f} s: {output}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, or the output folder of a training.")],
    trials: Annotated[int, typer.Option(min=1, help="Scenes to drive; none of them was ever collected from.")] = 24,
    seed: SeedOption = 0,
    tasks: TasksOption = _DEFAULT_TASKS,
    replan: Annotated[int, typer.Option(min=1, help="Actions of a chunk to execute before predicting again.")] = 1,
    swap_instruction: Annotated[
        bool, typer.Option(help="Ask for another room than the scene's, and count which of the two is reached.")
    ] = False,
    time_limit: Annotated[float, typer.Option(min=1.0, help="Simulated seconds that a trial may take.")] = 15.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    contract: ContractOption = DEFAULT_CONTRACT,
    as_json: JsonOption = False,
) -> None:
    """Let a policy drive in closed loop, without ROS, and count how often it does what it is told."""
    # Here, not above: collecting and rendering must work where torch is not installed.
    from mobile_vla_policy.load_policy import load_policy
    from mobile_vla_sim.evaluate import EvaluateConfig, Evaluator
    from mobile_vla_sim.world import World

    loaded = Contract.load(contract)
    policy = load_policy(checkpoint, device=device, contract=loaded)
    config = EvaluateConfig(seed, _tasks(tasks), replan, swap_instruction, time_limit)
    world = World(loaded)
    done = []
    try:
        evaluator = Evaluator(world, policy, config)
        with _progress(as_json) as progress:
            bar = progress.add_task("driving", total=trials, rate="")
            for trial in evaluator.run(trials):
                done.append(trial)
                progress.update(bar, advance=1, rate=f"{sum(item.success for item in done)} reached")
    finally:
        world.close()
    result = evaluator.report(done).as_dict(config)
    if as_json:
        print(json.dumps(result))
        return
    for name, entry in cast("dict[str, dict[str, int]]", result["by_task"]).items():
        _console.print(f"{name}: {entry['successes']} of {entry['trials']}")
    _console.print(f"reached the named room in {result['successes']} of {trials} trials")
    if swap_instruction:
        _console.print(f"reached the scene's own room instead in {result['old_room_successes']} of {trials}")


@app.command()
def render(
    output: Annotated[Path, typer.Option(help="PNG or JPEG file to write.")] = Path("flat.png"),
    size: Annotated[int, typer.Option(min=64, max=4096, help="Edge of the square picture in pixels.")] = 1024,
    seed: Annotated[int, typer.Option(help="Scene to show.")] = 0,
    camera: Annotated[str, typer.Option(help="static or gripper.")] = "static",
    lighting: Annotated[str, typer.Option(help=f"{', '.join(LIGHTINGS)}; empty: the scene's.")] = "",
    plain: Annotated[bool, typer.Option(help="As episodes see it: no shadows, no smooth edges.")] = False,
    contract: ContractOption = DEFAULT_CONTRACT,
) -> None:
    """Write a picture of the flat."""
    from dataclasses import replace

    from PIL import Image

    from mobile_vla_sim.world import World

    loaded = Contract.load(contract)
    if camera not in loaded.cameras:
        raise typer.BadParameter(f"--camera is '{camera}'; the contract has {', '.join(loaded.cameras)}")
    if lighting and lighting not in LIGHTINGS:
        raise typer.BadParameter(f"--lighting is '{lighting}'; use one of {', '.join(LIGHTINGS)}")
    scene = make_scene(seed)
    world = World(loaded, image_size=size, high_quality=not plain)
    try:
        world.reset(replace(scene, lighting=lighting) if lighting else scene)
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(world.render(camera)).save(output)
    finally:
        world.close()
    _console.print(f"{output}: {size} x {size}, seed {seed}: '{scene.language}' from the {scene.start_room}")


def _tasks(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise typer.BadParameter(f"--tasks has '{', '.join(unknown)}'; the catalogue has {', '.join(TASKS)}")
    return names


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
