"""Starts processes, prints their output, and ends them: SIGINT first, then SIGTERM, then SIGKILL."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ros2_lite.errors import UserError

#: After this time since the end was asked for [s], a process that still runs gets the signal.
_SIGNALS = ((0.0, signal.SIGINT), (3.0, signal.SIGTERM), (4.0, signal.SIGKILL))
_POLL_S = 0.05


@dataclass(frozen=True)
class ProcessExited:
    """Handed to ``on_exit``; named as in ``launch.events.process``."""

    process_name: str
    pid: int
    cmd: list[str]
    returncode: int


class Supervisor:
    """Runs until every process has ended, or until SIGINT or SIGTERM has ended them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = 0
        self._stopped_at_s: float | None = None
        self._failed = False
        self._folder = tempfile.TemporaryDirectory(prefix="ros2_launch_")

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Folder for temporary files."""
        return Path(self._folder.name)

    @property
    def stopping(self) -> bool:
        """True if every process has been asked to end."""
        return self._stopped_at_s is not None

    def run(self, begin: Callable[[], object]) -> int:
        """Call ``begin`` and serve until the last process has ended; returns the exit status."""
        return asyncio.run(self._run(begin))

    def start(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        show_stdout: bool,
        on_exit: Callable[[ProcessExited], object],
    ) -> None:
        """Start a process, unless the end has begun, and call ``on_exit`` after it has ended."""
        self._started += 1
        served = self._serve(f"{name}-{self._started}", command, environment, show_stdout, on_exit)
        self._tasks.add(asyncio.get_running_loop().create_task(served))

    def stop(self, reason: str) -> None:
        """Begin to end every process."""
        if not self.stopping:
            self._stopped_at_s = time.monotonic()
            self.log("INFO", "launch", f"shutting down: {reason}")

    def log(self, level: str, name: str, text: str) -> None:
        """Print a line as the real launch does."""
        self._print(f"[{level}] [{name}]: {text}")

    async def _run(self, begin: Callable[[], object]) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, f"user interrupted with {number.name}")
        self._guarded(begin)
        while self._tasks:
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return int(self._failed)

    def _guarded(self, function: Callable[[], object]) -> None:
        """Call a part of the launch file; if it fails, stop everything and exit with status 1."""
        try:
            function()
        except Exception as error:
            self.log("ERROR", "launch", f"Caught exception in launch (see debug for traceback): {error}")
            self._failed = True
            self.stop("an exception in the launch file")

    async def _serve(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        show_stdout: bool,
        on_exit: Callable[[ProcessExited], object],
    ) -> None:
        if self.stopping:
            return
        try:
            # A session of its own: Ctrl-C in the terminal reaches a node once, from here, and not twice.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True, limit=2**24
            )
        except OSError as error:
            reason = f"cannot start {command[0]}: {error.strerror}"
            self._guarded(lambda: _raise(reason))
            return
        self.log("INFO", name, f"process started with pid [{process.pid}]")
        streams = ((process.stdout, show_stdout), (process.stderr, True))
        readers = [asyncio.create_task(self._show(name, stream, shown)) for stream, shown in streams if stream]
        code = await self._ended(name, process)
        # What is left in the pipes; a grandchild may hold them open forever.
        await asyncio.wait(readers, timeout=0.5)
        for reader in readers:
            reader.cancel()
        if code == 0:
            self.log("INFO", name, f"process has finished cleanly [pid {process.pid}]")
        else:
            said = f"process has died [pid {process.pid}, exit code {code}, cmd '{' '.join(command)}']."
            self.log("ERROR", name, said)
        self._guarded(lambda: on_exit(ProcessExited(name, process.pid, command, code)))

    async def _ended(self, name: str, process: Process) -> int:
        """Wait for the end, and see to it when it has been asked for."""
        # Not Process.wait(): it also waits for whoever else holds the pipes.
        due = list(_SIGNALS)
        while process.returncode is None:
            if self._stopped_at_s is not None and due and time.monotonic() - self._stopped_at_s >= due[0][0]:
                self._send(name, process.pid, due.pop(0)[1])
            await asyncio.sleep(_POLL_S)
        return process.returncode

    def _send(self, name: str, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if number == signal.SIGINT:
                os.kill(pid, number)
            else:
                self.log("ERROR", name, f"process did not end in time, sending {number.name}")
                os.killpg(pid, number)  # with whatever it has started itself

    async def _show(self, name: str, stream: asyncio.StreamReader, shown: bool) -> None:
        async for line in stream:
            if shown:
                self._print(f"[{name}] {line.decode(errors='replace').rstrip()}")

    def _print(self, line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # `ros2 launch … | head`: nothing is printed any more, but the robot must be left in good order.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.stop("nobody reads the output")


def _raise(reason: str) -> None:
    raise UserError(reason)
