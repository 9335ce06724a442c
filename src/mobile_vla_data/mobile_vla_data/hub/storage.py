"""Datasets on object storage, or on any other file system that fsspec knows: s3://, gs://, az://, sftp:// and more.

Beside the files lies ``manifest.json``, which names each with its size and SHA-256, and the episodes also with their
fingerprints, by which they are told from those of another dataset. Only what differs is sent or received, and what
arrives is checked. Credentials are those of the file system's own library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mobile_vla_data.convert.building import building, require_new
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import fingerprint
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.hub.names import HubError, other_episodes
from mobile_vla_data.storage.durable import file_digest, write_text_atomically
from mobile_vla_data.storage.folders import cache_folder
from mobile_vla_data.storage.lock import FolderBusyError, FolderLock

MANIFEST = "manifest.json"
#: In the cache: what each file held when it was last received.
_RECEIVED = ".received.json"
_EXTRA = "storage"
_FINGERPRINT = "fingerprint"

Entry = dict[str, Any]
Progress = Callable[[int, int], None]


def is_url(name: str | Path) -> bool:
    """Return whether ``name`` is an address such as s3://bucket/flat."""
    return "://" in str(name)


def push(dataset: str | Path, url: str, progress: Progress = lambda done, total: None, *, replace: bool = False) -> int:
    """Send a dataset's episodes, plan and splits, and return how many files were sent; interrupted, repeat it.

    Episodes that only the storage has stay there. With ``replace``, those that have other steps there are overwritten.

    Raises:
        HubError: the storage cannot be written to, or has other episodes under the same ids.
        DatasetError: there is no such folder.
        EpisodeError: an episode cannot be read.
    """
    folder = Dataset.open(dataset)
    paths = folder.sent_paths
    if not folder.episode_paths:
        raise HubError(f"{folder.path}: there is no episode to send")
    with _opened(url) as (files, root):
        known = _manifest(files, root, url) or {}
        entries = {path.name: _entry(path) for path in paths}
        for path in folder.episode_paths:
            with Episode.open(path) as episode:
                entries[path.name][_FINGERPRINT] = fingerprint(episode)
        missing = [path for path in paths if known.get(path.name, {}).get("sha256") != entries[path.name]["sha256"]]
        others = [
            path.name
            for path in missing
            if path.name in known and known[path.name].get(_FINGERPRINT) != entries[path.name].get(_FINGERPRINT)
        ]
        if others and not replace:
            raise HubError(f"{url}: {other_episodes(others)}")
        files.makedirs(root, exist_ok=True)
        for done, path in enumerate(missing):
            progress(done, len(missing))
            files.put_file(str(path), f"{root}/{path.name}")
        # Last: it names no file that is not there.
        files.pipe_file(f"{root}/{MANIFEST}", json.dumps({**known, **entries}, indent=1).encode())
    return len(missing)


def pull(url: str, target: str | Path, progress: Progress = lambda done, total: None) -> Path:
    """Receive a dataset into the new folder ``target``; interrupted, the same call continues.

    Raises:
        HubError: the storage cannot be read, holds no dataset, or a file differs from the manifest.
        ConvertError: ``target`` exists.
        OSError: the disk is full.
    """
    target = Path(target)
    require_new(target)
    with _opened(url) as (files, root):
        wanted = _wanted(files, root, url)
        with building(target, {"url": url, "files": wanted}) as (work, _):
            _receive(files, root, wanted, work, {}, progress)
    return target


def cached(url: str, progress: Progress = lambda done, total: None) -> Path:
    """Return a local copy of a dataset, kept in the cache folder and brought up to date with the storage.

    It lies in :func:`mobile_vla_data.storage.folders.cache_folder`. While another process receives the dataset, such as
    another one of the same training, it is waited for.

    Raises:
        HubError: see :func:`pull`.
    """
    name = url.rstrip("/").rpartition("/")[2]
    folder = cache_folder() / "datasets" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / _RECEIVED
    with _waited_for(_CacheLock(folder, ".receiving.lock")), _opened(url) as (files, remote):
        wanted = _wanted(files, remote, url)
        received = json.loads(record.read_text()) if record.exists() else {}
        for gone in set(received) - set(wanted):
            (folder / gone).unlink(missing_ok=True)
        received = {name: entry for name, entry in received.items() if name in wanted}
        try:
            _receive(files, remote, wanted, folder, received, progress)
        finally:
            write_text_atomically(record, json.dumps(received))
    return folder


def _waited_for(lock: FolderLock) -> FolderLock:
    """Take the lock, however long its holder works; the kernel frees it when that process ends."""
    while True:
        with suppress(FolderBusyError):
            lock.acquire()
            return lock


class _CacheLock(FolderLock):
    def busy(self, holder: str) -> FolderBusyError:
        return FolderBusyError(f"{self.folder}: {holder} receives this dataset; wait for it")


def _receive(
    files: Any, root: str, wanted: dict[str, Entry], folder: Path, received: dict[str, Entry], progress: Progress
) -> None:
    """Receive what ``received`` does not have, and note it there."""
    for done, (name, entry) in enumerate(wanted.items()):
        progress(done, len(wanted))
        path = folder / name
        if path.is_file() and (received.get(name) == entry or _entry(path) == entry):
            received[name] = entry
            continue
        part = folder / f".{name}.part"
        files.get_file(f"{root}/{name}", str(part))
        if _entry(part) != entry:
            part.unlink()
            raise HubError(f"{root}/{name}: differs from {MANIFEST}; if it is being sent, wait, else push it again")
        os.replace(part, path)
        received[name] = entry


def _wanted(files: Any, root: str, url: str) -> dict[str, Entry]:
    manifest = _manifest(files, root, url)
    if manifest is None:
        raise HubError(f"{url}: there is no {MANIFEST}; send a dataset there with 'mobile-vla-data push FOLDER {url}'")
    strange = [name for name in manifest if Path(name).name != name or name.startswith(".")]
    if strange:
        raise HubError(f"{url}: {MANIFEST} names '{strange[0]}', which is no file of a dataset")
    return {name: {key: entry[key] for key in ("size", "sha256")} for name, entry in manifest.items()}


def _manifest(files: Any, root: str, url: str) -> dict[str, Entry] | None:
    try:
        text = files.cat_file(f"{root}/{MANIFEST}")
    except FileNotFoundError:
        return None
    try:
        entries: dict[str, Entry] = json.loads(text)
        return {
            str(name): {**entry, "size": int(entry["size"]), "sha256": str(entry["sha256"])}
            for name, entry in entries.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HubError(f"{url}: {MANIFEST} is damaged; push the dataset again") from None


def _entry(path: Path) -> Entry:
    return {"size": path.stat().st_size, "sha256": file_digest(path)}


@contextmanager
def _opened(url: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system of ``url`` and the path in it; its library's errors become one line."""
    fsspec = import_extra("fsspec", _EXTRA)
    try:
        files, root = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
        yield files, root.rstrip("/")
    except HubError:
        raise
    except ImportError as error:
        raise HubError(f"{url}: {' '.join(str(error).split())}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename is not None and Path(str(error.filename)).is_absolute():
            raise
        raise HubError(f"{url}: {' '.join(str(error).split())[:200] or type(error).__name__}") from None
