"""The recorder without ROS: opens, samples, checks and closes episodes; the node only translates.

Every episode ends in one of four ways, and none loses steps silently:

- ``stop``: saved with the outcome that the operator gave. An episode of fewer than ``min_steps`` steps is discarded,
  and the answer says so.
- ``discard``: removed on request.
- The process ends, the node is deactivated, or the disk runs low: saved as ``unlabelled`` if it has ``min_steps``
  steps. Such an episode is complete up to its last step, and can be labelled or deleted later.
- The disk fails: what was written stays on the disk for ``mobile-vla-data recover``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from mobile_vla_collect.recorder.recording import (
    OpenEpisode,
    OtherInstruction,
    Phase,
    RecorderSettings,
    RefusedError,
    SavedEpisode,
)
from mobile_vla_collect.recorder.ticker import Ticker
from mobile_vla_collect.recorder.writer_thread import WriterThread
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.episode.metadata import OUTCOMES, EpisodeMetadata
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_data.sampling.commands import CommandTrack
from mobile_vla_data.sampling.sampler import SampledStep, Sampler
from mobile_vla_data.storage.durable import DiskFullError

_A = TypeVar("_A")
_B = TypeVar("_B")


class Recorder:
    """Records episodes of what ``builder`` and :attr:`commands` are fed.

    ``now_ns`` is the clock of the header stamps. ``mono_ns`` is the clock of ticks and commands: the monotonic one, or
    the simulated one where stamps are simulated, too. ``on_tick`` is told the stamp of each tick [ns] and how many were
    missed before it, on the ticker's thread. Call its methods from one thread; results are futures, because
    they wait for the disk.
    """

    def __init__(
        self,
        builder: ObservationBuilder,
        settings: RecorderSettings,
        command_topic: str,
        now_ns: Callable[[], int],
        mono_ns: Callable[[], int] | None = None,
        on_tick: Callable[[int, int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._listener = on_tick
        self._now_ns = now_ns
        self.mono_ns = mono_ns or time.monotonic_ns
        """Clock of ticks and commands."""
        self.commands = CommandTrack(builder.contract, command_topic, settings.command_max_age_s)
        self.sampler = Sampler(builder, self.commands, settings.pre_trigger_s)
        self.writer = WriterThread(builder.contract, settings.writer)
        self.ticker = Ticker(builder.contract.period_s, self._on_tick, mono_ns)
        self._lock = threading.RLock()
        self._phase = Phase.NONE
        self._episode: OpenEpisode | None = None
        """Set while it is recorded, and after it ended by itself."""
        self._saved: list[Path] = []
        self.last: SavedEpisode | None = None
        self.message = ""
        """One line about the last failure; empty when all is well."""
        self.ticker.start()

    @property
    def phase(self) -> Phase:
        """Phase of the current episode."""
        return self._phase

    @property
    def current(self) -> OpenEpisode | None:
        """The episode that is recorded, or that ended by itself; None otherwise."""
        return self._episode

    # Requests ---------------------------------------------------------------------------------------------------------

    def start(self, metadata: EpisodeMetadata) -> Future[str]:
        """Open an episode and begin sampling; the result is its id. Raises :class:`RefusedError`."""
        with self._lock:
            if self._phase is Phase.RECORDING and self._episode is not None:
                open_id = self._episode.episode_id
                raise RefusedError("ALREADY_RECORDING", f"{open_id} is being recorded; stop or discard it first")
            if self._phase.waits_for_disk:
                raise RefusedError("ALREADY_RECORDING", f"{self._phase.value}; try again when it is done")
            problems = self.sampler.problems(self.mono_ns(), self._now_ns())
            if problems:
                raise RefusedError("INPUT_MISSING", "; ".join(problems))
            self._require_space()
            self._put_away_ended()
            self._phase = Phase.OPENING
        cameras = self.sampler.cameras_present(self._now_ns())
        return self._then(self.writer.open(metadata, cameras), lambda id_: self._begin(id_, metadata, cameras))

    def stop(self, outcome: str) -> Future[SavedEpisode]:
        """Save the open episode. Raises :class:`RefusedError`; the future may raise it, too."""
        outcome = outcome or "unlabelled"
        if outcome not in OUTCOMES:
            raise RefusedError("INVALID_REQUEST", f"outcome is '{outcome}'; use one of {', '.join(OUTCOMES)}")
        with self._lock:
            episode = self._take_episode()
            if episode.steps < self._settings.min_steps and self.writer.failure is None:
                self.writer.discard()
                self.message = ""
                raise RefusedError("TOO_SHORT", self._too_short(episode))
            self._phase = Phase.SAVING
            committed = self._commit(episode, outcome)
            # The check reads the file, so it runs where the disk is waited for.
            checked = self.writer.run(lambda: (committed.result(), check_episode(committed.result(), images=False)))
        return self._then(checked, lambda result: self._note_saved(episode, *result))

    def discard(self) -> Future[str]:
        """Remove the open episode; the result is its id. Raises :class:`RefusedError`."""
        with self._lock:
            episode = self._take_episode()
            self.message = ""
            self._phase = Phase.DISCARDING
            return self._then(self.writer.discard(), lambda _: episode.episode_id)

    def note_instruction(self, instruction: str) -> None:
        """Note what the policy follows from now on: an episode with another instruction fails its check."""
        with self._lock:
            episode = self._episode
            if episode is not None and episode.metadata.source == "policy" and instruction != episode.metadata.language:
                episode.other_instruction = OtherInstruction(instruction, episode.steps)

    def take_saved(self) -> list[Path]:
        """Return the episodes saved since the last call, including those that ended by themselves."""
        with self._lock:
            saved, self._saved = self._saved, []
        return saved

    def close(self) -> str:
        """Close an open episode as the module says and end the threads; return one line about it, or nothing."""
        said = ""
        self.ticker.stop()
        # An episode that is just being opened or saved: its result is known when the queue is through.
        self.writer.run(lambda: None).result()
        with self._lock:
            episode = self._episode
        if episode is not None and self.writer.failure is not None:
            self.writer.abandon()
            said = f"{episode.episode_id} was left for 'mobile-vla-data recover {self._settings.writer.dataset}'"
        elif episode is not None:
            try:
                saved = self.stop("unlabelled").result()
                said = f"{saved.path}: the open episode was saved as unlabelled ({saved.steps} steps)"
            except (RefusedError, OSError, ValueError) as error:
                said = str(error)
        self.writer.close()
        return said

    # From phase to phase ----------------------------------------------------------------------------------------------

    def _begin(self, episode_id: str, metadata: EpisodeMetadata, cameras: tuple[str, ...]) -> str:
        self.message = ""
        ticks, before = self.sampler.begin(self.mono_ns(), cameras, policy_drives=metadata.source == "policy")
        self._episode = OpenEpisode(metadata, episode_id, time.monotonic(), ticks)
        self._phase = Phase.RECORDING
        for step in before:
            self._add(self._episode, step)
        return episode_id

    def _take_episode(self) -> OpenEpisode:
        episode = self._episode
        if episode is None:
            raise RefusedError("NOT_RECORDING", self._phase.value)
        self.sampler.end()
        self._episode = None
        self._phase = Phase.NONE
        return episode

    def _end_by_itself(self, episode: OpenEpisode, why: str) -> None:
        self.sampler.end()
        self._phase = Phase.ENDED
        self.message = f"{episode.episode_id} stopped: {why}"

    def _put_away_ended(self) -> None:
        """Keep an episode that ended by itself and was not stopped since."""
        episode, self._episode = self._episode, None
        if episode is None:
            return
        if self.writer.failure is not None:
            self.writer.abandon()
        elif episode.steps < self._settings.min_steps:
            self.writer.discard()
        else:
            self._commit(episode, "unlabelled").add_done_callback(self._note_put_away)

    def _commit(self, episode: OpenEpisode, outcome: str) -> Future[Path]:
        return self.writer.commit(outcome, episode.ticks.dropped, self.sampler.counters(), episode.lost_yaw_rad)

    def _note_put_away(self, saved: Future[Path]) -> None:
        with self._lock:
            if (error := saved.exception()) is None:
                self._saved.append(saved.result())
            else:
                self.message = f"{error}; 'mobile-vla-data recover' restores what was written"

    def _note_saved(self, episode: OpenEpisode, path: Path, checked: list[Finding]) -> SavedEpisode:
        errors = [f"{found.message}; {found.advice} [{found.code}]" for found in checked if found.severity == "error"]
        findings = (*episode.findings(self._settings.max_dropped_share), *errors)
        self.message = f"{episode.episode_id}: {findings[0]}" if findings else ""
        self._saved.append(path)
        self.last = SavedEpisode(
            episode.episode_id, path, episode.steps, episode.ticks.dropped, episode.real_rate_hz, findings
        )
        return self.last

    def _too_short(self, episode: OpenEpisode) -> str:
        why = f": {episode.ticks.last_drop}" if episode.ticks.last_drop else ""
        return (
            f"{episode.episode_id} had {episode.steps} steps, fewer than min_steps {self._settings.min_steps}; "
            f"it was discarded ({episode.ticks.dropped} dropped ticks{why})"
        )

    def _require_space(self) -> None:
        free, needed = self.writer.free_bytes, self._settings.min_free_bytes
        if free < needed:
            folder = self._settings.writer.dataset
            raise RefusedError(
                "DISK_FULL",
                f"{folder}: {free / 1e6:.0f} MB free, min_free_mb is {needed / 1e6:.0f}; free some space",
            )

    # Sampling ---------------------------------------------------------------------------------------------------------

    def _on_tick(self, missed: int) -> None:
        try:
            stamp_ns = self._sample(missed)
            if self._listener is not None:
                self._listener(stamp_ns, missed)
        except Exception as error:
            # Whatever it is: without the ticker an episode would stay open without steps, and nothing would say so.
            with self._lock:
                if self._phase is Phase.RECORDING and self._episode is not None:
                    why = " ".join(f"{type(error).__name__}: {error}".split())
                    self._end_by_itself(self._episode, f"sampling failed: {why}")

    def _sample(self, missed: int) -> int:
        """Take a sample and return its stamp [ns]."""
        stamp_ns = self._now_ns()
        step = self.sampler.tick(self.mono_ns(), stamp_ns, missed)
        with self._lock:
            episode = self._episode
            if self._phase is not Phase.RECORDING or episode is None:
                return stamp_ns
            if self.writer.failure is not None:
                self._end_by_itself(episode, str(self.writer.failure))
            elif self.writer.free_bytes < self._settings.min_free_bytes:
                self._end_by_itself(episode, f"only {self.writer.free_bytes / 1e6:.0f} MB free on the disk")
            elif step is not None:
                self._add(episode, step)
        return stamp_ns

    def _add(self, episode: OpenEpisode, step: SampledStep) -> None:
        if self.writer.add(step):
            episode.count(step)
        else:
            episode.ticks.drop(1, "the disk is too slow: the queue of steps to write is full")

    def _then(self, first: Future[_A], then: Callable[[_A], _B]) -> Future[_B]:
        """Return a future of ``then`` applied to the first one's result; a full disk becomes :class:`RefusedError`."""
        second: Future[_B] = Future()

        def done(future: Future[_A]) -> None:
            with self._lock:
                self._phase = Phase.NONE
                try:
                    result = then(future.result())
                except DiskFullError as error:
                    self.message = f"{error}; 'mobile-vla-data recover' restores what was written"
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
