"""The simulated laser scanner and distance sensor, before one box whose distance is known."""

import math
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from mobile_vla_data.obstacles import ObstacleSensor
from mobile_vla_sim.world.ranging import FARTHEST_M, measure, scan_angles
from mobile_vla_sim.world.world import Pose

SCAN = ObstacleSensor(topic="scan", max_age_s=1.0)
#: Base, and an arm that is a body of its own, at (1, 2); the near face of the box is at x = 4, from y = 1.5 to 2.5.
FLAT = """
<mujoco><worldbody>
  <body name="robot" pos="1 2 0">
    <geom type="cylinder" pos="0 0 0.12" size="0.2 0.1"/>
    <body name="arm"><geom type="box" pos="-0.5 0 0.12" size="0.1 0.1 0.1"/></body>
  </body>
  <geom type="box" pos="4.5 2 0.2" size="0.5 0.5 0.2"/>
</worldbody></mujoco>
"""


@pytest.fixture(scope="module")
def flat():
    model = mujoco.MjModel.from_xml_string(FLAT)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def ranges(flat, turned_rad=0.0, **sensor):
    """Return what a sensor of a robot at (1, 2) measures."""
    world = SimpleNamespace(model=flat[0], data=flat[1], pose=Pose(1.0, 2.0, turned_rad))
    return measure(world, SCAN.model_copy(update=sensor))


def at(values, angle_rad):
    """Return the value of the ray in a direction relative to where the scanner looks."""
    angles = scan_angles(SCAN)
    return values[np.argmin(np.abs(np.angle(np.exp(1j * (angles - angle_rad)))))]


def test_a_scan_measures_the_distance_to_the_box_and_infinity_beside_it(flat):
    values = ranges(flat)
    assert values.dtype == np.float32 and values.shape == (360,)
    assert at(values, 0.0) == pytest.approx(3.0, abs=1e-5)
    # The box ends 0.5 m beside the middle ray; the way to its face grows with the angle.
    assert at(values, math.radians(9)) == pytest.approx(3.0 / math.cos(math.radians(9)), abs=1e-5)
    # Neither the base nor the arm behind it is an obstacle.
    assert np.isinf(values[np.abs(scan_angles(SCAN)) > math.radians(10)]).all()


def test_a_sensor_measures_from_where_it_is_on_the_turned_robot(flat):
    # The robot is turned to the left. The sensor on its right side, nearer to the box, looks half-way to the box.
    values = ranges(flat, math.pi / 2, y_m=-0.3, yaw_rad=-math.pi / 4)
    assert at(values, -math.pi / 4) == pytest.approx(2.7, abs=1e-5)
    # 0.4 m ahead of the robot, the ray passes 0.1 m inside the edge of the box; 0.6 m ahead, it misses.
    assert at(ranges(flat, math.pi / 2, x_m=0.4), -math.pi / 2) == pytest.approx(3.0, abs=1e-5)
    assert np.isinf(at(ranges(flat, math.pi / 2, x_m=0.6), -math.pi / 2))


def test_what_is_beyond_the_range_is_infinity(flat):
    # Beside the robot, which would be in the way.
    back_m = 3.0 - FARTHEST_M
    assert at(ranges(flat, x_m=back_m + 0.1, y_m=0.3), 0.0) == pytest.approx(FARTHEST_M - 0.1, abs=1e-4)
    assert np.isinf(at(ranges(flat, x_m=back_m - 0.1, y_m=0.3), 0.0))


def test_a_distance_sensor_gives_the_nearest_of_its_cone(flat):
    # The box is in the cone, beside its middle.
    assert ranges(flat, type="range", yaw_rad=0.125).tolist() == pytest.approx([3.0], abs=1e-5)
    assert np.isinf(ranges(flat, type="range", yaw_rad=1.0)).all()
