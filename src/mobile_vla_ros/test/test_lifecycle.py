"""Lifecycle nodes over DDS: they start themselves, or wait to be told, and a failing transition is heard."""

import sys

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("domain")]

NODE = """
import sys
from mobile_vla_ros.lifecycle import AutostartNode, loud
from mobile_vla_ros.run import StartError, run

class Worker(AutostartNode):
    def __init__(self):
        super().__init__("worker")
        self.fail = self.declare_parameter("fail", "").value
    @loud
    def on_configure(self, state):
        if self.fail == "refuse":
            raise StartError("no dataset folder")
        if self.fail == "crash":
            raise KeyError("boom")
        return super().on_configure(state)
    @loud
    def on_deactivate(self, state):
        print("deactivated", flush=True)
        return super().on_deactivate(state)

sys.exit(run(Worker))
"""


@pytest.fixture
def start(tmp_path):
    file = tmp_path / "node.py"
    file.write_text(NODE)
    return lambda **parameters: NodeProcess("", "", parameters, command=[sys.executable, str(file)])


def state(probe):
    return probe.call(GetState, "worker/get_state").current_state.label


def test_with_autostart_it_becomes_active_and_a_signal_deactivates_it(start):
    with Probe() as probe:
        node = start(autostart=True)
        wait_for(lambda: state(probe) == "active", what="active")
        assert node.stop() == 0
        assert node.output.count("deactivated") == 1


def test_without_autostart_it_waits_for_a_manager(start):
    with Probe() as probe, start():
        assert state(probe) == "unconfigured"
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        assert probe.call(ChangeState, "worker/change_state", request).success
        assert state(probe) == "inactive"


@pytest.mark.parametrize(
    ("fail", "said"), [("refuse", "cannot configure: no dataset folder"), ("crash", "KeyError: 'boom'")]
)
def test_a_failing_start_is_heard_and_ends_with_status_1(start, fail, said):
    node = start(autostart=True, fail=fail)
    assert node.wait() == 1
    assert said in node.output
