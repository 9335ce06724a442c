"""Requests of the page to the robot: call a service, wait for the reply, answer the browser. No rclpy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse, Response

from mobile_vla_dashboard.robot import DEFAULT_PATIENCE_S, PATIENCE_S, Reply, Robot
from mobile_vla_dashboard.wording import say

#: STOP is repeated until the gate confirms it: how often, and after how long [s]. The page waits for all of them, and a
#: little longer, then tries again.
STOP_ATTEMPTS, STOP_PERIOD_S = 3, 0.4


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
    waiting: set[asyncio.Task[Reply]] = set()
    for attempt in range(STOP_ATTEMPTS):
        # The calls before may still be answered: a gate that keeps the stop on a slow disk answers late.
        limit_s = (STOP_ATTEMPTS - attempt) * STOP_PERIOD_S
        waiting.add(asyncio.create_task(ask(robot, "gate/stop", {}, limit_s)))
        await asyncio.wait(waiting, timeout=STOP_PERIOD_S, return_when=asyncio.FIRST_COMPLETED)
        if confirmed := _confirmed(waiting):
            return confirmed
        await asyncio.sleep(0.05)
    await asyncio.wait(waiting)
    reply = _confirmed(waiting) or waiting.pop().result()
    return reply if reply.ok else Reply.refusal(say("reply.unconfirmed", why=reply.words or reply.message))


def _confirmed(calls: set[asyncio.Task[Reply]]) -> Reply | None:
    return next((call.result() for call in calls if call.done() and call.result().ok), None)


async def instruct_policy(robot: Robot, instruction: str, patience_s: float | None = None) -> Reply:
    """Set the instruction; an empty one also cancels a running policy/execute goal."""
    reply = await ask(robot, "policy/set_instruction", {"instruction": instruction}, patience_s)
    if reply.ok or instruction:
        return reply
    cancelled = await ask(robot, "policy/cancel_goals", {}, patience_s)
    return cancelled if cancelled.ok else reply


def content(reply: Reply) -> dict[str, Any]:
    """Return a reply as the page gets it."""
    return {"ok": reply.ok, "message": reply.message, **({"words": reply.words} if reply.words else {})}


def answer(reply: Reply, refused: int = 409) -> Response:
    """Return a reply as JSON: status 200 if it was accepted, ``refused`` if not."""
    return JSONResponse(content(reply), status_code=200 if reply.ok else refused)
