"""The file that keeps a stop while there is no gate."""

import json

import pytest

from mobile_vla_control.latch import StopLatch


@pytest.fixture
def latch(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return StopLatch.of_robot(7, "/command_gate_node")


def test_a_stop_is_found_by_the_next_one_until_it_is_cleared(latch):
    assert latch.since() == ""
    assert latch.set() == ""
    again = StopLatch.of_robot(7, "/command_gate_node")
    assert again.since().startswith("20")
    assert again.clear() == ""
    assert latch.since() == again.since() == ""
    assert latch.clear() == ""


def test_every_robot_has_a_file_of_its_own(latch):
    latch.set()
    for domain_id, name in ((8, "/command_gate_node"), (7, "/robot1/command_gate_node"), (7, "/gate")):
        assert StopLatch.of_robot(domain_id, name).since() == ""


def test_a_stop_ends_with_a_reboot_though_the_file_is_still_there(latch):
    latch.set()
    noted = json.loads(latch.file.read_text())
    latch.file.write_text(json.dumps({**noted, "boot_id": "of another boot"}))
    assert latch.since() == ""
    # Where the system does not tell its boots apart, the stop stays in force.
    latch.file.write_text(json.dumps({**noted, "boot_id": ""}))
    assert latch.since() == noted["since"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe"])
def test_a_damaged_file_is_a_stop(latch, content):
    latch.set()
    latch.file.write_bytes(content)
    assert latch.since() == f"an unknown time ({latch.file} is damaged)"
    assert latch.clear() == "" and latch.since() == ""


def test_a_file_that_cannot_be_read_is_a_stop(latch):
    latch.file.mkdir(parents=True)
    assert "an unknown time" in latch.since() and str(latch.file) in latch.since()
    assert str(latch.file) in latch.clear()


def test_the_folder_is_for_this_user_alone(latch):
    latch.file.parent.mkdir(mode=0o755)
    assert latch.set() == ""
    assert latch.file.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_change_is_refused_in_one_line(latch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    latch.file.parent.symlink_to(tmp_path / "elsewhere")
    assert "is not a folder of this user" in latch.set()
    assert latch.since() == ""


def test_what_cannot_be_written_is_one_line_with_the_path(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    latch = StopLatch.of_robot(0, "/command_gate_node")
    assert latch.set().startswith("/dev/null/mobile_vla: ")
    assert (latch.since(), latch.clear()) == ("", "")


def test_it_lies_where_a_user_keeps_state(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    latch = StopLatch.of_robot(0, "/robot1/command_gate_node")
    assert latch.file == tmp_path / ".local" / "state" / "mobile_vla" / "stop_0.robot1.command_gate_node.json"
    assert latch.set() == "" and latch.since()
