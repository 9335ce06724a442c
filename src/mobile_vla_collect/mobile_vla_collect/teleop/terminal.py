"""A terminal that is read key by key, and restored in every case."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import termios
import tty


class TerminalError(RuntimeError):
    """There is no terminal to read keys from; one line saying what to do."""


class LostTerminalError(RuntimeError):
    """The terminal is lost: its window was closed, or the connection broke."""


class Terminal:
    """Keys without Enter and without echo; Ctrl-C still sends SIGINT.

    Args:
        path: terminal to open, for example /dev/tty; empty means stdin.

    Raises:
        TerminalError: it is not a terminal.
    """

    def __init__(self, path: str = "") -> None:
        self._close_it = bool(path)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY) if path else 0
            self._before = termios.tcgetattr(self._fd)
        except (OSError, termios.error):
            name = path or "stdin"
            raise TerminalError(
                f"{name} is not a terminal; run it in one: ros2 run mobile_vla_collect keyboard_teleop_node"
            ) from None
        # The process may end without close(): an exception while the node is made, or sys.exit.
        atexit.register(self.close)
        self._open = True
        tty.setcbreak(self._fd)
        mode = termios.tcgetattr(self._fd)
        # Ctrl-Z would leave the shell with a terminal that shows no typing.
        mode[6][termios.VSUSP] = b"\x00"
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def read(self) -> bytes:
        """Return what was typed since the last call, possibly nothing. Raises :class:`LostTerminalError`."""
        try:
            if not select.select([self._fd], [], [], 0)[0]:
                return b""
            data = os.read(self._fd, 1024)
        except OSError as error:
            raise LostTerminalError(str(error)) from None
        if not data:
            raise LostTerminalError("end of input")
        return data

    def show(self, line: str) -> None:
        """Replace the last line on the screen."""
        width = shutil.get_terminal_size().columns
        self._write(f"\r\x1b[K{line[: max(1, width - 1)]}")

    def say(self, text: str) -> None:
        """Write whole lines above the last one."""
        self._write("\r\x1b[K" + text.replace("\n", "\r\n") + "\r\n")

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self._write("\r\n")
        if self._close_it:
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(1 if not self._close_it else self._fd, text.encode())
