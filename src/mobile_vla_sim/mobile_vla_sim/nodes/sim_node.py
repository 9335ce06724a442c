"""The simulated robot as a node: cameras, odometry, gripper state and ground truth out; commands and resets in."""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import wait
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from mobile_vla_data.contract import ContractError
from mobile_vla_data.image import Image
from mobile_vla_msgs.msg import GripperCommand, GripperState, SimState
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_ros.camera_publisher import CameraPublisher
from mobile_vla_ros.convert import rotation_of, to_stamp, velocity_of, velocity_type
from mobile_vla_ros.diagnostics import OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import flag, integer, load_contract, number, stamping, text
from mobile_vla_ros.qos import COMMAND, SENSOR_OFFERED
from mobile_vla_ros.run import StartError, run
from mobile_vla_ros.transform_publisher import TransformPublisher
from mobile_vla_sim.nodes.assign import assign, first_assignment, load_plan_parameter
from mobile_vla_sim.nodes.obstacle_sensors import ObstacleSensors
from mobile_vla_sim.nodes.sim_thread import Reading, SimSensors, SimSettings, SimThread
from mobile_vla_sim.nodes.truth import state_message
from mobile_vla_sim.tasks.catalogue import UnknownTaskError
from mobile_vla_sim.tasks.draw import DrawError
from mobile_vla_sim.world.world import FOVY_DEG, require_cameras

_RESET_TIMEOUT_S = 5.0
#: Below this real-time factor the robot's dynamics are no longer what the policy was trained on.
_LEAST_FACTOR = 0.95


class SimNode(Node):
    """Publishes what a robot with the contract would publish, plus ``sim/state``; offers ``sim/reset``."""

    def __init__(self) -> None:
        super().__init__("sim_node")
        self._contract = load_contract(self)
        try:
            require_cameras(self._contract)
        except ContractError as error:
            raise StartError(str(error)) from None
        stamped = bool(stamping(self))
        seed = integer(self, "seed", 0, "seed of the first scene", at_least=0)
        task = text(self, "task", "", "task of the first scene; empty: drawn by the seed")
        settings = SimSettings(
            number(self, "camera_rate_hz", 15.0, "images per second of each camera [Hz]", above=0, at_most=60),
            number(self, "odometry_rate_hz", 50.0, "rate of odom, gripper/state, sim/state [Hz]", above=0, at_most=100),
            number(self, "command_timeout_s", 0.5, "a base without a command for this long stands still [s]", above=0),
            "localised" if flag(self, "localised", False, "odometry in the world frame, without drift") else "drifting",
            number(self, "scan_rate_hz", 10.0, "rate of the contract's obstacle sensors [Hz]", above=0, at_most=50),
        )
        self._plan = load_plan_parameter(self)
        quality = integer(self, "jpeg_quality", 90, "quality of the compressed images", at_least=1, at_most=100)
        compressed = flag(self, "compressed", False, "publish image_raw/compressed, too")

        self._odometry = self.create_publisher(Odometry, self._contract.state.odometry_topic, SENSOR_OFFERED)
        self._transform = TransformPublisher(self, self._contract) if self._contract.state.pose == "tf" else None
        self._gripper = self.create_publisher(GripperState, self._contract.state.gripper_topic, SENSOR_OFFERED)
        self._state = self.create_publisher(SimState, "sim/state", SENSOR_OFFERED)
        self._cameras = {
            name: CameraPublisher(
                self,
                camera.topic,
                camera_info(FOVY_DEG[name], camera.width, camera.height, f"{name}_camera_optical_frame"),
                jpeg_quality=quality if compressed else None,
            )
            for name, camera in self._contract.cameras.items()
        }
        self.create_subscription(velocity_type(stamped), "cmd_vel", self._on_velocity, COMMAND)
        self.create_subscription(GripperCommand, "gripper/command", self._on_gripper, COMMAND)
        self.create_service(ResetSim, "sim/reset", self._on_reset)
        self.exit_code: int | None = None
        self._sim = SimThread(
            self._contract,
            first_assignment(self, self._plan, self._contract, seed, task),
            settings,
            SimSensors(self._publish_reading, self._publish_images, ObstacleSensors(self, self._contract).publish),
            lambda: int(self.get_clock().now().nanoseconds),
            self._on_failure,
        )
        self._settings = settings
        self._frames_before = 0
        self._diagnostics = Diagnostics(self, self._health, hardware_id="simulation")
        self._sim.start()

    def close(self) -> None:
        """End the simulation."""
        self._sim.close()

    def _on_velocity(self, message: Any) -> None:
        velocity = velocity_of(message)
        if velocity.finite:
            self._sim.command(velocity)
        else:
            self.get_logger().warning("cmd_vel is not finite: ignored", throttle_duration_sec=5.0)

    def _on_gripper(self, message: GripperCommand) -> None:
        position = float(message.position)
        if math.isfinite(position) and 0.0 <= position <= 1.0:
            self._sim.command_gripper(position)
        else:
            self.get_logger().warning(
                f"gripper/command {position} is outside 0 .. 1: ignored", throttle_duration_sec=5.0
            )

    def _on_reset(self, request: ResetSim.Request, response: ResetSim.Response) -> ResetSim.Response:
        try:
            assignment = assign(
                self._plan,
                self._contract,
                request.seed,
                tuple(request.tasks) or ((request.task,) if request.task else ()),
                request.place,
                held_out_wording=request.held_out_wording,
            )
        except (UnknownTaskError, DrawError) as error:
            response.error_code, response.message = ResetSim.Response.INVALID_REQUEST, str(error)
            return response
        # The simulation's own thread answers within a frame, so that waiting here does not hold up the executor.
        if wait([self._sim.reset(assignment)], timeout=_RESET_TIMEOUT_S).not_done:
            response.error_code = ResetSim.Response.TIMED_OUT
            response.message = f"the simulation did not answer within {_RESET_TIMEOUT_S:g} s"
            return response
        response.success = True
        response.task, response.category = assignment.task.name, assignment.category
        response.language = assignment.language
        response.environment = json.dumps(assignment.environment())
        response.message = f"'{assignment.language}' from the {assignment.scene.start_room.replace('_', ' ') or 'hall'}"
        return response

    def _publish_reading(self, reading: Reading) -> None:
        stamp, pose = to_stamp(reading.stamp_ns), reading.odometry
        odometry = Odometry(child_frame_id=self._contract.action.frame)
        odometry.header.stamp, odometry.header.frame_id = stamp, self._contract.state.odometry_frame
        odometry.pose.pose.position.x, odometry.pose.pose.position.y = pose.x, pose.y
        odometry.pose.pose.orientation = rotation_of(pose.yaw)
        twist = odometry.twist.twist
        twist.linear.x, twist.linear.y = reading.velocity.x, reading.velocity.y
        twist.angular.z = reading.velocity.yaw_rate
        self._odometry.publish(odometry)
        if self._transform is not None:
            self._transform.publish(reading.stamp_ns, pose.x, pose.y, pose.yaw)
        if self._contract.has_gripper:
            gripper = GripperState(position=reading.gripper, holding=bool(reading.truth.held))
            gripper.header.stamp = stamp
            self._gripper.publish(gripper)
        self._state.publish(state_message(reading))

    def _publish_images(self, stamp_ns: int, images: dict[str, Image]) -> None:
        for name, image in images.items():
            self._cameras[name].publish(image, stamp_ns)

    def _on_failure(self, trace: str) -> None:
        self.get_logger().error(f"the simulation died:\n{trace}")
        self.exit_code = 1

    def _health(self) -> Health:
        factor = self._sim.real_time_factor
        frames, self._frames_before = self._sim.frames - self._frames_before, self._sim.frames
        slow = factor < _LEAST_FACTOR
        values = {
            "real-time factor": round(factor, 3),
            "time given up [s]": round(self._sim.given_up_s, 2),
            "camera rate [Hz]": frames,
            "camera rate wanted [Hz]": self._settings.camera_rate_hz,
            "scene seed": self._sim.assignment.scene.seed,
            "task": self._sim.assignment.task.name,
        }
        message = f"slower than real time ({factor:.2f}); lower camera_rate_hz or free the processor" if slow else "OK"
        return Health(WARN if slow else OK, message, values)


def camera_info(fovy_deg: float, width: int, height: int, frame_id: str) -> CameraInfo:
    """Intrinsics of an ideal pinhole camera with square pixels."""
    focal_px = height / 2 / math.tan(math.radians(fovy_deg) / 2)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = frame_id
    info.k = [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main() -> None:
    """Run the node."""
    sys.exit(run(SimNode))
