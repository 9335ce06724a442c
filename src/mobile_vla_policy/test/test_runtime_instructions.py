"""Instructions are checked by one thread while another one follows one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from robot_fixtures import CONTRACT, GO

from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.policy import Policy

IMAGES = {"static": np.zeros((64, 64, 3), dtype=np.uint8)}
STATE = np.zeros(3, dtype=np.float32)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("out") / "checkpoint"
    make = Path(__file__).with_name("make_checkpoint.py")
    subprocess.run([sys.executable, str(make), str(folder), str(CONTRACT)], check=True)
    return load_policy(folder, device="cpu")


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns so often that two of them meet everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_instructions_are_checked_by_a_second_thread_while_the_first_one_predicts(policy, hasty_threads):
    wrong: list[object] = []
    ended = threading.Event()

    def check() -> None:
        for number in range(100_000):
            if ended.is_set():
                break
            try:
                if problem := policy.check_instruction(f"go to room {number}"):
                    wrong.append(problem)
            except Exception as error:
                wrong.append(error)
                break

    checking = threading.Thread(target=check)
    checking.start()
    try:
        expected, _ = policy.predict(IMAGES, STATE, GO, policy.initial_memory())
        for _ in range(300):
            chunk, _ = policy.predict(IMAGES, STATE, GO, policy.initial_memory())
            np.testing.assert_array_equal(chunk.deltas, expected.deltas)
    finally:
        ended.set()
        checking.join()
    assert not wrong


def test_a_refused_instruction_does_not_take_the_place_of_the_one_that_is_followed(policy, monkeypatch):
    policy.predict(IMAGES, STATE, GO, policy.initial_memory())
    assert "tokens" in policy.check_instruction("go on and on " * 38)
    padded = []
    monkeypatch.setattr(type(policy.engine), "pad", lambda _engine, tokens: padded.append(tokens) or tokens)
    policy.predict(IMAGES, STATE, GO, policy.initial_memory())
    assert not padded, "what is followed is ready"
