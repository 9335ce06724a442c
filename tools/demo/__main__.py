"""Run the demo: demonstrate, record, train, drive; then write ``summary.json`` and ``report.html``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from demo.report import write_report
from demo.stages import Demo, DemoError, Stages, command, launch, read_json
from demo.summary import shortfalls, summarise, table

TASKS = "go_to_kitchen,go_to_living_room,go_to_bedroom,go_to_bathroom"
CONFIG = Path(__file__).resolve().parents[2] / "config"


def main() -> int:
    """Entry point; returns the exit status: 0 done, 1 a stage failed or the policy did not learn."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder for everything it makes")
    parser.add_argument("--fresh", action="store_true", help="discard an earlier run instead of continuing it")
    arguments = parser.parse_args()
    demo = Demo(arguments.output.resolve())
    if arguments.fresh:
        shutil.rmtree(demo.root, ignore_errors=True)
    try:
        return run(demo)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; 'make demo' continues, 'make demo FRESH=1' starts over", file=sys.stderr)
        return 130


def run(demo: Demo) -> int:
    """Run every stage that is not done yet, then write the results."""
    stages = Stages(demo)
    stages.run("collect_live", f"Demonstrate {demo.live_episodes} episodes to the recorder", lambda: collect_live(demo))
    stages.run("collect_headless", f"Top up to {demo.episodes} episodes, headless", lambda: collect_headless(demo))
    stages.run("validate", "Validate and split the dataset", lambda: validate(demo))
    stages.run("train", "Train the small policy", lambda: train(demo))
    stages.run("evaluate", "Compare with recorded actions, before and after training", lambda: evaluate(demo))
    stages.run("trials_untrained", "Drive with an untrained policy, for comparison", lambda: drive_untrained(demo))
    stages.run("trials", "Drive with the trained policy", lambda: drive_trained(demo))
    stages.run("conditions", "Drive with black images, and with another instruction", lambda: drive_conditions(demo))

    summary = summarise(demo, stages)
    write_report(demo, summary)
    table(summary)
    print(f"\nreport:  {demo.root / 'report.html'}\nsummary: {demo.root / 'summary.json'}")
    missed = shortfalls(summary)
    for line in missed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if missed else 0


def collect_live(demo: Demo) -> None:
    """Record episodes through the launch file that a real robot uses; the expert stands in for the human."""
    before = _count(demo)
    launch(
        [
            "collect.launch.py",
            "sim:=true",
            "teleop:=expert",
            f"task:={TASKS}",
            f"dataset:={demo.dataset}",
            f"episodes:={demo.live_episodes - before}",
            f"seed:={1 + before}",
            "dashboard:=false",
        ],
        demo.logs / "collect_live.log",
        count=lambda: _count(demo),
        total=demo.live_episodes,
        unit="episodes",
        timeout_s=60 + 25 * demo.live_episodes,
    )
    if _count(demo) < demo.live_episodes:
        raise DemoError(
            f"only {_count(demo)} of {demo.live_episodes} episodes were recorded; read {demo.logs / 'collect_live.log'}"
        )


def collect_headless(demo: Demo) -> None:
    """Add episodes through the same writer, faster than real time."""
    command(
        [
            "mobile-vla-sim",
            "collect",
            "--episodes",
            str(demo.episodes),
            "--top-up",
            "--output",
            demo.dataset,
            "--seed",
            "1000",
            "--tasks",
            TASKS,
        ]
    )


def validate(demo: Demo) -> None:
    """Check every episode, split by episode, and keep the findings."""
    findings = command(["mobile-vla-data", "validate", demo.dataset, "--json"])
    (demo.root / "validation.json").write_text(findings)
    shares = ["--train", "0.9", "--validation", "0.05", "--test", "0.05"]
    command(["mobile-vla-data", "split", demo.dataset, "--seed", "0", *shares])
    (demo.root / "info.json").write_text(command(["mobile-vla-data", "info", demo.dataset, "--json"]))


def train(demo: Demo) -> None:
    """Train both stages on the training split; an untrained checkpoint is kept as the control of the trials."""
    looks, drives = CONFIG / "train_small.yaml", CONFIG / "train_small_head.yaml"
    # For driving to rooms the ceiling camera and half the width are enough: more frames are seen in the same time.
    eyes = ["policy.backbone.cameras=[static]", "policy.backbone.coarse=48"]
    line = ["mobile-vla-policy", "init", "--config", looks, "--dataset", demo.dataset]
    command([*line, "--output", demo.untrained, *eyes])
    # What an interrupted run left there is begun anew.
    line = ["mobile-vla-policy", "train", "--dataset", demo.dataset, "--overwrite", *eyes]
    line += ["--max-minutes", str(demo.train_minutes)]
    command([*line, "--config", looks, "--output", demo.looks, f"max_steps={demo.train_steps}"])
    line += [f"init_from={demo.looks}", "feature_views=1", f"max_steps={demo.head_steps}"]
    command([*line, "--config", drives, "--output", demo.checkpoint])


def evaluate(demo: Demo) -> None:
    """Predict on the test split, which neither checkpoint was trained on, and compare metric by metric."""
    for checkpoint, name in ((demo.untrained, "evaluation_untrained"), (demo.checkpoint, "evaluation")):
        line = ["mobile-vla-policy", "evaluate", checkpoint, "--dataset", demo.dataset, "--split", "test"]
        result = command([*line, "--output", demo.root / name, "--json"])
        (demo.root / f"{name}.json").write_text(result)


def drive_untrained(demo: Demo) -> None:
    """Drive with random weights under the same launch, as a control."""
    _drive(demo, demo.untrained, "trials_untrained", demo.untrained_trials)


def drive_trained(demo: Demo) -> None:
    """Drive with the trained policy."""
    _drive(demo, demo.checkpoint, "trials", demo.trials)


def drive_conditions(demo: Demo) -> None:
    """Drive the same scenes unchanged, with black images, and with another instruction."""
    line = ["mobile-vla-sim", "evaluate", "--checkpoint", demo.checkpoint, "--trials", str(demo.trials)]
    line += ["--seed", str(demo.trial_seed), "--tasks", TASKS, "--ablate", "images", "--swap-instruction"]
    (demo.root / "conditions.json").write_text(command([*line, "--workers", "auto", "--json"]))


def _drive(demo: Demo, checkpoint: Path, name: str, trials: int) -> None:
    output = demo.root / f"{name}.json"
    progress = output.with_suffix(".json.progress")
    launch(
        [
            "inference.launch.py",
            "sim:=true",
            f"task:={TASKS}",
            f"checkpoint:={checkpoint}",
            f"trials:={trials}",
            f"trial_output:={output}",
            f"trial_record:={demo.root / f'{name}.gif'}",
            f"seed:={demo.trial_seed}",
            "dashboard:=false",
        ],
        demo.logs / f"{name}.log",
        count=lambda: len(read_json(progress)) if progress.exists() else 0,
        total=trials,
        unit="trials",
        timeout_s=120 + 40 * trials,
    )
    if not output.exists():
        raise DemoError(f"the trials left no result; read {demo.logs / f'{name}.log'}")


def _count(demo: Demo) -> int:
    return len(list(demo.dataset.glob("episode_*.h5")))


if __name__ == "__main__":
    sys.exit(main())
