"""Jobs spread over the processes of this machine, or with Ray over many machines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, Generic, TypeVar

from mobile_vla_data.interrupt import deferred

Prepared = TypeVar("Prepared")
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Spread:
    """Where jobs run."""

    workers: int = 1
    """Processes on this machine; 1 works in this process."""
    ray: bool = False
    """With Ray instead: one worker for each of its processors, on the cluster that RAY_ADDRESS names, else on this
    machine. Every machine must see the same files."""
    gpu: bool = False
    """With Ray: one worker for each GPU instead, if the cluster has any."""

    @property
    def many(self) -> bool:
        """True if several workers may share the processors of one machine."""
        return self.ray or self.workers > 1

    def run(
        self,
        prepare: Callable[[], Prepared],
        work: Callable[[Prepared, Job], Result],
        jobs: Sequence[Job],
        release: Callable[[Prepared], None] = lambda prepared: None,
    ) -> Iterator[Result]:
        """Yield ``work(prepared, job)`` for each job, in order; the first that raises ends it.

        Args:
            prepare: called once in each worker; what it returns stays there. Picklable, as are ``work`` and ``jobs``.
            work: does one job.
            jobs: what to do.
            release: closes what was prepared, where the worker is this process.

        Raises:
            ValueError: Ray is asked for, and is not installed.
        """
        if not jobs:
            return
        if self.ray:
            yield from _with_ray(prepare, work, jobs, gpu=self.gpu)
        elif self.workers <= 1 or len(jobs) <= 1:
            prepared = prepare()
            try:
                yield from (work(prepared, job) for job in jobs)
            finally:
                release(prepared)
        else:
            yield from _in_processes(prepare, work, jobs, min(self.workers, len(jobs)))


HERE = Spread()
"""In this process."""


def _in_processes(
    prepare: Callable[[], Prepared], work: Callable[[Prepared, Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[Result]:
    # Spawned: neither a graphics context nor threads and their locks survive a fork.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(_Worker(prepare, work),)
    )
    # Started before, because starting it lets Ctrl-C through again.
    resource_tracker.ensure_running()
    try:
        with deferred():
            results = pool.map(_do, jobs)
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _with_ray(
    prepare: Callable[[], Prepared], work: Callable[[Prepared, Job], Result], jobs: Sequence[Job], *, gpu: bool
) -> Iterator[Result]:
    try:
        import ray
        from ray.exceptions import RayTaskError
        from ray.util import ActorPool
    except ImportError:
        raise ValueError("--ray needs Ray: pip install 'ray>=2.40'") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if gpu else 0
    workers = min(len(jobs), gpus or max(1, int(there.get("CPU", 1))))
    remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0)(_Worker)
    # Stored once for all workers. Paths may be relative, and Ray's workers start in a folder of its own.
    given = ray.put(prepare), work, Path.cwd()
    actors = [remote.remote(*given) for _ in range(workers)]
    try:
        yield from ActorPool(actors).map(lambda actor, job: actor.do.remote(job), jobs)
    except RayTaskError as error:
        raise error.cause from None
    finally:
        # Open jobs must not write after the call has ended.
        for actor in actors:
            ray.kill(actor)


class _Worker(Generic[Prepared, Job, Result]):
    def __init__(
        self,
        prepare: Callable[[], Prepared],
        work: Callable[[Prepared, Job], Result],
        folder: Path | None = None,
    ) -> None:
        if folder:
            os.chdir(folder)
        self._prepare, self._work = prepare, work
        self._prepared: Prepared | None = None
        self._ready = False

    def do(self, job: Job) -> Result:
        if not self._ready:
            self._prepared, self._ready = self._prepare(), True
        return self._work(self._prepared, job)  # type: ignore[arg-type]


_worker: _Worker[Any, Any, Any] | None = None
"""A worker process keeps what it prepared between jobs; the pool's interface leaves no other place for it."""


def _start(worker: _Worker[Any, Any, Any]) -> None:
    global _worker
    # Ctrl-C reaches the whole process group; the parent decides, and open jobs are finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = worker


def _do(job: Any) -> Any:
    assert _worker is not None
    return _worker.do(job)
