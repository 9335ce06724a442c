"""Ports of the web pages of several robots on one machine."""

from __future__ import annotations

import re
import zlib

#: Port of the page without a namespace.
FIRST_PORT = 8080
#: The number at the end of a namespace, if it is short enough to be a robot's.
_ROBOT_NUMBER = re.compile(r"(?<!\d)\d{1,3}$")


def port_of(namespace: str) -> int:
    """Return the port of the page of the robot in ``namespace``: the same at every start."""
    namespace = namespace.strip("/")
    if not namespace:
        return FIRST_PORT
    number = _ROBOT_NUMBER.search(namespace)
    if number and int(number[0]):
        return FIRST_PORT + int(number[0])
    return FIRST_PORT + 1000 + zlib.crc32(namespace.encode()) % 1000
