"""Work in one process, in several, and on a local Ray gives the same."""

import os

import pytest

from mobile_vla_data.checks.validate import validate_dataset
from mobile_vla_data.parallel import Spread


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


def working_folder(_counter, _job):
    return os.getcwd()


SPREADS = [
    pytest.param(Spread(1), id="here"),
    pytest.param(Spread(3), id="processes"),
    pytest.param(Spread(ray=True), id="ray"),
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
def test_a_dataset_is_validated_with_the_same_result(spread, dataset, record):
    for seed in range(6):
        record(seed=seed, steps=5, cameras=("static",))
    (dataset / "episode_000002.h5").write_bytes(b"not HDF5")
    here = validate_dataset(dataset, processes=1)
    assert validate_dataset(dataset, processes=spread.workers, ray=spread.ray) == here
    assert {finding.code for finding in here.findings} >= {"unreadable"}


def test_what_was_prepared_here_is_closed(monkeypatch):
    made = []
    monkeypatch.setattr(Counter, "__init__", lambda self: made.append(self) or setattr(self, "used", 0))
    with pytest.raises(ValueError, match="below zero"):
        list(Spread(1).run(Counter, Counter.square, [1, -1], release=Counter.close))
    assert [counter.closed for counter in made] == [True]


def test_ray_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(RuntimeError, match="--ray needs Ray: pip install"):
        list(Spread(ray=True).run(Counter, Counter.square, [1]))
