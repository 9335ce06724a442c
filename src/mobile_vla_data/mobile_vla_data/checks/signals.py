"""Checks the numbers of an episode: ticks and capture times, actions and states, against the contract.

Thresholds are constants here, each with its reason; they are wide enough that an honest recording passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import displacement, gripper, motion, position, yaw
from mobile_vla_data.checks.findings import Finding, Severity
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.observation import GRIPPER_STATE, ODOMETRY

#: Share by which the median period may differ from the contract's: a loaded machine stays within 1 %.
RATE_TOLERANCE = 0.05
#: Share of dropped ticks from which the robot was blind too often to have been driven by what is recorded.
MAX_DROPPED = 0.1
#: Share of ticks that may find the same camera message again; a camera at half the rate repeats on 50 %.
MAX_REPEATED = 0.25
#: Commands are clamped to the limits; what is above them by more than rounding was not executed.
LIMIT_SLACK = 1.02
#: Odometry may report a push, a slip or a correction this much faster than the robot can drive ...
JUMP_FACTOR, JUMP_SLACK_M = 2.0, 0.1
#: ... and a whole drive may be longer or shorter than commanded by this factor, once it is this long.
PATH_FACTOR, PATH_SLACK_M = 2.0, 0.5
#: Odometry's speed may follow the commanded one this much later (wheels have mass, odometry is filtered) ...
MAX_LAG_S, SEARCHED_LAG_S = 0.4, 1.5
#: ... and a larger lag is believed when the two speeds agree this well there, and so badly without it (correlation).
LAG_SEEN, LAG_UNSEEN = 0.8, 0.6
#: Commanded turning that no action carries [rad] (20 degrees): less is a correction of the heading.
MAX_LOST_YAW_RAD = 0.35
#: Fewer steps hold no demonstration, only a start.
MIN_STEPS = 5
#: Stamps of so many steps do not agree to the nanosecond by chance.
MANY_STEPS = 20
#: A gripper state that varies by less than this stayed where it was.
GRIPPER_MOVED = 0.1

_AGAIN = "record it again"


@dataclass(frozen=True)
class Signals:
    """The small arrays of one episode, read once. T steps."""

    file: str
    contract: Contract
    category: str
    outcome: str
    dropped_ticks: int
    lost_yaw_rad: float
    ticks_ns: npt.NDArray[np.int64]
    stamps_ns: dict[str, npt.NDArray[np.int64]]
    states: npt.NDArray[np.float64]
    actions: npt.NDArray[np.float64]

    @classmethod
    def of(cls, episode: Episode) -> Signals:
        """Read them from a well-formed episode."""
        return cls(
            str(episode.path),
            episode.contract,
            episode.metadata.category,
            episode.outcome,
            episode.dropped_ticks,
            episode.lost_yaw_rad or 0.0,
            episode.timestamps_ns,
            episode.stamps_ns,
            episode.states.astype(np.float64),
            episode.actions.astype(np.float64),
        )

    def finding(
        self, code: str, message: str, advice: str = _AGAIN, step: Any = None, severity: Severity = "error"
    ) -> Finding:
        """A finding about this episode."""
        return Finding(code, severity, self.file, message, advice, None if step is None else int(step))


def check_signals(signals: Signals) -> list[Finding]:
    """Findings about ticks, capture times, actions and states."""
    if len(signals.ticks_ns) < MIN_STEPS:
        message = f"has {len(signals.ticks_ns)} steps; a demonstration needs at least {MIN_STEPS}"
        return [signals.finding("too-short", message, "delete it")]
    return [
        *_rate(signals),
        *_capture_times(signals),
        *_actions(signals),
        *_states(signals),
        *_agreement(signals),
        *_alignment(signals),
    ]


def _rate(signals: Signals) -> Iterator[Finding]:
    contract = signals.contract
    periods = np.diff(signals.ticks_ns)
    median = float(np.median(periods))
    if abs(median / contract.period_ns - 1) > RATE_TOLERANCE:
        yield signals.finding(
            "rate",
            f"ticks come at {1e9 / median:.2f} Hz, the contract declares {contract.control_rate_hz:g} Hz",
            "record with the contract's rate on a machine that keeps it",
        )
    # Against the grid of all ticks, not between neighbours: one that came late leaves a gap and misses nothing.
    missing = max(0, round((int(signals.ticks_ns[-1]) - int(signals.ticks_ns[0])) / median) + 1 - len(signals.ticks_ns))
    share = max(missing, signals.dropped_ticks) / (len(signals.ticks_ns) + max(missing, signals.dropped_ticks))
    if share > MAX_DROPPED:
        step = int(np.argmax(periods)) + 1
        yield signals.finding(
            "dropped-ticks",
            f"{share:.0%} of the ticks are missing, {MAX_DROPPED:.0%} are allowed; "
            f"the longest gap is {periods.max() * 1e-9:.2f} s",
            "find the input that was late (see 'mobile-vla-data info') and record it again",
            step,
        )


def _capture_times(signals: Signals) -> Iterator[Finding]:
    contract, ticks = signals.contract, signals.ticks_ns
    limits = {name: camera.max_age_s for name, camera in contract.cameras.items()}
    limits |= {ODOMETRY: contract.state.odometry_max_age_s, GRIPPER_STATE: contract.state.gripper_max_age_s}
    for stream, stamps in signals.stamps_ns.items():
        ages = (ticks - stamps) * 1e-9
        if (np.diff(stamps) < 0).any():
            step = int(np.argmax(np.diff(stamps) < 0)) + 1
            behind = (stamps[step - 1] - stamps[step]) * 1e-9
            yield signals.finding(
                "stamp-backwards",
                f"capture time of '{stream}' goes back by {behind:.3f} s",
                "synchronise the clocks and record it again",
                step,
            )
        if ages.min() < -contract.period_s:
            step = int(np.argmin(ages))
            yield signals.finding(
                "stamp-ahead",
                f"'{stream}' was captured {-ages[step]:.3f} s after the tick that used it",
                "synchronise the clocks (chrony) and record it again",
                step,
            )
        # One period more than the limit: the recorder checked the age at the tick, not at the capture of this step.
        limit = limits.get(stream)
        if limit is not None and ages.max() > limit + contract.period_s:
            camera = contract.cameras.get(stream)
            optional = camera is not None and not camera.required
            step = int(np.argmax(ages > limit + contract.period_s))
            yield signals.finding(
                "stale-input",
                f"'{stream}' is up to {ages.max():.2f} s old, the contract allows {limit} s",
                f"check the source of '{stream}' and record it again",
                step,
                "warning" if optional else "error",
            )
    for camera_name in contract.cameras:
        if camera_name in signals.stamps_ns:
            yield from _camera_times(signals, camera_name)


def _camera_times(signals: Signals, camera: str) -> Iterator[Finding]:
    stamps, ticks = signals.stamps_ns[camera], signals.ticks_ns
    repeated = float((np.diff(stamps) == 0).mean())
    if repeated > MAX_REPEATED:
        elapsed = max((stamps[-1] - stamps[0]) * 1e-9, 1e-9)
        yield signals.finding(
            "camera-slow",
            f"camera '{camera}' delivered {len(np.unique(stamps)) / elapsed:.1f} images/s: "
            f"{repeated:.0%} of the steps repeat the one before",
            f"set the camera to at least {signals.contract.control_rate_hz:g} images/s and record it again",
            int(np.argmax(np.diff(stamps) == 0)) + 1,
        )
    computed = len(np.unique(np.diff(ticks))) == 1 and len(np.unique(ticks - stamps)) == 1
    if computed and len(ticks) >= MANY_STEPS:
        yield signals.finding(
            "stamps-computed",
            f"capture times of camera '{camera}' lie exactly {(ticks[0] - stamps[0]) * 1e-6:.3f} ms before exactly "
            "regular ticks: they were computed, not measured",
            "stamp images when they are captured, and record it again",
        )


def _actions(signals: Signals) -> Iterator[Finding]:
    actions, limits = signals.actions, signals.contract.limits
    speeds = np.hypot(*displacement(actions).T) / signals.contract.period_s
    if speeds.max() > limits.linear_m_s * LIMIT_SLACK:
        step = int(np.argmax(speeds > limits.linear_m_s * LIMIT_SLACK))
        yield signals.finding(
            "action-limit",
            f"action commands {speeds[step]:.2f} m/s, the contract's limit is {limits.linear_m_s} m/s",
            "check units and the gate's limits, and record it again",
            step,
        )
    yield from _turns(signals)
    grip = gripper(actions)
    if not np.isin(grip, (0.0, 1.0)).all():
        step = int(np.argmax(~np.isin(grip, (0.0, 1.0))))
        yield signals.finding("action-gripper", f"gripper action is {grip[step]:g}, expected 0 or 1", step=step)
    gripper_moved = bool(np.ptp(grip) > 0) or bool(np.ptp(gripper(signals.states)) > GRIPPER_MOVED)
    if not motion(actions).any() and not np.ptp(grip):
        yield signals.finding("actions-zero", "nothing was commanded in any step", "delete it")
    elif signals.contract.has_gripper and not gripper_moved and signals.category in ("manipulation", "combined"):
        # A failed attempt may well have ended before the gripper was reached.
        yield signals.finding(
            "gripper-still",
            f"the gripper never moves, in an episode of category {signals.category}",
            "check the gripper's topics; if it is in order, relabel the episode",
            severity="warning" if signals.outcome == "failure" else "error",
        )


def _turns(signals: Signals) -> Iterator[Finding]:
    if signals.lost_yaw_rad > MAX_LOST_YAW_RAD:
        yield signals.finding(
            "turning-lost",
            f"{np.degrees(signals.lost_yaw_rad):.0f} degrees of commanded turning are in no action: the contract's "
            "action has no delta_yaw",
            "set 'action.yaw: true' in the contract and record it again, or drive without turning on the spot",
        )
    turns = yaw(signals.actions)
    if turns is None:
        return
    limit = signals.contract.limits.angular_rad_s
    rates = np.abs(turns) / signals.contract.period_s
    if rates.max() > limit * LIMIT_SLACK:
        step = int(np.argmax(rates > limit * LIMIT_SLACK))
        yield signals.finding(
            "action-limit",
            f"action commands a turn of {rates[step]:.2f} rad/s, the contract's limit is {limit} rad/s",
            "check units and the gate's limits, and record it again",
            step,
        )


def _states(signals: Signals) -> Iterator[Finding]:
    states, contract = signals.states, signals.contract
    grip = gripper(states)
    if grip.min() < -0.01 or grip.max() > 1.01:
        step = int(np.argmax((grip < -0.01) | (grip > 1.01)))
        yield signals.finding("state-gripper", f"gripper state is {grip[step]:g}, expected 0 .. 1", step=step)
    moved = np.hypot(*np.diff(position(states), axis=0).T)
    possible = contract.limits.linear_m_s * np.diff(signals.ticks_ns) * 1e-9 * JUMP_FACTOR + JUMP_SLACK_M
    if (moved > possible).any():
        step = int(np.argmax(moved > possible))
        yield signals.finding(
            "state-jump",
            f"position jumps by {moved[step]:.2f} m in one step, at {contract.limits.linear_m_s} m/s it can move "
            f"{contract.limits.linear_m_s * (signals.ticks_ns[step + 1] - signals.ticks_ns[step]) * 1e-9:.2f} m",
            "check the odometry, and record it again",
            step + 1,
        )


def _agreement(signals: Signals) -> Iterator[Finding]:
    """Compare the length of the drive as commanded with odometry's.

    Both are summed over stretches of one second. In a second the heading, which is not part of the state, hardly
    changes, and summing over it keeps the noise of odometry small.
    """
    stride = max(1, round(signals.contract.control_rate_hz))
    starts = np.arange(0, len(signals.states) - 1, stride)
    ends = np.append(starts[1:], len(signals.states) - 1)
    commanded = np.add.reduceat(displacement(signals.actions)[:-1], starts)
    positions = position(signals.states)
    travelled = positions[ends] - positions[starts]
    told, went = (float(np.hypot(*part.T).sum()) for part in (commanded, travelled))
    if abs(told - went) > PATH_SLACK_M and max(told, went) > PATH_FACTOR * min(told, went):
        yield signals.finding(
            "odometry-disagrees",
            f"actions sum to a drive of {told:.2f} m, odometry shows {went:.2f} m",
            "check the odometry's units, wheel slip and whether the robot was blocked",
        )


def _alignment(signals: Signals) -> Iterator[Finding]:
    """Find the lag at which odometry's speed follows the commanded one; speeds, because the state holds no heading."""
    told = np.hypot(*displacement(signals.actions)[:-1].T)
    went = np.hypot(*np.diff(position(signals.states), axis=0).T)
    allowed = round(MAX_LAG_S * signals.contract.control_rate_hz)
    searched = round(SEARCHED_LAG_S * signals.contract.control_rate_hz)
    if len(told) < max(MANY_STEPS, 3 * searched):
        return
    agreement = {lag: _correlation(told, went, lag) for lag in range(-searched, searched + 1)}
    best = max(agreement, key=lambda lag: agreement[lag])
    aligned = max(agreement[lag] for lag in range(-1, allowed + 1))
    if agreement[best] > LAG_SEEN and aligned < LAG_UNSEEN:
        lag_s = best * signals.contract.period_s
        yield signals.finding(
            "misaligned",
            f"odometry moves {abs(lag_s):.1f} s {'after' if best > 0 else 'before'} the actions that tell it to",
            "check the stamps of odometry and commands (they must come from one clock), and record it again",
        )


def _correlation(told: npt.NDArray[np.float64], went: npt.NDArray[np.float64], lag: int) -> float:
    """Of ``told[k]`` with ``went[k + lag]``; 0 where one of them does not vary."""
    first, second = (told[: len(told) - lag], went[lag:]) if lag >= 0 else (told[-lag:], went[:lag])
    if min(first.std(), second.std()) < 1e-4:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
