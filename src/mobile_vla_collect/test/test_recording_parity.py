"""The same messages, live over DDS and from a recording, give the same episode: every number and every image."""

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from rclpy.time import Time
from recorder_client import CONTRACT

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag.bag import typestore
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping, GripperTopic, Labels, OdometryTopic, VelocityTopic
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.sampling.commands import CommandTrack
from mobile_vla_data.sampling.sampler import Sampler
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.convert import image_message, to_stamp, velocity_message, velocity_of
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.testing import wait_for

rosbag2 = pytest.importorskip("rosbags.rosbag2")

START_NS = 1_790_000_000_123_456_789
MS = 1_000_000
MAX_AGE_S = 0.3


def schedule(seed=0, seconds=4.0):
    """Arrival time, topic and message of a drive: uneven arrivals, bgr images of another size, silences."""
    rng = np.random.default_rng(seed)
    events = []

    def every(period_ms, topic, make, jitter_ms):
        for index in range(int(seconds * 1000 / period_ms)):
            at_ns = START_NS + round((index * period_ms + rng.uniform(0, jitter_ms)) * MS) + 1
            events.append((at_ns, topic, make(index, at_ns - int(rng.integers(1, 25 * MS)))))

    def camera(index, stamp_ns):
        picture = np.full((120, 160, 3), 60, dtype=np.uint8)
        picture[40:80, index % 120 : index % 120 + 30] = rng.integers(100, 255, 3)
        return image_message(picture, stamp_ns, "camera")

    def odometry(index, stamp_ns):
        message = Odometry()
        message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = 0.01 * index, -0.004 * index
        return message

    def gripper(index, stamp_ns):
        message = GripperState(position=float(index > 20))
        message.header.stamp = to_stamp(stamp_ns)
        return message

    def command(index, stamp_ns):
        x, y = 0.3 * np.sin(index / 9), 0.1 * np.cos(index / 5)
        return velocity_message(Velocity(x, y, 0.2), stamped=False, stamp_ns=stamp_ns, frame_id="")

    for contracted in CONTRACT.cameras.values():
        every(33 if contracted.required else 41, contracted.topic, camera, 12)
    every(20, CONTRACT.state.odometry_topic, odometry, 6)
    every(50, CONTRACT.state.gripper_topic, gripper, 20)
    every(47, "cmd_vel", command, 30)
    every(900, "gripper/command", lambda index, _: GripperCommand(position=float(index >= 2)), 100)
    # A second in which the odometry says nothing: ticks are dropped.
    silent = (START_NS + 2_500 * MS, START_NS + 3_000 * MS)
    events = [item for item in events if not (item[1] == "odom" and silent[0] < item[0] < silent[1])]
    return sorted(events, key=lambda item: item[0])


class Live:
    """The recorder's inputs on a node whose clock the test sets, so that arrivals are those of the schedule."""

    def __init__(self, contract):
        self.node = rclpy.create_node("listener")
        self.now_ns = START_NS
        # The clock is the only thing that is not the recorder's: its time is that of the next message.
        self.node.get_clock = lambda: self
        self.inputs = ObservationInputs(self.node, contract)
        self.commands = CommandTrack(contract, "cmd_vel", MAX_AGE_S)
        self.sampler = Sampler(self.inputs.builder, self.commands)
        self.heard = 0
        self.node.create_subscription(Twist, "cmd_vel", self._on_velocity, SENSOR)
        self.node.create_subscription(GripperCommand, "gripper/command", self._on_gripper, SENSOR)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def now(self):
        return Time(nanoseconds=self.now_ns, clock_type=ClockType.ROS_TIME)

    def _on_velocity(self, message):
        self.heard += 1
        self.commands.take_velocity(self.now_ns, self.now_ns, velocity_of(message))

    def _on_gripper(self, message):
        self.heard += 1
        self.commands.take_gripper(float(message.position))

    @property
    def received(self):
        counters = [stream.counters for stream in self.inputs.builder.streams]
        return self.heard + sum(counter.received + counter.refused for counter in counters)

    def take(self, publisher, message, at_ns):
        """Publish a message and wait until it arrived, at ``at_ns`` by the node's clock."""
        before, self.now_ns = self.received, at_ns
        publisher.publish(message)

        def arrived():
            self.executor.spin_once(timeout_sec=0.02)
            return self.received > before

        wait_for(arrived, 30, f"a message on {publisher.topic_name}")


def record_live(events, dataset, contract):
    """What the recorder does, with ticks at exact multiples of the period; returns the episode's path."""
    live, sender = Live(contract), rclpy.create_node("robot")
    publishers = {}
    for _, topic, message in events:
        if topic not in publishers:
            publishers[topic] = sender.create_publisher(type(message), topic, SENSOR)
    wait_for(lambda: all(item.get_subscription_count() for item in publishers.values()), 60, "the subscriptions")
    writer, tick_ns, ticks = None, events[0][0], None
    for at_ns, topic, message in events:
        while tick_ns < at_ns:
            if writer is None and not live.sampler.problems(tick_ns, tick_ns):
                cameras = live.sampler.cameras_present(tick_ns)
                ticks, _ = live.sampler.begin(tick_ns, cameras, policy_drives=False)
                writer = EpisodeWriter(dataset, contract, METADATA, cameras=cameras)
            step = live.sampler.tick(tick_ns, tick_ns, 0) if writer is not None else None
            if step is not None:
                writer.add_step(
                    stamp_ns=step.stamp_ns,
                    images=step.images,
                    state=step.state,
                    action=step.action,
                    stamps_ns=step.stamps_ns,
                    takeover=step.takeover,
                    source_encodings=step.encodings,
                )
            tick_ns += contract.period_ns
        live.take(publishers[topic], message, at_ns)
    dropped = ticks.dropped
    live.node.destroy_node()
    sender.destroy_node()
    return writer.commit("unlabelled", dropped)


def write_recording(events, path):
    """The same messages, serialised by rclpy, in an MCAP file."""
    store = typestore()
    with rosbag2.Writer(path, version=8, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        connections = {}
        for at_ns, topic, message in events:
            if topic not in connections:
                msgtype = f"{type(message).__module__.split('.')[0]}/msg/{type(message).__name__}"
                connections[topic] = writer.add_connection(f"/{topic}", msgtype, typestore=store)
            writer.write(connections[topic], at_ns, serialize_message(message))
    return path


METADATA = EpisodeMetadata("go to the kitchen", "go_to_kitchen", "navigation")


@pytest.fixture
def ros(domain):
    if not rclpy.ok():
        rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.mark.alone
@pytest.mark.parametrize("base", ["holonomic", "differential"])
def test_a_recording_gives_the_episode_that_was_recorded_live(base, ros, tmp_path):
    contract = Contract.from_dict({**CONTRACT.model_dump(mode="json"), "base": base})
    events = schedule()
    live_path = record_live(events, tmp_path / "live", contract)
    bag = write_recording(events, tmp_path / "bag")
    mapping = BagMapping(
        mapping_version=1,
        cameras={name: camera.topic for name, camera in contract.cameras.items()},
        odometry=OdometryTopic(topic="odom"),
        gripper_state=GripperTopic(topic=contract.state.gripper_topic),
        velocity=VelocityTopic(topic="cmd_vel", max_age_s=MAX_AGE_S),
        gripper_command=GripperTopic(topic="gripper/command"),
        labels=Labels(language=METADATA.language, task=METADATA.task, category="navigation"),
    )
    import_rosbags([bag], tmp_path / "imported", BagImport(contract, mapping))
    with Episode.open(live_path) as live, Episode.open(tmp_path / "imported/episode_000000.h5") as imported:
        assert live.num_steps > 25 and live.dropped_ticks > 2
        assert imported.dropped_ticks == live.dropped_ticks and imported.cameras == live.cameras
        for name in ("states", "actions", "timestamps_ns", "takeover"):
            assert getattr(live, name).tobytes() == getattr(imported, name).tobytes(), name
        assert live.stamps_ns.keys() == imported.stamps_ns.keys()
        for stream, stamps in live.stamps_ns.items():
            assert stamps.tobytes() == imported.stamps_ns[stream].tobytes(), stream
        for camera in live.cameras:
            for step in range(live.num_steps):
                assert live.jpeg(camera, step) == imported.jpeg(camera, step)
        assert np.abs(live.actions).max() > 0.01 and live.states.max() > 0.5
