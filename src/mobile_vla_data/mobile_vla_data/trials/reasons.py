"""Why a trial failed, in the same words for the simulator and for the robot."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why a run failed."""

    NEVER_ARRIVED = "never arrived"
    WRONG_ROOM = "wrong room"
    WRONG_OBJECT = "wrong object"
    NEVER_CLOSED = "never closed the gripper"
    CLOSED_ON_NOTHING = "closed on nothing"
    DROPPED = "dropped"
    NEVER_OPENED = "never opened the gripper"
    NOT_MOVED = "did not move the drawer"
    DID_NOT_STAY = "did not stay"


#: Reasons that only an operator gives.
OF_OPERATOR = ("stopped by the operator", "something else")
