"""Running a node: one main for all, in which SIGTERM equals SIGINT and a last command leaves before the context dies."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions


class StartError(RuntimeError):
    """A node cannot start; the message is one line that says what to do."""


class Runnable(Protocol):
    """What :func:`run` needs of a node besides being one."""

    def close(self) -> None:
        """Stop work and send what must be sent last; the context is still alive."""

    def destroy_node(self) -> None:
        """Release the ROS entities."""


class _StopFlag:
    """Set by a signal. A flag, not an exception: an exception could cut a callback, and a file write, in two."""

    def __init__(self) -> None:
        self.stopped = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopped = True


def run(
    make_node: Callable[[], Any],
    args: Sequence[str] | None = None,
    make_executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Run a node until SIGINT, SIGTERM, or its own ``exit_code`` becomes an integer; returns the exit status.

    rclpy's own signal handlers would end the context first, and a node could not publish its last zeros: so they are
    off, and ours only ends the spinning. ``close()`` runs on every way out, exceptions included.
    """
    rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    flag = _StopFlag()
    node: Any = None
    status = 0
    try:
        node = make_node()
        executor = make_executor()
        executor.add_node(node)
        while not flag.stopped and rclpy.ok() and getattr(node, "exit_code", None) is None:
            executor.spin_once(timeout_sec=0.1)
        status = getattr(node, "exit_code", None) or 0
    except ExternalShutdownException:
        pass
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except Exception:
        traceback.print_exc()
        status = 1
    finally:
        # From here on a second signal must not interrupt the last command.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return status
