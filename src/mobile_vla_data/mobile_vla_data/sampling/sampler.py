"""One step per control tick: the observation at the tick, and what the robot was told until the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import GRIPPER_STATE
from mobile_vla_data.image import Image
from mobile_vla_data.observation import Observation, ObservationBuilder
from mobile_vla_data.sampling.camera_watch import CameraWatch
from mobile_vla_data.sampling.commands import CommandedPeriod, CommandTrack

_COUNTED = ("received", "late", "missing", "repeated", "refused")


@dataclass(frozen=True)
class SampledStep:
    """A complete step, ready to be written."""

    stamp_ns: int
    """The control tick."""
    images: dict[str, Image]
    """Camera -> RGB uint8 ``[height, width, 3]``."""
    encodings: dict[str, str]
    """Camera -> encoding of the message that its image came in."""
    jpegs: dict[str, bytes]
    """Camera -> the JPEG that its image came in, if that has the contract's size."""
    state: npt.NDArray[np.float32]
    """float32 ``[3]``, the columns of :data:`mobile_vla_data.action.STATE`."""
    action: npt.NDArray[np.float32]
    """float32 ``[3 or 4]``, the columns of :func:`mobile_vla_data.action.action_names`."""
    stamps_ns: dict[str, int]
    """Stream -> capture time."""
    takeover: bool
    lost_yaw_rad: float
    """Commanded turning that the action does not carry [rad]."""

    def with_cameras(self, cameras: Sequence[str]) -> SampledStep:
        """Return the step with only these cameras, all of which it must have."""
        return replace(
            self,
            images={name: self.images[name] for name in cameras},
            encodings={name: self.encodings[name] for name in cameras},
            jpegs={name: data for name, data in self.jpegs.items() if name in cameras},
            stamps_ns={
                name: stamp for name, stamp in self.stamps_ns.items() if name in cameras or name not in self.images
            },
        )


@dataclass
class EpisodeTicks:
    """Counters of the ticks of one episode. The sampler counts here while the episode is open."""

    cameras: tuple[str, ...]
    """Cameras of the episode: a tick without one of them is dropped."""
    policy_drives: bool
    """True if a human in command counts as a takeover; False if a human is expected to drive."""
    watch: CameraWatch
    dropped: int = 0
    last_drop: str = ""
    """Why the newest dropped tick was dropped; empty when none was."""
    newest_ns: int = 0
    """Tick of the newest step; 0 before the first."""

    def drop(self, count: int, why: str) -> None:
        """Count dropped ticks."""
        self.dropped += count
        self.last_drop = why


class Sampler:
    """Turns observations and commands into steps. Thread-safe: :meth:`tick` is called from the ticker.

    The action of the step at tick k is the integral of the gate's output over ``[t_k, t_k+1)``, so a step is complete
    when the next tick fires; the step that is open at the end of an episode has no action and is left out.

    Between episodes it keeps the steps of the last ``pre_trigger_s``, back to the newest dropped tick.
    """

    def __init__(self, builder: ObservationBuilder, commands: CommandTrack, pre_trigger_s: float = 0.0) -> None:
        self.commands = commands
        self._builder = builder
        self._lock = threading.Lock()
        self._watch = CameraWatch()
        self._open: Observation | None = None
        """Observation of the newest tick, whose action is still unknown."""
        self._before: deque[SampledStep] = deque(maxlen=round(pre_trigger_s * builder.contract.control_rate_hz))
        self._episode: EpisodeTicks | None = None

    def cameras_present(self, now_ns: int) -> tuple[str, ...]:
        """Return the cameras of an episode that starts now: the required ones, and the others that deliver."""
        return tuple(
            stream.name
            for stream in self._builder.streams
            if stream.name in self._builder.contract.cameras
            and (stream.required or ((age_s := stream.age_s(now_ns)) is not None and age_s <= stream.max_age_s))
        )

    def problems(self, mono_ns: int, now_ns: int) -> list[str]:
        """Return why no step can be taken now, one line for each input; empty if one can."""
        problems = self._builder.problems(now_ns)
        if why := self.commands.problem(mono_ns):
            problems.append(f"{why}; is the command gate running?")
        return problems

    def counters(self) -> dict[str, dict[str, int]]:
        """Return, for each stream, how many inputs of this episode were received, late, missing, repeated, refused."""
        streams = [*self._builder.streams, self.commands.stream]
        return {stream.name: {name: getattr(stream.counters, name) for name in _COUNTED} for stream in streams}

    def begin(
        self, mono_ns: int, cameras: Sequence[str], *, policy_drives: bool
    ) -> tuple[EpisodeTicks, list[SampledStep]]:
        """Begin an episode; also return the steps of the last ``pre_trigger_s`` that it begins with, oldest first."""
        self._builder.reset_counters()
        self.commands.reset_counters()
        with self._lock:
            self._watch = CameraWatch()
            self._episode = episode = EpisodeTicks(tuple(cameras), policy_drives, self._watch)
            before = self._before_with(episode)
            self._before.clear()
            if before:
                episode.newest_ns = before[-1].stamp_ns
            else:
                self._open = None
                self.commands.restart(mono_ns, self._gripper_position())
            return episode, before

    def end(self) -> None:
        """End the episode; the open step is left out."""
        with self._lock:
            self._open = self._episode = None
            self._watch = CameraWatch()
            self._before.clear()

    def tick(self, mono_ns: int, stamp_ns: int, missed: int) -> SampledStep | None:
        """Close the open step and open the next at this tick; return the closed one if the episode gets it.

        ``missed`` ticks before this one could not be met; they count as dropped, and so does the open step: its action
        would be that of several periods.
        """
        if self._episode is None and not self._before.maxlen:
            return None
        observation = self._builder.snapshot(stamp_ns)
        with self._lock:
            step = self._close(self.commands.close(mono_ns), mono_ns, stamp_ns)
            if missed:
                self._drop(missed + (step is not None), f"the recorder's process was too late for {missed} ticks")
                step = None
            self._open = self._usable(observation, stamp_ns)
            if self._episode is not None:
                return step
            if step is not None:
                self._before.append(step)
            return None

    def _before_with(self, episode: EpisodeTicks) -> list[SampledStep]:
        """Return the newest steps, up to the open one, that all have the episode's cameras."""
        cameras, observation = set(episode.cameras), self._open
        if observation is None or not cameras <= set(observation.images) - set(observation.stale):
            return []
        with_them = takewhile(lambda step: cameras <= step.images.keys(), reversed(self._before))
        return [
            replace(step.with_cameras(episode.cameras), takeover=step.takeover and episode.policy_drives)
            for step in reversed(list(with_them))
        ]

    def _gripper_position(self) -> float:
        position = next((stream.value for stream in self._builder.streams if stream.name == GRIPPER_STATE), 0.0)
        return float(position or 0.0)

    def _close(self, period: CommandedPeriod, mono_ns: int, stamp_ns: int) -> SampledStep | None:
        """Return the open observation with its action; None, and a dropped tick, if they make no step."""
        observation, episode = self._open, self._episode
        if observation is None:
            return None
        if why := self.commands.problem(mono_ns):
            self.commands.stream.counters.late += 1
            self._drop(1, why)
            return None
        # Also while the clock catches up: in a file ticks only rise.
        newest_ns = episode.newest_ns if episode is not None else observation.stamp_ns - 1
        behind_ns = max(observation.stamp_ns - stamp_ns, newest_ns - observation.stamp_ns)
        if behind_ns >= 0:
            self._drop(1, f"the system clock was set back by {behind_ns * 1e-9:.1f} s; stop, and record it again")
            return None
        step = SampledStep(
            observation.stamp_ns,
            observation.images,
            observation.encodings,
            observation.jpegs,
            observation.state,
            period.action,
            observation.stamps_ns,
            period.takeover and (episode is None or episode.policy_drives),
            period.lost_yaw_rad,
        )
        if episode is None:
            return step.with_cameras([name for name in observation.images if name not in observation.stale])
        episode.newest_ns = observation.stamp_ns
        return step.with_cameras(episode.cameras)

    def _usable(self, observation: Observation | None, stamp_ns: int) -> Observation | None:
        """Return the observation if it can become a step; otherwise count the tick as dropped."""
        if observation is None:
            self._drop(1, "; ".join(self._builder.problems(stamp_ns)))
            return None
        cameras = self._episode.cameras if self._episode is not None else ()
        silent = [name for name in cameras if name not in observation.images or name in observation.stale]
        if silent:
            self._drop(1, f"optional camera '{silent[0]}' fell silent")
            return None
        # An image that does not follow the robot is as bad as none.
        if frozen := self._watch.frozen(observation):
            self._drop(1, "; ".join(frozen))
            return None
        return observation

    def _drop(self, count: int, why: str) -> None:
        self._before.clear()
        if self._episode is not None:
            self._episode.drop(count, why)
