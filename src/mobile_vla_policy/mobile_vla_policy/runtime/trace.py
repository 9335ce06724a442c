"""A Chrome trace of the time of each stage, for chrome://tracing or ui.perfetto.dev: one row per thread."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

from mobile_vla_policy.runtime.inference import ForwardPass

#: Number of newest forward passes that are kept: half an hour at 10 Hz, 25 MB of JSON.
_MAX_PASSES = 18_000

_ROWS = {1: "capture and transport", 2: "inference thread", 3: "command timer"}


class TraceRecorder:
    """Keeps the stages of each forward pass; :meth:`write` makes the file."""

    def __init__(self) -> None:
        self._passes: deque[list[dict[str, Any]]] = deque(maxlen=_MAX_PASSES)

    def add(self, number: int, done: ForwardPass, sent_ns: int) -> None:
        """Take a forward pass, the ``number``-th, whose first command was sent at ``sent_ns``."""
        arguments = {"step": number, "instruction": done.instruction}
        bars = [_moment("capture", 1, done.stamp_ns, arguments)]
        bars += [_bar("transport", 1, done.stamp_ns, done.started_ns, arguments)]
        at_ns = done.started_ns
        for stage, seconds in done.stages_s.items():
            bars.append(_bar(stage, 2, at_ns, at_ns + round(seconds * 1e9), arguments))
            at_ns += round(seconds * 1e9)
        finished_ns = done.started_ns + round(done.inference_s * 1e9)
        bars.append(_bar("schedule", 3, min(finished_ns, sent_ns), sent_ns, arguments))
        bars.append(_moment("publish", 3, sent_ns, arguments))
        self._passes.append(bars)

    def write(self, path: Path) -> int:
        """Write the trace; return the number of forward passes in it. Raises OSError."""
        names = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": row, "args": {"name": name}}
            for row, name in _ROWS.items()
        ]
        events = [*names, *(bar for bars in self._passes for bar in bars)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"displayTimeUnit": "ms", "traceEvents": events}), encoding="utf-8")
        return len(self._passes)


def _bar(name: str, row: int, begin_ns: int, end_ns: int, arguments: dict[str, Any]) -> dict[str, Any]:
    duration_us = max(0, end_ns - begin_ns) / 1e3
    return {"name": name, "ph": "X", "pid": 1, "tid": row, "ts": begin_ns / 1e3, "dur": duration_us, "args": arguments}


def _moment(name: str, row: int, at_ns: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "i", "s": "t", "pid": 1, "tid": row, "ts": at_ns / 1e3, "args": arguments}
