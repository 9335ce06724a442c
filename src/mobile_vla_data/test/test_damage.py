"""Damaged files, folders that cannot be written, Ctrl-C: one line, the right exit status, and never a hang."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_data.episode import damage, heap
from mobile_vla_data.episode.reader import Episode, EpisodeError
from mobile_vla_data.storage.durable import explained

COMMAND = [sys.executable, "-c", "from mobile_vla_data.cli.main import main; main()"]
_EACH = """
import sys
from mobile_vla_data.cli.main import main
for line in sys.argv[1:]:
    sys.argv = ["mobile-vla-data", *line.split("|")]
    try:
        main()
    except SystemExit as ended:
        assert ended.code in (None, 0, 1), (line, ended.code)
"""


def call_each(*commands):
    """In its own process, which can be killed: a hang within HDF5 does not even hear Ctrl-C."""
    lines = ["|".join(map(str, command)) for command in commands]
    return subprocess.run([sys.executable, "-c", _EACH, *lines], capture_output=True, text=True, timeout=180)


def zeros_in_a_heap(whole, rng):
    """A sector of zeros where an object of a heap begins: HDF5 looks for the next one forever."""
    start = whole.index(heap._BEGINNING) + heap._COLLECTION.size
    return whole[:start] + bytes(512) + whole[start + 512 :]


def noise_among_the_metadata(whole, rng):
    start = rng.choice([rng.randrange(3000), rng.randrange(len(whole) - 9000, len(whole))])
    return (whole[:start] + rng.randbytes(rng.choice([1, 8, 64])) + whole[start + 64 :])[: len(whole)]


def cut_off(whole, rng):
    return whole[: rng.randrange(len(whole))]


def zeros_to_the_end(whole, rng):
    length = rng.randrange(len(whole))
    return whole[:length] + bytes(len(whole) - length)


DAMAGES = (zeros_in_a_heap, noise_among_the_metadata, cut_off, zeros_to_the_end)


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_no_command_hangs_or_breaks_on_any_damaged_file(dataset, record, encoding):
    path = record(steps=6, encoding=encoding)
    whole, rng = path.read_bytes(), random.Random(4)
    for number in range(24):
        damaged = DAMAGES[number % len(DAMAGES)](whole, rng)
        (dataset / f"episode_{number + 1:06d}.h5").write_bytes(damaged)
    commands = [[name, dataset] for name in ("validate", "info", "progress", "report", "stats", "split")]
    commands += [
        ["view", dataset / f"episode_{number + 1:06d}.h5", "--no-video", "--output", dataset / "pictures"]
        for number in range(len(DAMAGES))
    ]
    done = call_each(["validate", dataset, "--json"], *commands)
    findings = json.loads(done.stdout[: done.stdout.index("\n}\n") + 2])["findings"]
    hanging = {str(dataset / f"episode_{number + 1:06d}.h5") for number in range(0, 24, len(DAMAGES))}
    assert hanging <= {found["file"] for found in findings if found["code"] == "unreadable"}
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert all(line.startswith(("mobile-vla-data: ", str(dataset))) for line in done.stderr.splitlines()), done.stderr


def test_a_damaged_heap_is_refused_at_once_and_by_name(record):
    path = record(steps=3)
    path.write_bytes(zeros_in_a_heap(path.read_bytes(), None))
    with pytest.raises(EpisodeError, match=r"episode_000000\.h5: damaged: a heap"):
        Episode.open(path)


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_a_file_that_was_relabelled_many_times_is_not_taken_for_damaged(record, encoding):
    path, rng = record(steps=3, encoding=encoding), random.Random(0)
    for _ in range(30):
        texts = ["x" * rng.randrange(1, longest) for longest in (500, rng.choice([10, 300, 6000]))]
        relabel(path, Labels(language=texts[0], environment={"room": texts[1]}))
        with Episode.open(path) as episode:
            assert episode.metadata.language == texts[0] and not damage.hangs_hdf5(path, episode.file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "{dataset}", "--output", "{dataset}"], "{dataset}: is a directory; name a file in it"),
        (["report", "{dataset}", "--output", "{file}/r.html"], "{file}: file exists; choose a folder"),
        (["view", "{episode}", "--output", "{file}"], "{file}: file exists; choose a folder"),
        (["view", "{episode}", "--output", "{file}/x"], "{file}/x: not a directory; a part of the path is a file"),
        (["validate", "{nowhere}", "--fix"], "{nowhere}: no such dataset folder"),
        (["recover", "{nowhere}"], "{nowhere}: no such dataset folder"),
        (["recover", "{file}"], "{file}: is a file; give the folder of the dataset"),
        (["delete", "{file}", "episode_000000"], "{file}: is a file; give the folder of the dataset"),
        (["merge", "{nowhere}", "{file}"], "{file}: is a file; give the folder of the dataset"),
        (["relabel", "{nowhere}/episode_000000.h5", "--task", "t"], "{nowhere}/episode_000000.h5: no such episode"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line_with_the_path_and_makes_nothing(
    run, record, dataset, tmp_path, arguments, words
):
    names = {"dataset": dataset, "episode": record(steps=3), "file": tmp_path / "file", "nowhere": tmp_path / "nowhere"}
    names["file"].write_text("")
    done = run(*(argument.format(**names) for argument in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"mobile-vla-data: {words.format(**names)}") and done.stderr.count("\n") == 1
    assert not names["nowhere"].exists()
    assert sorted(path.name for path in dataset.iterdir()) in (
        [".recording.lock", "episode_000000.h5"],
        ["episode_000000.h5"],
    )


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from mobile_vla_data.cli.main import main
main()
"""


@pytest.mark.parametrize("command", ["report", "view", "relabel", "trim", "merge"])
def test_a_file_that_cannot_grow_is_named_and_leaves_nothing_half_written(record, dataset, tmp_path, command):
    episode = record(steps=6)
    before = episode.read_bytes()
    arguments = {
        "report": [dataset],
        "view": [episode, "--output", tmp_path / "pictures"],
        "relabel": [episode, "--outcome", "failure"],
        "trim": [episode, "--first", "1"],
        "merge": [tmp_path / "target", dataset],
    }[command]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, command, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert str(tmp_path) in done.stderr and "Errno" not in done.stderr
    assert episode.read_bytes() == before
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"episode_000000.h5", ".recording.lock", ".editing.lock"}


def test_an_error_of_the_file_system_says_what_to_do():
    assert explained(PermissionError(13, "Permission denied", "/data")) == (
        "/data: permission denied; choose a folder that you own, or give yourself permission"
    )
    assert explained(OSError(30, "Read-only file system", "/data")).startswith("/data: read-only file system; choose")
    assert explained(OSError("said already")) == "said already"


def children_of(pid):
    """Command lines of the children of a process."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{child}/cmdline").read_bytes()


@pytest.mark.parametrize("command", ["report", "view", "validate"])
def test_ctrl_c_ends_with_130_and_leaves_nothing_half_written(record, dataset, tmp_path, command):
    first = record(steps=300)
    for number in range(1, 40):
        os.link(first, dataset / f"episode_{number:06d}.h5")
    arguments = [first, "--output", tmp_path / "out", "--no-sheet"] if command == "view" else [dataset]
    before = sorted(dataset.iterdir())
    process = subprocess.Popen(
        [*COMMAND, command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Into the work: when its first worker is there, or the video that it writes aside.
    deadline = time.monotonic() + 60
    while not any(b"spawn_main" in line for line in children_of(process.pid)) and not list(tmp_path.glob("out/.*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "mobile-vla-data: stopped; no file was left incomplete\n"
    assert sorted(dataset.iterdir()) == before
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("out/.*"))
