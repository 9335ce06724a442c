"""Work in one process, in several, and on a local Ray gives the same."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mobile_vla_data.checks.validate import validate_dataset
from mobile_vla_data.convert.hdf5.aloha import AlohaExport, export_aloha
from mobile_vla_data.convert.lerobot import export as lerobot_export
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.episode.reader import EpisodeUnavailableError
from mobile_vla_data.parallel import Spread
from mobile_vla_data.storage.access import Obstacle


class Counter:
    """Knows how often it was used, and where."""

    def __init__(self):
        self.used, self.closed = 0, False

    def square(self, number):
        if number < 0:
            raise ValueError(f"{number} is below zero")
        self.used += 1
        return number**2, self.used, os.getpid()

    def close(self):
        self.closed = True


class StopError(Exception):
    pass


@dataclass
class Stops:
    """A progress that stops what reports it, after some of the work."""

    total: int = 0

    def __call__(self, done, total):
        self.total = total
        if done:
            raise StopError


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unavailable(_counter, _job):
    raise EpisodeUnavailableError(Path("a.h5"), Obstacle("too far away", "move it"))


def working_folder(_counter, _job):
    return os.getcwd()


ELSEWHERE = [pytest.param(Spread(3), id="processes"), pytest.param(Spread(ray=True), id="ray")]
SPREADS = [pytest.param(Spread(1), id="here"), *ELSEWHERE]
EXPORTS = [
    pytest.param("av", export_lerobot, LeRobotExport(VideoSettings("h264", 20)), id="lerobot, videos"),
    pytest.param("pyarrow", export_lerobot, LeRobotExport(None), id="lerobot, images"),
    pytest.param("rosbags", export_rosbag, BagExport(), id="rosbag"),
    pytest.param("h5py", export_aloha, AlohaExport(), id="aloha"),
]


@pytest.fixture
def spread(request):
    if request.param.ray:
        request.getfixturevalue("local_ray")
    return request.param


@pytest.mark.parametrize("spread", SPREADS, indirect=True)
def test_results_come_in_order_and_what_is_prepared_is_used_again(spread):
    results = list(spread.run(Counter, Counter.square, range(20)))
    assert [square for square, _, _ in results] == [number**2 for number in range(20)]
    assert max(used for _, used, _ in results) > 1, "each worker keeps what it prepared"
    elsewhere = {pid for _, _, pid in results} - {os.getpid()}
    assert bool(elsewhere) == (spread != Spread(1))


@pytest.mark.parametrize("spread", SPREADS, indirect=True)
def test_relative_paths_are_of_the_folder_where_the_work_was_started(spread, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert set(spread.run(Counter, working_folder, range(3))) == {str(tmp_path / "elsewhere")}


@pytest.mark.parametrize("spread", SPREADS, indirect=True)
def test_a_job_that_fails_ends_it_with_its_own_error(spread):
    with pytest.raises(ValueError, match="-1 is below zero"):
        list(spread.run(Counter, Counter.square, [3, -1, 5]))


@pytest.mark.parametrize("spread", SPREADS, indirect=True)
def test_an_episode_that_cannot_be_read_now_is_named_from_everywhere(spread):
    with pytest.raises(EpisodeUnavailableError, match=r"a\.h5: cannot be read now: too far away; move it"):
        list(spread.run(Counter, unavailable, range(3)))


@pytest.mark.parametrize("spread", SPREADS, indirect=True)
def test_a_dataset_is_validated_with_the_same_result(spread, dataset, record):
    for seed in range(6):
        record(seed=seed, steps=5, cameras=("static",))
    (dataset / "episode_000002.h5").write_bytes(b"not HDF5")
    here = validate_dataset(dataset, processes=1)
    assert validate_dataset(dataset, processes=spread.workers, ray=spread.ray) == here
    assert {finding.code for finding in here.findings} >= {"unreadable"}


@pytest.mark.parametrize("spread", ELSEWHERE, indirect=True)
@pytest.mark.parametrize(("library", "export", "options"), EXPORTS)
def test_an_export_has_the_same_bytes_wherever_it_is_written_and_is_continued(
    library, export, options, spread, small_dataset, tmp_path, monkeypatch
):
    pytest.importorskip(library)
    monkeypatch.setattr(lerobot_export, "_SHARD_BYTES", 1 << 20)
    export(small_dataset, tmp_path / "here", options)
    stops = Stops()
    with pytest.raises(StopError):
        export(small_dataset, tmp_path / "there", options, stops, spread)
    assert not (tmp_path / "there").exists()
    reported = []
    export(small_dataset, tmp_path / "there", options, lambda *progress: reported.append(progress), spread)
    assert bytes_of(tmp_path / "here") == bytes_of(tmp_path / "there")
    assert reported[-1] == (stops.total, stops.total), "the interrupted export counts"


def test_an_export_that_was_stopped_when_all_was_written_says_what_is_done(small_dataset, tmp_path):
    pytest.importorskip("rosbags")
    reported = []

    def stop_at_the_end(done, total):
        if done == total:
            raise StopError

    with pytest.raises(StopError):
        export_rosbag(small_dataset, tmp_path / "bags", BagExport(), stop_at_the_end)
    export_rosbag(small_dataset, tmp_path / "bags", BagExport(), lambda *progress: reported.append(progress))
    assert reported == [(10, 10)]


def test_commands_spread_with_ray_do_the_same(local_ray, small_dataset, tmp_path, run):
    pytest.importorskip("av")
    here, there = run("validate", small_dataset, "--json"), run("validate", small_dataset, "--json", "--ray")
    assert there.stdout == here.stdout and json.loads(there.stdout)["episodes"] == 10
    assert run("export", "lerobot", small_dataset, tmp_path / "here").returncode == 0
    done = run("export", "lerobot", small_dataset, tmp_path / "there", "--ray", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["episodes"] == 10
    assert bytes_of(tmp_path / "here") == bytes_of(tmp_path / "there")


def test_what_was_prepared_here_is_closed(monkeypatch):
    made = []
    monkeypatch.setattr(Counter, "__init__", lambda self: made.append(self) or setattr(self, "used", 0))
    with pytest.raises(ValueError, match="below zero"):
        list(Spread(1).run(Counter, Counter.square, [1, -1], release=Counter.close))
    assert [counter.closed for counter in made] == [True]


@pytest.mark.parametrize("command", [("validate",), ("export", "aloha")])
def test_ray_that_is_not_installed_is_one_line(command, small_dataset, tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    target = [tmp_path / "out"] if command[0] == "export" else []
    done = run(*command, small_dataset, *target, "--ray")
    assert done.returncode == 1 and done.stderr == "mobile-vla-data: --ray needs Ray: pip install 'ray>=2.40'\n"
