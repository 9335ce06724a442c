"""The service policy/set_instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mobile_vla_data.instruction import normalise_instruction
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_policy.runtime.settings import BUSY, instruction_problem


class InstructionService:
    """Gives instructions to the driver. ``driver()`` returns None while the node is not active."""

    def __init__(
        self, node: Any, driver: Callable[[], PolicyDriver | None], busy: Callable[[], bool], tell: Callable[[], None]
    ) -> None:
        """``tell`` publishes the status, from which a recorder beside the policy takes the instruction."""
        self._node, self._driver, self._busy, self._tell = node, driver, busy, tell
        node.create_service(SetInstruction, "policy/set_instruction", self._on_request)

    def _on_request(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        response.error_code, response.message = self._try(request.instruction)
        response.success = response.error_code == SetInstruction.Response.OK
        return response

    def _try(self, text: str) -> tuple[int, str]:
        """Follow an instruction if possible; return the error code and one line."""
        codes, driver = SetInstruction.Response, self._driver()
        if driver is None:
            return codes.NOT_ACTIVE, "the policy node is not active; activate it first"
        if self._busy():
            return codes.BUSY, BUSY
        try:
            instruction = normalise_instruction(text)
        except ValueError as error:
            return codes.INVALID_REQUEST, str(error)
        if problem := instruction_problem(driver, instruction):
            return codes.INVALID_REQUEST, problem
        driver.follow(instruction)
        self._tell()
        said = f"following '{instruction}'" if instruction else "stopped; waiting for an instruction"
        self._node.get_logger().info(said)
        return codes.OK, said
