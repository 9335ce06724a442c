"""Read parameters once and check them; a refusal is one line with node, parameter, value and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_ros.run import StartError


def _declare(node: Any, name: str, default: Any, description: str, allowed: str) -> Any:
    # Dynamic typing: YAML's `20` must be accepted for `20.0`, and a wrong type is reported below in one line.
    descriptor = ParameterDescriptor(
        description=description, additional_constraints=allowed, read_only=True, dynamic_typing=True
    )
    if not node.has_parameter(name):
        node.declare_parameter(name, default, descriptor)
    return node.get_parameter(name).value


def _refuse(node: Any, name: str, value: Any, allowed: str) -> StartError:
    return StartError(f"{node.get_name()}: parameter '{name}' is {value!r}; it must be {allowed}")


def number(
    node: Any,
    name: str,
    default: float,
    description: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """Declare and read a finite number. Raises :class:`StartError` outside ``(above, at_most]``, below ``at_least``."""
    limits = [f"above {above:g}"] if above > -math.inf else []
    limits += [f"at least {at_least:g}"] if at_least > -math.inf else []
    limits += [f"at most {at_most:g}"] if at_most < math.inf else []
    allowed = " ".join(["a number", " and ".join(limits)]).strip()
    value = _declare(node, name, default, description, allowed)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refuse(node, name, value, allowed)
    if value <= above or value < at_least or value > at_most:
        raise _refuse(node, name, value, allowed)
    return float(value)


def integer(node: Any, name: str, default: int, description: str, *, at_least: int, at_most: int = 2**31) -> int:
    """Declare and read a whole number. Raises :class:`StartError` outside ``[at_least, at_most]``."""
    allowed = f"a whole number from {at_least} to {at_most}"
    value = _declare(node, name, default, description, allowed)
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        raise _refuse(node, name, value, allowed)
    return value


def flag(node: Any, name: str, default: bool, description: str) -> bool:
    """Declare and read true or false. Raises :class:`StartError`."""
    value = _declare(node, name, default, description, "true or false")
    if not isinstance(value, bool):
        raise _refuse(node, name, value, "true or false")
    return value


def text(
    node: Any,
    name: str,
    default: str,
    description: str,
    *,
    choices: Collection[str] = (),
    required: bool = False,
) -> str:
    """Declare and read a string. Raises :class:`StartError` when it is not one of ``choices``, or empty but required.

    A launch file passes ``device:=0`` on as a number; numbers are converted to text.
    """
    allowed = f"one of {', '.join(choices)}" if choices else "a string"
    value = _declare(node, name, default, description, allowed)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not choices:
        value = str(value)
    if not isinstance(value, str) or (choices and value not in choices):
        raise _refuse(node, name, value, allowed)
    if required and not value.strip():
        raise _refuse(node, name, value, f"set ({description})")
    return value


def path(node: Any, name: str, description: str, *, required: bool = False) -> Path | None:
    """Declare and read a path, empty by default; a leading ``~`` becomes the home folder.

    Returns None when it is empty. Raises :class:`StartError` when it is not text, or empty but required.
    """
    value = text(node, name, "", description, required=required)
    return Path(os.path.expanduser(value)) if value else None


def stamping(node: Any) -> bool | None:
    """Declare and read ``stamped``: True for TwistStamped, False for Twist, None for auto. Raises :class:`StartError`.

    A launch file passes the text ``true``, a parameter file the value.
    """
    description = "type of velocity topics: true is TwistStamped, false is Twist, auto is what the other end uses"
    value = _declare(node, "stamped", "auto", description, "auto, true or false")
    choices = {"auto": None, "true": True, "false": False}
    if str(value).lower() not in choices:
        raise _refuse(node, "stamped", value, "auto, true or false")
    return choices[str(value).lower()]


def compressed_images(node: Any) -> bool:
    """Declare and read ``images``: True for JPEGs on ``<topic>/compressed``. Raises :class:`StartError`."""
    source = "image_raw of each camera, or the JPEGs of image_raw/compressed"
    return text(node, "images", "raw", source, choices=("raw", "compressed")) == "compressed"


def load_contract(node: Any) -> Contract:
    """Declare the parameter ``contract`` and load the file it names. Raises :class:`StartError`, one line."""
    file = path(node, "contract", "path of the contract, for example config/robot.yaml", required=True)
    assert file is not None
    try:
        return Contract.load(file)
    except ContractError as error:
        raise StartError(str(error)) from None
