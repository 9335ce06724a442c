"""The web application: pages, buttons, and the two WebSockets. No rclpy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mobile_vla_dashboard.access import HEALTH_PATH, Access, App
from mobile_vla_dashboard.episodes_api import episodes
from mobile_vla_dashboard.jobs import Jobs
from mobile_vla_dashboard.library import Library
from mobile_vla_dashboard.robot import DEFAULT_PATIENCE_S, PATIENCE_S, Reply, Robot
from mobile_vla_dashboard.sockets import ViewSocket, WheelSocket
from mobile_vla_dashboard.teleop import Wheel
from mobile_vla_data.instruction import InstructionError, normalise_instruction

STATIC = Path(__file__).parent / "static"

#: STOP is repeated until the gate confirms it: how often, and how long each attempt may take [s].
STOP_ATTEMPTS, STOP_PATIENCE_S = 5, 0.4

HEADERS = {
    # Nothing from elsewhere runs in this page, and no other page may frame it to steal a click on Resume.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Start(BaseModel):
    """Fields of an episode to start; empty ones are filled from the collection plan."""

    language: str = ""
    task: str = Field("", max_length=200)
    category: Literal["", "navigation", "manipulation", "combined"] = ""
    environment: dict[str, str] = {}


class Stop(BaseModel):
    """Outcome of the episode."""

    outcome: Literal["success", "failure", "unlabelled"]


class Instruction(BaseModel):
    """Instruction for the policy; an empty one makes it stop and wait."""

    instruction: str


async def ask(robot: Robot, service: str, fields: Mapping[str, str], patience_s: float | None = None) -> Reply:
    """Call a service and wait for its reply; if none comes, the reply says so."""
    limit_s = patience_s or PATIENCE_S.get(service, DEFAULT_PATIENCE_S)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(robot.call(service, fields)), limit_s)
    except asyncio.TimeoutError:
        return Reply(False, f"no answer from {service} within {limit_s:g} s")


async def stop_robot(robot: Robot) -> Reply:
    """Release the stick and call gate/stop until the gate confirms it."""
    robot.release()
    reply = Reply(False, "")
    for _ in range(STOP_ATTEMPTS):
        reply = await ask(robot, "gate/stop", {}, STOP_PATIENCE_S)
        if reply.ok:
            return reply
        await asyncio.sleep(0.1)
    return Reply(False, f"NOT CONFIRMED: {reply.message}. Use the robot's own emergency stop")


async def instruct_policy(robot: Robot, instruction: str) -> Reply:
    """Set the instruction; an empty one also cancels a running policy/execute goal."""
    reply = await ask(robot, "policy/set_instruction", {"instruction": instruction})
    if reply.ok or instruction:
        return reply
    cancelled = await ask(robot, "policy/cancel_goals", {})
    return await ask(robot, "policy/set_instruction", {"instruction": ""}) if cancelled.ok else reply


def make_app(robot: Robot, library: Library, *, token: str = "", allowed_hosts: tuple[str, ...] = ()) -> App:
    """Build the application that serves ``robot`` and the episodes of ``library``."""
    app = FastAPI(title="Mobile VLA", docs_url=None, redoc_url=None, openapi_url=None)
    wheel = Wheel()

    _refusals(app)
    _pages(app)
    _buttons(app, robot)
    app.include_router(episodes(library, Jobs()))

    @app.websocket("/ws/view")
    async def view(socket: WebSocket) -> None:
        await ViewSocket(socket, robot, wheel).serve()

    @app.websocket("/ws/drive")
    async def drive(socket: WebSocket) -> None:
        await WheelSocket(socket, robot, wheel).serve()

    return Access(app, token=token, allowed_hosts=allowed_hosts)


def _answer(reply: Reply) -> Response:
    return JSONResponse({"ok": reply.ok, "message": reply.message}, status_code=200 if reply.ok else 409)


def _refusals(app: FastAPI) -> None:
    """Answer a malformed request like every other refusal: one line for a human."""

    @app.exception_handler(InstructionError)
    async def bad_instruction(_request: Request, error: InstructionError) -> Response:
        return JSONResponse({"ok": False, "message": str(error)}, status_code=422)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return JSONResponse({"ok": False, "message": str(error.detail)}, status_code=error.status_code)

    @app.exception_handler(RequestValidationError)
    async def bad_fields(_request: Request, error: RequestValidationError) -> Response:
        found = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
        return JSONResponse({"ok": False, "message": "; ".join(found)}, status_code=422)


def _pages(app: FastAPI) -> None:
    def static(name: str, media_type: str) -> Response:
        return FileResponse(STATIC / name, media_type=media_type, headers=HEADERS)

    @app.get("/")
    async def index() -> Response:
        return static("index.html", "text/html")

    @app.get("/style.css")
    async def style() -> Response:
        return static("style.css", "text/css")

    @app.get("/{name}.js")
    async def script(name: Literal["app", "drive"]) -> Response:
        return static(f"{name}.js", "text/javascript")

    @app.get("/favicon.svg")
    @app.get("/favicon.ico")
    async def favicon() -> Response:
        return static("favicon.svg", "image/svg+xml")

    @app.get(HEALTH_PATH)
    async def health() -> Response:
        return JSONResponse({"ok": True})


def _buttons(app: FastAPI, robot: Robot) -> None:
    @app.post("/api/stop")
    async def stop() -> Response:
        return _answer(await stop_robot(robot))

    @app.post("/api/resume")
    async def resume() -> Response:
        return _answer(await ask(robot, "gate/resume", {}))

    @app.post("/api/policy/instruction")
    async def instruction(body: Instruction) -> Response:
        return _answer(await instruct_policy(robot, normalise_instruction(body.instruction)))

    @app.post("/api/recorder/start")
    async def start(body: Start) -> Response:
        environment = {key: value for key, value in body.environment.items() if value}
        language = normalise_instruction(body.language)
        fields = {"language": language, "task": body.task.strip(), "category": body.category}
        # Empty: as the plan proposes. An object without fields would mean that nothing is known.
        fields["environment"] = json.dumps(environment, ensure_ascii=False) if environment else ""
        return _answer(await ask(robot, "recorder/start_episode", fields))

    @app.post("/api/recorder/stop")
    async def stop_episode(body: Stop) -> Response:
        return _answer(await ask(robot, "recorder/stop_episode", {"outcome": body.outcome}))

    @app.post("/api/recorder/discard")
    async def discard() -> Response:
        return _answer(await ask(robot, "recorder/discard_episode", {"reason": "discarded on the web page"}))
