"""The episodes of the dataset folder, for the page: list, play back, correct. No rclpy, no web framework.

Everything here waits for the disk: call it from a worker thread. Reading needs no lock. An edit takes the folder's lock
for edits, which a recorder that adds episodes does not need.
"""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_dashboard.wording import RefusalError, say
from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset import edit, trash
from mobile_vla_data.dataset.folder import Dataset, DatasetError, signature
from mobile_vla_data.dataset.info import episode_info
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.dataset.progress import Tally
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.reader import Episode, EpisodeError

_log = logging.getLogger(__name__)

Json = dict[str, Any]

#: Rows of actions and states that are sent of one episode; of a longer one, every second, third ...
MOST_ROWS = 2000
#: Images in one answer.
MOST_FRAMES = 64
#: In front of each JPEG of an answer: its length [bytes].
LENGTH = struct.Struct("!I")
_QUALITY = 90


class Library:
    """Reads and edits the episodes of the folder that ``folder()`` returns; empty: none is known."""

    def __init__(self, folder: Callable[[], str]) -> None:
        self._folder = folder
        self._cards: dict[Path, tuple[tuple[int, ...], Json]] = {}
        self._tally: tuple[Path, Tally] | None = None
        # Another edit of this page is waited for; one of another process is refused by the lock of the folder.
        self._editing = threading.Lock()
        self._counting = threading.Lock()

    def dataset(self) -> Dataset:
        """Return the dataset. Raises :class:`RefusalError` if none is known, or the folder is not there."""
        folder = self._folder()
        if not folder:
            raise RefusalError(say("library.none"))
        try:
            return Dataset.open(folder)
        except DatasetError:
            raise RefusalError(say("library.absent", folder=folder)) from None

    def _path(self, episode_id: str, version: str = "") -> Path:
        """Return the file of an episode.

        Raises:
            DatasetError: there is none.
            RefusalError: it is no longer the file of that version, the one in a card; empty: any.
        """
        path = self.dataset().episode_path(episode_id)
        if version and version != _version(path):
            raise RefusalError(say("episodes.changed", id=episode_id))
        return path

    @contextmanager
    def _reading(self, episode_id: str, version: str = "") -> Iterator[Episode]:
        """Open an episode; its file is that of the version when this begins and ends. Raises as :meth:`_path`."""
        path = self._path(episode_id, version)
        try:
            with Episode.open(path) as episode:
                yield episode
        except (EpisodeError, OSError):
            raise
        except (*DAMAGE, IndexError) as error:
            _log.warning("%s may be damaged", path, exc_info=error)
            raise RefusalError(say("library.damaged", path=str(path))) from None
        self._path(episode_id, version)

    def episodes(self, limit: int, before: str = "") -> Json:
        """Return the newest episodes, those before the episode ``before`` if it is given, newest first."""
        dataset = self.dataset()
        paths = dataset.episode_paths[::-1]
        last = schema.number_in_name(f"{before}.h5")
        older = [path for path in paths if last is None or (schema.number_in_name(path.name) or 0) < last]
        return {
            "dataset": str(dataset.path),
            "total": len(paths),
            "more": len(older) > limit,
            "episodes": [self._card(path) for path in older[:limit]],
        }

    def episode(self, episode_id: str) -> Json:
        """Return the card of one episode, with the findings of the whole check. Raises :class:`DatasetError`."""
        path = self._path(episode_id)
        return {**self._card(path), "findings": _findings(check_episode(path))}

    def _card(self, path: Path) -> Json:
        now = signature(path)
        known = self._cards.get(path)
        if known is not None and known[0] == now:
            return known[1]
        card = _card(path)
        # An episode that was on its way to the trash or back is soon the same file again, and can be read then.
        if not card["problem"]:
            self._cards[path] = now, card
        return card

    def steps(self, episode_id: str) -> Json:
        """Return times, states, actions, takeovers and targets of an episode, as lists over its steps."""
        with self._reading(episode_id) as episode:
            stride = max(1, math.ceil(episode.num_steps / MOST_ROWS))
            ticks, target = episode.timestamps_ns[::stride], episode.target
            return {
                "count": episode.num_steps,
                "stride": stride,
                "period_s": episode.contract.period_s,
                "times_s": _rows((ticks - ticks[:1]) * 1e-9),
                "state_names": list(STATE),
                "states": _rows(episode.states[::stride]),
                "action_names": list(action_names(episode.contract)),
                "actions": _rows(episode.actions[::stride]),
                "takeover": episode.takeover[::stride].astype(int).tolist(),
                "target": None if target is None else target[::stride].tolist(),
            }

    def frames(self, episode_id: str, camera: str, first: int, count: int, version: str = "") -> bytes:
        """Return JPEGs of ``count`` steps from ``first`` on, each behind its length (:data:`LENGTH`).

        They are the bytes of the file, unless the file holds raw images. Steps behind the end are left out.

        Raises:
            EpisodeError: the file cannot be read, or has no such camera.
            RefusalError: the file is no longer that of ``version``.
        """
        with self._reading(episode_id, version) as episode:
            steps = range(first, min(first + min(count, MOST_FRAMES), episode.num_steps))
            images = _jpegs(episode, camera, steps) if steps else []
        return b"".join(part for image in images for part in (LENGTH.pack(len(image)), image))

    def thumbnail(self, episode_id: str, version: str = "") -> bytes:
        """Return the first camera's image of the last step, as JPEG."""
        with self._reading(episode_id, version) as episode:
            last = max(0, episode.num_steps - 1)
            return _jpegs(episode, episode.cameras[0], range(last, last + 1))[0]

    # Corrections. ``version`` is that of the card that the operator saw: another page may have changed the file since.

    def relabel(self, episode_id: str, labels: edit.Labels, version: str = "") -> Json:
        """Set labels; return the card. Raises MetadataError for a value that is not allowed."""
        with self._editing:
            path = self._path(episode_id, version)
            edit.relabel(path, labels)
        return self._card(path)

    def trim(self, episode_id: str, first: int, last: int, version: str = "") -> Json:
        """Keep the steps ``first`` .. ``last``; return the card, and where the whole episode is in the trash."""
        dataset = self.dataset()
        with self._editing:
            path = self._path(episode_id, version)
            before = set(_trash(dataset))
            edit.trim(path, first, last)
            kept = [name for name in _trash(dataset) if name not in before]
        return {"episode": self._card(path), "undo": {"name": kept[0], "split": ""}}

    def annotate(self, episode_id: str, column: int, row: int, version: str = "") -> Json:
        """Set the target of the instruction in the first camera's image.

        Returns the card, the number of steps with the target, and the place of the target ``before``, None without one.
        """
        with self._editing:
            path = self._path(episode_id, version)
            with Episode.open(path) as episode:
                known = [] if episode.target is None else episode.target[episode.target[:, 0] >= 0].tolist()
            steps = edit.annotate(path, column, row)
        return {"episode": self._card(path), "steps": steps, "before": known[0] if known else None}

    def unmark(self, episode_id: str, version: str = "") -> Json:
        """Remove the target of the instruction; return the card."""
        with self._editing:
            path = self._path(episode_id, version)
            edit.forget_target(path)
        return self._card(path)

    def discard(self, episode_id: str, version: str = "") -> Json:
        """Move an episode to the trash; return what :meth:`restore` takes."""
        dataset = self.dataset()
        with self._editing:
            self._path(episode_id, version)
            splits = dataset.splits() or {}
            split = next((name for name, ids in splits.items() if episode_id in ids), "")
            (moved,) = trash.delete(dataset.path, [episode_id])
        return {"undo": {"name": moved.name, "split": split}}

    def restore(self, name: str, split: str, version: str = "") -> Json:
        """Take an episode back out of the trash; return its card. Raises :class:`DatasetError`.

        ``version``: of the trimmed episode that the whole one replaces.
        """
        dataset = self.dataset()
        with self._editing:
            if version:
                self._path(name.partition(".")[0], version)
            episode_id = trash.restore(dataset.path, name, split)
        return self._card(dataset.episode_path(episode_id))

    def plan(self, task: str = "") -> Json:
        """Return the progress of the collection, its forecast, and the next episode, of ``task`` if that is given.

        Raises:
            PlanError: plan.yaml is wrong.
        """
        dataset = self.dataset()
        plan = CollectionPlan.of_dataset(dataset.path)
        with self._counting:
            if self._tally is None or self._tally[0] != dataset.path:
                self._tally = dataset.path, Tally()
            tally = self._tally[1]
            tally.follow(dataset.path)
            return _progress(tally, plan, task)


def _progress(tally: Tally, plan: CollectionPlan | None, task: str) -> Json:
    tasks = [asdict(item) for item in tally.tasks(plan)]
    found: Json = {"episodes": tally.episodes, "steps": tally.steps, "tasks": tasks, "next": None, "step_range": None}
    if plan is None:
        return {**found, "planned": False}
    chosen = plan
    if task in plan.tasks:
        chosen = plan.model_copy(update={"tasks": {task: plan.tasks[task]}})
    proposal, finish = tally.propose(chosen), tally.forecast(plan, datetime.now(timezone.utc).date())
    if proposal is not None:
        found["next"] = asdict(proposal)
    done = tally.done(plan)
    return {
        **found,
        "planned": True,
        "step_range": [plan.steps.min, plan.steps.max],
        "done": done,
        "wanted": plan.episodes,
        "forecast": finish.isoformat() if finish and done < plan.episodes else None,
    }


def _card(path: Path) -> Json:
    version = _version(path)
    try:
        info = episode_info(path)
    except (*DAMAGE, IndexError) as error:
        why = str(error) if isinstance(error, EpisodeError) else say("library.damaged", path=str(path))
        return {"episode_id": path.stem, "version": version, "problem": why, "findings": []}
    # Without images: they are decoded when the episode is opened.
    return {**info, "version": version, "problem": "", "findings": _findings(check_episode(path, images=False))}


def _version(path: Path) -> str:
    """Return the version of an episode, another one whenever its file is replaced."""
    return "-".join(f"{number:x}" for number in signature(path))


def _findings(found: Sequence[Finding]) -> list[Json]:
    return [{name: value for name, value in item.as_dict().items() if name != "file"} for item in found]


def _rows(values: npt.NDArray[Any]) -> Any:
    """Return nested lists, with None for what JSON cannot say."""
    rounded = np.round(values.astype(np.float64), 4)
    return np.where(np.isfinite(rounded), rounded, None).tolist()  # type: ignore[call-overload]


def _jpegs(episode: Episode, camera: str, steps: range) -> list[bytes]:
    if episode.encoding(camera) == schema.JPEG:
        return [image.tobytes() for image in episode.jpegs(camera, steps)]
    return [jpeg.encode(episode.image(camera, step), _QUALITY) for step in steps]


def _trash(dataset: Dataset) -> list[str]:
    folder = dataset.path / schema.TRASH_FOLDER
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
