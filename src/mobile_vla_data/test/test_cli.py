from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from mobile_vla_data.cli.main import app
from mobile_vla_data.cli.output import App

CONFIG = Path(__file__).resolve().parents[3] / "config"


@pytest.fixture
def recorded(dataset, record):
    for seed in range(10):
        record(seed=seed, steps=8, language=f"go to the kitchen, wording {seed}")
    return dataset


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "truncated"


def flip_shape(path):
    with h5py.File(path, "r+") as file:
        actions = file["/actions"][()].T
        del file["/actions"]
        file["/actions"] = actions
    return "/actions has shape [3, 8], expected [T, 3]"


def put_nan(path):
    with h5py.File(path, "r+") as file:
        file["/actions"][4, 0] = np.nan
    return "/actions[4, 0] is nan"


def test_validate_accepts_a_good_dataset(run, recorded):
    done = run("validate", recorded)
    assert (done.returncode, done.stderr) == (
        0,
        "",
    ) and "10 episodes, 80 steps, 0 errors, 0 warnings: ok" in done.stdout


@pytest.mark.parametrize("damage", [truncate, flip_shape, put_nan])
def test_validate_names_the_damaged_file_and_the_reason(run, recorded, damage):
    path = recorded / "episode_000004.h5"
    reason = damage(path)
    done = run("validate", recorded)
    line = next(line for line in done.stdout.splitlines() if line.startswith("error"))
    assert done.returncode == 1 and str(path) in line and reason in line
    report = json.loads(run("validate", recorded, "--json").stdout)
    assert not report["ok"] and [finding["file"] for finding in report["findings"]] == [str(path)]
    assert run("validate", path).returncode == 1


def test_json_is_the_only_thing_on_stdout(run, recorded):
    for command in ("validate", "info", "split", "stats"):
        done = run(command, recorded, "--json")
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), dict) and done.stderr == ""
    assert json.loads(run("info", recorded, "--json").stdout)["splits"] == {"train": 8, "validation": 1, "test": 1}
    assert json.loads(run("info", recorded / "episode_000003.h5", "--json").stdout)["steps"] == 8


def test_tables_are_for_humans(run, recorded):
    assert "navigation: 10" in run("info", recorded).stdout
    assert "delta_x" in run("stats", recorded).stdout
    assert "train" in run("split", recorded).stdout


@pytest.mark.parametrize(
    "arguments", [["validate"], ["split", "x", "--seed", "many"], ["unknown"], ["validate", ".", "--jobs", "0"]]
)
def test_wrong_usage_exits_2(run, arguments):
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize("command", ["validate", "info", "split", "stats"])
def test_a_missing_folder_is_one_line_on_stderr(run, tmp_path, command):
    done = run(command, tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mobile-vla-data: {tmp_path}/nowhere: no such dataset folder\n"


def test_statistics_of_one_split_use_its_episodes(run, recorded):
    run("split", recorded)
    assert json.loads(run("stats", recorded, "--split", "test", "--json").stdout)["num_episodes"] == 1
    assert run("stats", recorded, "--split", "exam").returncode == 2


def test_a_reader_that_closes_the_pipe_is_no_traceback(recorded):
    done = subprocess.run(
        f"{sys.executable} -c 'from mobile_vla_data.cli.main import main; main()' info {recorded} --json | head -c 1",
        shell=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_recover_says_what_became_of_each_unfinished_episode(run, recorded):
    assert "nothing to recover" in run("recover", recorded).stdout
    (recorded / "episode_000009.h5").rename(recorded / ".episode_000009.h5.part")
    done = run("recover", recorded)
    assert done.returncode == 0 and "episode_000009: completed, 8 steps" in done.stdout
    (recorded / ".episode_000010.h5.part").write_bytes(b"?")
    done = run("recover", recorded, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["recoveries"][0]["result"] == "lost"
    assert run("validate", recorded).returncode == 0


def test_fix_repairs_only_what_is_safe(run, recorded):
    run("split", recorded)
    (recorded / "episode_000009.h5").rename(recorded / ".episode_000009.h5.part")
    (recorded / "episode_000003.h5").unlink()
    assert run("validate", recorded).returncode == 1
    done = run("validate", recorded, "--fix")
    assert done.returncode == 0 and "episode_000009: completed" in done.stderr
    assert "1 absent episodes removed, the first is episode_000003" in done.stderr
    document = json.loads((recorded / "splits.json").read_text())
    document["splits"]["test"].append(document["splits"]["train"][0])
    (recorded / "splits.json").write_text(json.dumps(document))
    assert run("validate", recorded, "--fix").returncode == 1


@pytest.mark.parametrize("text", ["pick [/b] cup", "[red]go", "[link=x]go[/link]", "go :cup: now", r"a \[b] c", "[[]]"])
def test_text_that_looks_like_markup_is_printed_as_it_is_by_every_command(record, tmp_path, run, text):
    folder = tmp_path / "run [exp1] [/]"
    for seed in range(3):
        path = record(folder=folder, seed=seed, language=text, task=f"task {text}", environment={"room": text})
    (folder / "plan.yaml").write_text(
        yaml.safe_dump(
            {
                "plan_version": 1,
                "steps": {"min": 1, "max": 99},
                "environment": {"room": [text, "[/]"]},
                "tasks": {
                    f"task {text}": {
                        "category": "navigation",
                        "episodes": 9,
                        "varies": ["room"],
                        "instructions": [text],
                    }
                },
            }
        )
    )
    for command in (
        ["validate", folder],
        ["validate", path],
        ["info", folder],
        ["info", path],
        ["progress", folder],
        ["split", folder, "--train", ".4", "--validation", ".3", "--test", ".3"],
        ["stats", folder],
        ["report", folder],
        ["view", path, "--output", folder / "[b]pictures", "--no-video"],
        ["relabel", path, "--task", f"{text} [/]"],
        ["trim", path, "--last", "9"],
        ["recover", folder],
        ["merge", tmp_path / "[/merged]", folder],
        ["delete", folder, path.stem],
    ):
        done = run(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert f"task {text}" in run("progress", folder).stdout.replace("\n", " ")
    assert str(folder) in run("validate", folder).stdout
    assert str(folder / "[/nothing]") in run("info", folder / "[/nothing]").stderr


def test_a_tilde_is_the_home_folder_in_every_path_that_a_command_takes(record, dataset, tmp_path, run, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    paths = [record(seed=seed, language=f"go ({seed})") for seed in range(3)]
    shutil.copy(CONFIG / "collection_plan.yaml", tmp_path / "plan.yaml")
    for command in (
        ["validate", "~/dataset"],
        ["info", "~/dataset/episode_000000.h5"],
        ["progress", "~/dataset", "--plan=~/plan.yaml"],
        ["relabel", "~/dataset/episode_000000.h5", "~/dataset/episode_000001.h5", "--task", "go"],
        ["view", "~/dataset/episode_000000.h5", "--output", "~/pictures", "--no-video"],
        ["report", "~/dataset", "--output", "~/report.html"],
        ["merge", "~/merged", "~/dataset", "~/dataset"],
    ):
        done = run(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "pictures" / "episode_000000.png").exists() and (tmp_path / "report.html").exists()
    assert len(list((tmp_path / "merged").glob("*.h5"))) == len(paths) and not (tmp_path / "~").exists()
    assert "~nobody_here" in run("info", "~nobody_here/dataset").stderr


def test_every_command_expands_paths():
    """Each is registered through the one class that does it."""

    def apps(app):
        yield app
        for group in app.registered_groups:
            yield from apps(group.typer_instance)

    assert all(isinstance(found, App) for found in apps(app)) and len(list(apps(app))) >= 3


def test_the_module_runs_as_the_command(dataset):
    done = subprocess.run(
        [sys.executable, "-m", "mobile_vla_data.cli.main", "validate", dataset], capture_output=True, text=True
    )
    assert done.returncode == 1 and "no-episodes" in done.stdout
