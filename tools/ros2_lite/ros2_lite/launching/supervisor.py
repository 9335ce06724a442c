"""Starts processes, prints what they say, and ends them: SIGINT first, then SIGTERM, then SIGKILL."""

from __future__ import annotations

import os
import pty
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ros2_lite.errors import UserError

if TYPE_CHECKING:
    from ros2_lite.launching.context import LaunchContext

_COLOURS = ("36", "32", "33", "35", "34", "96", "92", "93", "95", "94")


@dataclass(frozen=True)
class ProcessDescription:
    """What to start, and what to do when it ends."""

    name: str
    command: list[str]
    environment: dict[str, str]
    show_stdout: bool
    tty: bool
    on_exit: Any
    sigterm_after_s: float
    sigkill_after_s: float


@dataclass(frozen=True)
class ProcessExited:
    """Handed to an ``on_exit`` function; named as in ``launch.events.process``."""

    process_name: str
    pid: int
    cmd: list[str]
    returncode: int


@dataclass
class _Process:
    description: ProcessDescription
    name: str
    popen: subprocess.Popen[bytes]
    context: LaunchContext
    buffers: dict[int, bytes] = field(default_factory=dict)
    escalations: list[tuple[float, int]] = field(default_factory=list)


class Supervisor:
    """Runs until every process has ended, or until SIGINT or SIGTERM has ended them."""

    #: With these, everything is gone within 5 s of Ctrl-C even if a node hangs.
    sigterm_after_s = 3.0
    sigkill_after_s = 1.0

    def __init__(self) -> None:
        self.stopping = False
        self._failed = False
        self._processes: list[_Process] = []
        self._started = 0
        self._selector = selectors.DefaultSelector()
        self._colour = sys.stdout.isatty()
        self._temporary = tempfile.TemporaryDirectory(prefix="ros2_launch_")
        self.folder = Path(self._temporary.name)
        self._signal = ""
        # Without a wake-up a signal would be noticed only at the next output.
        self._wake, wake_end = socket.socketpair()
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        self._wake_end = wake_end
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signal = signal.Signals(number).name

    def log(self, level: str, name: str, text: str) -> None:
        """Print a line as the real launch does."""
        colour = {"ERROR": "31", "WARNING": "33"}.get(level) if self._colour else None
        line = f"[{level}] [{name}]: {text}"
        print(f"\033[{colour}m{line}\033[0m" if colour else line, flush=True)

    def fail(self, error: BaseException) -> None:
        """Report an exception of the launch file, stop everything, and exit with status 1."""
        self.log("ERROR", "launch", f"Caught exception in launch (see debug for traceback): {error}")
        self._failed = True
        self.stop("an exception in the launch file")

    def start(self, description: ProcessDescription, context: LaunchContext) -> None:
        """Start a process, unless shutting down has begun. Raises UserError when it cannot be started."""
        if self.stopping or self._signal:
            return
        self._started += 1
        name = f"{description.name}-{self._started}"
        environment = {"PYTHONUNBUFFERED": "1", **description.environment}
        outputs = [subprocess.PIPE, subprocess.PIPE]
        readers: list[int] = []
        if description.tty and self._colour:
            for index in (0, 1):
                reader, outputs[index] = pty.openpty()
                readers.append(reader)
        try:
            # A session of its own: Ctrl-C in the terminal reaches a node once, from here, and not twice.
            popen = subprocess.Popen(
                description.command,
                stdin=subprocess.DEVNULL,
                stdout=outputs[0],
                stderr=outputs[1],
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"cannot start {description.command[0]}: {error.strerror}") from None
        if readers:
            for end in outputs:
                os.close(end)
        else:
            readers = [_detach(popen.stdout), _detach(popen.stderr)]
        process = _Process(description, name, popen, context, dict.fromkeys(readers, b""))
        self._processes.append(process)
        for reader, shown in zip(readers, (description.show_stdout, True), strict=True):
            os.set_blocking(reader, False)
            self._selector.register(reader, selectors.EVENT_READ, (process, shown))
        self.log("INFO", name, f"process started with pid [{popen.pid}]")

    def stop(self, reason: str) -> None:
        """Begin to end every process."""
        if self.stopping:
            return
        self.stopping = True
        if reason:
            self.log("INFO", "launch", f"shutting down: {reason}")
        now = time.monotonic()
        for process in self._processes:
            self._send(process, signal.SIGINT)
            term = now + process.description.sigterm_after_s
            process.escalations = [(term, signal.SIGTERM), (term + process.description.sigkill_after_s, signal.SIGKILL)]

    def run(self) -> int:
        """Serve until the last process has ended; returns the exit status."""
        while self._processes:
            for key, _ in self._selector.select(timeout=0.05):
                if key.data is None:
                    self._drain_wake()
                else:
                    process, shown = key.data
                    self._read(process, key.fd, shown)
            if self._signal and not self.stopping:
                self.log("WARNING", "launch", f"user interrupted with {self._signal}")
                self.stop("")
            self._escalate()
            for process in [item for item in self._processes if item.popen.poll() is not None]:
                self._ended(process)
        return 1 if self._failed else 0

    def close(self) -> None:
        """Kill what is left, and give back signals and temporary files."""
        for process in self._processes:
            self._send(process, signal.SIGKILL)
            process.popen.wait()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wake.close()
        self._wake_end.close()
        self._temporary.cleanup()

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(4096)

    def _send(self, process: _Process, number: int) -> None:
        if process.popen.poll() is not None:
            return
        try:
            if number == signal.SIGINT:
                process.popen.send_signal(number)
            else:
                os.killpg(process.popen.pid, number)  # with whatever it has started itself
        except ProcessLookupError:
            pass

    def _escalate(self) -> None:
        now = time.monotonic()
        for process in self._processes:
            while process.escalations and now >= process.escalations[0][0]:
                _, number = process.escalations.pop(0)
                self.log("ERROR", process.name, f"process did not end in time, sending {signal.Signals(number).name}")
                self._send(process, number)

    def _read(self, process: _Process, reader: int, shown: bool) -> None:
        try:
            data = os.read(reader, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a pseudo-terminal whose other end closed
        if not data:
            self._selector.unregister(reader)
            os.close(reader)
            rest = process.buffers.pop(reader)
            lines = [rest] if rest else []
        else:
            *lines, process.buffers[reader] = (process.buffers[reader] + data).split(b"\n")
        if shown:
            for line in lines:
                self._print(process, line.decode(errors="replace").rstrip("\r"))

    def _print(self, process: _Process, line: str) -> None:
        prefix = f"[{process.name}]"
        if self._colour:
            number = int(process.name.rsplit("-", 1)[1])
            prefix = f"\033[{_COLOURS[number % len(_COLOURS)]}m{prefix}\033[0m"
        print(prefix, line, flush=True)

    def _ended(self, process: _Process) -> None:
        # A grandchild may hold the pipes open for ever: read what is there, and no more.
        for reader in list(process.buffers):
            shown = process.description.show_stdout or reader == list(process.buffers)[-1]
            for _ in range(64):
                if reader not in process.buffers:
                    break
                before = process.buffers[reader]
                self._read(process, reader, shown)
                if process.buffers.get(reader) == before:
                    break
            if reader in process.buffers:
                self._selector.unregister(reader)
                os.close(reader)
                del process.buffers[reader]
        self._processes.remove(process)
        code, pid = process.popen.returncode, process.popen.pid
        command = process.description.command
        if code == 0:
            self.log("INFO", process.name, f"process has finished cleanly [pid {pid}]")
        else:
            self.log(
                "ERROR", process.name, f"process has died [pid {pid}, exit code {code}, cmd '{' '.join(command)}']."
            )
        self._run_on_exit(process, ProcessExited(process.name, pid, command, code))

    def _run_on_exit(self, process: _Process, event: ProcessExited) -> None:
        from ros2_lite.launching.description import run_entities

        todo = process.description.on_exit
        try:
            run_entities(todo(event, process.context) if callable(todo) else todo, process.context)
        except Exception as error:
            self.fail(error)


def _detach(stream: IO[bytes] | None) -> int:
    """Take the descriptor out of a pipe object, which would close it when collected."""
    assert stream is not None
    descriptor = os.dup(stream.fileno())
    stream.close()
    return descriptor
