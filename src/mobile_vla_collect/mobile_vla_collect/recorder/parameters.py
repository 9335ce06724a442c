"""The recorder's parameters, read once."""

from __future__ import annotations

from typing import Any

from mobile_vla_collect.recorder.recording import RecorderSettings
from mobile_vla_collect.recorder.writer_thread import WriterSettings
from mobile_vla_ros.parameters import integer, number, path, text


def read_settings(node: Any) -> RecorderSettings:
    """Declare and read them. Raises :class:`mobile_vla_ros.run.StartError`, one line."""
    folder = path(node, "dataset", "folder for the episodes, for example dataset:=$HOME/kitchen", required=True)
    assert folder is not None
    writer = WriterSettings(
        dataset=folder.absolute(),
        encoding=text(node, "image_encoding", "jpeg", "how images are stored", choices=("jpeg", "raw")),
        jpeg_quality=integer(node, "jpeg_quality", 95, "quality of stored JPEGs", at_least=1, at_most=100),
        queue_steps=integer(node, "queue_steps", 100, "steps that may wait for the disk", at_least=1, at_most=10_000),
    )
    return RecorderSettings(
        writer=writer,
        min_steps=integer(node, "min_steps", 10, "shorter episodes are not kept", at_least=1),
        max_dropped_share=number(
            node, "max_dropped_share", 0.05, "above it an episode fails its check", at_least=0, at_most=1
        ),
        command_max_age_s=number(
            node, "command_max_age_s", 0.3, "a step with an older command is dropped [s]", above=0
        ),
        pre_trigger_s=number(
            node,
            "pre_trigger_s",
            0.0,
            "an episode begins with this much of what came before [s]",
            at_least=0,
            at_most=60,
        ),
        min_free_bytes=int(
            1e6 * number(node, "min_free_mb", 500.0, "recording stops below this much free space [MB]", at_least=0)
        ),
    )
