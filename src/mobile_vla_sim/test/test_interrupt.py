"""Ctrl-C on the command line, with a real process and a real signal."""

import signal
import subprocess
import sys
import time
from pathlib import Path


def test_ctrl_c_stops_collecting_and_says_how_to_continue(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mobile_vla_sim.cli", "collect", "--episodes", "5000", "--workers", "1"]
    collecting = subprocess.Popen(
        [*command, "--output", str(tmp_path / "dataset")],
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "dataset").glob("episode_*.h5")):
        assert collecting.poll() is None, collecting.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    collecting.send_signal(signal.SIGINT)
    _, said = collecting.communicate(timeout=60)
    assert collecting.returncode == 130, said
    assert said.strip().splitlines()[-1].endswith("episodes; run the same command again to continue")
    assert "Traceback" not in said
