"""Loading a policy on a thread: a large checkpoint takes a minute, during which the node must answer."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_policy.engine.choices import EngineOptions
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy

#: Loads a folder for a robot, with options of execution. Raises ValueError or OSError with one line that says what to
#: do.
LoadPolicy = Callable[[Path, EngineOptions, Contract], DrivingPolicy]

#: Passes before the first real one: the first one allocates memory and may compile.
_WARM_UP_PASSES = 2

#: The copy of the contract in a checkpoint folder.
_CONTRACT = "contract.yaml"


class PolicyLoader:
    """Loads and warms up one policy in the background. ``progress`` is one line for a human."""

    def __init__(self, load: LoadPolicy, checkpoint: Path, options: EngineOptions, contract: Contract) -> None:
        self.checkpoint = checkpoint
        self.progress = "starting"
        self.policy: DrivingPolicy | None = None
        self.error: Exception | None = None
        self._load = load
        self._options = options
        self._contract = contract
        self._began_s = time.monotonic()
        # A daemon, so that a load that hangs on a dead disk or network does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    @property
    def elapsed_s(self) -> float:
        """Time since loading began [s]."""
        return time.monotonic() - self._began_s

    @property
    def done(self) -> bool:
        """True if it has ended, with a policy or with an error."""
        return self.policy is not None or self.error is not None

    def _run(self) -> None:
        try:
            self.progress = f"loading {self.checkpoint}"
            policy = self._load(self.checkpoint, self._options, self._contract)
            self.progress = "warming up"
            warm_up(policy)
        except (ValueError, OSError, RuntimeError) as error:
            self.error = error
        except Exception as error:
            error.args = (f"{type(error).__name__}: {error}\n{traceback.format_exc()}",)
            self.error = error
        else:
            self.progress = "loaded"
            self.policy = policy


def warm_up(policy: DrivingPolicy) -> None:
    """Predict from black images, and drop the result."""
    images = {
        name: np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in policy.contract.cameras.items()
    }
    for _ in range(_WARM_UP_PASSES):
        _, memory = policy.predict(images, np.zeros(3, dtype=np.float32), "go to the kitchen", policy.initial_memory())
        policy.prepare(memory)


def load_checkpoint(checkpoint: Path, options: EngineOptions, contract: Contract) -> DrivingPolicy:
    """Load a checkpoint or an export for half of the processor's cores.

    Other programs of the robot need the other half: torch's threads wait for each other at every operation, so a thread
    without a core delays all of them. OMP_NUM_THREADS takes precedence.
    """
    if (checkpoint / _CONTRACT).is_file():
        # Before the slow imports below: the wrong robot is refused at once.
        theirs = Contract.load(checkpoint / _CONTRACT)
        theirs.require_same(contract, f"the checkpoint {checkpoint}", "this robot")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
    # Waiting threads sleep: a spinning one takes the core from the thread it waits for if another process runs here
    # (an 8-bit step of full-size Kosmos-2 beside one busy process at the lowest priority: 10 s instead of 0.6 s).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Here, because importing torch and transformers takes seconds, in which the node already answers.
    from mobile_vla_policy.load_policy import load_policy

    policy: DrivingPolicy = load_policy(
        checkpoint,
        device=options.device,
        contract=contract,
        backend=options.backend,
        precision=options.precision,
        compile=options.compile,
    )
    return policy
