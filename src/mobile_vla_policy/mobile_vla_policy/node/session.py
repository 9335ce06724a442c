"""State from configure to cleanup: a loaded policy, its inputs and, while the node is active, the drive."""

from __future__ import annotations

from dataclasses import dataclass, field

from mobile_vla_policy.node.drive import Drive
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.run import StartError

#: Activation waits this long for an earlier forward pass: two threads must not call one policy [s].
_ENDED_WAIT_S = 2.0


@dataclass
class Session:
    """A loaded policy, ready to drive."""

    policy: DrivingPolicy
    inputs: ObservationInputs
    drive: Drive | None = None
    """The drive while the node is active."""
    _ended: list[Drive] = field(default_factory=list)
    """Drives that were ended while a forward pass was running."""

    def prepare(self) -> None:
        """Prepare another drive: inputs captured before now are not used.

        Raises:
            StartError: a forward pass of an earlier drive has not returned.
        """
        if not all(drive.ended(_ENDED_WAIT_S) for drive in self._ended):
            raise StartError("the last forward pass before deactivation has not returned; clean up and configure again")
        self._ended = []
        self.inputs.builder.clear()
        self.inputs.builder.reset_counters()

    def end_drive(self) -> bool:
        """Stop driving; return whether there was a drive to stop."""
        if self.drive is None:
            return False
        drive = self.drive
        drive.end()
        self.drive = None
        self._ended.append(drive)
        return True

    def close(self) -> None:
        """Stop listening. The policy's memory is freed once nothing refers to this session."""
        self.inputs.destroy()
