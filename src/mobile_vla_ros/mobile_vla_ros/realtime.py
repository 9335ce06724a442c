"""Real-time scheduling for a node that must be on time, where the system permits it. Linux; imports no ROS."""

from __future__ import annotations

import os

#: Of 1 .. 99. Above every ordinary process and below the kernel's own interrupt threads, which run at 50.
PRIORITY = 10
#: Environment variable; 0: do not ask.
SWITCH = "MOBILE_VLA_REALTIME"


def ask_for_realtime() -> str:
    """Run this thread, and all threads that it starts later, before every ordinary process (SCHED_FIFO).

    Call it before ``rclpy.init``, so that the threads of DDS inherit it. Only for a process that blocks when it has
    nothing to do, and that starts no other processes: they would inherit it, too. SCHED_RESET_ON_FORK would prevent
    that, but for threads as well (sched(7)).

    Returns:
        The result: ``real-time (...)``, or ``normal (...)`` with the reason.
    """
    if os.environ.get(SWITCH, "") == "0":
        return f"normal ({SWITCH} is 0)"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except (OSError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not on this system"
        return f"normal (not permitted: {why}; docs/how-to/jetson.md says how to permit it)"
    return f"real-time (SCHED_FIFO, priority {PRIORITY})"
