"""For the recorder's tests: a robot to record, the recorder in a process, and a human who talks to it."""

import re
from pathlib import Path

from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import FakeRobot, NodeProcess, wait_for

CONTRACT_PATH = Path(__file__).parents[3] / "config" / "robot.yaml"
CONTRACT = Contract.load(CONTRACT_PATH)


def fake_robot(probe, **options):
    """A robot that drives slowly, with a gate's commands."""
    robot = FakeRobot(probe, CONTRACT, **{"commands": True, **options})
    robot.step_m = (0.01, -0.005)
    return robot


class Recording:
    """Talks to the recorder as a human would."""

    def __init__(self, probe, prefix=""):
        self.probe, self.name = probe, f"{prefix}recorder"
        self.episode_id = ""
        """Of the newest start."""
        self.statuses = probe.collect(RecorderStatus, f"{self.name}/status", LATCHED)
        self._start = probe.node.create_client(StartEpisode, f"{self.name}/start_episode")
        self._stop = probe.node.create_client(StopEpisode, f"{self.name}/stop_episode")

    def close(self):
        """Leave nothing in the probe's node; the newest status stays readable."""
        node = self.probe.node
        for client in (self._start, self._stop):
            node.destroy_client(client)
        for subscription in list(node.subscriptions):
            if subscription.topic_name == node.resolve_topic_name(f"{self.name}/status"):
                node.destroy_subscription(subscription)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def status(self):
        return self.statuses[-1] if self.statuses else RecorderStatus()

    def start(self, **fields):
        """Start as soon as every input is there."""
        waiting = (StartEpisode.Response.NOT_ACTIVE, StartEpisode.Response.INPUT_MISSING)

        last, patience_s = "no answer", 2.0

        def started():
            nonlocal last, patience_s
            try:
                response = self._ask(self._start, start_request(**fields), patience_s)
            except TimeoutError:
                # The service of a recorder that was killed stays in the graph for a while, and answers nothing; a
                # client that was matched with it is not asked again. A busy machine takes seconds to match a new one.
                patience_s *= 2
                self.probe.node.destroy_client(self._start)
                self._start = self.probe.node.create_client(StartEpisode, f"{self.name}/start_episode")
                return None
            last = response.message
            if response.error_code == StartEpisode.Response.ALREADY_RECORDING:
                return wait_for(self._recording_id, what="the episode that an unheard request started")
            assert response.success or response.error_code in waiting, response.message
            return response.episode_id

        try:
            self.episode_id = wait_for(started, 60, "a start")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the recorder's last words: {last}") from None
        return self.episode_id

    def _recording_id(self):
        return self.status.episode_id if self.status.state == RecorderStatus.STATE_RECORDING else ""

    def until_steps(self, steps):
        """Wait until the newest episode has so many; a status of the one before says nothing about it."""
        wait_for(
            lambda: self._recording_id() == self.episode_id and self.status.steps >= steps,
            what=f"{steps} steps of {self.episode_id}",
        )

    def until_more_steps(self, steps):
        self.until_steps(self.status.steps + steps)

    def until_said(self, words):
        """Wait for a status that says ``words``."""
        return wait_for(lambda: words in self.status.message and self.status, what=f"'{words}' in the status")

    def stop(self, outcome="success"):
        return self._ask(self._stop, StopEpisode.Request(outcome=outcome), 30.0)

    def save(self, outcome="success"):
        """Stop, for tests in which it is no fault that a busy machine samples badly; the episode must be there."""
        response = self.stop(outcome)
        assert response.path and response.error_code in (StopEpisode.Response.OK, StopEpisode.Response.CHECK_FAILED)
        assert set(re.findall(r"\[([a-z-]+)\]", response.message)) <= {"dropped-ticks", "rate", "camera-slow"}, (
            response.message
        )
        return response

    def discard(self):
        """Discard what is open, if anything is."""
        return self.probe.call(DiscardEpisode, f"{self.name}/discard_episode")

    def ask_to_stop(self):
        """Without waiting for the answer."""
        return self._stop.call_async(StopEpisode.Request(outcome="success"))

    def _ask(self, client, request, timeout_s):
        wait_for(client.service_is_ready, what=client.srv_name)
        future = client.call_async(request)
        wait_for(future.done, timeout_s, f"an answer of {client.srv_name}")
        return future.result()


def start_request(**fields):
    given = {"language": "go to the kitchen", "task": "go_to_kitchen", "category": "navigation", **fields}
    return StartEpisode.Request(**given)


def recorder_process(dataset, namespace="", env=None, **parameters):
    """Start a recorder; in a namespace it still listens to the one robot."""
    given = {"contract": str(CONTRACT_PATH), "dataset": str(dataset), "autostart": True}
    given |= {"min_free_mb": 1.0, "min_steps": 1}
    topics = [camera.topic for camera in CONTRACT.cameras.values()]
    topics += ["odom", "gripper/state", "gripper/command", "cmd_vel", "gate/status"]
    remap = {topic: f"/{topic}" for topic in topics} if namespace else {}
    return NodeProcess(
        "mobile_vla_collect",
        "recorder_node",
        {**given, **parameters},
        remap=remap,
        namespace=f"/{namespace}" if namespace else "",
        env=env,
    )


def message_counts(path):
    """Number of messages of each topic of a recording, each of which can be read."""
    from rosbags import highlevel

    with highlevel.AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
        return {connection.topic: connection.msgcount for connection in reader.connections}
