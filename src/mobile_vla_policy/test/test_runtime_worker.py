"""The inference thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from mobile_vla_policy.runtime.statistics import LatencyWindow, RateMeter
from mobile_vla_policy.runtime.worker import Failure, InferenceWorker

pytestmark = pytest.mark.alone


def wait_for(condition) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_free_thread_takes_the_newest_input_and_skips_the_ones_between():
    newest, taken, go = [0], [], threading.Semaphore(0)

    def step() -> int | None:
        if taken and taken[-1] == newest[0]:
            return None
        taken.append(newest[0])
        go.acquire()
        return taken[-1]

    worker = InferenceWorker(step)
    worker.start()
    worker.wake()
    wait_for(lambda: taken == [0])
    for number in range(1, 10):
        newest[0] = number
        worker.wake()
    go.release(2)
    wait_for(lambda: taken == [0, 9])
    found: list[int] = []
    wait_for(lambda: (found.extend(worker.results()), found == [0, 9])[1])
    assert worker.stop(1.0)


def test_an_exception_is_reported_and_the_thread_goes_on():
    calls = [0]

    def step() -> str | None:
        calls[0] += 1
        if calls[0] == 1:
            raise ValueError("bad\nweather")
        return "fine" if calls[0] == 2 else None

    worker = InferenceWorker(step)
    worker.start()
    worker.wake()
    found: list[object] = []
    wait_for(lambda: (found.extend(worker.results()), found)[1])
    assert isinstance(found[0], Failure) and found[0].message == "ValueError: bad"
    assert "Traceback" in found[0].traceback
    worker.wake()
    wait_for(lambda: (found.extend(worker.results()), len(found) == 2)[1])
    assert found[1] == "fine" and worker.stop(1.0)


def test_stop_does_not_wait_for_a_step_that_never_returns():
    worker = InferenceWorker(threading.Event().wait)
    worker.start()
    worker.wake()
    wait_for(lambda: worker.busy_s() > 0.0)
    began = time.monotonic()
    assert not worker.stop(0.1)
    assert time.monotonic() - began < 1.0


NICE = """
import os, threading
from mobile_vla_policy.runtime.worker import InferenceWorker
os.nice(12)
worker = InferenceWorker(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
worker.start()
worker.wake()
while not (results := worker.results()):
    pass
print(results[0], os.nice(0), flush=True)
os._exit(0)
"""


def test_a_process_that_is_nice_already_infers_as_nicely():
    told = subprocess.run([sys.executable, "-c", NICE], capture_output=True, text=True, timeout=60, check=True)
    inferring, process = told.stdout.split()
    assert inferring == process and not told.stderr


def test_a_machine_that_forbids_a_lower_priority_infers_all_the_same(monkeypatch):
    def forbidden(*_: int) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr("os.setpriority", forbidden)
    worker = InferenceWorker(lambda: "done")
    worker.start()
    worker.wake()
    wait_for(worker.results)
    assert not worker.dead and worker.stop(1.0) and not worker.dead


def test_a_thread_that_ended_by_itself_reports_why():
    def listener() -> None:
        raise ValueError("the listener is gone")

    worker = InferenceWorker(lambda: "done", listener)
    worker.start()
    assert not worker.dead
    worker.wake()
    wait_for(lambda: worker.dead)
    assert worker.results()[-1].message == "ValueError: the listener is gone"


def test_percentiles_and_rates_forget_old_values():
    latency, rate = LatencyWindow(), RateMeter()
    for _ in range(1000):
        latency.add("backbone", 5.0)
    for _ in range(300):
        latency.add("backbone", 0.02)
    assert latency.percentiles() == {"backbone": (0.02, 0.02)}
    for count in range(100):
        rate.tick(count * 0.1)
    assert abs(rate.rate_hz(9.9) - 10.0) < 1e-6
    assert rate.rate_hz(20.0) == 0.0
