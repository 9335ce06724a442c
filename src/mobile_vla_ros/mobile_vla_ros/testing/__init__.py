"""For tests of nodes: real processes on a DDS domain of their own, a robot for them, and waiting on conditions."""

from mobile_vla_ros.testing.contract_file import changed_contract
from mobile_vla_ros.testing.domain import WITHOUT_SHARED_MEMORY, unique_domain
from mobile_vla_ros.testing.fake_robot import FakeRobot, image_number, numbered_image
from mobile_vla_ros.testing.node_process import NodeProcess
from mobile_vla_ros.testing.probe import Probe, StampedVelocities
from mobile_vla_ros.testing.simulated_time import SimulatedTime
from mobile_vla_ros.testing.waiting import wait_for

__all__ = [
    "WITHOUT_SHARED_MEMORY",
    "FakeRobot",
    "NodeProcess",
    "Probe",
    "SimulatedTime",
    "StampedVelocities",
    "changed_contract",
    "image_number",
    "numbered_image",
    "unique_domain",
    "wait_for",
]
