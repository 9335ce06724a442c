"""Contracts for tests that differ from the default in some fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def changed_contract(folder: Path, source: Path, *, state: Mapping[str, Any] | None = None, **fields: Any) -> Path:
    """Write ``robot.yaml``: the contract of ``source`` with other ``fields``, and other fields of ``state``."""
    contract = yaml.safe_load(source.read_text())
    contract |= fields
    contract["state"] |= state or {}
    file = folder / "robot.yaml"
    file.write_text(yaml.safe_dump(contract, sort_keys=False))
    return file
