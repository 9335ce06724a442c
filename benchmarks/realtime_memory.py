"""Memory growth of the tiny policy per step. Memory over 500 steps after warm-up, as the driver takes them.

Each step is complete: images and state put into the observation, the forward pass on the inference thread, the
chunk through the scheduler. The slope of a straight line through the memory of all steps is what one step costs:

* resident: of the process, seen by the kernel;
* Python: objects, counted by tracemalloc, in its own process because counting takes memory itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from common import Figure, say

#: As many as policy/status keeps durations of, and some more.
_WARM_UP_STEPS = 350
_STEPS = 500
_PERIOD_NS = 100_000_000


def measure(checkpoint: Path) -> list[Figure]:
    """Run both processes."""
    say(f"memory over {_STEPS} steps")
    resident, python = (
        json.loads(
            subprocess.run(
                [sys.executable, __file__, str(checkpoint), how], check=True, capture_output=True, text=True
            ).stdout.splitlines()[-1]
        )
        for how in ("resident", "python")
    )
    return [
        Figure(f"resident memory gained per step, {_STEPS} steps after warm-up", resident, "bytes", "<= 1000"),
        Figure(f"Python memory gained per step, {_STEPS} steps after warm-up", python, "bytes", "<= 10"),
    ]


def _slope(checkpoint: Path, how: str) -> float:
    from mobile_vla_data.observation import ObservationBuilder
    from mobile_vla_policy.load_policy import load_policy
    from mobile_vla_policy.runtime.driver import PolicyDriver
    from mobile_vla_policy.runtime.platform import resident_bytes
    from mobile_vla_policy.runtime.scheduler import SchedulerOptions

    policy = load_policy(checkpoint, device="cpu")
    contract = policy.contract
    builder = ObservationBuilder(contract)
    clock_ns = [time.time_ns()]
    driver = PolicyDriver(policy, builder, SchedulerOptions(blend=0.3), lambda: clock_ns[0], inference_timeout_s=60.0)
    pictures = {
        name: np.zeros((camera.height, camera.width, 3), dtype=np.uint8) for name, camera in contract.cameras.items()
    }
    driver.start()
    driver.follow("go to the kitchen")

    def step() -> None:
        clock_ns[0] += _PERIOD_NS
        now_ns = clock_ns[0]
        builder.put_odometry(now_ns, now_ns, 0.0, 0.0, contract.state.odometry_frame)
        builder.put_gripper(now_ns, now_ns, 0.0)
        for name, picture in pictures.items():
            height, width = picture.shape[:2]
            builder.put_image(name, now_ns, now_ns, picture.data, "rgb8", height, width, 3 * width)
        before = driver.passes
        driver.wake()
        while driver.tick(now_ns) and driver.passes == before:
            time.sleep(0.001)

    if how == "python":
        # Before the warm-up: what replaces something uncounted, in a container that is full, would count as a gain.
        tracemalloc.start()
    for _ in range(_WARM_UP_STEPS):
        step()
    # Made beforehand: a list that grows would count itself.
    memory = np.zeros(_STEPS)
    for number in range(_STEPS):
        step()
        memory[number] = tracemalloc.get_traced_memory()[0] if how == "python" else resident_bytes()
    driver.stop(5.0)
    return float(np.polyfit(np.arange(_STEPS), memory, 1)[0])


if __name__ == "__main__":
    print(json.dumps(_slope(Path(sys.argv[1]), sys.argv[2])))
