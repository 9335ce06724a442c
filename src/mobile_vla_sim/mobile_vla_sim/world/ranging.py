"""Laser scanners and distance sensors: rays against what stops the robot's base."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mobile_vla_data.obstacles import ObstacleSensor
from mobile_vla_sim.world.world import World

HEIGHT_M = 0.12
"""Height of the rays: the middle of the robot's base."""
NEAREST_M, FARTHEST_M = 0.05, 8.0
"""Range that is measured."""
CONE_RAD = 0.5
"""Opening of a distance sensor."""
_SCAN_RAYS, _CONE_RAYS = 360, 9


def scan_angles(sensor: ObstacleSensor) -> npt.NDArray[np.floating[Any]]:
    """Return the directions of a sensor's rays, relative to where it looks [rad]."""
    if sensor.type == "scan":
        return np.linspace(-math.pi, math.pi, _SCAN_RAYS, endpoint=False)
    return np.linspace(-CONE_RAD / 2, CONE_RAD / 2, _CONE_RAYS)


def measure(world: World, sensor: ObstacleSensor) -> npt.NDArray[np.float32]:
    """Return what a sensor measures now [m], float32: one value per ray of a scan, one for a distance sensor.

    Infinity where nothing is in range. Furniture is solid, as it is for the base; the robot does not see itself.
    """
    pose = world.pose
    cosine, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    x = pose.x + cosine * sensor.x_m - sine * sensor.y_m
    y = pose.y + sine * sensor.x_m + cosine * sensor.y_m
    angles = pose.yaw + sensor.yaw_rad + scan_angles(sensor)
    rays = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))])
    distances = np.full(len(rays), -1.0)
    hits = np.full(len(rays), -1, dtype=np.int32)
    mujoco.mj_multiRay(
        world.model,
        world.data,
        np.array([x, y, HEIGHT_M]),
        rays.reshape(-1),
        None,
        True,
        world.model.body("robot").id,
        hits,
        distances,
        None,
        len(rays),
        FARTHEST_M,
    )
    model = world.model
    own = model.body_rootid[model.geom_bodyid[np.maximum(hits, 0)]] == model.body("robot").id
    # MuJoCo leaves out what is farther by whole bodies, and all furniture is one.
    seen = (hits >= 0) & (distances >= 0.0) & (distances <= FARTHEST_M) & ~own
    values = np.where(seen, distances, np.inf).astype(np.float32)
    return values if sensor.type == "scan" else values.min(keepdims=True)
