"""The command line with real processes: a hub on this machine, Ctrl-C, and JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import synthetic_episodes
import yaml
from local_hub import TOKEN, LocalHub
from rich.console import Console
from synthetic_episodes import train_settings, write_dataset

from mobile_vla_data.hub.storage import push
from mobile_vla_policy.training.train import init

SEVERAL = """
import contextlib, io, json, sys
from mobile_vla_policy.cli import main
outcomes = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["mobile-vla-policy", *line]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    outcomes.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
print(json.dumps(outcomes))
"""
COMMAND = [sys.executable, "-m", "mobile_vla_policy.cli"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int | None
    out: str
    err: str


@pytest.fixture(scope="module")
def checkpoint(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "checkpoint"
    init(train_settings(), dataset, folder, Console(quiet=True))
    return folder


def settings_file(folder: Path, **changes: object) -> Path:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(train_settings(**changes).model_dump(mode="json")))
    return path


def run_all(*lines: list[object], **environment: str) -> list[Outcome]:
    """Run several commands in one process, since importing torch takes longer than any of them."""
    child = [sys.executable, "-c", SEVERAL, json.dumps([[str(word) for word in line] for line in lines])]
    done = subprocess.run(
        child, capture_output=True, text=True, timeout=180, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**outcome) for outcome in json.loads(done.stdout.splitlines()[-1])]


def test_a_checkpoint_is_pushed_to_a_hub_and_loaded_from_it_by_name(checkpoint: Path, tmp_path: Path) -> None:
    with LocalHub() as hub:
        reach = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        reach |= {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
        (pushed,) = run_all(["push", checkpoint, "someone/flat", "--json"], **reach)
        assert pushed.code == 0, pushed.err
        assert json.loads(pushed.out)["repo"] == "someone/flat"
        (first, files) = hub.commits["someone/flat"][0]
        assert files == {path.name: path.read_bytes() for path in checkpoint.iterdir()}

        hub.commit("someone/flat", {"config.json": b"{}", "evil.bin": b"a pickle"})
        older, newest, nothing, revision, stranger = run_all(
            ["info", f"hf:someone/flat@{first}", "--json"],
            ["info", "hf:someone/flat"],
            ["info", "hf:someone/nothing"],
            ["info", "hf:someone/flat@elsewhere"],
            ["push", checkpoint, "someone/flat"],
            **{**reach, "HF_TOKEN": ""},
        )
        assert older.code == 0, older.err
        folder = Path(json.loads(older.out)["folder"])
        assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
        assert "format_version is None" in newest.err
        assert not list((tmp_path / "home").rglob("evil.bin"))
        assert "no repository 'hf:someone/nothing'" in nothing.err
        assert "no such revision" in revision.err
        assert "hf auth login" in stranger.err
    cached, away = run_all(["info", f"hf:someone/flat@{first}", "--json"], ["info", "hf:someone/else"], **reach)
    assert cached.code == 0, cached.err
    assert "cannot be reached" in away.err
    assert newest.code == 1
    for refused in (nothing, revision, stranger, away):
        assert (refused.code, refused.err.strip().count("\n")) == (1, 0), refused.err


def test_ctrl_c_stops_a_training_saves_its_step_and_says_how_to_continue(dataset: Path, tmp_path: Path) -> None:
    config, output = settings_file(tmp_path, max_steps=100_000, evaluate_every=100_000), tmp_path / "out"
    training = subprocess.Popen(
        [*COMMAND, "train", "--config", str(config), "--dataset", str(dataset), "--output", str(output)],
        stderr=subprocess.PIPE, text=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (output / "metrics.csv").exists() or (output / "metrics.csv").read_text().count("\n") < 3:
        assert training.poll() is None, training.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=60)
    assert training.returncode == 130, said
    last = said.strip().splitlines()[-1]
    step = json.loads((output / "resume" / "position.json").read_text())["step"]
    assert step >= 10
    assert last == (
        f"mobile-vla-policy: stopped; {output} holds everything up to step {step}; "
        "to continue, run the same command with --resume"
    )
    assert "Ctrl-C again stops at once" in said
    assert "Traceback" not in said


def test_training_and_init_describe_their_result_as_one_json_document(dataset: Path, tmp_path: Path) -> None:
    config = settings_file(tmp_path, max_steps=2)
    lines = [
        [name, "--config", config, "--dataset", dataset, "--output", tmp_path / name, "--json"]
        for name in ("init", "train")
    ]
    initial, trained = run_all(*lines)
    assert json.loads(initial.out)["training"]["steps"] == 0
    assert json.loads(trained.out)["training"]["steps"] == 2


def test_a_training_reads_its_dataset_from_object_storage(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    address = f"file://{tmp_path}/far/flat"
    push(dataset, address)
    config = settings_file(tmp_path, max_steps=2)
    line = ["train", "--config", config, "--dataset"]
    far, near, missing = run_all(
        [*line, address, "--output", tmp_path / "far_out", "--json"],
        [*line, dataset, "--output", tmp_path / "near_out", "--json"],
        [*line, f"file://{tmp_path}/nowhere", "--output", tmp_path / "no_out"],
        MOBILE_VLA_CACHE=str(tmp_path / "cache"),
    )
    assert (far.code, near.code) == (0, 0), far.err
    assert len(list((tmp_path / "cache").rglob("*.h5"))) == 10
    one, two = (tmp_path / name / "last" / "model.safetensors" for name in ("far_out", "near_out"))
    assert one.read_bytes() == two.read_bytes()
    assert missing.code == 2 and "there is no manifest.json" in missing.err


def test_brackets_in_names_and_instructions_are_printed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rich would read [exp1] as a style, and [/b] as the end of one that nothing began."""
    monkeypatch.setitem(synthetic_episodes.GOALS, "pick [/b] cup", (0.2, -0.2))
    dataset, output = write_dataset(tmp_path / "data [a]", episodes=12, steps=4), tmp_path / "run [exp1]"
    settings = settings_file(tmp_path, max_steps=2)
    trained, evaluated, described, failed = run_all(
        ["train", "--config", settings, "--dataset", dataset, "--output", output],
        ["evaluate", output, "--dataset", dataset, "--split", "train", "--device", "cpu"],
        ["info", output],
        ["info", tmp_path / "none [b]"],
    )
    assert trained.code == 0, trained.err
    assert "run [exp1]: best validation loss" in trained.err
    assert evaluated.code == 0, evaluated.err
    assert "run [exp1]/best" in evaluated.out
    assert "pick_[/b]_cup" in evaluated.out
    assert described.code == 0, described.err
    assert "[exp1]" in described.out
    assert failed.code == 1
    assert "none [b]: no checkpoint here" in failed.err


def test_a_tilde_is_the_home_folder_in_every_path(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "checkpoint").symlink_to(checkpoint)
    (home / "dataset").symlink_to(dataset)
    settings = settings_file(home, max_steps=1, init_from="~/checkpoint", feature_cache="~/features")
    described, evaluated, exported, trained = run_all(
        ["info", "~/checkpoint", "--json"],
        ["evaluate", "~/checkpoint", "--dataset", "~/dataset", "--output", "~/figures", "--device", "cpu"],
        ["export", "~/checkpoint", "~/exported", "--format", "torchscript", "--dataset", "~/dataset"],
        ["train", "--config", f"~/{settings.name}", "--dataset", "~/dataset", "--output", "~/out"],
        HOME=str(home),
    )
    assert [one.code for one in (described, evaluated, exported, trained)] == [0, 0, 0, 0], trained.err
    assert (home / "figures" / "metrics.json").is_file()
    assert (home / "exported" / "export.json").is_file()
    assert (home / "out" / "best" / "config.json").is_file()
    assert not Path("~").exists()


def test_backends_and_precisions_can_be_read_without_importing_torch() -> None:
    """Launch files read them, and policy_node must answer before torch is loaded."""
    script = (
        "import sys; from mobile_vla_policy.engine.choices import BACKENDS, PRECISIONS; "
        "import mobile_vla_policy.runtime.settings; print('torch' in sys.modules, 'eager' in BACKENDS)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
