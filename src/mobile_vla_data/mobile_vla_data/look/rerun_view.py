"""Shows one episode in rerun (https://rerun.io), where it is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look.view import ViewError


def open_in_rerun(episode: Episode, save: Path | None = None) -> None:
    """Open rerun's viewer with the episode's cameras, path, actions and states on the axis of the control ticks.

    With ``save`` the recording is written to that ``.rrd`` file instead.

    Raises:
        ViewError: rerun is not installed.
    """
    try:
        log: Any = import_module("rerun")
    except ImportError:
        raise ViewError("rerun is not installed; 'pip install rerun-sdk'") from None
    log.init("mobile_vla", recording_id=f"{episode.path.stem}-{episode.created_at}", spawn=save is None)
    if save is not None:
        log.save(str(save))
    log.log("instruction", log.TextDocument(episode.metadata.language), static=True)
    states, actions, ticks = episode.states, episode.actions, episode.timestamps_ns
    log.log("path", log.LineStrips2D([states[:, :2] * np.array([1, -1])]), static=True)
    for index in range(episode.num_steps):
        log.set_time("tick", timestamp=np.datetime64(int(ticks[index]), "ns"))
        for camera in episode.cameras:
            data = episode.jpeg(camera, index)
            if data is None:
                log.log(f"camera/{camera}", log.Image(episode.image(camera, index)))
            else:
                log.log(f"camera/{camera}", log.EncodedImage(contents=data, media_type="image/jpeg"))
        log.log("path/robot", log.Points2D([states[index, :2] * np.array([1, -1])], radii=0.05))
        for name, values in (("action", actions[index]), ("state", states[index])):
            for axis, value in zip(("x", "y", "gripper"), values, strict=True):
                log.log(f"{name}/{axis}", log.Scalars(float(value)))
    if save is not None:
        # Without this the file is only complete when the process ends.
        log.disconnect()
