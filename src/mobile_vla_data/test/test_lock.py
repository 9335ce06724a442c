from __future__ import annotations

import os
import signal

import pytest

from mobile_vla_data.storage.lock import DatasetBusyError, DatasetLock, is_locked


@pytest.fixture
def holder(hold, tmp_path):
    return hold(tmp_path / "d")


def test_a_second_process_is_refused_in_one_line_that_names_the_first(tmp_path, holder):
    with pytest.raises(DatasetBusyError) as error, DatasetLock(tmp_path / "d"):
        pass
    assert str(error.value) == (
        f"dataset {tmp_path / 'd'} is being recorded by pid {holder.pid} on {os.uname().nodename}; "
        "stop it or choose another folder"
    )
    assert is_locked(tmp_path / "d")


def test_a_killed_holder_leaves_the_folder_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not is_locked(tmp_path / "d")
    with DatasetLock(tmp_path / "d"):
        assert is_locked(tmp_path / "d")


def test_one_process_cannot_hold_it_twice(tmp_path):
    with DatasetLock(tmp_path), pytest.raises(DatasetBusyError):
        DatasetLock(tmp_path).acquire()
    with DatasetLock(tmp_path):
        pass


def test_a_released_folder_is_free(tmp_path):
    lock = DatasetLock(tmp_path)
    lock.acquire()
    lock.acquire()
    lock.release()
    lock.release()
    assert not is_locked(tmp_path)


def test_a_folder_that_was_never_recorded_to_is_free(tmp_path):
    assert not is_locked(tmp_path)
