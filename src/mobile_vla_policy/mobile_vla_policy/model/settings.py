"""Settings of a network. A checkpoint carries them; with its weights they rebuild the network."""

from __future__ import annotations

from typing import Any

from mobile_vla_policy.backbones.registry import DEFAULT_BACKBONE, AnyBackbone, without_foreign_fields
from mobile_vla_policy.config import Frozen, validate
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings


class PolicySettings(Frozen):
    """Everything that is needed to build the network again."""

    backbone: AnyBackbone = DEFAULT_BACKBONE
    """The vision-language model."""
    lora: LoraSettings = LoraSettings()
    """Adapters of the backbone."""
    head: HeadSettings = HeadSettings()
    """The LSTM that predicts actions."""

    @property
    def head_only(self) -> bool:
        """True if only the head learns (stage 2), so that the backbone encodes each frame only once."""
        return self.backbone.freeze and not (self.lora.enabled and self.lora.train)


def read_policy_settings(data: Any, origin: str) -> PolicySettings:
    """Build the settings that a checkpoint holds, of this or an earlier version.

    Raises:
        ConfigError: a field is unknown or wrong; the message names ``origin``, the checkpoint's file.
    """
    return validate(PolicySettings, upgraded(data), origin)


def upgraded(data: Any) -> Any:
    """Return parsed settings that an earlier version wrote, in the form of this version."""
    if not isinstance(data, dict):
        return data
    return {**data, "backbone": without_foreign_fields(data.get("backbone")), "head": _state_named(data.get("head"))}


def _state_named(head: Any) -> Any:
    """Return the head's settings with ``state``, which was the switch ``use_state`` before."""
    if not isinstance(head, dict) or "use_state" not in head:
        return head if head is not None else {}
    rest = {name: value for name, value in head.items() if name != "use_state"}
    return {"state": "full" if head["use_state"] else "none", **rest}
