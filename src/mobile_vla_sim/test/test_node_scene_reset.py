"""The reset of the scene, with a stand-in for the simulator."""

from types import SimpleNamespace

from mobile_vla_msgs.msg import SimState
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_sim.nodes.conductor import Conductor
from mobile_vla_sim.nodes.scene_reset import SceneReset


class Simulator:
    """Answers a reset at once; the new scene appears only after the old state has been seen a few times more."""

    srv_name = "sim/reset"

    def __init__(self):
        self.count, self._late = 1, 0

    def create_subscription(self, _kind, _topic, callback, _qos):
        self._publish = callback

    def create_client(self, _kind, _name):
        return self

    def resolve_topic_name(self, name):
        return f"/{name}"

    def service_is_ready(self):
        return True

    def call_async(self, _request):
        self._late = 3
        return SimpleNamespace(done=lambda: True, result=lambda: ResetSim.Response(success=True))

    def publish(self):
        self._late = max(0, self._late - 1)
        if self._late == 1:
            self.count += 1
        self._publish(SimState(seed=7, reset_count=self.count))


class Publishing(Conductor):
    """Lets the simulator publish while the script waits."""

    def sleep(self, duration_s):
        self._node.publish()
        super().sleep(duration_s)


def test_a_scene_with_the_seed_of_the_old_one_is_waited_for():
    simulator = Simulator()
    scene = SceneReset(simulator)
    simulator.publish()
    scene.reset(Publishing(simulator, lambda: None), ResetSim.Request(seed=7), 1.0)
    assert scene.state.reset_count == 2
