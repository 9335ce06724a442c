"""Launch descriptions, launch files, and the base of every action."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ros2_lite.errors import UserError
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.substitutions import SomeText, perform


class LaunchDescriptionEntity:
    """Anything that a launch description can contain."""

    def visit(self, context: LaunchContext) -> None:
        """Execute it, then the entities that it returns."""
        run_entities(self.execute(context), context)

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity] | None:
        """Do what it describes; the entities returned are visited next."""
        raise NotImplementedError

    def sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        """Return the entities inside that are known without launching."""
        return ()


def run_entities(entities: Any, context: LaunchContext) -> None:
    """Visit one entity, several, or none."""
    if isinstance(entities, LaunchDescriptionEntity):
        entities = [entities]
    for entity in entities or ():
        entity.visit(context)


class LaunchDescription(LaunchDescriptionEntity):
    """A list of entities."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self.entities = list(initial_entities or [])

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity]:
        return self.entities


class PythonLaunchDescriptionSource:
    """A Python launch file."""

    def __init__(self, launch_file_path: SomeText) -> None:
        self._path = launch_file_path

    def load(self, context: LaunchContext) -> LaunchDescription:
        """Import the file and call its ``generate_launch_description``. Raises UserError."""
        path = Path(perform(context, self._path))
        if not path.is_file():
            raise UserError(f"launch file '{path}' does not exist")
        spec = importlib.util.spec_from_file_location("launch_file_" + path.name.replace(".", "_"), path)
        if path.suffix != ".py" or spec is None or spec.loader is None:
            raise UserError(f"launch file '{path}': ros2_lite reads Python launch files only (NAME.launch.py)")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            description = module.generate_launch_description()
        except (UserError, ImportError) as error:
            raise UserError(f"launch file '{path}': {error}") from None
        except Exception as error:
            raise UserError(f"launch file '{path}': {error}\n{traceback.format_exc()}") from None
        if not isinstance(description, LaunchDescription):
            raise UserError(f"launch file '{path}': generate_launch_description() returned no LaunchDescription")
        return description
