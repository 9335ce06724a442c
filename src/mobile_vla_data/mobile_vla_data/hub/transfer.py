"""Push a dataset folder to a hub repository, and pull one."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mobile_vla_data.checks.validate import ValidationReport
from mobile_vla_data.convert.building import building, require_new
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.dataset.folder import SENT_WITH_EPISODES, Dataset
from mobile_vla_data.hub.card import PREVIEW, make_card
from mobile_vla_data.hub.names import HubError, one_line, other_episodes, parse
from mobile_vla_data.storage.durable import file_digest

_EXTRA = "hub"
#: What is downloaded. A repository may hold files that can run code.
_FILES = ["episode_*.h5", *SENT_WITH_EPISODES]


def push(
    dataset: str | Path,
    name: str,
    validation: ValidationReport,
    *,
    licence: str,
    private: bool,
    message: str,
    replace: bool = False,
) -> str:
    """Upload a dataset with its card, create the repository if it is missing, and return the commit's address.

    Episodes that the repository has already are not sent again. Those that only the repository has stay there. With
    ``replace``, those that differ there are overwritten.

    Raises:
        HubError: the repository has other episodes under the same ids, not logged in, no permission, or the hub cannot
            be reached.
        ConvertError: the dataset has no episodes, or huggingface_hub is missing.
        EpisodeError: a file cannot be read.
    """
    repo, revision = parse(name)
    if revision is not None:
        raise HubError(f"'{name}': a push goes to the newest revision; leave out @{revision}")
    hub = import_extra("huggingface_hub", _EXTRA)
    folder = Dataset.open(dataset)
    card = make_card(folder.path, validation, repo, licence)
    api = hub.HfApi()
    with one_line(repo):
        there = _digests(api, repo)
    same = {path.name for path in folder.episode_paths if path.name in there and there[path.name] == file_digest(path)}
    others = [path.name for path in folder.episode_paths if path.name in there and path.name not in same]
    if others and not replace:
        raise HubError(f"hub: '{repo}': {other_episodes(others)}")
    operations = [
        hub.CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=str(path))
        for path in folder.sent_paths
        if path.name not in same
    ]
    operations += [
        hub.CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=card.text.encode()),
        hub.CommitOperationAdd(path_in_repo=PREVIEW, path_or_fileobj=card.preview),
    ]
    with one_line(repo):
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        done = api.create_commit(repo, operations, commit_message=message, repo_type="dataset")
    return str(done.commit_url)


def _digests(api: Any, repo: str) -> dict[str, str]:
    """Return file -> SHA-256 of the files of a repository, empty for small ones; none where there is no repository."""
    if not api.repo_exists(repo, repo_type="dataset"):
        return {}
    stored = {item.path: getattr(item, "lfs", None) for item in api.list_repo_tree(repo, repo_type="dataset")}
    return {path: found.sha256 if found else "" for path, found in stored.items()}


def pull(name: str, target: str | Path) -> Path:
    """Download a dataset into the new folder ``target``; interrupted, the same call continues.

    Raises:
        HubError: there is none, access is denied, or the hub cannot be reached.
        ConvertError: ``target`` exists, the repository holds no episodes, or huggingface_hub is missing.
        OSError: the disk is full.
    """
    repo, revision = parse(name)
    hub = import_extra("huggingface_hub", _EXTRA)
    target = Path(target)
    require_new(target)
    with one_line(name):
        found = hub.HfApi().repo_info(repo, repo_type="dataset", revision=revision)
    wanted = [item.rfilename for item in found.siblings if any(fnmatch(item.rfilename, kind) for kind in _FILES)]
    if not any(name.endswith(".h5") for name in wanted):
        raise ConvertError(f"hub: '{name}' holds no episodes; a LeRobotDataset is read with 'import lerobot'")
    with building(target, {"repo": repo, "commit": found.sha}) as (work, _):
        with one_line(name):
            hub.snapshot_download(repo, repo_type="dataset", revision=found.sha, local_dir=work, allow_patterns=wanted)
        # Without a connection the client is content with what the folder holds.
        if missing := [file for file in wanted if not (work / file).is_file()]:
            raise HubError(f"hub: '{name}': {len(missing)} of {len(wanted)} files are missing; run the command again")
    return target
