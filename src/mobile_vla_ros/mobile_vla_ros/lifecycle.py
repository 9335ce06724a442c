"""Lifecycle nodes whose failures are heard, and which can start themselves."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.run import StartError

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def loud(transition: Transition) -> Transition:
    """Log what a transition raises: rclpy swallows it.

    A :class:`StartError` or ValueError (contract, checkpoint, parameters) is one line and a FAILURE; anything else is
    a traceback and an ERROR.
    """

    @wraps(transition)
    def wrapped(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        name = transition.__name__.removeprefix("on_")
        try:
            return transition(self, state)
        except (StartError, ValueError, OSError) as error:
            self.get_logger().error(f"cannot {name}: {error}")
            self.last_error = str(error)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.get_logger().error(f"{name} failed:\n{traceback.format_exc()}")
            self.last_error = f"{type(error).__name__}: {error}"
            return TransitionCallbackReturn.ERROR

    return wrapped


class AutostartNode(LifecycleNode):
    """A lifecycle node with the parameter ``autostart``: it configures and activates itself once it spins.

    Launch files stay plain that way and run unchanged from Humble on; with ``autostart: false`` a lifecycle manager
    or ``ros2 lifecycle set`` is in charge. ``last_error`` holds why the last transition failed. When configuring fails
    under autostart, the node asks to exit with status 1: a robot's bring-up must not look alive without it.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.last_error = ""
        self.exit_code: int | None = None
        #: Whether a signal has asked the process to end; :func:`mobile_vla_ros.run.run` puts the real one here. For
        #: transitions that wait: a signal must not wait with them.
        self.stopping: Callable[[], bool] = bool
        self._autostart_timer = None
        if self.declare_parameter("autostart", False).value:
            # Steady: a simulated clock may not run yet.
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=STEADY)

    def _autostart(self) -> None:
        """Configure and activate. A node that takes long to configure extends it, to stay alive meanwhile."""
        assert self._autostart_timer is not None
        self._autostart_timer.cancel()
        if (
            self.trigger_configure() != TransitionCallbackReturn.SUCCESS
            or self.trigger_activate() != TransitionCallbackReturn.SUCCESS
        ):
            self.exit_code = 1

    def close(self) -> None:
        """Deactivate if active, so that the last command leaves. Nodes extend it."""
        if self._state_machine.current_state[1] == "active":
            self.trigger_deactivate()
