"""Checkpoints in repositories of the Hugging Face hub: upload, and download by name: ``hf:user/name[@revision]``.

The prefix is required because ``models/flat`` is a folder; mistyped, it must not become a stranger's repository.

Everything goes through huggingface_hub, with its cache, its tokens and its ``HF_ENDPOINT``.
"""

from __future__ import annotations

from pathlib import Path

from mobile_vla_data.hub.names import PREFIX, REPOSITORY, HubError, one_line, parse

__all__ = ["PREFIX", "HubError", "download", "is_hub_name", "push"]

#: Files of a checkpoint. Nothing else is downloaded: a repository may hold files that can run code.
_FILES = ["*.json", "*.safetensors", "*.yaml", "*.txt", "*.model"]


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` is that of a hub repository."""
    return name.startswith(PREFIX)


def download(name: str) -> Path:
    """Return the folder of a checkpoint ``hf:user/name[@revision]`` in the hub's cache; download it if it is new.

    Raises:
        HubError: there is none, access is denied, or the hub cannot be reached and nothing is cached.
    """
    from huggingface_hub import snapshot_download

    repo, revision = parse(name)
    with one_line(name):
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES))


def push(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Upload a checkpoint folder, create the repository if it is missing, and return the commit's address.

    Raises:
        HubError: not logged in, no permission, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    repo = repo.removeprefix(PREFIX)
    if REPOSITORY.fullmatch(repo) is None:
        raise HubError(f"'{repo}' is not a repository name; write user/name")
    with one_line(repo):
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message, allow_patterns=_FILES)
    return str(done.commit_url)
