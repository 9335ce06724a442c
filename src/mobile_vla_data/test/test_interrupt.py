"""Ctrl-C, wherever it arrives."""

import signal
import subprocess
import sys
import time

SCRIPT = """
import time
from mobile_vla_data.interrupt import Interrupted, raise_interrupted

class Slow:
    def __del__(self):
        print("destroying", flush=True)
        time.sleep(1)

raise_interrupted()
try:
    Slow()
    time.sleep(20)
except Interrupted:
    print("interrupted")
"""


def test_ctrl_c_in_a_destructor_is_not_lost() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout is not None and running.stdout.readline() == "destroying\n"
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert running.communicate(timeout=60)[0] == "interrupted\n"
    assert time.monotonic() - began < 15.0
