"""The contract's part about a gripper with another interface than ours: how it is commanded, and where it reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mobile_vla_data.obstacles import Strict


class GripperCommandInterface(Strict):
    """How the gripper is commanded."""

    type: Literal["action", "trajectory", "float", "float_array", "set_bool"]
    """action: control_msgs/GripperCommand; trajectory: trajectory_msgs/JointTrajectory; float: std_msgs/Float64;
    float_array: std_msgs/Float64MultiArray; set_bool: std_srvs/SetBool, true to close."""
    name: str = Field(min_length=1)
    """Name of the action, topic or service."""
    open: float = 0.0
    """Value of the open gripper, in the unit of the gripper; of no meaning for set_bool."""
    closed: float = 1.0
    """Value of the closed gripper."""
    joint: str = ""
    """Joint of a trajectory."""
    duration_s: float = Field(default=0.5, gt=0)
    """Time that a trajectory takes [s]."""
    max_effort: float = Field(default=0.0, ge=0)
    """Largest effort of an action; 0: the gripper's own."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Time for an action or a service to end [s]; one that takes longer has failed."""

    @model_validator(mode="after")
    def _complete(self) -> GripperCommandInterface:
        require_range(self.open, self.closed)
        if self.type == "trajectory" and not self.joint:
            raise ValueError("a trajectory needs the name of its joint")
        return self


class GripperStateInterface(Strict):
    """Where the gripper's position comes from: sensor_msgs/JointState."""

    topic: str = Field(default="joint_states", min_length=1)
    """Topic of the joint states."""
    joint: str = Field(min_length=1)
    """Name of the joint."""
    open: float
    """Position of the open joint, in its unit."""
    closed: float
    """Position of the closed joint."""

    @model_validator(mode="after")
    def _has_a_range(self) -> GripperStateInterface:
        require_range(self.open, self.closed)
        return self


class GripperDriver(Strict):
    """What gripper_adapter_node translates to and from."""

    command: GripperCommandInterface
    """How the gripper is commanded."""
    state: GripperStateInterface | None = None
    """Where its position comes from; None: it reports none, and the last command that succeeded counts as its
    position."""


def require_range(opened: float, closed: float) -> None:
    """Raise ValueError when a gripper's own values for open and closed are the same."""
    if opened == closed:
        raise ValueError(f"open and closed are both {opened}")


def value_of(position: float, opened: float, closed: float) -> float:
    """Return the gripper's own value for a position, 0 open .. 1 closed."""
    return opened + position * (closed - opened)


def position_of(value: float, opened: float, closed: float) -> float:
    """Return the position, 0 open .. 1 closed, for the gripper's own value; beyond either end it is that end."""
    return min(max((value - opened) / (closed - opened), 0.0), 1.0)
