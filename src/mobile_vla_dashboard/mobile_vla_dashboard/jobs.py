"""Work that waits for the disk, on threads of its own: the event loop, and STOP with it, never waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import HTTPException

from mobile_vla_dashboard.wording import RefusalError, say
from mobile_vla_data.dataset.edit import EditError
from mobile_vla_data.dataset.folder import DatasetError
from mobile_vla_data.dataset.plan import PlanError
from mobile_vla_data.episode.metadata import MetadataError
from mobile_vla_data.episode.reader import EpisodeError
from mobile_vla_data.storage.lock import FolderBusyError

T = TypeVar("T")

#: Errors that say in one line why something cannot be done. Any other is a fault of the program, and no refusal.
REFUSED = (DatasetError, EditError, EpisodeError, MetadataError, PlanError, FolderBusyError, OSError)

#: Two, so that playback goes on while an episode is checked or rewritten.
THREADS = 2
#: Requests that may wait for a thread. A page asks for a dozen thumbnails at once.
WAITING = 48


class Jobs:
    """Runs work for requests, a limited number at a time. Used on the event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="episodes")
        self._running = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``.

        Raises:
            RefusalError: it cannot be done.
            HTTPException: 503 if too much is waiting already.
        """
        if self._running >= THREADS + WAITING:
            raise HTTPException(503, say("reply.busy"))
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except REFUSED as error:
            raise RefusalError(" ".join(str(error).split())) from None
        finally:
            self._running -= 1
