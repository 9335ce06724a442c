"""A node under test in its own process."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml
from ament_index_python.packages import get_package_prefix


class NodeProcess:
    """One node in its own process, as a launch file would start it."""

    def __init__(
        self,
        package: str,
        executable: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        remap: Mapping[str, str] | None = None,
        namespace: str = "",
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        command: Sequence[str] = (),
    ) -> None:
        """Start it. ``command`` replaces the installed executable; ``--ros-args`` and the rest follow it.

        It has a folder for state of its own, where a gate remembers a stop. To share one between processes, give it as
        ``XDG_STATE_HOME`` in ``env``.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="mobile_vla_test_")
        file = Path(self._folder.name, "parameters.yaml")
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(parameters or {})}}))
        command = list(command) or [str(Path(get_package_prefix(package), "lib", package, executable))]
        command += ["--ros-args"]
        if parameters:
            command += ["--params-file", str(file)]
        for source, target in (remap or {}).items():
            command += ["-r", f"{source}:={target}"]
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "PYTHONFAULTHANDLER": "1",
                "RCUTILS_LOGGING_USE_STDOUT": "0",
                "XDG_STATE_HOME": self._folder.name,
                **(env or {}),
            },
        )
        # A test that fails before it stops its node must not leave it running.
        atexit.register(self.process.kill)
        self._lines: list[str] = []
        # Read continuously, or a node with much output would block on a full pipe.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        """All that it has written to stdout and stderr so far."""
        return "".join(self._lines)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 30.0) -> int:
        """Send a signal if it still runs, wait until it ends, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait until the process ends and return the exit status; kill it and raise TimeoutError otherwise.

        The error contains the output of the process, and the stacks of its threads.
        """
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
            self.process.kill()
            self.process.wait()
            self._reader.join(2.0)
            raise TimeoutError(f"process did not end within {timeout_s} s; its output:\n{self.output}") from None
        self._reader.join(2.0)
        self._folder.cleanup()
        return status

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
