"""Shows one episode in rerun (https://rerun.io), where it is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.action import STATE, action_names, position
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
    columns = action_names(episode.contract)
    states, actions, ticks = episode.states, episode.actions, episode.timestamps_ns
    path = position(states) * np.array([1, -1])
    log.log("path", log.LineStrips2D([path]), static=True)
    for index in range(episode.num_steps):
        log.set_time("tick", timestamp=np.datetime64(int(ticks[index]), "ns"))
        for camera in episode.cameras:
            data = episode.jpeg(camera, index)
            if data is None:
                log.log(f"camera/{camera}", log.Image(episode.image(camera, index)))
            else:
                log.log(f"camera/{camera}", log.EncodedImage(contents=data, media_type="image/jpeg"))
        log.log("path/robot", log.Points2D([path[index]], radii=0.05))
        for group, names, values in (("action", columns, actions[index]), ("state", STATE, states[index])):
            for name, value in zip(names, values, strict=True):
                log.log(f"{group}/{name}", log.Scalars(float(value)))
    if save is not None:
        # Without this the file is only complete when the process ends.
        log.disconnect()
