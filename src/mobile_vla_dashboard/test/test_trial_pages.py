"""Two pages at one desk of trials: their requests meet while the disk or the policy is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from episodes_stage import CONTRACT

from mobile_vla_dashboard.jobs import THREADS, Jobs
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.robot import Reply
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.trials import SeriesPlan, Store, TrialsError
from mobile_vla_dashboard.wording import say

PLAN = SeriesPlan(instructions=["go to the kitchen"], rounds=3)
DONE = Reply(True, "done")
BUSY = "the dashboard is busy with earlier requests; try again"


class Policy:
    """A robot whose policy takes every goal at once, unless ``slow``: then the test answers."""

    def __init__(self) -> None:
        self.latest = Latest({"static": "static_camera/image_raw"})
        self.contract, self.drivable, self.slow = CONTRACT, False, False
        self.calls: list[str] = []
        self.goal: Future[Reply] = Future()
        """Answer to the newest policy/execute."""

    def call(self, service: str, fields: Mapping[str, str]) -> Future[Reply]:
        self.calls.append(service)
        reply: Future[Reply] = Future()
        if service == "policy/execute":
            self.goal = reply
        if not (self.slow and service == "policy/execute"):
            reply.set_result(DONE)
        return reply


class Pages:
    """A desk with one prepared series, which has one result."""

    def __init__(self, folder: Path) -> None:
        self.robot, self.jobs = Policy(), Jobs()
        robot: Any = self.robot
        self.desk = TrialDesk(robot, Store(folder), self.jobs, dict)
        self.series = self.desk.store.create(PLAN, "robot").id

    async def prepare(self) -> None:
        await self.desk.prepare(self.series)
        await self.desk.begin(self.series)
        await self.desk.judge(self.series, "success", "", "")
        await self.desk.prepare(self.series)
        self.robot.calls.clear()

    @asynccontextmanager
    async def slow_disk(self) -> AsyncIterator[threading.Event]:
        """Keep both threads of the jobs busy until the event is set or the block ends."""
        free = threading.Event()
        held = [asyncio.create_task(self.jobs.run(free.wait)) for _ in range(THREADS)]
        await asyncio.sleep(0)
        try:
            yield free
        finally:
            free.set()
            await asyncio.gather(*held)

    async def started(self, action: str, *arguments: str) -> asyncio.Task[Any]:
        """Send the request of a page; it waits for the disk or for the policy."""
        task = asyncio.create_task(getattr(self.desk, action)(self.series, *arguments))
        await asyncio.sleep(0.05)
        assert not task.done()
        return task


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path)


@pytest.mark.parametrize(
    ("action", "why", "after"),
    [("prepare", "a checkpoint is being loaded", "ready"), ("forget", BUSY, "idle"), ("close", BUSY, "idle")],
)
def test_no_trial_begins_while_a_request_of_another_page_waits_for_the_disk(
    pages: Pages, action: str, why: str, after: str
) -> None:
    async def meet() -> None:
        await pages.prepare()
        async with pages.slow_disk():
            first = await pages.started(action)
            with pytest.raises(TrialsError, match=why):
                await asyncio.wait_for(pages.desk.begin(pages.series), 1.0)
        await first
        assert pages.desk.state()["phase"] == after and not pages.robot.calls

    asyncio.run(meet())


def test_no_trial_begins_while_the_result_of_the_last_one_is_being_written(pages: Pages) -> None:
    async def meet() -> None:
        await pages.prepare()
        await pages.desk.begin(pages.series)
        await pages.desk.halt(pages.series)
        async with pages.slow_disk() as free:
            first = await pages.started("judge", "success", "", "")
            second = await pages.started("judge", "failure", "wrong room", "")
            free.set()
            await first
            # The desk is free again; the end of the other page's request must not end the next trial.
            await pages.desk.begin(pages.series)
            with pytest.raises(TrialsError, match="no trial is prepared"):
                await second
        assert pages.desk.running
        assert [result.outcome for result in pages.desk.store.load(pages.series).results] == ["success", "success"]

    asyncio.run(meet())


def test_two_pages_do_not_load_a_checkpoint_at_the_same_time(pages: Pages) -> None:
    async def meet() -> None:
        await pages.prepare()
        async with pages.slow_disk():
            first = await pages.started("prepare")
            with pytest.raises(TrialsError, match="a checkpoint is being loaded"):
                await asyncio.wait_for(pages.desk.prepare(pages.series), 1.0)
        await first

    asyncio.run(meet())


def test_a_series_that_cannot_be_read_leaves_the_desk_as_it_was(pages: Pages) -> None:
    async def ask() -> None:
        await pages.prepare()
        with pytest.raises(TrialsError, match="no such series"):
            await pages.desk.prepare("series_20261129_093000")
        assert pages.desk.state()["phase"] == "ready" and pages.desk.state()["series"] == pages.series
        await pages.desk.begin(pages.series)
        assert pages.desk.running

    asyncio.run(ask())


def test_a_trial_that_is_halted_while_the_policy_accepts_its_goal_does_not_drive_on(pages: Pages) -> None:
    async def meet() -> None:
        await pages.prepare()
        pages.robot.slow = True
        begun = await pages.started("begin")
        await asyncio.wait_for(pages.desk.halt(pages.series), 1.0)
        assert pages.robot.calls == ["policy/execute", "policy/set_instruction"]
        # The policy may have taken the goal after the end of it.
        pages.robot.goal.set_result(DONE)
        await begun
        assert pages.robot.calls == ["policy/execute", "policy/set_instruction", "policy/set_instruction"]
        await pages.desk.judge(pages.series, "success", "", "")
        assert len(pages.desk.store.load(pages.series).results) == 2

    asyncio.run(meet())


def test_a_trial_that_the_policy_refuses_late_does_not_end_the_next_one(pages: Pages) -> None:
    async def meet() -> None:
        await pages.prepare()
        pages.robot.slow = True
        begun = await pages.started("begin")
        discarded = await pages.started("discard")
        with pytest.raises(TrialsError, match="a trial waits to be judged"):
            await asyncio.wait_for(pages.desk.begin(pages.series), 1.0)
        pages.robot.goal.set_result(Reply.refusal(say("reply.rejected")))
        with pytest.raises(TrialsError, match="the policy refuses the goal"):
            await begun
        with pytest.raises(TrialsError, match="no trial is running"):
            await discarded
        pages.robot.slow = False
        await pages.desk.begin(pages.series)
        await asyncio.sleep(0.05)
        assert pages.desk.running

    asyncio.run(meet())
