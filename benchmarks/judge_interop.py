"""Read our exports with programs of other projects.

    python benchmarks/judge_interop.py FOLDER [--make]

``--make`` first installs each program into its own environment in FOLDER (Python 3.12 for all but robomimic; some
GB, several minutes). Then a small dataset is simulated, exported, and given to

* LeRobot: its loader on videos and on images, every number and 24 frames compared, two training steps of its ACT;
* robomimic: its dataset with each mask;
* deepen-grade and lerobot-doctor: linters of LeRobotDatasets; deepen-grade also grades the MCAP files;
* ``mcap`` and ``rosbags``: readers of MCAP, in our own environment.

A missing program is left out and named. A missed goal, a linter's failure (deepen-grade: any grade below A) or an
exception counts as a refusal. Not part of ``make test``. The answers go to FOLDER/answers.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bench_interop import Stage, ask_lerobot, ask_robomimic
from common import Figure
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
    "linters": ("python3.12", ["deepen-grade[lerobot,mcap]", "lerobot-doctor"], []),
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
    linters = given.folder / "linters" / "bin"
    mcap = next((work / "bags").rglob("*.mcap"))
    answers: dict[str, tuple[Path, Callable[[], Any]]] = {
        "LeRobot": (python := _python(given.folder, "lerobot"), partial(_figures, ask_lerobot, stage, python)),
        "robomimic": (python := _python(given.folder, "robomimic"), partial(_figures, ask_robomimic, stage, python)),
        # Without a limit deepen-grade ends with 0 whatever it grades. Version 0.4.1 gives A to a LeRobotDataset with a
        # video cut short or with actions that are NaN; lerobot-doctor ends with 1 for both.
        "deepen-grade, LeRobot": (
            deepen := linters / "deepen",
            partial(_linter, deepen, "grade", "--min-grade", "A", work / "lerobot"),
        ),
        "deepen-grade, MCAP": (deepen, partial(_linter, deepen, "grade", "--min-grade", "A", mcap)),
        "lerobot-doctor": (doctor := linters / "lerobot-doctor", partial(_linter, doctor, "check", work / "lerobot")),
        "mcap": (Path(sys.executable), partial(_read_with_mcap, work / "bags")),
        "rosbags": (Path(sys.executable), partial(_read_with_rosbags, work / "bags")),
    }
    found: dict[str, Any] = {}
    for name, (program, ask) in answers.items():
        print(f"== {name}", flush=True)
        found[name] = _answer(ask) if program.exists() else {"not asked": f"{program} is missing; run with --make"}
        print(found[name] if isinstance(found[name], str) else json.dumps(found[name], indent=2), flush=True)
    (given.folder / "answers.json").write_text(json.dumps(found, indent=2) + "\n")
    refused = [name for name, answer in found.items() if "refused" in answer]
    print(f"{given.folder / 'answers.json'}: " + (f"refused by {', '.join(refused)}" if refused else "nothing refused"))
    if absent := [name for name, answer in found.items() if "not asked" in answer]:
        print(f"not asked: {', '.join(absent)}")
    return 1 if refused else 0


def _answer(ask: Callable[[], Any]) -> Any:
    """Return an answer; one program's failure must not keep the others from being asked."""
    try:
        return ask()
    except subprocess.CalledProcessError as error:
        return {"refused": f"exit status {error.returncode}: {error.stdout}{error.stderr}"[-4000:]}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"}


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


def _figures(ask: Callable[[Stage, str], Iterable[Figure]], stage: Stage, python: Path) -> dict[str, Any]:
    """Return the figures of a loader, which are part of make bench-interop; a missed goal is a refusal."""
    figures = list(ask(stage, str(python)))
    missed = [figure.name for figure in figures if figure.holds is False]
    rows = {figure.name: [figure.value, figure.unit, figure.goal, figure.holds] for figure in figures}
    return {"refused": missed, **rows} if missed else rows


def _linter(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], env=clean_environment(), capture_output=True, text=True, check=True
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
