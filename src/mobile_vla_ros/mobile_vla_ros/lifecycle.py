"""Lifecycle nodes that report their failures and can start themselves."""

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
    """Log what a transition raises, because rclpy swallows it.

    A :class:`StartError`, ValueError or OSError (contract, checkpoint, parameters) is logged as one line, and the
    transition is a FAILURE; anything else is logged as a traceback, and the transition is an ERROR.
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

    So launch files stay simple and run unchanged from Humble on. With ``autostart: false`` a lifecycle manager or
    ``ros2 lifecycle set`` does it. ``last_error`` says why the last transition failed. If configuring fails under
    autostart, the node exits with status 1: a bring-up must not look healthy without it.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.last_error = ""
        self.exit_code: int | None = None
        #: Returns True once a signal has asked the process to end; :func:`mobile_vla_ros.run.run` sets it. For
        #: transitions that wait: they must end then.
        self.stopping: Callable[[], bool] = bool
        self._autostart_timer = None
        if self.declare_parameter("autostart", False).value:
            # Steady: a simulated clock may not run yet.
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=STEADY)

    def _autostart(self) -> None:
        """Configure and activate. A node that takes long to configure extends it, to stay responsive meanwhile."""
        assert self._autostart_timer is not None
        self._autostart_timer.cancel()
        if (
            self.trigger_configure() != TransitionCallbackReturn.SUCCESS
            or self.trigger_activate() != TransitionCallbackReturn.SUCCESS
        ):
            self.exit_code = 1

    def close(self) -> None:
        """Deactivate if active, so that the last command is sent. Nodes extend it."""
        if self._state_machine.current_state[1] == "active":
            self.trigger_deactivate()
