"""Read a YAML file that a person wrote; every error is one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def read_yaml(path: Path, error_type: Callable[[str], Exception], missing: str) -> Any:
    """Return the document of a YAML file, None if it is empty.

    Args:
        path: the file.
        error_type: makes the exception to raise from its one-line message.
        missing: rest of the message when there is no such file, for example "no such file; robot.yaml is an example".
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error_type(f"{path}: {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise error_type(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise error_type(f"{path}: not valid YAML{where}: {' '.join(str(problem).split())}") from None
