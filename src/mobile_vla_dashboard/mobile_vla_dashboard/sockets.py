"""The two WebSockets of the page: one to look, one to drive. No rclpy.

Looking and driving have a connection each, so that a picture on its way to a slow browser never stands in front of a
command, and so that losing either is noticed by itself.
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

from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.teleop import DriveError, Driver, Seat, velocity_of_fractions
from mobile_vla_dashboard.words import page_state

#: Header of a picture message: camera, sequence, capture stamp [ns]; big-endian; the JPEG follows.
FRAME_HEADER = struct.Struct("!BIQ")

#: Pictures of one camera that may be under way to a browser: one being drawn, one on the wire.
IN_FLIGHT = 2

#: How often the page's words and numbers are sent [s].
STATE_PERIOD_S = 0.2

_keys = itertools.count(1)


def _address(socket: WebSocket) -> str:
    return socket.client.host if socket.client else "unknown"


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        raise DriveError("not JSON") from None
    if not isinstance(message, dict):
        raise DriveError("not a JSON object")
    return message


class ViewSocket:
    """Sends one browser the newest pictures, as fast as it acknowledges them, and the state five times a second."""

    def __init__(self, socket: WebSocket, robot: Robot, seat: Seat) -> None:
        self._socket, self._robot, self._seat = socket, robot, seat
        self._sent = [0] * len(robot.hub.cameras)
        self._outstanding = [0] * len(robot.hub.cameras)
        self._news = asyncio.Event()

    async def serve(self) -> None:
        """Serve until the browser goes."""
        await self._socket.accept()
        unwatch = self._robot.hub.watch(self._news.set)
        sender = asyncio.create_task(self._send_all())
        receiver = asyncio.create_task(self._receive_all())
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unwatch()
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _receive_all(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, DriveError):
            while True:
                message = _parse(await self._socket.receive_text())
                camera, sequence = message.get("camera"), message.get("ack")
                if isinstance(camera, int) and isinstance(sequence, int) and 0 <= camera < len(self._outstanding):
                    self._outstanding[camera] = max(0, self._outstanding[camera] - 1)
                    self._news.set()

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
            frame = self._robot.hub.frame(camera)
            if frame is None or frame.sequence == self._sent[camera] or self._outstanding[camera] >= IN_FLIGHT:
                continue
            self._sent[camera] = frame.sequence
            self._outstanding[camera] += 1
            header = FRAME_HEADER.pack(camera, frame.sequence & 0xFFFFFFFF, frame.stamp_ns)
            await self._socket.send_bytes(header + frame.jpeg())

    def _state(self, now_s: float) -> dict[str, Any]:
        driver = self._seat.driver(now_s)
        return {
            **page_state(self._robot.hub, self._robot.contract),
            "drive": {"possible": self._robot.drivable, "driver": driver.address if driver else None},
        }


class DriveSocket:
    """Takes one driver's stick. Whatever ends the connection, or the messages on it, ends the motion."""

    def __init__(self, socket: WebSocket, robot: Robot, seat: Seat) -> None:
        self._socket, self._robot, self._seat = socket, robot, seat
        self._driver = Driver(next(_keys), _address(socket))

    async def serve(self) -> None:
        """Serve until the driver leaves, is lost, or was never allowed to sit down."""
        await self._socket.accept()
        if not self._robot.drivable:
            await self._socket.close(4403, "driving from this page is off; launch with teleop:=web")
            return
        now_s = time.monotonic()
        if not self._seat.take(self._driver, now_s):
            seated = self._seat.driver(now_s)
            await self._socket.close(4409, f"{seated.address if seated else 'someone'} is driving")
            return
        try:
            await self._socket.send_text(json.dumps({"seated": True}))
            await self._listen()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            # Only the one in the seat may stop the stick: a lost driver's late goodbye must not jolt the next one.
            if self._seat.leave(self._driver):
                self._robot.let_go()

    async def _listen(self) -> None:
        while True:
            text = await self._socket.receive_text()
            if not self._seat.take(self._driver, time.monotonic()):
                await self._socket.close(4409, "the seat was lost: nothing was heard for too long")
                return
            try:
                self._follow(_parse(text))
            except DriveError as error:
                self._robot.let_go()
                await self._socket.close(4400, str(error))
                return

    def _follow(self, message: dict[str, Any]) -> None:
        if "x" in message or "y" in message:
            velocity = velocity_of_fractions(message.get("x", 0.0), message.get("y", 0.0), self._robot.contract)
            self._robot.drive(velocity)
        elif message.get("release"):
            self._robot.let_go()
        elif "gripper" in message:
            position = message["gripper"]
            if isinstance(position, bool) or position not in (0, 1):
                raise DriveError(f"gripper must be 0 (open) or 1 (closed), got {position!r:.40}")
            self._robot.move_gripper(float(position))
