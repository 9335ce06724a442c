"""Ctrl-C in a command: an exception of its own, since command-line libraries end a KeyboardInterrupt without a word."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """SIGINT arrived. The message, if there is one, says how to go on."""


def raise_interrupted() -> None:
    """From now on SIGINT raises :class:`Interrupted` in the main thread; where it is ignored, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted
