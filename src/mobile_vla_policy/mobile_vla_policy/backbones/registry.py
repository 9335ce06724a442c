"""Registry of the backbones that settings can name: every module of this folder is imported.

A module registers a backbone by defining a subclass of
:class:`~mobile_vla_policy.backbones.backbone.BackboneSettings` with a default for ``kind``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from mobile_vla_policy import backbones
from mobile_vla_policy.backbones.backbone import BackboneSettings

_DEFAULT_KIND = "kosmos2"


def _registered(base: type[BackboneSettings]) -> Iterator[tuple[str, type[BackboneSettings]]]:
    for settings in base.__subclasses__():
        kind = settings.model_fields["kind"].default
        if isinstance(kind, str):
            yield kind, settings
        yield from _registered(settings)


for _module in pkgutil.iter_modules(backbones.__path__):
    importlib.import_module(f"{backbones.__name__}.{_module.name}")

BACKBONES = dict(sorted(_registered(BackboneSettings)))  # type: ignore[type-abstract]
"""Kind -> its settings class."""

DEFAULT_BACKBONE: BackboneSettings = BACKBONES[_DEFAULT_KIND].model_validate({})
"""Settings of the backbone that is used if none is named."""


def without_foreign_fields(settings: Any) -> Any:
    """Return parsed settings of a backbone without the fields that only other kinds have.

    Version 0.1.0 wrote the fields of every kind into each checkpoint.
    """
    if not isinstance(settings, dict) or settings.get("kind") not in BACKBONES:
        return settings
    own = BACKBONES[settings["kind"]].model_fields
    known = {name for kind in BACKBONES.values() for name in kind.model_fields}
    return {name: value for name, value in settings.items() if name in own or name not in known}


def _with_kind(settings: Any) -> Any:
    return {"kind": _DEFAULT_KIND, **settings} if isinstance(settings, dict) else settings


if TYPE_CHECKING:
    AnyBackbone = BackboneSettings
else:
    AnyBackbone = Annotated[
        Union[tuple(BACKBONES.values())],  # noqa: UP007
        Field(discriminator="kind"),
        BeforeValidator(_with_kind),
    ]
