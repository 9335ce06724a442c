"""The two WebSockets of the page: one to view, one to drive. No rclpy.

Each has its own connection, so that an image on its way to a slow browser never delays a command, and so that the
loss of either is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import struct
import time
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from mobile_vla_dashboard.buckets import Bucket
from mobile_vla_dashboard.calls import content, stop_robot
from mobile_vla_dashboard.limits import MESSAGES_BURST, MESSAGES_HZ
from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.run_card import run_card
from mobile_vla_dashboard.teleop import Operator, StickError, Wheel, velocity_of_stick
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.words import page_state

#: Header of an image message: camera, sequence, capture stamp [ns]; big-endian; the JPEG follows.
FRAME_HEADER = struct.Struct("!BIQ")

#: Images of one camera that may be on their way to a browser: one being drawn, one on the wire.
IN_FLIGHT = 2

#: How often the page's words and numbers are sent [s].
STATE_PERIOD_S = 0.2

#: Tells an operator that control is theirs; also the answer to each beat.
_YOURS = json.dumps({"has_wheel": True})

_keys = itertools.count(1)


def _address(socket: WebSocket) -> str:
    return socket.client.host if socket.client else "unknown"


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise StickError("not JSON") from None
    if not isinstance(message, dict):
        raise StickError("not a JSON object")
    return message


async def _receive_text(socket: WebSocket) -> str:
    """Return the next message; one that is not text is an empty string, which is no JSON."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message.get("text") or ""


class ViewSocket:
    """Sends one browser the newest images, as fast as it acknowledges them, and the state five times a second.

    It also takes STOP: the browser's requests may be waiting for connections that others hold.
    """

    def __init__(self, socket: WebSocket, robot: Robot, wheel: Wheel, desk: TrialDesk) -> None:
        self._socket = socket
        self._robot = robot
        self._wheel = wheel
        self._desk = desk
        self._sent = [0] * len(robot.latest.cameras)
        self._outstanding = [0] * len(robot.latest.cameras)
        self._news = asyncio.Event()
        self._shows_run = False
        self._stops: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve until the browser disconnects."""
        await self._socket.accept()
        unwatch = self._robot.latest.watch(self._news.set)
        sender = asyncio.create_task(self._send_all())
        receiver = asyncio.create_task(self._receive_all())
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unwatch()
            self._show(False)
            for task in (sender, receiver):
                task.cancel()
            # A STOP goes on when its browser is gone.
            await asyncio.gather(sender, receiver, *self._stops, return_exceptions=True)

    async def _receive_all(self) -> None:
        bucket = Bucket(MESSAGES_HZ, MESSAGES_BURST)
        with contextlib.suppress(WebSocketDisconnect, StickError):
            while bucket.take():
                message = _parse(await _receive_text(self._socket))
                if "stop" in message:
                    task = asyncio.create_task(self._stop(message["stop"]))
                    self._stops.add(task)
                    task.add_done_callback(self._stops.discard)
                if "view" in message:
                    self._show(message["view"] == "run")
                camera, sequence = message.get("camera"), message.get("ack")
                if isinstance(camera, int) and isinstance(sequence, int) and 0 <= camera < len(self._outstanding):
                    self._outstanding[camera] = max(0, self._outstanding[camera] - 1)
                    self._news.set()

    async def _stop(self, press: Any) -> None:
        """Stop the robot, and answer with the number that the browser gave this press."""
        reply = await stop_robot(self._robot)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(json.dumps({"stop": press, **content(reply)}))

    def _show(self, run: bool) -> None:
        """Note whether the browser shows the Run view."""
        self._robot.latest.run_viewers += run - self._shows_run
        self._shows_run = run

    async def _send_all(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            state_due_s = 0.0
            while True:
                now_s = time.monotonic()
                if now_s >= state_due_s:
                    state_due_s = now_s + STATE_PERIOD_S
                    await self._socket.send_text(json.dumps(self._state(now_s), ensure_ascii=False))
                await self._send_frames()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), max(0.0, state_due_s - time.monotonic()))
                self._news.clear()

    async def _send_frames(self) -> None:
        for camera in range(len(self._outstanding)):
            frame = self._robot.latest.frame(camera)
            if frame is None or frame.sequence == self._sent[camera] or self._outstanding[camera] >= IN_FLIGHT:
                continue
            self._sent[camera] = frame.sequence
            self._outstanding[camera] += 1
            header = FRAME_HEADER.pack(camera, frame.sequence & 0xFFFFFFFF, frame.stamp_ns)
            await self._socket.send_bytes(header + frame.jpeg())

    def _state(self, now_s: float) -> dict[str, Any]:
        operator = self._wheel.operator(now_s)
        return {
            **page_state(self._robot.latest, self._robot.contract, self._desk.names),
            "trial": self._desk.state(),
            "run": run_card(self._robot.latest) if self._shows_run else None,
            "wheel": {"possible": self._robot.drivable, "operator": operator.address if operator else None},
        }


class WheelSocket:
    """Follows one operator's stick. The motion ends when the connection or its messages end."""

    def __init__(self, socket: WebSocket, robot: Robot, wheel: Wheel) -> None:
        self._socket = socket
        self._robot = robot
        self._wheel = wheel
        self._operator = Operator(next(_keys), _address(socket))

    async def serve(self) -> None:
        """Serve until the operator leaves or is lost; refuse if another operator is driving."""
        await self._socket.accept()
        if not self._robot.drivable:
            await self._socket.close(4403, "driving from this page is off; launch with teleop:=web")
            return
        now_s = time.monotonic()
        if not self._wheel.take(self._operator, now_s):
            holder = self._wheel.operator(now_s)
            await self._socket.close(4409, f"{holder.address if holder else 'another browser'} is driving")
            return
        try:
            await self._socket.send_text(_YOURS)
            await self._listen()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            # Only the holder of the wheel: the late end of a lost connection must not jolt the next operator.
            if self._wheel.leave(self._operator):
                self._robot.release()

    async def _listen(self) -> None:
        bucket = Bucket(MESSAGES_HZ, MESSAGES_BURST)
        while True:
            text = await _receive_text(self._socket)
            if not bucket.take():
                self._robot.release()
                await self._socket.close(4429, "too many messages")
                return
            if not self._wheel.take(self._operator, time.monotonic()):
                await self._socket.close(4408, "control was released: no message for too long")
                return
            try:
                message = _parse(text)
                self._follow(message)
            except StickError as error:
                self._robot.release()
                await self._socket.close(4400, str(error))
                return
            if "beat" in message:
                await self._socket.send_text(_YOURS)

    def _follow(self, message: dict[str, Any]) -> None:
        if message.keys() & {"x", "y", "turn"}:
            stick = (message.get(name, 0.0) for name in ("x", "y", "turn"))
            self._robot.drive(velocity_of_stick(*stick, self._robot.contract))
        elif message.get("release"):
            self._robot.release()
        elif "gripper" in message:
            position = message["gripper"]
            if isinstance(position, bool) or position not in (0, 1):
                raise StickError(f"gripper must be 0 (open) or 1 (closed), got {position!r:.40}")
            self._robot.move_gripper(float(position))
