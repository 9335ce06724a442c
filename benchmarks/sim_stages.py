"""The stages before driving: collect, train, and compare with recorded actions. Each keeps its results in a folder."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import OUT, ROOT, Figure, say

LOOKS, DRIVES = (ROOT / "config" / name for name in ("train_small.yaml", "train_small_head.yaml"))


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run."""

    name: str = "full"
    episodes: int = 1000
    """As many of each category as the collection plan says: 400, 300, 300."""
    train_minutes: float = 62.0
    """Optimisation of stage 1."""
    head_minutes: float = 2.5
    """Optimisation of stage 2, after its features were computed."""
    trials: int = 400
    """Over twelve tasks in turn: 100 of the category with the fewest tasks."""
    condition_trials: int = 36
    """The first of them, driven again under every other condition."""
    wording_trials: int = 120
    """The first of them, driven again in wordings that no episode has."""
    ros_trials: int = 20

    @classmethod
    def quick(cls) -> Sizes:
        """Return the sizes for development."""
        return cls("quick", 60, 1.5, 0.5, 24, 12, 12, 2)


@dataclass(frozen=True)
class Run:
    """One run of the benchmark: its sizes, its folder, and the checkpoint it drives with."""

    sizes: Sizes
    given: Path | None = None
    """A checkpoint that was trained elsewhere."""

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return OUT / "sim" / self.sizes.name

    @property
    def dataset(self) -> Path:
        """The collected episodes."""
        return self.folder / "dataset"

    @property
    def output(self) -> Path:
        """The output folder of the last stage."""
        return self.folder / "checkpoint"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to drive with."""
        return self.given or self.output

    def collect(self) -> Iterable[Figure]:
        """Let the expert drive the episodes of the plan, on every core."""
        made = self._once("collect", self._collect)
        yield Figure("episodes in the dataset", made["episodes"], "")
        yield Figure("errors found by validate", made["errors"], "", "== 0")

    def train(self) -> Iterable[Figure]:
        """Train the small policy, or continue an interrupted training."""
        if self.given:
            say(f"drives with {self.given}, which was trained elsewhere")
            return
        made = self._once("train", self._train)
        yield Figure("training, all stages, with all that comes before and after", made["minutes"], "min", "<= 90")
        yield Figure("optimisation steps of stage 1", made["steps"], "")

    def offline(self) -> Iterable[Figure]:
        """Compare with the recorded actions of the validation split."""
        result = self._once("offline", self._offline)
        overall = result["overall"]
        within = 100 * overall["within_tolerance"]
        yield Figure("validation: motion within 10 mm and gripper right", within, "%", ">= 80")
        yield Figure("validation: gripper transitions, F1", overall["transition_f1"] or 0.0, "")
        for name, label in (
            ("instruction", "another task's instruction"),
            ("black_images", "black images"),
            ("other_images", "another episode's images"),
        ):
            if found := result[f"{name}_sensitivity"]:
                yield Figure(f"validation: change of an action by {label}", 100 * found["relative"], "% of its length")

    def read(self, name: str) -> Any:
        """Return what a stage or a set of trials left; None if it has not run."""
        path = self._file(name)
        return json.loads(path.read_text()) if path.exists() else None

    def once(self, name: str, *command: str | Path) -> Any:
        """Return the JSON that a command prints; a later run reads it from the folder."""
        return self._once(name, lambda: json.loads(_output(*command)))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns, kept as NAME.json; a later run reads it from there."""
        if (known := self.read(name)) is not None:
            say(f"{name}: kept from an earlier run")
            return known
        result = make()
        part = self._file(f".{name}")
        part.write_text(json.dumps(result, indent=2) + "\n")
        part.replace(self._file(name))
        return result

    def _collect(self) -> dict[str, Any]:
        line = ["collect", "--episodes", self.sizes.episodes, "--output", self.dataset, "--json"]
        made = json.loads(_output("mobile-vla-sim", *line))
        findings = json.loads(_output("mobile-vla-data", "validate", self.dataset, "--json", ok=(0, 1)))["findings"]
        _output("mobile-vla-data", "split", self.dataset, "--seed", "0")
        return {
            **made,
            "episodes": len(list(self.dataset.glob("episode_*.h5"))),
            "errors": sum(finding["severity"] == "error" for finding in findings),
        }

    def _train(self) -> dict[str, Any]:
        looks = self.folder / "looks"
        first = self._stage(LOOKS, looks, self.sizes.train_minutes)
        second = self._stage(DRIVES, self.output, self.sizes.head_minutes, f"init_from={looks}")
        return {"minutes": round(first["minutes"] + second["minutes"], 1), "steps": first["steps"]}

    def _stage(self, config: Path, output: Path, minutes: float, *overrides: str) -> Any:
        return self._once(output.name, lambda: self._optimise(config, output, minutes, *overrides))

    def _optimise(self, config: Path, output: Path, minutes: float, *overrides: str) -> dict[str, Any]:
        began_s = time.monotonic()
        resume = ["--resume"] if (output / "resume").exists() else ["--overwrite"]
        line = ["train", "--config", config, "--dataset", self.dataset, "--output", output]
        _output("mobile-vla-policy", *line, "--max-minutes", str(minutes), *resume, *overrides)
        info = json.loads(_output("mobile-vla-policy", "info", output, "--json"))["training"]
        # Of an interrupted training, all that was optimised counts.
        took_s = max(info["elapsed_s"], time.monotonic() - began_s)
        return {"minutes": round(took_s / 60, 2), "steps": info["steps"]}

    def _offline(self) -> Any:
        line = ["evaluate", self.checkpoint, "--dataset", self.dataset, "--split", "validation"]
        return json.loads(_output("mobile-vla-policy", *line, "--output", self.folder / "offline", "--json"))


def _output(*command: object, ok: tuple[int, ...] = (0,)) -> str:
    """Run a command in its own process and return what it prints; its progress goes to this screen.

    Raises:
        CalledProcessError: it ended with another status than those of ``ok``.
    """
    line = [str(argument) for argument in command]
    say("$ " + " ".join(line))
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ok:
        raise subprocess.CalledProcessError(done.returncode, line)
    return done.stdout
