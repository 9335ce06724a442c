"""The recorder's services: start, stop, discard, progress. Answers wait for the disk; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from mobile_vla_collect.recorder.recorder import Recorder
from mobile_vla_collect.recorder.recording import RefusedError
from mobile_vla_collect.recorder.task_plan import TaskPlan
from mobile_vla_data.episode.metadata import MetadataError, parse_environment
from mobile_vla_msgs.msg import TaskProgress
from mobile_vla_msgs.srv import DiscardEpisode, GetProgress, StartEpisode, StopEpisode


class RecorderServices:
    """Answers for ``node``.

    Args:
        node: the lifecycle node that offers the services.
        dataset: the folder, for messages.
        recorder: returns the recorder, or None while the node is not active.
        plan: returns the plan and the count, or None while the node is not configured.
        changed: called after an episode has begun or ended: counts it and publishes the status.
    """

    def __init__(
        self,
        node: Any,
        dataset: Path,
        recorder: Callable[[], Recorder | None],
        plan: Callable[[], TaskPlan | None],
        changed: Callable[[], None],
    ) -> None:
        self._node = node
        self._dataset = dataset
        self._logger = node.get_logger()
        self._recorder = recorder
        self._plan = plan
        self._changed = changed
        # An answer waits for the disk; everything else must go on meanwhile.
        group = ReentrantCallbackGroup()
        for type_, name, answer in (
            (StartEpisode, "start_episode", self._on_start),
            (StopEpisode, "stop_episode", self._on_stop),
            (DiscardEpisode, "discard_episode", self._on_discard),
            (GetProgress, "get_progress", self._on_progress),
        ):
            node.create_service(type_, f"recorder/{name}", answer, callback_group=group)

    async def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        try:
            recorder = self._require_active()
            plan = self._plan()
            assert plan is not None
            metadata = plan.fill(
                request.language,
                request.task,
                request.category,
                request.source,
                parse_environment(request.environment),
            )
            response.episode_id = await self._result(recorder.start(metadata))
            response.success, response.message = True, f"recording {response.episode_id}: {metadata.language}"
            # At once: a raw recording begins with it.
            self._changed()
        except MetadataError as error:
            response.error_code, response.message = StartEpisode.Response.INVALID_REQUEST, str(error)
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        return response

    async def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        try:
            recorder = self._require_active()
            if (episode := recorder.current) is not None:
                response.episode_id, response.dropped_ticks = episode.episode_id, episode.ticks.dropped
            saved = await self._result(recorder.stop(request.outcome))
            response.path, response.steps = str(saved.path), saved.steps
            response.dropped_ticks, response.real_rate_hz = saved.dropped_ticks, saved.real_rate_hz
            response.success, response.message = True, f"saved {saved.steps} steps"
            if saved.findings:
                raise RefusedError("CHECK_FAILED", f"saved, but: {'; '.join(saved.findings)}")
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        self._changed()
        return response

    async def _on_discard(
        self, request: DiscardEpisode.Request, response: DiscardEpisode.Response
    ) -> DiscardEpisode.Response:
        try:
            recorder = self._require_active()
            response.episode_id = await self._result(recorder.discard())
            reason = f": {request.reason}" if request.reason else ""
            response.success, response.message = True, f"discarded {response.episode_id}{reason}"
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        self._changed()
        return response

    def _on_progress(self, _request: GetProgress.Request, response: GetProgress.Response) -> GetProgress.Response:
        response.dataset = str(self._dataset)
        plan = self._plan()
        if plan is None:
            response.error_code = GetProgress.Response.NOT_CONFIGURED
            response.message = "recorder_node is not configured; configure it (ros2 lifecycle set) or use autostart"
            return response
        response.success = True
        response.episodes, response.steps = plan.tally.episodes, plan.tally.steps
        response.tasks = [
            TaskProgress(category=item.category, task=item.task, wanted=item.wanted, done=item.done, failed=item.failed)
            for item in plan.tasks
        ]
        if plan.next is not None:
            response.next_task, response.next_language = plan.next.task, plan.next.language
        return response

    def _require_active(self) -> Recorder:
        recorder = self._recorder()
        if recorder is None:
            raise RefusedError(
                "NOT_ACTIVE", "recorder_node is not active; activate it (ros2 lifecycle set) or use autostart"
            )
        return recorder

    @staticmethod
    def _refuse(response: Any, refusal: RefusedError) -> None:
        response.success, response.message = False, str(refusal)
        # Not every service names every code; a refusal must not end the node.
        response.error_code = getattr(type(response), refusal.code, type(response).INTERNAL_ERROR)

    def _log(self, response: Any) -> None:
        if response.success:
            self._logger.info(f"{response.episode_id}: {response.message}")
        else:
            self._logger.warning(response.message)

    def _result(self, work: ThreadFuture[Any]) -> Future:
        """Return an awaitable of this node's executor for a result of another thread."""
        awaitable = Future(executor=self._node.executor)

        def done(future: ThreadFuture[Any]) -> None:
            error = future.exception()
            if error is not None:
                awaitable.set_exception(error)
            else:
                awaitable.set_result(future.result())

        work.add_done_callback(done)
        return awaitable
