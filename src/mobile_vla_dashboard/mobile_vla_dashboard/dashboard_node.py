"""The dashboard as a node: topics and services on the ROS thread, the web page on another."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from rclpy.node import Node

from mobile_vla_dashboard.access import choose_token, is_loopback
from mobile_vla_dashboard.camera_watch import CameraWatch
from mobile_vla_dashboard.checkpoints import checkpoints_in, folder_of
from mobile_vla_dashboard.goal_watch import GoalWatch
from mobile_vla_dashboard.jobs import Jobs
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.library import Library
from mobile_vla_dashboard.robot import Reply
from mobile_vla_dashboard.run_watch import RunWatch
from mobile_vla_dashboard.server import make_app
from mobile_vla_dashboard.services import STOP, Services
from mobile_vla_dashboard.teleop import DeadMan
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.trials import Store
from mobile_vla_dashboard.web import AddressError, WebServer, bind
from mobile_vla_data.action import Velocity
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.storage.folders import state_folder
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.diagnostics import ERROR, OK, Diagnostics, Health
from mobile_vla_ros.parameters import compressed_images, flag, integer, load_contract, path, stamping, text
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import StartError, run

_TELEOP_PERIOD_S = 0.05
_HOUSEKEEPING_PERIOD_S = 0.2

#: Threads of Python take turns [s]. The default, 5 ms, is what a STOP would wait for each time that it needs a turn.
_TURN_S = 0.001

#: How long the node waits at its end for policy and gate each [s].
_LAST_CALL_S = 1.0


class DashboardNode(Node):
    """Serves the page; implements :class:`mobile_vla_dashboard.robot.Robot`.

    Everything that touches ROS runs on the executor's thread: other threads leave work in a queue and trigger a guard
    condition. Cameras are subscribed only while a browser looks or a trial runs.
    """

    def __init__(self) -> None:
        super().__init__("dashboard_node")
        self.contract = load_contract(self)
        self.drivable = flag(self, "teleop", False, "let the page drive the robot (teleop:=web sets it)")
        stamped = stamping(self)
        default_address = os.environ.get("MOBILE_VLA_DASHBOARD_ADDRESS", "127.0.0.1")
        address = text(
            self, "address", default_address, "address to listen on; 0.0.0.0 for every network of this machine"
        )
        port = integer(self, "port", 8080, "TCP port of the page", at_least=0, at_most=65535)
        setting = text(
            self,
            "token",
            "auto",
            "token that opens the page; auto: a new one at each start unless address is local; empty: none",
        )
        own = "dataset folder whose episodes the page shows; empty: the one that the recorder reports"
        self._dataset = path(self, "dataset", own)
        kept = "folder for the results of trials; empty: mobile_vla/trials in the user's folder for state"
        self._trials = path(self, "trials", kept) or state_folder() / "trials"
        also = "collection plan whose instructions the page offers; empty, or with a dataset: the dataset's"
        self._plan = path(self, "plan", also)
        known = "folder whose checkpoints trials may compare; empty: the folder that holds the loaded one"
        self._checkpoints = path(self, "checkpoints", known)
        hosts = text(self, "allowed_hosts", "", "further names of this machine, comma-separated")
        self._token = choose_token(setting, address)

        compressed = compressed_images(self)
        suffix = "/compressed" if compressed else ""
        self.latest = Latest({name: f"{camera.topic}{suffix}" for name, camera in self.contract.cameras.items()})
        self._dead_man = DeadMan()
        self._work: deque[Callable[[], None]] = deque()
        self._wake = self.create_guard_condition(self._do_work)

        self._commands = None
        if self.drivable:
            self._commands = CommandPublisher(self, "teleop", self.contract.action.frame, stamped=stamped)
        for name, message in (("gate", GateStatus), ("policy", PolicyStatus), ("recorder", RecorderStatus)):
            self.create_subscription(message, f"{name}/status", partial(self.latest.put_status, name), LATCHED)
        GoalWatch(self, partial(self.latest.put_status, "goal"))
        self._run_watch = RunWatch(self, self.latest, self.contract)
        self._camera_watch = CameraWatch(self, self.latest, self.contract, compressed=compressed)
        # Not _services: rclpy's Node has an attribute of that name.
        self._page_services = Services(self, self._post)

        # Steady: a simulated or a set clock must not stretch the dead-man time.
        self._drive_timer = self.create_timer(_TELEOP_PERIOD_S, self._drive_on, clock=STEADY)
        self._drive_timer.cancel()
        self.create_timer(_HOUSEKEEPING_PERIOD_S, self._housekeep, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health)

        try:
            listener = bind(address, port)
        except AddressError as error:
            raise StartError(str(error)) from None
        self.port = listener.getsockname()[1]
        names = tuple(name.strip() for name in hosts.split(",") if name.strip())
        self._desk = TrialDesk(self, Store(self._trials), Jobs(), self._choices)
        app = make_app(self, Library(self._folder), self._desk, token=self._token, allowed_hosts=names)
        self._web = WebServer(app, listener, self.latest.attach)
        self._web.start()
        self._announce(address)

    def close(self) -> None:
        """End a running trial, stop serving, and send a zero if the page was driving."""
        if self._desk.running:
            self._end_trial()
        self._web.close()
        self._dead_man.release()
        if self._commands is not None and self._dead_man.due(time.monotonic()) is not None:
            self._commands.stop()

    def _end_trial(self) -> None:
        """Cancel the goal of the trial; stop the robot if the policy does not confirm that."""
        for service in ("policy/cancel_goals", STOP):
            reply, until_s = self.call(service, {}), time.monotonic() + _LAST_CALL_S
            while not reply.done() and time.monotonic() < until_s:
                self.executor.spin_once(timeout_sec=0.05)
            if reply.done() and reply.result().ok:
                return
        self.get_logger().error("a trial is running, and neither policy nor gate confirmed its end")

    def _folder(self) -> str:
        """Return the dataset folder; empty if none is known."""
        if self._dataset is not None:
            return str(self._dataset)
        status = self.latest.status("recorder")
        return "" if status is None else str(status.message.dataset)

    def _choices(self) -> dict[str, str]:
        """Return name -> path of the checkpoints that trials may compare."""
        status = self.latest.status("policy")
        loaded = "" if status is None else str(status.message.checkpoint)
        return checkpoints_in(self._checkpoints or folder_of(loaded))

    # Robot, for the web server: called from its threads.

    def plan(self) -> CollectionPlan | None:
        """Read the dataset's plan, or the one of the parameter."""
        folder = self._folder()
        plan = CollectionPlan.of_dataset(Path(folder)) if folder else None
        return CollectionPlan.load(self._plan) if plan is None and self._plan is not None else plan

    def call(self, service: str, fields: Mapping[str, str]) -> Future[Reply]:
        """Call a service with string fields; the reply holds one line for the user."""
        return self._page_services.call(service, fields)

    def drive(self, velocity: Velocity) -> None:
        """Publish ``velocity`` for as long as it is fresh."""
        if self._dead_man.command(velocity, time.monotonic()):
            self._post(self._begin_to_drive)

    def release(self) -> None:
        """Publish one zero if the page was driving, then nothing."""
        self._dead_man.release()
        self._post(self._drive_on)

    def move_gripper(self, position: float) -> None:
        """Send the gripper to ``position``, 0 open .. 1 closed."""
        if self._commands is not None:
            self._post(partial(self._commands.send_gripper, position))

    def _post(self, work: Callable[[], None]) -> None:
        self._work.append(work)
        self._wake.trigger()

    # The ROS thread.

    def _do_work(self) -> None:
        while self._work:
            self._work.popleft()()

    def _begin_to_drive(self) -> None:
        self._drive_on()
        self._drive_timer.reset()

    def _drive_on(self) -> None:
        velocity = self._dead_man.due(time.monotonic())
        if velocity is None or self._commands is None:
            # The page does not drive: no reason to wake up twenty times a second.
            self._drive_timer.cancel()
            return
        self._commands.send(velocity)

    def _housekeep(self) -> None:
        self._camera_watch.follow(self.latest.watched)
        self._run_watch.follow(self.latest.run_viewers > 0)

    def _health(self) -> Health:
        values = {"port": self.port, "page open": self.latest.watched, "teleop": self.drivable}
        if not self._web.alive:
            return Health(ERROR, "the web server has ended; restart the dashboard", values)
        return Health(OK, f"serving on port {self.port}", values)

    def _announce(self, address: str) -> None:
        shown = "localhost" if is_loopback(address) else address.replace("0.0.0.0", "<this machine>")
        query = f"/?token={self._token}" if self._token else "/"
        self.get_logger().info(f"dashboard at http://{shown}:{self.port}{query}")
        if not is_loopback(address) and not self._token:
            self.get_logger().warning(
                f"anyone who can reach {address}:{self.port} can stop, resume and instruct this robot"
                f"{' and drive it' if self.drivable else ''}; set the parameter token, or address to 127.0.0.1"
            )


def main() -> None:
    """Serve the page until it is stopped."""
    sys.setswitchinterval(_TURN_S)
    sys.exit(run(DashboardNode))


if __name__ == "__main__":
    main()
