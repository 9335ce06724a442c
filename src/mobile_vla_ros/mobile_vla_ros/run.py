"""Run a node: one main for all, in which SIGTERM equals SIGINT and a last command is sent before the end."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

#: Environment variable with the pid of the launch that has started the node (mobile_vla_bringup.launching).
LAUNCH_PID = "MOBILE_VLA_LAUNCH_PID"
_PR_SET_PDEATHSIG = 1
#: Longest time for a closed node to leave the graph [s]; then the process is ended. Destroying DDS entities can block
#: forever when peers come and go meanwhile (eProsima/Fast-DDS#6193).
_LEAVE_WITHIN_S = 5.0


def without_shared_memory() -> None:
    """Keep this process out of Fast DDS's shared memory. Call it before the node is made.

    After a process was killed, publishers to it may wait forever for a lock in the shared memory, in
    SharedMemManager::Port::regenerate_port (eProsima/Fast-DDS#6485 is about the same place). An existing
    FASTDDS_BUILTIN_TRANSPORTS is kept. It works with Fast DDS from 2.14 on (not Humble's), unless discovery is limited
    to this machine: then rmw_fastrtps chooses the transports, including shared memory.
    """
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")


class StartError(RuntimeError):
    """A node cannot start; the message is one line that says what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
        """Exit status of the process: 1 it cannot start, 2 wrong usage."""


class _StopFlag:
    """Set by a signal. A flag, not an exception: an exception could interrupt a callback, or a file write."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stopped = False
        for number in self.SIGNALS:
            # Under nohup SIGHUP is ignored, and stays ignored.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def stop_with_launch(self) -> None:
        """Stop when the launch that has started this process ends for any reason.

        ``ros2 launch`` leaves its nodes running when it gets SIGTERM (its documentation says so) or SIGKILL: a robot
        would drive on. Linux notifies the child (prctl(2), PR_SET_PDEATHSIG).
        """
        launch = os.environ.get(LAUNCH_PID, "")
        if not launch.isdigit():
            return
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
            # It may have ended before the line above.
            os.kill(int(launch), 0)
        except ProcessLookupError:
            self.stopped = True
            line = f"the launch of this node (process {launch}) has ended, so the node ends; without a launch, unset "
            line += LAUNCH_PID
            # The other end of the pipe may have ended with the launch.
            with contextlib.suppress(OSError):
                print(line, file=sys.stderr, flush=True)
        except (AttributeError, OSError):
            return  # not Linux, or a launch of another user

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopped = True

    def ignore(self) -> None:
        """Ignore further signals: they must not interrupt the last command."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def run(
    make_node: Callable[[], Any],
    args: Sequence[str] | None = None,
    make_executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Run a node until a signal, or until its ``exit_code`` becomes an integer; return the exit status.

    rclpy's signal handlers would end the context first, and a node could not publish its last zeros: so they are off,
    and ours only ends the spinning. ``close()`` runs in every case, also after an exception. SIGHUP, which a lost SSH
    connection sends, counts as a stop, too. A launched node also ends with its launch.
    """
    flag = _StopFlag()
    flag.stop_with_launch()
    try:
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # the exceptions of rcl differ between distributions
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    node: Any = None
    executor: Executor | None = None
    status = 0
    try:
        node = make_node()
        node.stopping = lambda: flag.stopped
        executor = make_executor()
        executor.add_node(node)
        while not flag.stopped and rclpy.ok() and getattr(node, "exit_code", None) is None:
            executor.spin_once(timeout_sec=0.1)
        status = getattr(node, "exit_code", None) or 0
    except ExternalShutdownException:
        pass
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except ParameterException as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    except Exception:
        traceback.print_exc()
        status = 1
    finally:
        flag.ignore()
        status = _end(node, executor) or status
    return status


def _end(node: Any, executor: Executor | None) -> int:
    """Close, destroy and shut down, each even if another fails; return 0, or 1 after a failure."""
    status = 0
    # close() may take long: a recorder saves its episode there.
    steps: list[Callable[[], Any]] = [node.close] if node is not None else []
    steps.append(_leave_in_time)
    if executor is not None:
        # After close(): a node may still be waiting for its own callbacks on other threads of the executor.
        steps.append(lambda: executor.shutdown(timeout_sec=2.0))
    if node is not None:
        steps.append(node.destroy_node)
    for step in [*steps, rclpy.try_shutdown]:
        try:
            step()
        except Exception:
            # stderr may be closed: its reader was a launch that was killed.
            with contextlib.suppress(OSError):
                traceback.print_exc()
            status = 1
    return status


def _leave_in_time() -> None:
    """Let the kernel end this process after a while, even if it blocks in C or holds the interpreter's lock.

    The stacks of all threads are written to stderr first; the exit status is that of SIGALRM.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr to write to
        faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
    signal.setitimer(signal.ITIMER_REAL, _LEAVE_WITHIN_S)
