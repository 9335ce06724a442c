"""The simulated robot under a contract whose pose comes from transforms."""

import pytest

from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, changed_contract, unique_domain, wait_for

pytestmark = pytest.mark.alone


def test_the_simulators_transforms_are_the_recorders_position_also_under_a_namespaced_tf(
    contract_path, build_messages, tmp_path
):
    environment = build_messages("tf2_msgs")
    sim = {"contract": str(changed_contract(tmp_path, contract_path, state={"pose": "tf"}))}
    recorder = {**sim, "dataset": str(tmp_path / "data"), "autostart": True}
    names = {"namespace": "/robot2", "remap": {"/tf": "tf", "/tf_static": "tf_static"}, "env": environment}
    with (
        unique_domain(),
        Probe() as probe,
        NodeProcess("mobile_vla_sim", "sim_node", sim, **names) as robot,
        NodeProcess("mobile_vla_collect", "recorder_node", recorder, **names),
    ):
        statuses = probe.collect(RecorderStatus, "/robot2/recorder/status", LATCHED)

        def position():
            streams = [stream for status in statuses[-1:] for stream in status.streams if stream.name == "odom"]
            return streams[0] if streams else None

        wait_for(lambda: position() and position().rate_hz > 10.0, 60, "transforms")
        assert position().topic == "/robot2/tf" and position().problem == "", robot.output
