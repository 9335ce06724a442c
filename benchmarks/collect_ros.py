"""ROS side of bench-collect: the recorder in its own process, fed over DDS by a robot in this one.

* steady: two 224x224 cameras at 30 Hz, odometry at 50 Hz, commands at 20 Hz, control at 10 Hz, for ten minutes in
  episodes of a minute; dropped ticks, tick jitter, share of a core, time from stop to start. Growth of memory is a
  straight line through all samples of these minutes; an episode recorded before them fills caches and heaps.
* ceiling: control at the cameras' own rate, raised until frames or ticks are lost; a rate holds when a minute of both
  cameras arrives complete (99.9 %) and no tick is dropped. 200 Hz is the highest that is tried.
* raw: an episode of a minute without raw_recorder_node and one with it, all else as in steady.
* kills: SIGKILL at random moments, then an unattended restart (src/mobile_vla_collect/test/kills.py, as the test does).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from collect_data import Pictures
from common import ROOT, Figure, cpu_s, resident_mb, say
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.convert import image_message, to_stamp
from mobile_vla_ros.qos import COMMAND, SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

sys.path.insert(0, str(ROOT / "src" / "mobile_vla_collect" / "test"))
from kills import kill_many
from recorder_client import CONTRACT, CONTRACT_PATH, Recording, recorder_process

CAMERA_RATE_HZ = 30.0
#: Recorded before anything is measured, at least [s].
WARM_UP_S = 20.0
RATES_HZ = (30, 60, 100, 150, 200)


class PreparedRobot:
    """Publishes prepared messages from a thread for each rate, so that it costs little next to what is measured."""

    def __init__(self, probe: Probe, pictures: Pictures, camera_rate_hz: float) -> None:
        self._probe, self._stopping = probe, threading.Event()
        self.sent = dict.fromkeys(CONTRACT.cameras, 0)
        node = probe.node
        self._cameras = {
            name: (
                node.create_publisher(Image, camera.topic, SENSOR_OFFERED),
                [image_message(image, 0, name) for image in pictures.images[name]],
            )
            for name, camera in CONTRACT.cameras.items()
        }
        self._odometry = node.create_publisher(Odometry, "odom", SENSOR_OFFERED)
        self._gripper = node.create_publisher(GripperState, "gripper/state", SENSOR_OFFERED)
        self._command = node.create_publisher(Twist, "cmd_vel", COMMAND)
        self._began_s = time.monotonic()
        jobs = ((camera_rate_hz, self._send_images), (50.0, self._send_state), (20.0, self._send_command))
        self._threads = [threading.Thread(target=self._every, args=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End publishing."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _every(self, rate_hz: float, work) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            work()
            due += 1.0 / rate_hz

    def _send_images(self) -> None:
        stamp = to_stamp(self._probe.now_ns())
        for name, (publisher, messages) in self._cameras.items():
            message = messages[self.sent[name] % len(messages)]
            message.header.stamp = stamp
            publisher.publish(message)
            self.sent[name] += 1

    def _send_state(self) -> None:
        stamp = to_stamp(self._probe.now_ns())
        odometry, gripper = Odometry(), GripperState(position=0.0)
        odometry.header.stamp = gripper.header.stamp = stamp
        odometry.header.frame_id = "odom"
        odometry.pose.pose.position.x = 0.2 * (time.monotonic() - self._began_s)
        self._odometry.publish(odometry)
        self._gripper.publish(gripper)

    def _send_command(self) -> None:
        twist = Twist()
        twist.linear.x = 0.2
        self._command.publish(twist)


def steady(quick: bool) -> list[Figure]:
    """Ten minutes, or one when ``quick``."""
    with _folder() as folder:
        return _steady(folder, Pictures(), episodes=4 if quick else 10, episode_s=15.0 if quick else 60.0)


def ceiling(quick: bool) -> list[Figure]:
    """Up to six minutes, or half a minute when ``quick``."""
    with _folder() as folder:
        return _ceiling(folder, Pictures(), 5.0 if quick else 60.0)


def raw(quick: bool) -> list[Figure]:
    """Two minutes, or half a minute when ``quick``."""
    with _folder() as folder:
        return _raw(folder, Pictures(), 15.0 if quick else 60.0)


def kills(quick: bool) -> list[Figure]:
    """200 kills, or ten when ``quick``."""
    with _folder() as folder:
        return _kills(folder, 10 if quick else 200)


@contextmanager
def _folder() -> Iterator[Path]:
    """A dataset folder, and its own DDS domain."""
    (ROOT / "out").mkdir(exist_ok=True)
    with unique_domain(), tempfile.TemporaryDirectory(prefix="bench_collect_", dir=ROOT / "out") as folder:
        yield Path(folder)


def _steady(folder: Path, pictures: Pictures, episodes: int, episode_s: float) -> list[Figure]:
    late_ms: list[float] = []
    dropped, change_s, usage = 0, [], []
    with Probe() as probe, recorder_process(folder, min_steps=10) as recorder:
        robot, recording = PreparedRobot(probe, pictures, CAMERA_RATE_HZ), Recording(probe)
        say("recorder: an episode to warm up")
        recording.start()
        time.sleep(max(WARM_UP_S, episode_s))
        recording.stop()
        recording.start()
        began_s, began_cpu_s = time.monotonic(), cpu_s(recorder.process.pid)
        for number in range(episodes):
            say(f"recorder: episode {number + 1} of {episodes}, {episode_s:g} s")
            end_s = time.monotonic() + episode_s
            while time.monotonic() < end_s:
                time.sleep(1.0)
                usage.append((time.monotonic(), resident_mb(recorder.process.pid)))
            asked_s = time.monotonic()
            response = recording.stop()
            if number < episodes - 1:
                recording.start()
                change_s.append(time.monotonic() - asked_s)
            dropped += response.dropped_ticks
            late_ms += _lateness_ms(Path(response.path))
        cores = (cpu_s(recorder.process.pid) - began_cpu_s) / (time.monotonic() - began_s)
        robot.stop()
    return [
        Figure("recorder: time recorded", episodes * episode_s, "s"),
        Figure("recorder: dropped ticks", dropped, "ticks", "== 0"),
        Figure("recorder: tick lateness p50", float(np.percentile(late_ms, 50)), "ms"),
        Figure("recorder: tick lateness p99", float(np.percentile(late_ms, 99)), "ms", "<= 5"),
        Figure("recorder: share of one core", 100 * cores, "%", "<= 40"),
        Figure("recorder: growth of memory", _slope_mb_min(usage), "MB/min", "<= 1"),
        Figure("recorder: memory", usage[-1][1], "MB"),
        Figure("recorder: stop to start, median", 1e3 * statistics.median(change_s), "ms", "<= 100"),
        Figure("recorder: stop to start, longest", 1e3 * max(change_s), "ms"),
    ]


def _lateness_ms(path: Path) -> list[float]:
    """Return the lateness of each tick against the grid on which the earliest tick lies [ms]."""
    with Episode.open(path) as episode:
        ticks_ns, period_ns = episode.timestamps_ns, episode.contract.period_ns
        ideal_ns = np.arange(len(ticks_ns)) * period_ns
        if len(ticks_ns) > 1:
            ideal_ns = np.round((ticks_ns - ticks_ns[0]) / period_ns).astype(np.int64) * period_ns
        off_ns = ticks_ns - ticks_ns[0] - ideal_ns
        return list((off_ns - off_ns.min()) * 1e-6)


def _ceiling(folder: Path, pictures: Pictures, seconds: float) -> list[Figure]:
    best = 0
    for rate_hz in RATES_HZ:
        say(f"ceiling: two cameras at {rate_hz} Hz for {seconds:g} s")
        if not _keeps_up(folder / str(rate_hz), pictures, rate_hz, seconds):
            break
        best = rate_hz
    return [Figure("recorder: highest rate of two cameras without loss", best, "Hz", f">= {CAMERA_RATE_HZ:g}")]


def _keeps_up(folder: Path, pictures: Pictures, rate_hz: int, seconds: float) -> bool:
    folder.mkdir(parents=True)
    contract = yaml.safe_load(CONTRACT_PATH.read_text())
    contract["control_rate_hz"] = float(rate_hz)
    file = folder / "robot.yaml"
    file.write_text(yaml.safe_dump(contract, sort_keys=False))
    with Probe() as probe, recorder_process(folder / "data", contract=str(file)) as recorder:
        robot, recording = PreparedRobot(probe, pictures, rate_hz), Recording(probe)
        recording.start()
        before, began_s = dict(robot.sent), time.monotonic()
        time.sleep(seconds)
        sent = {name: robot.sent[name] - before[name] for name in before}
        took_s = time.monotonic() - began_s
        response = recording.stop()
        robot.stop()
        assert recorder.process.poll() is None, recorder.output
    with Episode.open(response.path) as episode:
        received = {name: episode.input_counters[name]["received"] for name in sent}
    # The sender must have kept its own rate, or nothing was tested.
    offered = min(sent.values()) >= 0.99 * rate_hz * took_s
    return offered and response.dropped_ticks == 0 and all(received[name] >= 0.999 * sent[name] for name in sent)


def _raw(folder: Path, pictures: Pictures, seconds: float) -> list[Figure]:
    figures = []
    with Probe() as probe, recorder_process(folder, min_steps=10):
        robot, recording = PreparedRobot(probe, pictures, CAMERA_RATE_HZ), Recording(probe)
        parameters = {"contract": str(CONTRACT_PATH), "min_free_mb": 1.0}
        for name in ("without", "with"):
            say(f"raw recording: an episode {name} it, {seconds:g} s")
            beside = NodeProcess("mobile_vla_collect", "raw_recorder_node", parameters) if name == "with" else None
            if beside is not None:
                wait_for(lambda: probe.node.count_subscribers("/recorder/tick"), what="raw_recorder_node")
            recording.start()
            began_s, began_cpu_s = time.monotonic(), cpu_s(beside.process.pid) if beside is not None else 0.0
            time.sleep(seconds)
            took_s = time.monotonic() - began_s
            cores = (cpu_s(beside.process.pid) - began_cpu_s) / took_s if beside is not None else 0.0
            response = recording.stop()
            late_ms = float(np.percentile(_lateness_ms(Path(response.path)), 99))
            figures.append(Figure(f"{name} raw recording: dropped ticks", response.dropped_ticks, "ticks", "== 0"))
            figures.append(Figure(f"{name} raw recording: tick lateness p99", late_ms, "ms", "<= 5"))
            if beside is not None:
                file = Path(response.path).with_suffix(".mcap")
                wait_for(file.exists, what=str(file))
                size_mb = 60 * file.stat().st_size / 1e6 / took_s
                beside.stop()
                figures.append(Figure("raw recording: share of one core", 100 * cores, "%"))
                figures.append(Figure("raw recording: size of a minute, two cameras", size_mb, "MB"))
        robot.stop()
    return figures


def _kills(folder: Path, count: int) -> list[Figure]:
    say(f"kills: {count} of them")
    kills = kill_many(folder, count, seed=1, at_once=2 * len(os.sched_getaffinity(0)))
    lost = [kill.lost_s for kill in kills]
    return [
        Figure("kills: restarts that came up unattended", len(kills), "of them", f"== {count}"),
        Figure("kills: committed episodes lost", sum(not kill.lost_nothing_committed for kill in kills), "", "== 0"),
        Figure("kills: invalid episodes", sum(bool(kill.findings) for kill in kills), "", "== 0"),
        Figure("kills: lost of the open episode, median", statistics.median(lost), "s"),
        Figure("kills: lost of the open episode, most", max(lost), "s", "<= 1"),
    ]


def _slope_mb_min(usage: list[tuple[float, float]]) -> float:
    """Growth of memory by a straight line through all samples."""
    times, memory = np.array(usage).T
    return float(np.polyfit((times - times[0]) / 60, memory, 1)[0])
