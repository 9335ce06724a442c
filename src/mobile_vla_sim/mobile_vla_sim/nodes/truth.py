"""The simulator's ground truth as a message and back."""

from __future__ import annotations

import math

from mobile_vla_msgs.msg import SimState
from mobile_vla_ros.convert import to_stamp
from mobile_vla_sim.nodes.sim_thread import Reading
from mobile_vla_sim.world.arm import Grip
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.world import Pose, Truth

WORLD_FRAME = "world"


def state_message(reading: Reading) -> SimState:
    """Return the message about one moment."""
    truth, assignment = reading.truth, reading.assignment
    pose, (goal_x, goal_y, _) = truth.pose, reading.target
    state = SimState(
        seed=assignment.scene.seed,
        reset_count=reading.reset_count,
        task=assignment.task.name,
        category=assignment.category,
        language=assignment.language,
        x=pose.x,
        y=pose.y,
        yaw=pose.yaw,
        arm=truth.aim,
        grip=truth.grip.value,
        held=truth.held,
        closings=truth.closings,
        drawer=truth.drawer_m,
        objects=[value for name in OBJECTS for value in truth.objects[name]],
        goal_x=goal_x,
        goal_y=goal_y,
        distance_to_goal=math.hypot(goal_x - pose.x, goal_y - pose.y),
        room=assignment.scene.plan.room_at(pose.x, pose.y),
        commanded_speed=truth.commanded_speed_m_s,
        success=reading.success,
        elapsed_s=truth.time_s,
    )
    state.header.stamp = to_stamp(reading.stamp_ns)
    state.header.frame_id = WORLD_FRAME
    return state


def truth_of(state: SimState) -> Truth:
    """Return the truth that a message carries."""
    values = list(state.objects)
    objects = {name: (values[3 * i], values[3 * i + 1], values[3 * i + 2]) for i, name in enumerate(OBJECTS)}
    return Truth(
        state.elapsed_s,
        Pose(state.x, state.y, state.yaw),
        state.arm,
        Grip(state.grip),
        state.held,
        state.closings,
        state.drawer,
        objects,
        state.commanded_speed,
    )
