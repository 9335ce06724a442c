"""What a launch description is executed in: configurations, environment, and the processes it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ros2_lite.launching.supervisor import Supervisor


class LaunchContext:
    """Named as in ``launch``: functions of an OpaqueFunction receive it."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.environment: dict[str, str] = dict(os.environ)
        self.supervisor = supervisor

    @property
    def is_shutdown(self) -> bool:
        """Whether shutting down has begun."""
        return self.supervisor is not None and self.supervisor.stopping

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Configurations and environment set inside are forgotten at the end."""
        configurations, environment = dict(self.launch_configurations), dict(self.environment)
        try:
            yield
        finally:
            self.launch_configurations = configurations
            self.environment = environment
