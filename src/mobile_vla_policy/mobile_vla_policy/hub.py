"""Checkpoints in repositories of the Hugging Face hub: upload, and download by name: ``hf:user/name[@revision]``.

The prefix is required because ``models/flat`` is a folder; mistyped, it must not become a stranger's repository.

Everything goes through huggingface_hub, with its cache, its tokens and its ``HF_ENDPOINT``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "hf:"
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_NAME = re.compile(rf"{PREFIX}(?P<repo>{_REPOSITORY.pattern})(@(?P<revision>[\w./-]+))?")
#: Files of a checkpoint. Nothing else is downloaded: a repository may hold files that can run code.
_FILES = ["*.json", "*.safetensors", "*.yaml", "*.txt", "*.model"]


class HubError(ValueError):
    """The hub has no such checkpoint, or cannot be reached. The message is one line that says what to do."""


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` is that of a hub repository."""
    return name.startswith(PREFIX)


def download(name: str) -> Path:
    """Return the folder of a checkpoint ``hf:user/name[@revision]`` in the hub's cache; download it if it is new.

    Raises:
        HubError: there is none, access is denied, or the hub cannot be reached and nothing is cached.
    """
    from huggingface_hub import snapshot_download

    match = _NAME.fullmatch(name)
    if match is None:
        raise HubError(f"'{name}' is not a hub name; write hf:user/name or hf:user/name@revision")
    with _one_line(name):
        return Path(snapshot_download(match["repo"], revision=match["revision"], allow_patterns=_FILES))


def push(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Upload a checkpoint folder, create the repository if it is missing, and return the commit's address.

    Raises:
        HubError: not logged in, no permission, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    repo = repo.removeprefix(PREFIX)
    if _REPOSITORY.fullmatch(repo) is None:
        raise HubError(f"'{repo}' is not a repository name; write user/name")
    with _one_line(repo):
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message, allow_patterns=_FILES)
    return str(done.commit_url)


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn errors of the client into one line. The order matters: they are subclasses of each other."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError:
        raise HubError(f"hub: '{name}' is gated; request access on its page, then run hf auth login") from None
    except errors.RepositoryNotFoundError:
        raise HubError(f"hub: no repository '{name}', or it is private; check the name, or run hf auth login") from None
    except errors.RevisionNotFoundError:
        raise HubError(f"hub: '{name}': no such revision; leave out @... for the newest") from None
    except (errors.LocalTokenNotFoundError, errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        raise HubError(f"hub: '{name}': {_reason(error, constants.ENDPOINT)}") from None
    except Exception as error:
        # The HTTP library below differs between versions of the client, and with it the class of a refused connection.
        if not type(error).__module__.startswith("httpx"):
            raise
        raise HubError(f"hub: '{name}': {_reason(error, constants.ENDPOINT)}") from None


def _reason(error: Exception, endpoint: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"not allowed ({status}); run hf auth login with a token that may write"
    if status is not None:
        return f"{endpoint} answered {status}: {' '.join(str(error).split())[:200]}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; set HF_HOME to a folder that can be written to"
    return (
        f"{endpoint} cannot be reached and nothing is cached; give a local folder, or check network and HF_HUB_OFFLINE"
    )
