"""robomimic: one HDF5 file with a demonstration for each episode, image observations, and masks for the splits.

The layout is that of https://robomimic.github.io/docs/datasets/overview.html. Frames are stored whole: 150 kB each at
224 x 224, before compression.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.adopt import Imported
from mobile_vla_data.convert.building import building_file, require_new
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.hdf5.adopting import StoredEpisode, adopt_all
from mobile_vla_data.convert.hdf5.scale import ActionScale
from mobile_vla_data.convert.hdf5.steps import by_number, open_file, write_extras, write_images
from mobile_vla_data.convert.labels import Defaults, describe, written_at
from mobile_vla_data.convert.selection import Selection, select
from mobile_vla_data.episode.reader import Episode

#: robomimic has no number for real robots; it does nothing special with the observations of a gym environment.
_GYM = 2
_SCALE, _STATE = "action_scale", "state"
#: Our splits by the names that robomimic's training looks for.
_MASKS = {"train": "train", "validation": "valid", "test": "test"}
#: Units of the actions in files of other programs: those of the contract, or -1 .. 1 for its limits in one period.
METRES, SCALED = "metres", "scaled"


@dataclass(frozen=True)
class RobomimicExport:
    """Options of an export to robomimic."""

    compression: str | None = "lzf"
    """HDF5 filter of the images: lzf, gzip or None."""
    cameras: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()


def image_key(camera: str) -> str:
    """Name of a camera's observation."""
    return f"{camera}_image"


def export_robomimic(
    dataset: str | Path,
    target: str | Path,
    options: RobomimicExport,
    progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Write a dataset as one robomimic file; an interrupted export starts over.

    Raises:
        ConvertError: ``target`` exists, or the dataset does not fit.
        EpisodeError: a file cannot be read.
        OSError: the disk is full.
    """
    target = Path(target)
    require_new(target)
    selection = select(dataset, options.cameras, options.outcomes)
    scale = ActionScale.of(selection.contract, (_actions(item.path) for item in selection.episodes))
    with building_file(target) as part:
        _write(part, selection, scale, options, progress)
    return selection


def import_robomimic(
    source: str | Path,
    dataset: str | Path,
    defaults: Defaults,
    progress: Callable[[int, int], None] | None = None,
    actions: str | None = None,
) -> Imported:
    """Add the demonstrations of a robomimic file to a dataset folder, which is created if missing.

    A file of another program needs ``actions``, :data:`METRES` or :data:`SCALED`; its masks become splits, and a reward
    of 1 makes a demonstration a success.

    Raises:
        ConvertError: not a robomimic file, damaged, of unknown actions, or it does not fit the contract.
        ContractError: the dataset has episodes under another contract.
        OSError: the disk is full.
    """
    source = Path(source)
    with open_file(source) as file:
        if not isinstance(data := file.get("data"), h5py.Group):
            raise ConvertError(f"{source}: not a robomimic file: group 'data' is missing")
        scale = _scale(data, source, actions, defaults.contract)
        names = sorted((name for name in data if isinstance(data[name], h5py.Group)), key=by_number)
        splits = _splits(file)
        stored = (
            _stored(data[name], scale, splits.get(name, ""), source, number)
            for number, name in enumerate(names, start=1)
        )
        return adopt_all(stored, len(names), dataset, defaults, progress)


def _write(
    part: Path,
    selection: Selection,
    scale: ActionScale,
    options: RobomimicExport,
    progress: Callable[[int, int], None] | None,
) -> None:
    with h5py.File(part, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = selection.num_steps
        environment = {"env_name": selection.contract.robot, "type": _GYM, "env_kwargs": {}}
        data.attrs["env_args"] = json.dumps(environment)
        data.attrs[_SCALE] = scale.to_json()
        for number, item in enumerate(selection.episodes):
            with Episode.open(item.path) as episode:
                _write_demonstration(
                    data.create_group(f"demo_{number}"), episode, item.split, selection, scale, options
                )
            if progress is not None:
                progress(number + 1, len(selection.episodes))
        for split, members in selection.split_ranges.items():
            names = [f"demo_{number}".encode() for number in members]
            file[f"mask/{_MASKS[split]}"] = np.array(names)


def _write_demonstration(
    group: Any, episode: Episode, split: str, selection: Selection, scale: ActionScale, options: RobomimicExport
) -> None:
    steps = episode.num_steps
    group.attrs["num_samples"] = steps
    group.attrs["ep_meta"] = json.dumps({"lang": episode.metadata.language}, ensure_ascii=False)
    group["actions"] = scale.scale(episode.actions)
    last = np.zeros(steps)
    last[-1] = 1.0
    group["dones"] = last.astype(np.int64)
    group["rewards"] = last * (episode.outcome == "success")
    group[f"obs/{_STATE}"] = episode.states
    for camera in selection.cameras:
        write_images(group, f"obs/{image_key(camera)}", episode, camera, options.compression)
    write_extras(group, episode, describe(episode, split))


def _scale(data: Any, source: Path, actions: str | None, contract: Contract | None) -> ActionScale | None:
    """Return the scale of a file's actions; None for actions in the contract's units."""
    if _SCALE in data.attrs:
        return ActionScale.from_json(data.attrs[_SCALE])
    if actions is None:
        raise ConvertError(
            f"{source}: '{_SCALE}' is missing, so the unit of its actions is unknown; give --actions {METRES}, or "
            f"--actions {SCALED} for -1 .. 1 of the contract's limits in one control period"
        )
    if actions == METRES:
        return None
    if contract is None:
        raise ConvertError(f"{source}: was not exported by this program; give --contract")
    return ActionScale.of(contract, ())


def _splits(file: Any) -> dict[str, str]:
    """Return the split of each demonstration in a mask."""
    masks = file.get("mask", {})
    return {
        demo.decode() if isinstance(demo, bytes) else str(demo): split
        for split, mask in _MASKS.items()
        if mask in masks
        for demo in masks[mask][()]
    }


def _stored(group: Any, scale: ActionScale | None, split: str, source: Path, number: int) -> StoredEpisode:
    origin = f"{source}, {group.name.rsplit('/', 1)[-1]}"
    if "actions" not in group or f"obs/{_STATE}" not in group:
        raise ConvertError(f"{origin}: actions or obs/{_STATE} is missing")
    actions = group["actions"][()]
    if scale is not None and actions.shape[1:] != (len(scale.names),):
        raise ConvertError(f"{origin}: actions have shape {list(actions.shape)}; wanted [T, {len(scale.names)}]")
    succeeded = "rewards" in group and bool((group["rewards"][()] >= 1).any())
    return StoredEpisode(
        group,
        origin,
        written_at(source),
        number,
        actions if scale is None else scale.unscale(actions),
        group[f"obs/{_STATE}"][()],
        {name.removesuffix("_image"): values for name, values in group["obs"].items() if name.endswith("_image")},
        lambda images, step: np.asarray(images[step], dtype=np.uint8),
        {"split": split, "outcome": "success" if succeeded else "unlabelled"},
    )


def _actions(path: Path) -> Any:
    with Episode.open(path) as episode:
        return episode.actions
