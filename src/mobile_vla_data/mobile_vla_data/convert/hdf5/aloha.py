"""ACT / ALOHA: one HDF5 file for each episode, ``qpos``, ``qvel``, images and ``action``.

The layout is that of https://github.com/tonyzhaozh/act (``utils.py``, ``record_sim_episodes.py``). ``qpos`` is our
state, ``qvel`` its change per second, ``action`` our action. Original ACT expects episodes of one length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mobile_vla_data.convert.adopt import Imported
from mobile_vla_data.convert.building import Progress, building, write_each
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.hdf5.adopting import StoredEpisode, adopt_all
from mobile_vla_data.convert.hdf5.steps import by_number, open_file, write_extras, write_images
from mobile_vla_data.convert.labels import Defaults, describe, written_at
from mobile_vla_data.convert.pixels import decode
from mobile_vla_data.convert.selection import SelectedEpisode, Selection, select
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import Image, ImageError
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_data.storage.durable import make_atomically


@dataclass(frozen=True)
class AlohaExport:
    """Options of an export to ACT / ALOHA."""

    length: int | None = None
    """Steps of each file: longer episodes are cut, shorter ones repeat their last step; None: as they are."""
    compression: str | None = None
    """HDF5 filter of the images: lzf, gzip or None, as in ACT's own files."""
    cameras: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()


def export_aloha(
    dataset: str | Path,
    target: str | Path,
    options: AlohaExport,
    progress: Progress | None = None,
    spread: Spread = HERE,
) -> Selection:
    """Write each episode as ``TARGET/episode_N.hdf5``; interrupted, the next call with the same arguments continues.

    ``spread`` says where the episodes are written.

    Raises:
        ConvertError: ``target`` exists, or the dataset does not fit.
        EpisodeError: a file cannot be read.
        OSError: the disk is full.
    """
    selection = select(dataset, options.cameras, options.outcomes)
    with building(Path(target), {"options": asdict(options), "episodes": selection.identity}) as (work, _):
        files = [(work / f"episode_{number}.hdf5", item) for number, item in enumerate(selection.episodes)]
        left = [(path, item) for path, item in files if not path.exists()]
        write_each(spread, partial(_FileWriter, selection, options), _FileWriter.write, left, len(files), progress)
    return selection


def import_aloha(
    source: str | Path,
    dataset: str | Path,
    defaults: Defaults,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Add a folder of ACT / ALOHA episodes to a dataset folder, which is created if missing.

    Raises:
        ConvertError: no such files, damaged, or they do not fit the contract.
        ContractError: the dataset has episodes under another contract.
        OSError: the disk is full.
    """
    paths = sorted(Path(source).glob("episode_*.hdf5"), key=lambda path: by_number(path.stem))
    if not paths:
        raise ConvertError(f"{source}: has no episode_N.hdf5 files")
    return adopt_all(_stored_all(paths), len(paths), dataset, defaults, progress)


def _stored_all(paths: list[Path]) -> Iterator[StoredEpisode]:
    for number, path in enumerate(paths, start=1):
        with open_file(path) as file:
            yield _stored(file, path, number)


@dataclass(frozen=True)
class _FileWriter:
    selection: Selection
    options: AlohaExport

    def write(self, job: tuple[Path, SelectedEpisode]) -> None:
        _write(*job, self.selection, self.options)


def _write(path: Path, item: SelectedEpisode, selection: Selection, options: AlohaExport) -> None:
    with Episode.open(item.path) as episode:
        wanted = options.length or episode.num_steps

        def write(part: Path) -> None:
            with h5py.File(part, "w") as file:
                file.attrs["sim"], file.attrs["compress"] = False, False
                states = _of_length(episode.states, wanted)
                file["observations/qpos"] = states
                file["observations/qvel"] = _of_length(_velocities(episode), wanted)
                file["action"] = _of_length(episode.actions, wanted)
                for camera in selection.cameras:
                    name = f"observations/images/{camera}"
                    write_images(file, name, episode, camera, options.compression, wanted)
                if wanted == episode.num_steps:
                    write_extras(file, episode, describe(episode, item.split))

        make_atomically(path, write)


def _velocities(episode: Episode) -> npt.NDArray[np.float32]:
    """Change of the state per second ``[T, 3]``, 0 at the first step."""
    states = episode.states.astype(np.float64)
    elapsed_s = np.diff(episode.timestamps_ns)[:, None] * 1e-9
    return np.concatenate([np.zeros((1, states.shape[1])), np.diff(states, axis=0) / elapsed_s]).astype(np.float32)


def _of_length(values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    kept = values[:length]
    return np.concatenate([kept, np.repeat(kept[-1:], length - len(kept), axis=0)])


def _stored(file: Any, path: Path, number: int) -> StoredEpisode:
    missing = [name for name in ("action", "observations/qpos", "observations/images") if name not in file]
    if missing:
        raise ConvertError(f"{path}: '{missing[0]}' is missing")
    actions, states = file["action"][()], file["observations/qpos"][()]
    return StoredEpisode(
        file, str(path), written_at(path), number, actions, states, dict(file["observations/images"]), _image
    )


def _image(dataset: Any, step: int) -> Image:
    """Return a frame; files with ``compress`` hold JPEG bytes padded with zeros, encoded as if RGB were BGR."""
    frame = np.asarray(dataset[step], dtype=np.uint8)
    if frame.ndim == 3:
        return frame
    try:
        return decode(frame.tobytes())[..., ::-1]
    except ImageError as error:
        raise ConvertError(f"{dataset.file.filename}: {dataset.name}, step {step}: {error}") from None
