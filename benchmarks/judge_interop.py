"""Read our exports with programs of other projects.

    python benchmarks/judge_interop.py FOLDER [--make]

``--make`` first installs each program into its own environment in FOLDER (Python 3.12 for all but robomimic; some
GB, several minutes). Then a small dataset is simulated, exported, and given to

* LeRobot: its loader on videos and on images, every number and 24 frames compared, two training steps of its ACT;
* robomimic: its dataset with each mask;
* deepen-grade and lerobot-doctor: linters of LeRobotDatasets; deepen-grade also grades the MCAP files;
* ``mcap`` and ``rosbags``: readers of MCAP, in our own environment.

A missing program is left out and named. Not part of ``make test``. The answers go to FOLDER/answers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_interop import Stage, judges
from other_python import clean_environment

from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag

_EPISODES = 8
#: Environment -> Python, and what pip installs; a second list is installed without its dependencies.
_ENVIRONMENTS: dict[str, tuple[str, list[str], list[str]]] = {
    "lerobot": ("python3.12", ["lerobot[dataset]>=0.6"], []),
    "robomimic": (
        "python3.11",
        ["torch", "h5py", "tqdm", "psutil", "termcolor", "numpy", "imageio", "tensorboardX"],
        ["torchvision", "robomimic==0.3.0"],
    ),
    "linters": ("python3.12", ["deepen-grade[mcap]", "lerobot-doctor"], []),
}


def main() -> int:
    """Make environments if asked to, ask every program, write the answers; 1 if a program refuses an export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="environments, dataset and exports go here")
    parser.add_argument("--make", action="store_true", help="install the programs first")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.make:
        for name in _ENVIRONMENTS:
            _make(given.folder, name)
    work = given.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    stage = Stage(work, _EPISODES)
    export_lerobot(stage.dataset, work / "lerobot", LeRobotExport(VideoSettings("h264", DEFAULT_CRF["h264"])))
    export_rosbag(stage.dataset, work / "bags", BagExport())
    answers = {
        "loaders": lambda: _loaders(given.folder, stage),
        "deepen-grade, LeRobot": lambda: _linter(given.folder, "deepen", "grade", work / "lerobot"),
        "deepen-grade, MCAP": lambda: _linter(given.folder, "deepen", "grade", next((work / "bags").rglob("*.mcap"))),
        "lerobot-doctor": lambda: _linter(given.folder, "lerobot-doctor", "check", work / "lerobot"),
        "mcap": lambda: _read_with_mcap(work / "bags"),
        "rosbags": lambda: _read_with_rosbags(work / "bags"),
    }
    found, failed = {}, []
    for name, ask in answers.items():
        print(f"== {name}", flush=True)
        found[name] = _answer(ask)
        print(json.dumps(found[name], indent=2) if not isinstance(found[name], str) else found[name], flush=True)
        if isinstance(found[name], dict) and "refused" in found[name]:
            failed.append(name)
    (given.folder / "answers.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{given.folder / 'answers.json'}: " + (f"refused by {', '.join(failed)}" if failed else "nothing refused"))
    return 1 if failed else 0


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except FileNotFoundError as error:
        return f"not asked: {error.filename} is not there; run with --make"
    except subprocess.CalledProcessError as error:
        return {"refused": str(error.stderr or error.stdout or error)[-2000:]}


def _python(folder: Path, name: str) -> Path:
    return folder / name / "bin" / "python"


def _make(folder: Path, name: str) -> None:
    version, packages, bare = _ENVIRONMENTS[name]
    if _python(folder, name).exists():
        return
    print(f"== installing {name}", flush=True)
    environment = clean_environment()
    subprocess.run([version, "-m", "venv", str(folder / name)], check=True, env=environment)
    pip = [str(_python(folder, name)), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *packages], check=True, env=environment)
    if bare:
        subprocess.run([*pip, "--no-deps", *bare], check=True, env=environment)


def _loaders(folder: Path, stage: Stage) -> dict[str, Any]:
    """Ask LeRobot and robomimic; part of make bench-interop."""
    for name, variable in (("lerobot", "LEROBOT_PYTHON"), ("robomimic", "ROBOMIMIC_PYTHON")):
        if _python(folder, name).exists():
            os.environ.setdefault(variable, str(_python(folder, name)))
    figures = list(judges(stage))
    return {figure.name: [figure.value, figure.unit, figure.goal, figure.holds] for figure in figures}


def _linter(folder: Path, command: str, *arguments: object) -> str:
    path = folder / "linters" / "bin" / command
    done = subprocess.run(
        [str(path), *map(str, arguments)], env=clean_environment(), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _read_with_mcap(bags: Path) -> dict[str, int]:
    """Decode every message with Foxglove's library."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    counts: dict[str, int] = {}
    for path in bags.rglob("*.mcap"):
        with path.open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
            for _, channel, _, _ in reader.iter_decoded_messages():
                counts[channel.topic] = counts.get(channel.topic, 0) + 1
    return counts


def _read_with_rosbags(bags: Path) -> dict[str, int]:
    """Decode every message with rosbags, by the definitions in the file."""
    from rosbags.highlevel import AnyReader

    counts: dict[str, int] = {}
    for folder in bags.iterdir():
        with AnyReader([folder]) as reader:
            for connection, _, data in reader.messages():
                reader.deserialize(data, connection.msgtype)
                counts[connection.topic] = counts.get(connection.topic, 0) + 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
