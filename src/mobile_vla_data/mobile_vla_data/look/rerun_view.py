"""Shows one episode in rerun (https://rerun.io), where it is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import STATE, action_names, displacement, position, yaw
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look.view import ViewError

#: Actions of a chunk: as many as a policy predicts by default.
_HORIZON = 5
_RED, _GREEN = [220, 40, 40], [40, 160, 60]


def open_in_rerun(episode: Episode, save: Path | None = None) -> None:
    """Open rerun's viewer with an episode, on the axis of its control ticks.

    It shows the cameras with the annotated target, the path with the robot on it, actions, states and takeovers, and at
    each step the chunk of the next five actions as a path in the robot's frame (forward is up, left is left).

    With ``save`` the recording is written to that ``.rrd`` file instead.

    Raises:
        ViewError: rerun is not installed.
    """
    try:
        rerun: Any = import_module("rerun")
        layout: Any = import_module("rerun.blueprint")
    except ImportError:
        raise ViewError("rerun is not installed; 'pip install rerun-sdk'") from None
    rerun.init("mobile_vla", recording_id=f"{episode.path.stem}-{episode.created_at}", spawn=save is None)
    if save is not None:
        rerun.save(str(save))
    rerun.send_blueprint(_blueprint(layout, episode))
    _log_steps(rerun, episode)
    if save is not None:
        # Without this the file is only complete when the process ends.
        rerun.disconnect()


def _blueprint(layout: Any, episode: Episode) -> Any:
    """Return the arrangement of the views: cameras and paths above, curves below."""
    cameras = [layout.Spatial2DView(origin=f"camera/{name}", name=name) for name in episode.cameras]
    paths = [layout.Spatial2DView(origin=name, name=name) for name in ("path", "chunk")]
    curves = [layout.TimeSeriesView(origin=name, name=name) for name in ("action", "state", "takeover")]
    words = layout.TextDocumentView(origin="instruction", name="instruction")
    return layout.Blueprint(
        layout.Vertical(words, layout.Horizontal(*cameras, *paths), layout.Horizontal(*curves), row_shares=[1, 5, 3])
    )


def _log_steps(rerun: Any, episode: Episode) -> None:
    columns = action_names(episode.contract)
    states, actions, ticks = episode.states, episode.actions, episode.timestamps_ns
    targets, takeover = episode.target, episode.takeover
    # Positions have y up; rerun's 2-D views have it down.
    path = position(states) * np.array([1, -1])
    rerun.log("instruction", rerun.TextDocument(episode.metadata.language), static=True)
    rerun.log("path", rerun.LineStrips2D([path]), static=True)
    for index in range(episode.num_steps):
        rerun.set_time("tick", timestamp=np.datetime64(int(ticks[index]), "ns"))
        for camera in episode.cameras:
            data = episode.jpeg(camera, index)
            if data is None:
                rerun.log(f"camera/{camera}", rerun.Image(episode.image(camera, index)))
            else:
                rerun.log(f"camera/{camera}", rerun.EncodedImage(contents=data, media_type="image/jpeg"))
        if targets is not None:
            known = [targets[index] + 0.5] if targets[index].min() >= 0 else []
            marks = rerun.Points2D(known, radii=3.0, colors=_RED)
            rerun.log(f"camera/{episode.contract.first_camera}/target", marks)
        rerun.log("path/robot", rerun.Points2D([path[index]], radii=0.05, colors=_RED))
        chunk = chunk_path(actions[index : index + _HORIZON])
        rerun.log("chunk", rerun.LineStrips2D([-chunk[:, ::-1]], colors=_GREEN))
        rerun.log("takeover", rerun.Scalars(float(takeover[index])))
        for group, names, values in (("action", columns, actions[index]), ("state", STATE, states[index])):
            for name, value in zip(names, values, strict=True):
                rerun.log(f"{group}/{name}", rerun.Scalars(float(value)))


def chunk_path(actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the path of a chunk ``[N, 3 or 4]`` in the robot's frame at its begin: ``[N + 1, 2]``, x and y [m].

    Without ``delta_yaw`` the robot is taken to keep its direction, as a holonomic base does.
    """
    turns = yaw(actions)
    headings = np.zeros(len(actions)) if turns is None else np.concatenate([[0.0], np.cumsum(turns)[:-1]])
    moved = np.asarray(displacement(actions), dtype=np.float64)
    cos, sin = np.cos(headings), np.sin(headings)
    steps = np.stack([cos * moved[:, 0] - sin * moved[:, 1], sin * moved[:, 0] + cos * moved[:, 1]], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
