"""The state in which a launch description is executed: configurations, environment, and the running processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ros2_lite.launching.supervisor import Supervisor


class LaunchContext:
    """Named as in ``launch``: functions of an OpaqueFunction receive it."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.environment: dict[str, str] = {"PYTHONUNBUFFERED": "1", **os.environ}
        self.parameters: dict[str, Any] = {}
        """Parameters of every node that starts."""
        self.remaps: list[tuple[str, str]] = []
        """Names and their replacements, for every node that starts."""
        self.supervisor = supervisor

    @property
    def is_shutdown(self) -> bool:
        """True if shutting down has begun."""
        return self.supervisor is not None and self.supervisor.stopping

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Forget configurations, environment, remaps and parameters set inside at the end."""
        configurations, environment = dict(self.launch_configurations), dict(self.environment)
        remaps, parameters = list(self.remaps), dict(self.parameters)
        try:
            yield
        finally:
            self.launch_configurations, self.environment = configurations, environment
            self.remaps, self.parameters = remaps, parameters
