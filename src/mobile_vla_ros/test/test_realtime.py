"""Asking for real-time scheduling, where it is not given. Where it is: the gate's tests."""

import os

import pytest

from mobile_vla_ros.realtime import ask_for_realtime


@pytest.fixture
def asked(monkeypatch):
    """What the kernel was asked for; it refuses."""
    requests = []

    def refuse(*request):
        requests.append(request)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.delenv("MOBILE_VLA_REALTIME", raising=False)
    return requests


def test_what_the_system_does_not_permit_is_said_and_nothing_else_happens(asked):
    assert ask_for_realtime().startswith("normal (not permitted: Operation not permitted;")
    assert [request[1] for request in asked] == [os.SCHED_FIFO]


def test_it_is_not_asked_for_where_the_environment_says_so(asked, monkeypatch):
    monkeypatch.setenv("MOBILE_VLA_REALTIME", "0")
    assert ask_for_realtime() == "normal (MOBILE_VLA_REALTIME is 0)"
    assert not asked


def test_a_system_without_it_is_no_error(monkeypatch):
    monkeypatch.delenv("MOBILE_VLA_REALTIME", raising=False)
    monkeypatch.delattr(os, "sched_setscheduler")
    assert ask_for_realtime().startswith("normal (not permitted: not on this system;")
