"""Running a node: one main for all, in which SIGTERM equals SIGINT and a last command leaves before the end."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

#: Environment variable in which a launch file says which process has started the node (mobile_vla_bringup.launching).
LAUNCH_PID = "MOBILE_VLA_LAUNCH_PID"
_PR_SET_PDEATHSIG = 1
#: A node that has closed may take so long to leave the graph [s]; then it is ended where it stands. Destroying DDS
#: entities can block for ever when peers come and go meanwhile (eProsima/Fast-DDS#6193).
_LEAVE_WITHIN_S = 5.0


def without_shared_memory() -> None:
    """Keep this process, before its node is made, out of the shared memory in which Fast DDS passes messages on.

    After a process was killed, whoever publishes to it may wait for ever for a lock there, in
    SharedMemManager::Port::regenerate_port (eProsima/Fast-DDS#6485 is about the same place).
    FASTDDS_BUILTIN_TRANSPORTS has the last word. It works with Fast DDS from 2.14 on (not Humble's), and unless
    discovery is limited to this machine: then rmw_fastrtps chooses the transports, and takes shared memory, too.
    """
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")


class StartError(RuntimeError):
    """A node cannot start; the message is one line that says what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
        """Exit status of the process: 1 cannot, 2 wrongly called."""


class Runnable(Protocol):
    """What :func:`run` needs of a node besides being one."""

    def close(self) -> None:
        """Stop work and send what must be sent last; the context is still alive."""

    def destroy_node(self) -> None:
        """Release the ROS entities."""


class _StopFlag:
    """Set by a signal. A flag, not an exception: an exception could cut a callback, and a file write, in two."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stopped = False
        for number in self.SIGNALS:
            # nohup ignores SIGHUP for us; that stays so.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def stop_with_launch(self) -> None:
        """Stop when the launch that has started this process is gone, however it went.

        ``ros2 launch`` leaves its nodes running when it gets SIGTERM (it says so itself) or SIGKILL: a robot would
        drive on with nobody there to end it. Linux tells a child (prctl(2), PR_SET_PDEATHSIG).
        """
        launch = os.environ.get(LAUNCH_PID, "")
        if not launch.isdigit():
            return
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
            # It may have gone before the line above.
            os.kill(int(launch), 0)
        except ProcessLookupError:
            self.stopped = True
            line = f"the launch of this node (process {launch}) is gone, so it ends; unset {LAUNCH_PID} if it has none"
            # The launch may have taken the other end of the pipe along.
            with contextlib.suppress(OSError):
                print(line, file=sys.stderr, flush=True)
        except (AttributeError, OSError):
            return  # no Linux, or a launch of somebody else's

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopped = True

    def ignore(self) -> None:
        """From here on a second signal must not interrupt the last command."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def run(
    make_node: Callable[[], Any],
    args: Sequence[str] | None = None,
    make_executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Run a node until a signal, or until its own ``exit_code`` becomes an integer; returns the exit status.

    rclpy's own signal handlers would end the context first, and a node could not publish its last zeros: so they are
    off, and ours only ends the spinning. ``close()`` runs on every way out, exceptions included. SIGHUP counts as a
    stop, too: it is what a lost SSH connection sends. A node that was launched also ends when its launch is gone.
    """
    flag = _StopFlag()
    flag.stop_with_launch()
    try:
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own exceptions differ between distributions
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
    """Close, destroy, shut down; a failure of one must not keep the others from running. Returns 0, or 1 on failure."""
    status = 0
    # close() may take its time: a recorder commits its episode there.
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
            # Whoever read our errors may be gone: a launch that was killed.
            with contextlib.suppress(OSError):
                traceback.print_exc()
            status = 1
    return status


def _leave_in_time() -> None:
    """Let the kernel end this process after a while, wherever it blocks: in C, or holding the interpreter's lock.

    The stacks of all threads go to stderr first; the exit status is that of SIGALRM.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr to write to
        faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
    signal.setitimer(signal.ITIMER_REAL, _LEAVE_WITHIN_S)
