"""Requests of the page to the robot: call a service, wait for the reply, answer the browser. No rclpy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi.responses import JSONResponse, Response

from mobile_vla_dashboard.robot import DEFAULT_PATIENCE_S, PATIENCE_S, Reply, Robot
from mobile_vla_dashboard.wording import say

#: STOP is repeated until the gate confirms it: how often, and how long each attempt may take [s].
STOP_ATTEMPTS, STOP_PATIENCE_S = 5, 0.4


async def ask(robot: Robot, service: str, fields: Mapping[str, str], patience_s: float | None = None) -> Reply:
    """Call a service and wait for its reply; if none comes, the reply says so."""
    limit_s = patience_s or PATIENCE_S.get(service, DEFAULT_PATIENCE_S)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(robot.call(service, fields)), limit_s)
    except asyncio.TimeoutError:
        return Reply.refusal(say("reply.timeout", service=service, seconds=f"{limit_s:g}"))


async def stop_robot(robot: Robot) -> Reply:
    """Release the stick and call gate/stop until the gate confirms it."""
    robot.release()
    reply = Reply(False, "")
    for _ in range(STOP_ATTEMPTS):
        reply = await ask(robot, "gate/stop", {}, STOP_PATIENCE_S)
        if reply.ok:
            return reply
        await asyncio.sleep(0.1)
    return Reply.refusal(say("reply.unconfirmed", why=reply.words or reply.message))


async def instruct_policy(robot: Robot, instruction: str) -> Reply:
    """Set the instruction; an empty one also cancels a running policy/execute goal."""
    reply = await ask(robot, "policy/set_instruction", {"instruction": instruction})
    if reply.ok or instruction:
        return reply
    cancelled = await ask(robot, "policy/cancel_goals", {})
    return await ask(robot, "policy/set_instruction", {"instruction": ""}) if cancelled.ok else reply


def answer(reply: Reply) -> Response:
    """Return a reply as JSON: status 200 if it was accepted, 409 if not."""
    content = {"ok": reply.ok, "message": reply.message}
    if reply.words:
        content["words"] = reply.words
    return JSONResponse(content, status_code=200 if reply.ok else 409)
