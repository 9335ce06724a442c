"""What the formats have in common: killed imports and exports, splits, numbers that are not finite."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mobile_vla_data.convert.hdf5.aloha import AlohaExport, export_aloha, import_aloha
from mobile_vla_data.convert.hdf5.robomimic import RobomimicExport, export_robomimic, import_robomimic
from mobile_vla_data.convert.labels import Defaults
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import fingerprint, split_dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.repair.recover import recover_dataset

pytest.importorskip("rosbags")
pytest.importorskip("pyarrow")
pytest.importorskip("av")

KINDS = ("rosbag", "lerobot", "robomimic", "aloha")
_KILL = "import os, signal, sys\ndef kill(*given, **named):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
_COMMAND = "from mobile_vla_data.cli.main import main\nmain()\n"
#: Where an import is killed: with half an episode written.
_IN_THE_EPISODE = {
    "rosbag": "from mobile_vla_data.episode.writer import EpisodeWriter as it\nit.commit = kill\n",
    **dict.fromkeys(
        ("lerobot", "robomimic", "aloha"),
        "from mobile_vla_data.episode.episode_file import EpisodeFileBuilder as it\nit.finish = kill\n",
    ),
}


def killed(moment: str, *arguments: object) -> None:
    """Run the command in a process that kills itself at a moment."""
    command = [sys.executable, "-c", _KILL + moment + _COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def exported(kind: str, dataset: Path, target: Path) -> list[Path]:
    """Export a dataset; returns what the import command takes."""
    if kind == "rosbag":
        export_rosbag(dataset, target, BagExport())
        return sorted(target.iterdir())
    if kind == "lerobot":
        export_lerobot(dataset, target, LeRobotExport(None))
    elif kind == "robomimic":
        export_robomimic(dataset, target, RobomimicExport())
    else:
        export_aloha(dataset, target, AlohaExport())
    return [target]


def imported(kind: str, sources: list[Path], dataset: Path):
    if kind == "rosbag":
        return import_rosbags(sources, dataset, BagImport())
    if kind == "lerobot":
        return import_lerobot(sources[0], dataset, LeRobotImport())
    return (import_robomimic if kind == "robomimic" else import_aloha)(sources[0], dataset, Defaults())


def as_driven(drive) -> None:
    """Ticks exactly a period apart: a recording gives back the same actions, and so the same fingerprint."""
    drive.stamps = drive.stamps[0] + np.arange(len(drive)) * 10**8


def fingerprints(dataset: Path) -> dict[str, str]:
    found = {}
    for path in Dataset(dataset).episode_paths:
        with Episode.open(path) as episode:
            found[episode.episode_id] = fingerprint(episode)
    return found


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob(".*") if not path.name.endswith(".lock")}


@pytest.mark.parametrize("looked_after", [True, False], ids=["by the recorder first", "by the import itself"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_import_leaves_no_half_episode_and_burns_no_id(kind, looked_after, record, dataset, tmp_path):
    for seed in range(2):
        record(steps=12, seed=seed, edit=as_driven)
    sources = exported(kind, dataset, tmp_path / "out")
    killed(_IN_THE_EPISODE[kind], "import", kind, *sources, tmp_path / "back")
    assert hidden(tmp_path / "back"), "the kill came before or after the episode"
    if looked_after:
        assert [item.result for item in recover_dataset(tmp_path / "back")] == ["cleaned"]
        assert recover_dataset(tmp_path / "back") == []
    assert Dataset(tmp_path / "back").episode_ids == []
    imported(kind, sources, tmp_path / "back")
    assert list(fingerprints(tmp_path / "back")) == list(fingerprints(dataset))
    assert hidden(tmp_path / "back") == set()


def test_a_killed_robomimic_export_leaves_nothing_after_the_next(record, dataset, tmp_path):
    record(steps=12)
    moment = "import mobile_vla_data.convert.hdf5.robomimic as it\nit.write_extras = kill\n"
    killed(moment, "export", "robomimic", dataset, tmp_path / "out.hdf5")
    assert not (tmp_path / "out.hdf5").exists() and hidden(tmp_path)
    exported("robomimic", dataset, tmp_path / "out.hdf5")
    assert (tmp_path / "out.hdf5").is_file() and hidden(tmp_path) == set()


def test_a_killed_export_continues_and_holds_no_part_of_a_file(record, dataset, tmp_path):
    for seed in range(2):
        record(steps=12, seed=seed)
    moment = "import mobile_vla_data.convert.hdf5.aloha as it\nit.write_extras = kill\n"
    killed(moment, "export", "aloha", dataset, tmp_path / "out")
    assert list((tmp_path / ".out.export").glob(".episode_0.*"))
    exported("aloha", dataset, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["episode_0.hdf5", "episode_1.hdf5"]


#: Kill at the rename of the complete export, and directly after it.
_AT_ITS_NAME = """
import os
rename = os.rename
def rename_or_die(source, target):
    if str(target) == sys.argv[-1]:
        {}
    rename(source, target)
os.rename = rename_or_die
"""


@pytest.mark.parametrize("kind", ["lerobot", "rosbag", "aloha"])
def test_an_export_that_is_killed_when_it_gets_its_name_is_not_made_again(kind, record, dataset, tmp_path):
    record(steps=12)
    images = ["--images"] if kind == "lerobot" else []
    killed(_AT_ITS_NAME.format("kill()"), "export", kind, *images, dataset, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / ".out.export").rglob("*.*") if path.is_file()}
    exported(kind, dataset, tmp_path / "out")
    kept = {
        path: (tmp_path / "out" / path.relative_to(tmp_path / ".out.export")).stat().st_mtime_ns
        for path in before
        if path.suffix in (".parquet", ".mcap", ".hdf5") and path.name != "tasks.parquet"
    }
    assert kept and kept.items() <= before.items()
    assert hidden(tmp_path) == set()


def test_an_export_that_is_killed_directly_after_it_got_its_name_is_complete(record, dataset, tmp_path):
    record(steps=12)
    moment = _AT_ITS_NAME.format("rename(source, target); kill()")
    killed(moment, "export", "lerobot", dataset, tmp_path / "out")
    assert imported("lerobot", [tmp_path / "out"], tmp_path / "back").episodes == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_never_writes_to_what_exists(kind, record, dataset, tmp_path, run):
    record(steps=12)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("keep")
    done = run("export", kind, dataset, tmp_path / "out")
    assert done.returncode == 1 and "exists already" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"] and hidden(tmp_path) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_splits_come_back_and_are_not_dropped_silently(kind, record, dataset, tmp_path, run):
    for seed in range(5):
        record(steps=12, seed=seed, edit=as_driven)
    split_dataset(dataset, (0.6, 0.2, 0.2))
    sources = exported(kind, dataset, tmp_path / "out")
    done = imported(kind, sources, tmp_path / "back")
    assert Dataset(tmp_path / "back").splits() == Dataset(dataset).splits()
    assert done.splits_written and done.notes == []
    again = imported(kind, sources, tmp_path / "back")
    assert not again.splits_written and again.notes == [], "what is there already is no loss"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/splits.json").write_text(json.dumps({"splits": {"train": []}}))
    said = run("import", kind, *sources, tmp_path / "other")
    assert said.returncode == 0 and "it lacks the splits of 5 imported episodes" in said.stderr
    assert Dataset(tmp_path / "other").splits() == {"train": []}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("array", ["/actions", "/observations/state"])
def test_a_number_that_is_not_finite_is_refused_before_anything_is_written(kind, array, record, dataset, tmp_path, run):
    record(steps=12)
    with h5py.File(record(steps=12, seed=1), "r+") as file:
        file[array][3, 0] = np.nan
    done = run("export", kind, dataset, tmp_path / "out")
    name = "actions" if array == "/actions" else "states"
    assert done.returncode == 1 and f"episode_000001.h5: {name}[3] is not finite" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
