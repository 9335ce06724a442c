"""The user's folders for state and caches."""

import pytest

from mobile_vla_data.storage.folders import cache_folder, state_folder


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MOBILE_VLA_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("unset", [None, ""])
def test_state_lies_where_earlier_versions_put_it(home, monkeypatch, unset):
    # A gate of a newer version must find the stop that an older one remembered.
    if unset is not None:
        monkeypatch.setenv("XDG_STATE_HOME", unset)
    assert state_folder() == home / ".local" / "state" / "mobile_vla"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
    assert state_folder() == home / "elsewhere" / "mobile_vla"
    assert not any(home.iterdir()), "asking for the folder creates none"


def test_the_cache_is_moved_by_its_own_variable_before_that_of_the_desktop(home, monkeypatch):
    assert cache_folder() == home / ".cache" / "mobile_vla"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
    assert cache_folder() == home / "caches" / "mobile_vla"
    monkeypatch.setenv("MOBILE_VLA_CACHE", str(home / "disk"))
    assert cache_folder() == home / "disk"
