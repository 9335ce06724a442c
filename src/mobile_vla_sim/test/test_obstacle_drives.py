"""Random drives through flats, with the real gate and a simulated laser scanner: the robot touches nothing."""

import math
from collections import Counter

import mujoco
import numpy as np
import pytest

from mobile_vla_control.gate import CommandGate, GateSettings, Source
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.model import TIMESTEP_S
from mobile_vla_sim.world.planner import ROBOT_RADIUS_M
from mobile_vla_sim.world.ranging import FARTHEST_M, NEAREST_M, measure, scan_angles
from mobile_vla_sim.world.shapes import CARRIES, STOPS_ROBOT
from mobile_vla_sim.world.world import World

DRIVES, SECONDS = 200, 3.0
TICK_S, SCAN_S = 0.05, 0.1
STOP_M = 0.08
#: A box appears at least this far from the robot's outline: braking from 0.8 m/s takes 0.16 m, and the delays as much.
APPEARS_M = (0.45, 0.7)
BOX_M = 0.15


def circle(radius_m, corners=8):
    """Corners around a circle."""
    outer = radius_m / math.cos(math.pi / corners)
    angles = 2 * math.pi * np.arange(corners) / corners
    return [[outer * math.cos(angle), outer * math.sin(angle)] for angle in angles.tolist()]


@pytest.fixture(scope="module", params=["holonomic", "differential"])
def guarded(request, contract):
    obstacles = {
        "sensors": [{"topic": "scan", "max_age_s": 0.3}],
        "footprint": circle(ROBOT_RADIUS_M),
        "stop_distance_m": STOP_M,
    }
    data = contract.model_dump(mode="json")
    return Contract.from_dict({**data, "base": request.param, "obstacles": obstacles})


class BoxWorld(World):
    """A world with a box below the floor, which can be put somewhere."""

    def _describe(self, scene):
        spec = super()._describe(scene)
        body = spec.worldbody.add_body(name="surprise", mocap=True, pos=[0, 0, -5])
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=[BOX_M, BOX_M, 0.2], contype=STOPS_ROBOT | CARRIES, conaffinity=0
        )
        return spec

    def put_box(self, x, y):
        self.data.mocap_pos[self.model.body("surprise").mocapid[0]] = (x, y, 0.2)
        mujoco.mj_forward(self.model, self.data)

    @property
    def contacts(self):
        """Number of places where the base is within 15 mm of something that stops it: contacts are soft."""
        found = self.data.contact
        pairs = zip(found.geom1, found.geom2, strict=True)
        others = [b if a == self._base else a for a, b in pairs if self._base in (a, b)]
        return sum(1 for geom in others if self.model.geom_contype[geom] & STOPS_ROBOT)


class Drive:
    """A world, its scanner and the gate, in simulated time."""

    def __init__(self, world, contract):
        self.world, self.gate = world, CommandGate(contract, GateSettings(0.5, 0.3, 1.0, 0.5, TICK_S))
        self.sensor = contract.obstacles.sensors[0]
        self.now_s, self.scan_due_s, self.scans = 0.0, 0.0, []
        self.metres = 0.0

    def tick(self, source, wanted):
        """One tick of the gate; a scan arrives 30 ms after it was made."""
        if self.now_s >= self.scan_due_s - 1e-9:
            self.scans.append((self.now_s, measure(self.world, self.sensor)))
            self.scan_due_s += SCAN_S
        while self.scans and self.now_s - self.scans[0][0] >= 0.03:
            made_s, ranges = self.scans.pop(0)
            angles = scan_angles(self.sensor)
            self.gate.obstacles.put_scan(
                0, ranges, (angles[0], angles[1] - angles[0]), (NEAREST_M, FARTHEST_M), made_s, self.now_s
            )
        self.gate.offer_velocity(source, wanted, self.now_s)
        output = self.gate.tick(self.now_s)
        self.world.command(output.velocity)
        before = self.world.pose
        self.world.step(round(TICK_S / TIMESTEP_S))
        self.metres += math.dist((before.x, before.y), (self.world.pose.x, self.world.pose.y))
        self.now_s += TICK_S
        return output


def towards(world, target, contract, speed):
    """Velocity at full speed to a point, of a driver who looks at nothing else."""
    pose = world.pose
    angle = math.atan2(target[1] - pose.y, target[0] - pose.x) - pose.yaw
    if contract.base == "holonomic":
        return Velocity(speed * math.cos(angle), speed * math.sin(angle))
    return Velocity(speed, 0.0, max(-1.5, min(1.5, 3.0 * math.remainder(angle, 2 * math.pi))))


def test_200_random_drives_at_furniture_and_at_a_box_that_appears_touch_nothing(guarded, plan):
    random = np.random.default_rng(3)
    world, touched, metres, stands = BoxWorld(guarded), [], 0.0, 0
    boxes = Counter()
    speed = guarded.limits.linear_m_s
    for number in range(DRIVES // 2):
        scene = draw(int(random.integers(1 << 20)), ["go_to_kitchen"], plan)[0].scene
        world.reset(scene)
        drive = Drive(world, guarded)
        source = (Source.TELEOP, Source.POLICY)[number % 2]
        box_at_s = float(random.uniform(0.5, 2.0)) if number // 2 % 2 == 0 else math.inf
        target = None
        for tick in range(round(SECONDS / TICK_S)):
            if tick % 40 == 0:
                piece = scene.pieces[int(random.integers(len(scene.pieces)))].footprint
                target = piece.centre
            velocity = world.velocity
            if drive.now_s >= box_at_s and math.hypot(velocity.x, velocity.y) > 0.9 * speed:
                # Ahead of where it drives, as a person who steps in its way.
                heading = world.pose.yaw + math.atan2(velocity.y, velocity.x)
                away = ROBOT_RADIUS_M + float(random.uniform(*APPEARS_M)) + BOX_M * math.sqrt(2)
                world.put_box(world.pose.x + away * math.cos(heading), world.pose.y + away * math.sin(heading))
                box_at_s = math.inf
                boxes[source] += 1
            output = drive.tick(source, towards(world, target, guarded, speed))
            stands += output.velocity == Velocity() and "obstacle" in output.reason
            if world.contacts:
                touched.append((number, round(drive.now_s, 2)))
                break
        metres += drive.metres
    assert not touched
    # Otherwise nothing was tried: most of the time it drives, and it is stopped often.
    assert metres > 0.4 * DRIVES / 2 and stands > DRIVES
    assert min(boxes[source] for source in (Source.TELEOP, Source.POLICY)) >= 5


def test_without_the_guard_the_same_drives_run_into_things(contract, plan):
    world, touched = BoxWorld(contract), 0
    for seed in range(5):
        scene = draw(seed, ["go_to_kitchen"], plan)[0].scene
        world.reset(scene)
        target = scene.pieces[0].footprint.centre
        for _ in range(120):
            world.command(towards(world, target, contract, contract.limits.linear_m_s))
            world.step(round(TICK_S / TIMESTEP_S))
            if world.contacts:
                touched += 1
                break
    assert touched == 5


@pytest.mark.alone
def test_the_simulated_robot_with_its_sensors_is_stopped_before_furniture_over_dds(guarded, tmp_path):
    pytest.importorskip("rclpy")  # the drives above need no ROS
    from geometry_msgs.msg import Twist
    from sensor_msgs.msg import LaserScan, Range

    from mobile_vla_msgs.msg import GateStatus, SimState
    from mobile_vla_ros.qos import LATCHED, SENSOR
    from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

    sonar = {"topic": "sonar", "type": "range", "x_m": 0.2, "max_age_s": 0.5}
    data = guarded.model_dump(mode="json")
    data["obstacles"]["sensors"] = [{"topic": "scan", "max_age_s": 0.5}, sonar]
    file = tmp_path / "robot.yaml"
    file.write_text(Contract.from_dict(data).to_yaml())
    parameters = {"contract": str(file), "seed": 3}
    with (
        unique_domain(),
        Probe() as probe,
        NodeProcess("mobile_vla_sim", "sim_node", parameters),
        NodeProcess("mobile_vla_control", "command_gate_node", {"contract": str(file)}),
    ):
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        states, ranges = probe.collect(SimState, "sim/state", SENSOR), probe.collect(Range, "sonar", SENSOR)
        scans = probe.collect(LaserScan, "scan", SENSOR)
        publisher = probe.publisher(Twist, "cmd_vel_teleop")
        message = Twist()
        message.linear.x = 0.8
        probe.node.create_timer(0.05, lambda: publisher.publish(message))
        stands = "teleop stands still: an obstacle is ahead"
        wait_for(lambda: statuses and statuses[-1].reason.startswith(stands), 60, "an obstacle")
        seen = len(states)
        wait_for(lambda: len(states) > seen + 50, what="a second")
        places = [(state.x, state.y) for state in states[seen + 25 :]]
        assert max(math.dist(places[0], place) for place in places) < 0.005
        assert ranges and min(min(scan.ranges) for scan in scans) > ROBOT_RADIUS_M + 0.03
