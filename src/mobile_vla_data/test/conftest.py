"""Records real episodes through the real writer: a robot that drives a curve, and closes its gripper half-way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import settings

from mobile_vla_data.action import displacement, position
from mobile_vla_data.cli.main import main
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter

sys.path.insert(0, str(Path(__file__).parent))

# A busy machine must not fail a test, and the same commit must give the same result.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")

ROBOT_YAML = Path(__file__).resolve().parents[3] / "config" / "robot.yaml"
STREAMS = ("static", "gripper", "odom", "gripper_state")
START_NS = 1_790_000_000_000_000_000
_HOLD = """
import sys, time
from mobile_vla_data.storage.lock import DatasetLock
lock = DatasetLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


class Demonstration:
    """The steps of one synthetic demonstration, as keyword arguments of ``EpisodeWriter.add_step``."""

    def __init__(self, steps: int = 40, seed: int = 0, size: int = 224) -> None:
        rng = np.random.default_rng(seed)
        self.stamps = START_NS + seed * 10**12 + np.arange(steps) * 10**8 + rng.integers(0, 2 * 10**6, steps)
        heading = rng.uniform(-np.pi, np.pi) + 0.3 * np.sin(np.arange(steps) / 9)
        closed = np.arange(steps) >= steps // 2
        self.actions = np.stack([0.04 * np.cos(heading), 0.04 * np.sin(heading), closed], 1).astype(np.float32)
        travelled = np.concatenate([np.zeros((1, 2)), np.cumsum(displacement(self.actions)[:-1], 0)])
        self.states = np.concatenate([travelled, closed[:, None]], 1).astype(np.float32)
        self._lags = rng.integers(5 * 10**6, 40 * 10**6, (steps, len(STREAMS)))
        self._floor = cv2.resize(rng.integers(60, 200, (8, 8, 3), dtype=np.uint8), (size, size))
        self._size = size

    def __len__(self) -> int:
        return len(self.actions)

    def image(self, camera: str, index: int) -> Any:
        picture = self._floor.copy()
        x, y = position(self.states)[index]
        zoom = 20 if camera == "static" else 60
        centre = (int(self._size / 2 + x * zoom) % self._size, int(self._size / 2 + y * zoom) % self._size)
        cv2.circle(picture, centre, self._size // 16, (230, 40, 40), -1)
        return picture

    def step(self, index: int, cameras: tuple[str, ...] = ("static", "gripper")) -> dict[str, Any]:
        stamp = int(self.stamps[index])
        streams = [name for name in STREAMS if name in cameras or name not in ("static", "gripper")]
        return {
            "stamp_ns": stamp,
            "images": {camera: self.image(camera, index) for camera in cameras},
            "state": self.states[index],
            "action": self.actions[index],
            "stamps_ns": {name: stamp - int(self._lags[index, STREAMS.index(name)]) for name in streams},
        }


Record = Callable[..., Path]


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load(ROBOT_YAML)


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "dataset"
    folder.mkdir()
    yield folder


@pytest.fixture
def make_demonstration() -> type[Demonstration]:
    return Demonstration


@pytest.fixture
def record(dataset: Path, contract: Contract) -> Record:
    """A function that records one episode and returns its path."""

    def _record(
        *,
        steps: int = 20,
        seed: int = 0,
        language: str = "go to the kitchen",
        task: str = "go_to_kitchen",
        category: str = "navigation",
        outcome: str = "success",
        source: str = "teleop",
        environment: dict[str, Any] | None = None,
        language_alternatives: tuple[str, ...] = (),
        cameras: tuple[str, ...] = ("static", "gripper"),
        record_cameras: tuple[str, ...] | None = None,
        folder: Path = dataset,
        with_contract: Contract = contract,
        edit: Callable[[Demonstration], None] | None = None,
        change_step: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
        dropped_ticks: int = 0,
        **options: Any,
    ) -> Path:
        demonstration = Demonstration(steps, seed)
        if edit is not None:
            edit(demonstration)
        metadata = EpisodeMetadata(language, task, category, source, environment or {}, language_alternatives)
        writer = EpisodeWriter(folder, with_contract, metadata, cameras=cameras, **options)
        for index in range(steps):
            step = demonstration.step(index, record_cameras or cameras)
            writer.add_step(**(change_step(index, step) if change_step else step))
        return writer.commit(outcome, dropped_ticks)

    return _record


@pytest.fixture(scope="session")
def robot_yaml() -> Path:
    return ROBOT_YAML


@pytest.fixture
def hold() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a process which holds a dataset's lock until it is killed."""
    started: list[subprocess.Popen[str]] = []

    def _hold(dataset: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", _HOLD, dataset], env=env, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield _hold
    for process in started:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capfd: Any, monkeypatch: Any) -> Callable[..., Done]:
    """Call the command's main in this process: starting an interpreter takes longer than the command."""

    def _run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["mobile-vla-data", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_status:
            main()
        written = capfd.readouterr()
        return Done(int(exit_status.value.code or 0), written.out, written.err)

    return _run


@pytest.fixture
def with_target_and_takeover() -> Callable[[int, dict[str, Any]], dict[str, Any]]:
    """For ``record``: gives steps a target and takeovers."""
    return lambda index, step: {**step, "target": (index, 100) if index > 3 else None, "takeover": index % 2 == 0}


@pytest.fixture
def small_dataset(record, dataset, with_target_and_takeover):
    """Ten episodes of different lengths, split; one has a target and takeovers, one failed."""
    for seed in range(9):
        record(steps=12 + seed, seed=seed, task=f"task_{seed % 3}", language=f"do what {seed % 3} says")
    environment = {"room": "kitchen", "n": [1, 2]}
    path = record(
        steps=30,
        seed=20,
        language="두 번째 방으로 가",
        outcome="failure",
        environment=environment,
        dropped_ticks=3,
        change_step=with_target_and_takeover,
    )
    relabel(path, Labels(language_alternatives=("두 번째 방", "go to the second room")))
    with h5py.File(path, "r+") as file:
        file.attrs["input_counters"] = json.dumps({"static": {"late": 2}})
        file.attrs["lost_yaw_rad"] = 0.25
    split_dataset(dataset)
    return dataset
