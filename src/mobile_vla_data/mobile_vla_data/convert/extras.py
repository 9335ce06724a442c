"""Libraries that only conversions need; a plain installation does not bring them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mobile_vla_data.convert.errors import ConvertError


def import_extra(module: str, extra: str) -> Any:
    """Return an optional library.

    Args:
        module: its name in Python, for example ``av``.
        extra: the extra of ``mobile_vla_data`` that brings it, for example ``lerobot``.

    Raises:
        ConvertError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConvertError(
            f"the Python package '{error.name}' is missing; run: pip install 'mobile_vla_data[{extra}]'"
        ) from None
