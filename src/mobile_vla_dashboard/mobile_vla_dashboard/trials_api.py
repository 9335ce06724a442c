"""Addresses of trials on the robot, under ``/api/trials``. No rclpy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from mobile_vla_dashboard.answers import BUSY, Animation, Jpeg
from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.trial_report import animation, images, report
from mobile_vla_dashboard.trials import REASONS, Series, SeriesPlan, Store, TrialsError, for_page
from mobile_vla_dashboard.wording import say

SeriesId = Annotated[str, Path(pattern=r"^series_[0-9]{8}_[0-9]{6}$", max_length=32)]
Trial = Annotated[int, Path(ge=0, le=9999)]

#: Series of which the page shows a line.
_LISTED = 20
#: The report brings its style and its images along, and runs nothing.
_REPORT = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
_NO_CACHE = {"Cache-Control": "no-cache"}


class Verdict(BaseModel):
    """Outcome of a trial; a failure has a reason of the list."""

    model_config = ConfigDict(extra="forbid")
    outcome: Literal["success", "failure"]
    reason: str = Field("", max_length=100)
    note: str = Field("", max_length=500)


def _shown(series: Series) -> Response:
    return JSONResponse({"ok": True, "series": for_page(series)})


def trials(robot: Robot, desk: TrialDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/trials", tags=["trials"], responses=BUSY)
    store, jobs = desk.store, desk.jobs

    @router.get("")
    async def listed() -> Response:
        """Return the newest series, without their trials; the reasons of failure; checkpoints to choose from."""

        def lines() -> list[dict[str, Any]]:
            found = []
            for series_id in store.ids()[:_LISTED]:
                try:
                    shown = for_page(store.load(series_id))
                except TrialsError as error:
                    found.append({"id": series_id, "problem": error.why})
                    continue
                found.append({name: shown[name] for name in ("id", "title", "created_at", "trials", "done", "over")})
            return found

        names = list(await jobs.run(desk.checkpoints))
        found = await jobs.run(lines)
        return JSONResponse({"ok": True, "series": found, "reasons": list(REASONS), "checkpoints": names})

    @router.post("")
    async def create(plan: SeriesPlan) -> Response:
        """Make a series: the order of its trials is drawn, and its checkpoints get letters."""
        return _shown(await jobs.run(lambda: store.create(plan, robot.contract.robot)))

    @router.get("/{series_id}")
    async def one(series_id: SeriesId) -> Response:
        """Return a series with its results; which checkpoint is which only once it is over."""
        return _shown(await jobs.run(lambda: store.load(series_id)))

    @router.post("/{series_id}/prepare")
    async def prepare(series_id: SeriesId) -> Response:
        """Take up a series and load the checkpoint of its next trial; answers when it is loaded."""
        return _shown(await desk.prepare(series_id))

    @router.post("/{series_id}/begin")
    async def begin(series_id: SeriesId) -> Response:
        """Let the policy follow the instruction of the next trial."""
        await desk.begin(series_id)
        return JSONResponse({"ok": True})

    @router.post("/{series_id}/halt")
    async def halt(series_id: SeriesId) -> Response:
        """End the driving of the trial, which waits to be judged."""
        await desk.halt(series_id)
        return JSONResponse({"ok": True})

    @router.post("/{series_id}/judge")
    async def judge(series_id: SeriesId, body: Verdict) -> Response:
        """Keep the result of the trial."""
        return _shown(await desk.judge(series_id, body.outcome, body.reason, body.note))

    @router.post("/{series_id}/discard")
    async def discard(series_id: SeriesId) -> Response:
        """End the trial without a result; it is made again."""
        await desk.discard(series_id)
        return JSONResponse({"ok": True})

    @router.post("/{series_id}/forget")
    async def forget(series_id: SeriesId) -> Response:
        """Take back the last result; that trial is made again."""
        return _shown(await desk.forget(series_id))

    @router.post("/{series_id}/close")
    async def close(series_id: SeriesId) -> Response:
        """End a series early and reveal its checkpoints."""
        return _shown(await desk.close(series_id))

    @router.get("/{series_id}/report", response_class=HTMLResponse)
    async def page(series_id: SeriesId) -> Response:
        """Return the report as one HTML page."""
        html = await jobs.run(lambda: report(store, store.load(series_id)))
        return HTMLResponse(html, headers=_REPORT)

    @router.get("/{series_id}/video/{trial}", response_class=Animation)
    async def video(series_id: SeriesId, trial: Trial) -> Response:
        """Return the first camera's images of a trial as an animation (WebP)."""
        content = await jobs.run(lambda: animation(_video(store, series_id, trial)))
        # A trial that is made again has the same address.
        return Animation(content, headers=_NO_CACHE)

    @router.get("/{series_id}/video/{trial}/first", response_class=Jpeg)
    async def first(series_id: SeriesId, trial: Trial) -> Response:
        """Return the first image of a trial as JPEG: how the scene was placed."""
        content = await jobs.run(lambda: images(_video(store, series_id, trial))[0])
        return Jpeg(content, headers=_NO_CACHE)

    return router


def _video(store: Store, series_id: str, trial: int) -> Any:
    results = store.load(series_id).results
    if trial >= len(results) or not results[trial].video:
        raise TrialsError(say("trials.refused.video", trial=trial, series=series_id))
    return store.path(series_id) / results[trial].video
