"""File systems without locks, files of other users or open elsewhere: nothing healthy is called damaged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import h5py
import pytest

from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset.info import dataset_info
from mobile_vla_data.episode.reader import Episode, EpisodeError, EpisodeUnavailableError
from mobile_vla_data.repair.recover import recover_dataset
from mobile_vla_data.storage.access import find_obstacle
from mobile_vla_data.storage.lock import DatasetBusyError, DatasetLock, is_locked

#: Fails like NFS without its lock daemon (ENOLCK) or like CIFS (EOPNOTSUPP); folders cannot be flushed either.
_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
int flock(int fd, int operation) { (void)fd; (void)operation; errno = atoi(getenv("FLOCK_ERRNO")); return -1; }
int fsync(int fd) {
    struct stat found;
    if (fstat(fd, &found) == 0 && S_ISDIR(found.st_mode)) { errno = EINVAL; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"""
_COMMAND = [sys.executable, "-c", "from mobile_vla_data.cli.main import main; main()"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(_SHIM)
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", folder / "shim.c", "-o", folder / "shim.so", "-ldl"], check=True
    )
    return folder / "shim.so"


@pytest.fixture(params=["37", "95", "38"], ids=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def without_locks(shim, request):
    return {**os.environ, "LD_PRELOAD": str(shim), "FLOCK_ERRNO": request.param}


@pytest.fixture
def reachable(tmp_path):
    """Let every user through to the test's folder."""
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)


@contextlib.contextmanager
def another_user():
    """Become a user who owns nothing; root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_dataset_without_locks_is_checked_split_and_edited_like_any_other(record, dataset, tmp_path, without_locks):
    paths = [record(seed=seed, language=f"go, number {seed}") for seed in range(4)]
    for command in (
        ["split", dataset, "--train", ".5", "--validation", ".25", "--test", ".25"],
        ["validate", dataset],
        ["info", dataset],
        ["relabel", paths[0], "--task", "go"],
        ["annotate", paths[1], "--at", "5,6"],
        ["trim", paths[2], "--first", "3"],
        ["merge", tmp_path / "other", dataset],
        ["recover", dataset],
        ["delete", dataset, "episode_000003"],
    ):
        done = subprocess.run([*_COMMAND, *map(str, command)], env=without_locks, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        writes = command[0] in ("relabel", "annotate", "trim", "merge", "recover", "delete")
        assert done.stderr.count("its file system has no locks") == writes, (command, done.stderr)
    assert not list(dataset.glob(".recording.lock.holder"))


def test_an_episode_is_recorded_and_committed_without_locks(dataset, robot_yaml, without_locks):
    script = """
import sys, numpy as np
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.storage.lock import DatasetLock
for encoding in ("jpeg", "raw"):
    with DatasetLock(sys.argv[1]):
        writer = EpisodeWriter(sys.argv[1], Contract.load(sys.argv[2]), EpisodeMetadata("go", "go", "navigation"),
                               cameras=("static",), encoding=encoding)
        for stamp in range(1, 8):
            writer.add_step(stamp_ns=stamp, images={"static": np.zeros((224, 224, 3), np.uint8)}, state=np.zeros(3),
                            action=np.zeros(3), stamps_ns={"static": stamp, "odom": stamp})
        print(writer.commit("success"))
"""
    done = subprocess.run([sys.executable, "-c", script, dataset, robot_yaml], env=without_locks, capture_output=True)
    assert done.returncode == 0, done.stderr
    for path in done.stdout.decode().split():
        with Episode.open(path) as episode:
            assert episode.num_steps == 7


def test_without_locks_a_second_writer_is_recognised_and_a_dead_one_forgotten(dataset, without_locks, hold):
    holder = hold(dataset, without_locks)
    assert is_locked(dataset)
    done = subprocess.run([*_COMMAND, "recover", dataset], env=without_locks, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"is being recorded by pid {holder.pid} on {os.uname().nodename}" in done.stderr
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not is_locked(dataset)
    done = subprocess.run([*_COMMAND, "recover", dataset], env=without_locks, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["r+", "a"])
def test_an_episode_that_another_process_has_open_is_read(record, mode):
    path = record()
    script = "import h5py, sys, time\nfile = h5py.File(sys.argv[1], sys.argv[2])\nprint(1, flush=True)\ntime.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script, path, mode], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        assert check_episode(path) == []
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_half_written_file_that_another_process_holds_is_not_called_damaged(record, dataset, run):
    path = record()
    whole = path.read_bytes()
    with h5py.File(path, "r+"):
        path.write_bytes(whole[:3000])
        (finding,) = check_episode(path)
        assert finding.code == "inaccessible" and "another process has it open for writing" in finding.message
        assert f"lsof {path}" in finding.advice and "delete" not in str(finding)
        path.write_bytes(whole)
    path.write_bytes(whole[:3000])
    assert check_episode(path)[0].code == "unreadable"


def test_a_file_that_may_not_be_read_is_named_with_its_owner_and_its_mode(record, dataset, reachable):
    path = record()
    path.chmod(0o600)
    with another_user():
        with pytest.raises(EpisodeUnavailableError) as error:
            Episode.open(path)
        (finding,) = check_episode(path)
    assert "it belongs to root:root, mode 600, and you are " in str(error.value)
    assert finding.code == "inaccessible" and finding.severity == "error" and "delete" not in str(finding)
    dataset.chmod(0o700)
    path.chmod(0o644)
    with another_user():
        (finding,) = check_episode(path)
    assert finding.code == "inaccessible" and f"the folder {dataset} belongs to root" in finding.message
    dataset.chmod(0o755)


def test_info_and_validate_fail_and_say_which_episode_cannot_be_read(record, dataset, run):
    record(seed=0)
    broken = record(seed=1, language="go on")
    broken.write_bytes(b"")
    done = run("info", dataset)
    assert done.returncode == 1 and str(broken) in done.stderr
    document = json.loads(run("info", dataset, "--json").stdout)
    assert document["unreadable"] == 1 and len(document["problems"]) == 1
    assert run("validate", dataset).returncode == 1
    assert dataset_info(dataset)["problems"][0].startswith(f"{broken}: ")


def test_an_unfinished_episode_that_may_not_be_read_is_left_where_it_is(record, dataset, reachable):
    path = record()
    part = path.rename(dataset / ".episode_000000.h5.part")
    dataset.chmod(0o777)
    part.chmod(0o600)
    with another_user(), pytest.raises(OSError):
        recover_dataset(dataset)
    assert part.exists() and not (dataset / ".trash").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(5, "Input/output error"), "input/output error; check the disk or the network"),
        (OSError(116, "Stale file handle"), "stale file handle; check the disk or the network"),
        (OSError(24, "Too many open files"), "raise the limit"),
        (OSError("Unable to open file (unable to lock file, errno = 37, error message = 'No locks')"), "has no locks"),
        (OSError("Unable to lock file, errno = 11, error message = 'Resource temporarily'"), "open for writing"),
    ],
)
def test_an_error_that_says_nothing_of_the_content_is_no_damage(record, error, words):
    obstacle = find_obstacle(error, record())
    assert obstacle is not None and words in str(obstacle) and "delete" not in str(obstacle)


def test_an_error_about_the_content_is_damage(record):
    for error in (OSError("truncated file: eof = 300"), OSError(22, "Invalid argument"), KeyError("actions")):
        assert find_obstacle(error, record()) is None


def test_a_lock_file_of_another_user_is_named(dataset, reachable):
    with DatasetLock(dataset):
        pass
    dataset.chmod(0o777)
    with another_user(), pytest.raises(OSError, match="it belongs to root:root, mode 644"):
        DatasetLock(dataset).acquire()
    assert not is_locked(dataset)


def test_reading_an_absent_file_is_no_obstacle(tmp_path):
    for path in (tmp_path / "episode_000000.h5", tmp_path):
        with pytest.raises(EpisodeError, match="no such episode file") as error:
            Episode.open(path)
        assert not isinstance(error.value, EpisodeUnavailableError)


def test_a_dataset_locked_by_the_kernel_still_names_its_holder(dataset):
    with DatasetLock(dataset), pytest.raises(DatasetBusyError, match=f"pid {os.getpid()} on "):
        DatasetLock(dataset).acquire()
