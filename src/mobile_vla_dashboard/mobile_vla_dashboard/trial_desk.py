"""Makes the trials of a series on the robot, one at a time: load the checkpoint, begin, stop, judge. No rclpy."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import uuid4

from mobile_vla_dashboard.calls import ask, instruct_policy, stop_robot
from mobile_vla_dashboard.goal import Goal, headline
from mobile_vla_dashboard.jobs import Jobs
from mobile_vla_dashboard.latest import Frame
from mobile_vla_dashboard.robot import Robot
from mobile_vla_dashboard.trial_robot import (
    ended_goal,
    is_loading,
    is_stopped,
    loaded_checkpoint,
    policy_died,
)
from mobile_vla_dashboard.trials import REASONS, Judged, Series, Store, TrialsError
from mobile_vla_dashboard.wording import Words, say
from mobile_vla_msgs.action import ExecuteInstruction

#: Images of the first camera are kept at this period [s], and at most this many.
VIDEO_PERIOD_S, MOST_IMAGES = 0.2, 1500
#: Pause between two looks at a policy that is being loaded [s].
_POLL_S = 0.2
#: The policy has this long to confirm that a trial is over; then the gate stops the robot [s].
_HALT_WITHIN_S = 1.0
#: Results of a goal that never began.
_REFUSED = (ExecuteInstruction.Result.NOT_ACTIVE, ExecuteInstruction.Result.INVALID_REQUEST)


class Phase(Enum):
    """What the desk is doing."""

    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    RUNNING = "running"
    JUDGING = "judging"


@dataclass
class _Run:
    """The trial on the robot."""

    began_s: float
    began_at: str
    goal: str = field(default_factory=lambda: uuid4().hex)
    """Id of the goal of policy/execute, which ends by itself: at the time limit, or when the policy has arrived."""
    images: list[bytes] = field(default_factory=list)
    sequence: int = 0
    """Of the newest of the images."""
    duration_s: float = 0.0


class TrialDesk:
    """At most one series is at the desk; another page sees the same. Used on the event loop only.

    Requests of two pages may meet, and most of them wait for the disk or the policy before they change the phase. They
    take ``_lock``, one at a time; only :meth:`halt` never waits for another request.
    """

    def __init__(self, robot: Robot, store: Store, jobs: Jobs, checkpoints: Callable[[], dict[str, str]]) -> None:
        """``checkpoints()`` returns name -> path of those that can be loaded."""
        self._robot, self.store, self.jobs, self.checkpoints = robot, store, jobs, checkpoints
        self._paths: dict[str, str] = {}
        self._series: Series | None = None
        self._phase = Phase.IDLE
        self._run: _Run | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._message: Words | str = ""

    def state(self) -> dict[str, Any]:
        """Return what the page shows, for every view of it."""
        elapsed_s = 0.0
        if self._run is not None:
            elapsed_s = self._run.duration_s or time.monotonic() - self._run.began_s
        return {
            "series": self._series.id if self._series else None,
            "phase": self._phase.value,
            "elapsed_s": round(elapsed_s, 1),
            "message": self._message,
        }

    @property
    def running(self) -> bool:
        """True while the policy drives a trial."""
        return self._phase is Phase.RUNNING

    @property
    def names(self) -> dict[str, Words]:
        """Checkpoint -> what the page calls it until the series is over."""
        series = self._series
        if series is None or series.over or len(series.checkpoints) < 2:
            return {}
        return {
            each: say("trials.checkpoint", letter=letter)
            for letter, name in series.checkpoints.items()
            for each in (self._paths.get(name, name), name)
        }

    async def prepare(self, series_id: str) -> Series:
        """Take up a series, and load the checkpoint of its next trial if the policy has another.

        Raises:
            TrialsError: a trial is running, another page is at the desk, or the series cannot be read.
        """
        async with self._turn(Phase.IDLE, Phase.READY):
            # A series that cannot be read leaves the desk in the phase it was in.
            unless_loaded, self._phase = self._phase, Phase.LOADING
            try:
                series = await self.jobs.run(lambda: self.store.load(series_id))
                unless_loaded, planned = Phase.IDLE, series.next
                self._series, self._message = series if planned else None, ""
                if planned is not None:
                    await self._load(planned.checkpoint, series.checkpoints[planned.checkpoint])
            finally:
                if self._phase is Phase.LOADING:
                    self._phase = unless_loaded
            return series

    async def _load(self, letter: str, wanted: str) -> None:
        """Load the checkpoint named ``wanted`` unless the policy has it; an empty one is whatever the policy has."""
        self._message = say("trials.loading", letter=letter)
        while is_loading(self._robot.latest):
            await asyncio.sleep(_POLL_S)
        if wanted:
            self._paths = await self.jobs.run(self.checkpoints)
            why = await self._switch(self._paths.get(wanted, ""))
            if why:
                self._message = say("trials.loadit", letter=letter, why=why)
                return
        self._phase, self._message = Phase.READY, ""

    async def _switch(self, path: str) -> Words | str:
        """Load the checkpoint at ``path`` unless the policy has it; return why that failed, without naming it."""
        if not path:
            return say("trials.unfound")
        if loaded_checkpoint(self._robot.latest) == path:
            return ""
        asked = asyncio.create_task(ask(self._robot, "policy/load_checkpoint", {"checkpoint": path}))
        while not asked.done():
            await asyncio.wait({asked}, timeout=_POLL_S)
            if policy_died(self._robot.latest):
                asked.cancel()
                return say("silent.policy")
        reply = asked.result()
        return "" if reply.ok else reply.words or reply.message.replace(path, "it")

    async def begin(self, series_id: str) -> None:
        """Give the policy the instruction of the next trial.

        Raises:
            TrialsError: it is not prepared, the robot is stopped, or the policy refuses.
        """
        async with self._turn(Phase.READY, Phase.IDLE):
            series = self._at_desk(series_id)
            planned = series.next
            if planned is None:
                raise TrialsError(say("trials.refused.made"))
            if is_stopped(self._robot.latest):
                raise TrialsError(say("trials.refused.stopped"))
            self._require_checkpoint(planned.checkpoint, series.checkpoints[planned.checkpoint])
            await self._send_goal(planned.instruction, series.plan.time_limit_s)

    async def _send_goal(self, instruction: str, limit_s: float) -> None:
        """Let the policy drive, and watch it. Raises :class:`TrialsError` if it refuses."""
        self._phase = Phase.RUNNING
        run = self._run = _Run(time.monotonic(), datetime.now(timezone.utc).isoformat(timespec="seconds"))
        # A goal, not an instruction: it ends by itself, also when this dashboard does not live to see it.
        goal = {"instruction": instruction, "time_limit_s": str(limit_s), "id": run.goal}
        reply = await ask(self._robot, "policy/execute", goal)
        if not reply.ok:
            # It may have taken the goal without an answer in time.
            await instruct_policy(self._robot, "", _HALT_WITHIN_S)
            self._run, self._phase = None, Phase.READY
            raise TrialsError(reply.words or reply.message)
        if self._phase is not Phase.RUNNING:
            # Halted meanwhile; the policy may have taken the goal after it was told to stop.
            await self._stop_policy()
            return
        self._message = ""
        task = asyncio.create_task(self._watch(run, limit_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _require_checkpoint(self, letter: str, wanted: str) -> None:
        """Raise :class:`TrialsError` unless the policy has the checkpoint named ``wanted``; empty: it may be any."""
        loaded, known = loaded_checkpoint(self._robot.latest), self._paths.get(wanted)
        right = loaded == known if known else Path(loaded).name == Path(wanted).name
        if wanted and not (loaded and right):
            raise TrialsError(say("trials.refused.checkpoint", letter=letter))

    async def halt(self, series_id: str, message: Words | str = "") -> None:
        """End the driving of the trial, which waits to be judged.

        Raises:
            TrialsError: no trial is running, or the policy did not confirm the end; then the gate was told to stop.
        """
        self._require(Phase.RUNNING)
        self._at_desk(series_id)
        self._end(message)
        await self._stop_policy()

    async def _stop_policy(self) -> None:
        """Make the policy follow nothing; if it does not confirm that, stop the robot and raise TrialsError."""
        reply = await instruct_policy(self._robot, "", _HALT_WITHIN_S)
        if reply.ok:
            return
        stopped = await stop_robot(self._robot)
        halted = say("trials.halted", why=reply.words or reply.message)
        self._message = halted if stopped.ok else stopped.words or stopped.message
        raise TrialsError(self._message)

    def _end(self, message: Words | str) -> None:
        assert self._run is not None
        self._run.duration_s = max(0.1, time.monotonic() - self._run.began_s)
        self._phase, self._message = Phase.JUDGING, message

    async def judge(self, series_id: str, outcome: str, reason: str, note: str) -> Series:
        """Keep the result of the trial, and its video.

        Raises:
            TrialsError: no trial waits for it, or the reason is none of the list.
        """
        if (outcome == "failure") != bool(reason) or (reason and reason not in REASONS):
            raise TrialsError(say("trials.refused.reason", reasons=", ".join(REASONS)))
        async with self._ended_trial(series_id):
            series, run = self._at_desk(series_id), self._run
            assert run is not None
            number = len(series.results)
            result = Judged.model_validate(
                {
                    "outcome": outcome,
                    "reason": reason,
                    "note": note,
                    "duration_s": round(run.duration_s, 2),
                    "began_at": run.began_at,
                    "video": f"trial_{number:04d}.mjpeg" if run.images else "",
                }
            )

            def keep() -> Series:
                if result.video:
                    (self.store.path(series.id) / result.video).write_bytes(b"".join(run.images))
                return self._keep(series, results=[*series.results, result])

            return await self._change(keep)

    async def discard(self, series_id: str) -> None:
        """End the trial without a result; it is made again. Raises :class:`TrialsError` if there is none."""
        async with self._ended_trial(series_id):
            self._run, self._phase, self._message = None, Phase.READY, ""

    async def forget(self, series_id: str) -> Series:
        """Take back the last result; that trial is made again. Raises :class:`TrialsError` if there is none."""
        async with self._turn(Phase.IDLE, Phase.READY):
            series = await self.jobs.run(lambda: self.store.load(series_id))
            if not series.results:
                raise TrialsError(say("trials.refused.unjudged"))
            return await self._change(lambda: self._keep(series, results=series.results[:-1], closed=False))

    async def close(self, series_id: str) -> Series:
        """End a series early, and reveal its checkpoints."""
        async with self._turn(Phase.IDLE, Phase.READY):
            series = await self.jobs.run(lambda: self.store.load(series_id))
            return await self._change(lambda: self._keep(series, closed=True))

    def _keep(self, series: Series, **changes: Any) -> Series:
        kept = series.model_copy(update=changes)
        self.store.save(kept)
        return kept

    async def _change(self, keep: Callable[[], Series]) -> Series:
        self._series = await self.jobs.run(keep)
        self._run, self._phase, self._message = None, Phase.IDLE, ""
        return self._series

    async def _watch(self, run: _Run, limit_s: float) -> None:
        """Keep images until the trial ends, and end it when its time is over or the robot is stopped."""
        latest = self._robot.latest
        # Whether or not a page is open.
        with latest.keep_cameras():
            while self._run is run and self._phase is Phase.RUNNING:
                self._keep_image(run, latest.frame(0))
                if is_stopped(latest):
                    # Or Resume would let the policy drive on.
                    await self._halt_alone(say("trials.stopped"))
                elif time.monotonic() - run.began_s >= limit_s:
                    await self._halt_alone(say("trials.timeup", seconds=f"{limit_s:g}"))
                elif (goal := ended_goal(latest, run.goal)) is not None:
                    self._conclude(goal, limit_s)
                await asyncio.sleep(VIDEO_PERIOD_S)

    def _keep_image(self, run: _Run, frame: Frame | None) -> None:
        """Keep the image of ``frame`` unless the video has it already or is full."""
        if frame is None or frame.sequence == run.sequence or len(run.images) == MOST_IMAGES:
            return
        run.sequence = frame.sequence
        run.images.append(frame.jpeg())
        if len(run.images) == MOST_IMAGES:
            self._message = say("trials.video.full", minutes=round(MOST_IMAGES * VIDEO_PERIOD_S / 60))

    async def _halt_alone(self, message: Words) -> None:
        # Nobody waits for a refusal; the state that the page shows has it.
        with contextlib.suppress(TrialsError):
            await self.halt(self._series.id if self._series else "", message)

    def _conclude(self, goal: Goal, limit_s: float) -> None:
        """Take note that the policy has ended the trial's goal."""
        if goal.error_code in _REFUSED:
            self._run, self._phase, self._message = None, Phase.READY, goal.message
        elif goal.error_code == ExecuteInstruction.Result.OK:
            self._end(say("trials.timeup", seconds=f"{limit_s:g}"))
        else:
            self._end(say("trials.ended", why=say(headline(goal)[0])))

    @contextlib.asynccontextmanager
    async def _turn(self, *phases: Phase) -> AsyncIterator[None]:
        """Keep the desk for one request; refuse at once if another has it, which may take minutes to end."""
        self._require(*phases)
        if self._lock.locked():
            raise TrialsError(say("reply.busy"))
        async with self._lock:
            self._require(*phases)
            yield

    @contextlib.asynccontextmanager
    async def _ended_trial(self, series_id: str) -> AsyncIterator[None]:
        """End the driving of the trial if it still runs, and keep the desk for one request about it.

        Waits for what another request does with the same trial, such as the policy's answer to its goal, or its result.
        """
        if self._phase is Phase.RUNNING:
            await self.halt(series_id)
        self._require(Phase.JUDGING)
        async with self._lock:
            self._require(Phase.JUDGING)
            yield

    def _at_desk(self, series_id: str) -> Series:
        if self._series is None or self._series.id != series_id:
            raise TrialsError(say("trials.refused.other"))
        return self._series

    def _require(self, *phases: Phase) -> None:
        if self._phase not in phases:
            raise TrialsError(say(f"trials.refused.{self._phase.value}"))
