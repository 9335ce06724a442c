"""The recorder without ROS: opens, samples, checks and closes episodes; the node only translates.

Every episode ends in one of four ways, and none loses steps silently:

- ``stop``: committed with the outcome a human gave it. Fewer than ``min_steps`` steps are thrown away, and it says so.
- ``discard``: removed because a human said so.
- The process is told to end, the node is deactivated, or the disk runs low: committed as ``unlabelled`` if it has
  ``min_steps`` steps. Such an episode is complete up to its last step, and a human can label or delete it later;
  shorter ones hold nothing worth that.
- The disk fails: what was written stays on the disk for ``mobile-vla-data recover``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from mobile_vla_collect.recorder.recording import Closed, OpenEpisode, RecorderSettings, RefusedError, State
from mobile_vla_collect.recorder.sampler import Sampler, Step
from mobile_vla_collect.recorder.ticker import Ticker
from mobile_vla_collect.recorder.writer_thread import WriterThread
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.episode.metadata import OUTCOMES, EpisodeMetadata
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_data.storage.durable import DiskFullError

_A = TypeVar("_A")
_B = TypeVar("_B")


class Recorder:
    """Records episodes of what ``builder`` and ``sampler`` are fed.

    ``now_ns`` is the clock of the header stamps. Methods may be called from any one thread; results come as futures,
    because the disk has its own.
    """

    def __init__(
        self,
        builder: ObservationBuilder,
        settings: RecorderSettings,
        command_topic: str,
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._now_ns = now_ns
        self.contract = builder.contract
        self.sampler = Sampler(builder, command_topic, settings.command_max_age_s, settings.pre_trigger_s)
        self.writer = WriterThread(builder.contract, settings.writer)
        self.ticker = Ticker(builder.contract.period_s, self._on_tick)
        self._lock = threading.RLock()
        self._open: OpenEpisode | None = None
        self._busy = ""
        self._saved: list[Path] = []
        self.last: Closed | None = None
        self.message = ""
        """One line about the last thing that went wrong; empty when all is well."""
        self.ticker.start()

    @property
    def state(self) -> State:
        """What it is doing."""
        with self._lock:
            if self._busy:
                return State.SAVING
            if self._open is None:
                return State.IDLE
            return State.ERROR if self._open.ended_by else State.RECORDING

    @property
    def current(self) -> OpenEpisode | None:
        """The open episode, or None."""
        return self._open

    def start(self, metadata: EpisodeMetadata) -> Future[str]:
        """Open an episode and begin sampling; the result is its id. Raises :class:`RefusedError`."""
        with self._lock:
            if self._open is not None and not self._open.ended_by:
                raise RefusedError(
                    "ALREADY_RECORDING", f"{self._open.episode_id} is being recorded; stop or discard it first"
                )
            if self._busy:
                raise RefusedError("ALREADY_RECORDING", f"{self._busy}; try again when it is done")
            problems = self.sampler.problems(time.monotonic_ns(), self._now_ns())
            if problems:
                raise RefusedError("INPUT_MISSING", "; ".join(problems))
            self._require_space()
            self._put_away_ended()
            self._busy = "an episode is being opened"
        cameras = self.sampler.cameras_present(self._now_ns())
        return self._then(self.writer.open(metadata, cameras), lambda id_: self._began(id_, metadata, cameras))

    def note_instruction(self, instruction: str) -> None:
        """The policy follows ``instruction`` from now on: half an episode that says another would teach that."""
        with self._lock:
            episode = self._open
            if episode is not None and episode.metadata.source == "policy" and instruction != episode.metadata.language:
                episode.told_besides = f"'{instruction}' from step {episode.steps} on"

    def take_saved(self) -> list[Path]:
        """Episodes committed since the last call, those included that ended by themselves."""
        with self._lock:
            saved, self._saved = self._saved, []
        return saved

    def stop(self, outcome: str) -> Future[Closed]:
        """Commit the open episode. Raises :class:`RefusedError`; the future may raise it, too."""
        outcome = outcome or "unlabelled"
        if outcome not in OUTCOMES:
            raise RefusedError("INVALID_REQUEST", f"outcome is '{outcome}'; use one of {', '.join(OUTCOMES)}")
        with self._lock:
            episode = self._take_open()
            if episode.steps < self._settings.min_steps and self.writer.failure is None:
                self.writer.discard()
                self.message = ""
                raise RefusedError(
                    "TOO_SHORT",
                    f"{episode.episode_id} had {episode.steps} steps, fewer than min_steps {self._settings.min_steps}; "
                    f"it was discarded ({self.sampler.dropped_ticks} dropped ticks"
                    + (f": {self.sampler.last_drop})" if self.sampler.last_drop else ")"),
                )
            self._busy = f"{episode.episode_id} is being saved"
            dropped = self.sampler.dropped_ticks
            committed = self.writer.commit(outcome, dropped, self.sampler.counters())
            # The check reads the file, so it runs where the disk is waited for.
            checked = self.writer.run(lambda: (committed.result(), check_episode(committed.result(), images=False)))
        return self._then(checked, lambda result: self._committed(episode, dropped, *result))

    def discard(self) -> Future[str]:
        """Remove the open episode; the result is its id. Raises :class:`RefusedError`."""
        with self._lock:
            episode = self._take_open()
            self.message = ""
            self._busy = f"{episode.episode_id} is being discarded"
            return self._then(self.writer.discard(), lambda _: episode.episode_id)

    def close(self) -> str:
        """Close an open episode as the module says and end the threads; returns one line about it, or nothing."""
        said = ""
        self.ticker.stop()
        # An episode that is just being opened or saved: what comes of it is known when the queue is through.
        self.writer.run(lambda: None).result()
        with self._lock:
            episode = self._open
        if episode is not None and self.writer.failure is not None:
            self.writer.abandon()
            said = f"{episode.episode_id} was left for 'mobile-vla-data recover {self._settings.writer.dataset}'"
        elif episode is not None:
            try:
                closed = self.stop("unlabelled").result()
                said = f"{closed.path}: the open episode was saved as unlabelled ({closed.steps} steps)"
            except (RefusedError, OSError, ValueError) as error:
                said = str(error)
        self.writer.close()
        return said

    def _take_open(self) -> OpenEpisode:
        episode = self._open
        if episode is None:
            raise RefusedError("NOT_RECORDING", self._busy or "no episode is open; call recorder/start_episode first")
        self.sampler.end()
        self._open = None
        return episode

    def _put_away_ended(self) -> None:
        """Keep an episode that ended by itself and that nobody stopped since."""
        episode, self._open = self._open, None
        if episode is None:
            return
        if self.writer.failure is not None:
            self.writer.abandon()
        elif episode.steps < self._settings.min_steps:
            self.writer.discard()
        else:
            saved = self.writer.commit("unlabelled", self.sampler.dropped_ticks, self.sampler.counters())
            saved.add_done_callback(self._put_away)

    def _put_away(self, saved: Future[Path]) -> None:
        with self._lock:
            if (error := saved.exception()) is None:
                self._saved.append(saved.result())
            else:
                self.message = f"{error}; 'mobile-vla-data recover' gets back what was written"

    def _require_space(self) -> None:
        free, needed = self.writer.free_bytes, self._settings.min_free_bytes
        if free < needed:
            folder = self._settings.writer.dataset
            raise RefusedError(
                "DISK_FULL",
                f"{folder}: {free / 1e6:.0f} MB free, min_free_mb is {needed / 1e6:.0f}; free some space",
            )

    def _began(self, episode_id: str, metadata: EpisodeMetadata, cameras: tuple[str, ...]) -> str:
        self.message = ""
        before = self.sampler.begin(time.monotonic_ns(), cameras, policy_drives=metadata.source == "policy")
        self._open = OpenEpisode(metadata, episode_id, time.monotonic())
        for step in before:
            self._add(self._open, step)
        return episode_id

    def _committed(self, episode: OpenEpisode, dropped: int, path: Path, checked: list[Finding]) -> Closed:
        errors = [f"{found.message}; {found.advice} [{found.code}]" for found in checked if found.severity == "error"]
        findings = (*self._check(episode, dropped), *errors)
        self.message = f"{episode.episode_id}: {findings[0]}" if findings else ""
        self._saved.append(path)
        self.last = Closed(episode.episode_id, path, episode.steps, dropped, episode.real_rate_hz, findings)
        return self.last

    def _check(self, episode: OpenEpisode, dropped: int) -> list[str]:
        findings = self.sampler.findings()
        if episode.told_besides:
            findings.append(
                f"the policy followed {episode.told_besides}, the episode says '{episode.metadata.language}'; "
                "cut it there (mobile-vla-data trim), or delete it"
            )
        share = dropped / (dropped + episode.steps)
        if share > self._settings.max_dropped_share:
            findings.append(
                f"{share:.0%} of the ticks were dropped, max_dropped_share is {self._settings.max_dropped_share:.0%} "
                f"(the last one: {self.sampler.last_drop})"
            )
        return findings

    def _on_tick(self, missed: int) -> None:
        try:
            self._sample(missed)
        except Exception as error:
            # Whatever it is: without the ticker an episode would stay open without steps, and nobody would hear of it.
            with self._lock:
                if self._open is not None and not self._open.ended_by:
                    why = " ".join(f"{type(error).__name__}: {error}".split())
                    self._end_by_itself(self._open, f"{self._open.episode_id} stopped: sampling failed: {why}")

    def _sample(self, missed: int) -> None:
        step = self.sampler.tick(time.monotonic_ns(), self._now_ns(), missed)
        with self._lock:
            episode = self._open
            if episode is None or episode.ended_by:
                return
            if self.writer.failure is not None:
                self._end_by_itself(episode, f"{episode.episode_id} stopped: {self.writer.failure}")
            elif self.writer.free_bytes < self._settings.min_free_bytes:
                free_mb = self.writer.free_bytes / 1e6
                self._end_by_itself(episode, f"{episode.episode_id} stopped: only {free_mb:.0f} MB free on the disk")
            elif step is not None:
                self._add(episode, step)

    def _add(self, episode: OpenEpisode, step: Step) -> None:
        if not self.writer.add(step):
            self.sampler.drop("the disk is too slow: the queue of steps to write is full")
            return
        episode.add(step.stamp_ns)

    def _end_by_itself(self, episode: OpenEpisode, why: str) -> None:
        self.sampler.end()
        episode.ended_by = self.message = why

    def _then(self, first: Future[_A], then: Callable[[_A], _B]) -> Future[_B]:
        """A future of ``then`` applied to the first one's result; a full disk becomes :class:`RefusedError`."""
        second: Future[_B] = Future()

        def done(future: Future[_A]) -> None:
            with self._lock:
                self._busy = ""
                try:
                    result = then(future.result())
                except DiskFullError as error:
                    self.message = f"{error}; 'mobile-vla-data recover' gets back what was written"
                    failure: Exception = RefusedError("DISK_FULL", self.message)
                except Exception as error:
                    self.message = " ".join(f"{type(error).__name__}: {error}".split())
                    failure = error if isinstance(error, RefusedError) else RefusedError("INTERNAL_ERROR", self.message)
                else:
                    second.set_result(result)
                    return
            second.set_exception(failure)

        first.add_done_callback(done)
        return second
