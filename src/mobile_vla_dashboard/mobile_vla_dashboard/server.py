"""The web application: the page's files, its buttons, and the two WebSockets. No rclpy."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from mobile_vla_dashboard.access import Access, App
from mobile_vla_dashboard.buttons import buttons
from mobile_vla_dashboard.calls import answer
from mobile_vla_dashboard.episodes_api import episodes
from mobile_vla_dashboard.health import health
from mobile_vla_dashboard.library import Library
from mobile_vla_dashboard.limits import Limits
from mobile_vla_dashboard.pages import pages
from mobile_vla_dashboard.robot import Reply, Robot
from mobile_vla_dashboard.sockets import ViewSocket, WheelSocket
from mobile_vla_dashboard.teleop import Wheel
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.trials_api import trials
from mobile_vla_dashboard.wording import RefusalError, Words, say
from mobile_vla_data.instruction import InstructionError


def make_app(
    robot: Robot, library: Library, desk: TrialDesk, *, token: str = "", allowed_hosts: tuple[str, ...] = ()
) -> App:
    """Build the application that serves ``robot``, the episodes of ``library`` and the trials of ``desk``."""
    # Described under /api/openapi.json. FastAPI's pages that show it load their scripts from other hosts.
    app = FastAPI(
        title="Mobile VLA dashboard",
        description="What the page can do, for programs. Requests need the token, if there is one, as ?token=...",
        version=version("mobile-vla-dashboard"),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    wheel = Wheel()

    _refusals(app)
    app.include_router(health(robot))
    app.include_router(buttons(robot))
    app.include_router(episodes(library, desk.jobs, robot.latest))
    app.include_router(trials(robot, desk))

    @app.websocket("/ws/view")
    async def view(socket: WebSocket) -> None:
        await ViewSocket(socket, robot, wheel, desk).serve()

    @app.websocket("/ws/drive")
    async def drive(socket: WebSocket) -> None:
        await WheelSocket(socket, robot, wheel).serve()

    # Last: it takes every name that nothing before it has.
    app.include_router(pages())
    return Access(Limits(app), token=token, allowed_hosts=allowed_hosts)


def _refusals(app: FastAPI) -> None:
    """Answer a request that cannot be served like every other refusal: one line for a human."""

    @app.exception_handler(InstructionError)
    async def bad_instruction(_request: Request, error: InstructionError) -> Response:
        return _refusal(422, say("reply.invalid", why=str(error)))

    @app.exception_handler(RequestValidationError)
    async def bad_fields(_request: Request, error: RequestValidationError) -> Response:
        found = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
        return _refusal(422, say("reply.invalid", why="; ".join(found)))

    @app.exception_handler(RefusalError)
    async def refused(_request: Request, error: RefusalError) -> Response:
        return _refusal(409, error.why)

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        # FastAPI lets the detail be anything; the table's words are a dictionary.
        detail: Words | str = error.detail
        return _refusal(error.status_code, detail)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        return _refusal(500, say("reply.failed"))


def _refusal(status: int, why: Words | str) -> Response:
    return answer(Reply.refusal(why), status)
