"""The buttons of the page: one address each, under ``/api``. No rclpy."""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from mobile_vla_dashboard.answers import DONE, REFUSALS
from mobile_vla_dashboard.calls import answer, ask, instruct_policy, stop_robot
from mobile_vla_dashboard.instructions import known_instructions
from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.wording import RefusalError
from mobile_vla_data.dataset.plan import PlanError
from mobile_vla_data.episode.metadata import Category, Outcome
from mobile_vla_data.instruction import normalise_instruction


class Start(BaseModel):
    """Fields of an episode to start; empty ones are filled from the collection plan."""

    language: str = ""
    task: str = Field("", max_length=200)
    category: Literal["", Category] = ""
    environment: dict[str, str] = {}


class Stop(BaseModel):
    """Outcome of the episode."""

    outcome: Outcome


class Instruction(BaseModel):
    """Instruction for the policy; an empty one makes it stop and wait."""

    instruction: str


class Known(BaseModel):
    """Instructions that the collection plan knows."""

    tasks: list[dict[str, Any]]
    """Category, name and instructions of each task."""


class Goal(BaseModel):
    """Goal of policy/execute."""

    instruction: str
    time_limit_s: float = Field(60.0, ge=0, le=3600, allow_inf_nan=False)
    """0: until it is cancelled."""


def buttons(robot: Robot) -> APIRouter:
    """Return the routes of the buttons."""
    router = APIRouter(prefix="/api", tags=["robot"], responses={**DONE, **REFUSALS})

    @router.post("/stop")
    async def stop() -> Response:
        """Stop the robot until ``resume``; answers 409 if the gate did not confirm it."""
        return answer(await stop_robot(robot))

    @router.post("/resume")
    async def resume() -> Response:
        """End a stop."""
        return answer(await ask(robot, "gate/resume", {}))

    @router.post("/policy/instruction")
    async def instruction(body: Instruction) -> Response:
        """Set the instruction that the policy follows; an empty one also cancels a running goal."""
        return answer(await instruct_policy(robot, normalise_instruction(body.instruction)))

    @router.post("/policy/execute")
    async def execute(body: Goal) -> Response:
        """Follow an instruction until the robot has arrived, or for a time; answers when the goal is accepted."""
        fields = {"instruction": normalise_instruction(body.instruction), "time_limit_s": str(body.time_limit_s)}
        return answer(await ask(robot, "policy/execute", fields))

    @router.get("/instructions", responses={200: {"model": Known, "description": "Instructions by task"}})
    def instructions() -> Response:
        """Return the instructions that the collection plan knows, by task."""
        try:
            return JSONResponse({"tasks": known_instructions(robot.plan())})
        except PlanError as error:
            raise RefusalError(str(error)) from None

    @router.post("/recorder/start")
    async def start(body: Start) -> Response:
        """Start an episode."""
        environment = {key: value for key, value in body.environment.items() if value}
        language = normalise_instruction(body.language)
        fields = {"language": language, "task": body.task.strip(), "category": body.category}
        # Empty: as the plan proposes. An object without fields would mean that nothing is known.
        fields["environment"] = json.dumps(environment, ensure_ascii=False) if environment else ""
        return answer(await ask(robot, "recorder/start_episode", fields))

    @router.post("/recorder/stop")
    async def stop_episode(body: Stop) -> Response:
        """End the episode with an outcome."""
        return answer(await ask(robot, "recorder/stop_episode", {"outcome": body.outcome}))

    @router.post("/recorder/discard")
    async def discard() -> Response:
        """Discard the open episode."""
        return answer(await ask(robot, "recorder/discard_episode", {"reason": "discarded on the web page"}))

    return router
