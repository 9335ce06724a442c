"""Whether the dashboard runs, whether it can do its work, and its figures for Prometheus. No rclpy.

Liveness (``/healthz``) fails when the server must be restarted. Readiness (``/readyz``) fails when STOP would reach no
command gate: a restart of the dashboard does not mend that.
"""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest

from mobile_vla_dashboard.access import LIVE_PATH, READY_PATH
from mobile_vla_dashboard.answers import Answer
from mobile_vla_dashboard.metrics import RobotCollector
from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.wording import in_english
from mobile_vla_dashboard.words import gate_card


def health(robot: Robot) -> APIRouter:
    """Return the routes for monitoring."""
    router = APIRouter(tags=["monitoring"])
    registry = CollectorRegistry()
    registry.register(RobotCollector(robot.latest))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    @router.get(LIVE_PATH)
    async def live() -> Response:
        """Answer 200 while the server runs."""
        return JSONResponse({"ok": True})

    @router.get(READY_PATH, responses={503: {"model": Answer, "description": "No command gate is heard"}})
    async def ready() -> Response:
        """Answer 200 if a command gate was heard within the last seconds, 503 otherwise."""
        card = gate_card(robot.latest.status("gate"), time.monotonic())
        if card["present"]:
            return JSONResponse({"ok": True, "message": "the command gate answers"})
        return JSONResponse({"ok": False, "message": in_english(card["headline"])}, status_code=503)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the robot's figures as Prometheus text."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
