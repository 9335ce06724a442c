"""Names of hub repositories, and errors of the hub in one line. Everything goes through huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PREFIX = "hf:"
REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_NAME = re.compile(rf"(?:{PREFIX})?(?P<repo>{REPOSITORY.pattern})(@(?P<revision>[\w./-]+))?")


class HubError(ValueError):
    """The hub has no such repository, or cannot be reached. The message is one line that says what to do."""


def parse(name: str) -> tuple[str, str | None]:
    """Return repository and revision of ``[hf:]user/name[@revision]``. Raises :class:`HubError`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise HubError(f"'{name}' is not a hub name; write user/name or user/name@revision")
    return match["repo"], match["revision"]


def other_episodes(files: Sequence[str]) -> str:
    """Return, for a message, that other episodes of these file names are where a dataset is pushed to."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"has another {files[0]}{more}; choose another address, or overwrite what is there with --replace"


@contextmanager
def one_line(name: str) -> Iterator[None]:
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
