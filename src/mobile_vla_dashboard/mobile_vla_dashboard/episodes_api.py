"""Addresses of the episodes, under ``/api``: list, play back, correct, the plan's progress. No rclpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from mobile_vla_dashboard.answers import BUSY, Binary, Jpeg
from mobile_vla_dashboard.jobs import Jobs
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.library import MOST_FRAMES, Json, Library
from mobile_vla_dashboard.wording import RefusalError, say
from mobile_vla_data.dataset.edit import Labels
from mobile_vla_data.episode.metadata import Category, Outcome

#: An id has this form, so that no request names a file outside the folder.
EpisodeId = Annotated[str, Path(pattern=r"^episode_[0-9]{6,12}$", max_length=24)]
Camera = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Step = Annotated[int, Field(ge=0, le=10_000_000)]
#: Of the file, as in the episode's card. An answer of 409 says that the file is another by now; empty: any.
Version = Annotated[str, Query(max_length=80)]

_NO_CACHE = {"Cache-Control": "no-cache"}
#: The address holds the version of the file, so an answer stays true.
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Relabel(_Body):
    """New labels; what is left out stays."""

    language: str | None = Field(None, max_length=2000)
    task: str | None = Field(None, max_length=200)
    category: Category | None = None
    outcome: Outcome | None = None


class Trim(_Body):
    """First and last step to keep."""

    first: Step
    last: Step


class Target(_Body):
    """Place of the instruction's target in the first camera's image as stored [px]."""

    column: int = Field(ge=0, le=100_000)
    row: int = Field(ge=0, le=100_000)


class Restore(_Body):
    """File in the trash to take back, and the split that the episode was in."""

    name: str = Field(pattern=r"^episode_[0-9]{6,12}\.h5(\.untrimmed)?(\.[0-9]{1,6})?$", max_length=64)
    split: str = Field("", max_length=64)


def episodes(library: Library, jobs: Jobs, latest: Latest) -> APIRouter:
    """Return the routes; every correction counts in ``latest.edits``."""
    router = APIRouter(prefix="/api", tags=["episodes"], responses=BUSY)

    async def as_json(work: Callable[[], Json]) -> Response:
        text = await jobs.run(lambda: _as_text(work()))
        return Response(text, media_type="application/json", headers=_NO_CACHE)

    async def as_done(message: str, work: Callable[[], Json]) -> Response:
        answer = await as_json(lambda: {"ok": True, "message": message, **work()})
        latest.edits += 1
        return answer

    @router.get("/plan")
    async def plan(task: Annotated[str, Query(max_length=200)] = "") -> Response:
        """Return the progress of the collection by task, the forecast, and the next episode to record."""
        return await as_json(lambda: library.plan(task))

    @router.get("/episodes")
    async def listed(
        limit: Annotated[int, Query(ge=1, le=50)] = 12,
        before: Annotated[str, Query(pattern=r"^(episode_[0-9]{6,12})?$")] = "",
    ) -> Response:
        """Return the newest episodes of the dataset folder, newest first."""
        return await as_json(lambda: library.episodes(limit, before))

    @router.get("/episodes/{episode_id}")
    async def one(episode_id: EpisodeId) -> Response:
        """Return the labels of one episode, and every finding of its check."""
        return await as_json(lambda: library.episode(episode_id))

    @router.get("/episodes/{episode_id}/steps")
    async def steps(episode_id: EpisodeId) -> Response:
        """Return states, actions and times of an episode."""
        return await as_json(lambda: library.steps(episode_id))

    @router.get("/episodes/{episode_id}/thumbnail", response_class=Jpeg)
    async def thumbnail(episode_id: EpisodeId, v: Version = "") -> Response:
        """Return the first camera's last image as JPEG."""
        image = await jobs.run(lambda: library.thumbnail(episode_id, v))
        return Jpeg(image, headers=_FOREVER if v else _NO_CACHE)

    @router.get("/episodes/{episode_id}/frames/{camera}", response_class=Binary)
    async def frames(
        episode_id: EpisodeId,
        camera: Camera,
        first: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_FRAMES)] = MOST_FRAMES,
        v: Version = "",
    ) -> Response:
        """Return images of consecutive steps: each as its length (4 bytes, big-endian) and its JPEG."""
        found = await jobs.run(lambda: library.frames(episode_id, camera, first, count, v))
        return Binary(found, headers=_FOREVER if v else _NO_CACHE)

    @router.post("/episodes/{episode_id}/relabel")
    async def relabel(episode_id: EpisodeId, body: Relabel, v: Version = "") -> Response:
        """Correct labels of an episode."""
        labels = Labels(body.language, body.task, body.category, body.outcome)
        return await as_done(f"{episode_id}: relabelled", lambda: {"episode": library.relabel(episode_id, labels, v)})

    @router.post("/episodes/{episode_id}/trim")
    async def trim(episode_id: EpisodeId, body: Trim, v: Version = "") -> Response:
        """Keep the steps from ``first`` to ``last``; the whole episode stays in the trash."""
        return await as_done(f"{episode_id}: trimmed", lambda: library.trim(episode_id, body.first, body.last, v))

    @router.post("/episodes/{episode_id}/target")
    async def target(episode_id: EpisodeId, body: Target, v: Version = "") -> Response:
        """Mark the target of the instruction in the first camera's image."""
        return await as_done(
            f"{episode_id}: target set", lambda: library.annotate(episode_id, body.column, body.row, v)
        )

    @router.post("/episodes/{episode_id}/unmark")
    async def unmark(episode_id: EpisodeId, v: Version = "") -> Response:
        """Remove the target."""
        return await as_done(f"{episode_id}: target removed", lambda: {"episode": library.unmark(episode_id, v)})

    @router.post("/episodes/{episode_id}/discard")
    async def discard(episode_id: EpisodeId, v: Version = "") -> Response:
        """Move an episode to the trash; ``undo`` is what ``restore`` takes."""
        return await as_done(f"{episode_id}: moved to the trash", lambda: library.discard(episode_id, v))

    @router.post("/restore")
    async def restore(body: Restore, v: Version = "") -> Response:
        """Take an episode back out of the trash; ``v`` is the version of a trimmed one that the whole one replaces."""
        return await as_done("restored", lambda: {"episode": library.restore(body.name, body.split, v)})

    return router


def _as_text(content: Json) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        # NaN from a file would not be JSON.
        raise RefusalError(say("library.nan")) from None
