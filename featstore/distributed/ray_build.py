"""The tasks of a build on a Ray cluster: actors with the embedders, and decoding on CPUs ahead of GPU actors.

On CPUs an actor decodes and embeds, as a local worker does, so no wave is sent to another process. GPU actors only
embed; Ray tasks on the cluster's CPUs decode ahead of them. Vectors return to the building process, the only writer of
the store. So every machine needs the recordings, at the same path, but not the store.
"""

import math
import pickle
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from featstore.audio.read import UNREADABLE
from featstore.building.pool import CRASH, UNITS_IN_FLIGHT, Pending
from featstore.building.units import TASK_CLIPS
from featstore.building.work import Job, Result, Task, TaskResult, Worker, joined
from featstore.distributed.ray_cluster import ActorResources, load_ray
from featstore.distributed.ray_pool import MAX_CRASHES, ActorPool, WorkerCrashed
from featstore.errors import DataError, RequestError


class RayEngine:
    """Computes tasks on the cluster that this process is connected to.

    actors: number of actors, None for as many as fit. gpus: GPUs per actor, used when the job does not embed on CPUs.
    ahead: number of units to keep running so that no actor is idle.
    """

    def __init__(self, job: Job, *, actors: int | None, gpus: float, unit_clips: int) -> None:
        self.job = job
        resources = ActorResources() if job.embeds else ActorResources(cpus=0, gpus=gpus)
        size = actors or resources.capacity()
        if not size:
            raise RequestError("the Ray cluster has no room for a worker: it has " + _resources())
        self.ahead = max(UNITS_IN_FLIGHT, math.ceil(2 * size * TASK_CLIPS / unit_clips))
        fingerprints = [make().fingerprint for make in job.factories]
        self.pool = ActorPool(partial(make_worker, job, fingerprints), size, resources)
        self._pickled = load_ray().cloudpickle.dumps(job)

    def submit(self, task: Task) -> Pending:
        """Queue a task; for a GPU, decoding starts at once."""
        return Pending(task, self.pool.submit(self._whole, task, self._decoded(task)))

    def result(self, pending: Pending) -> TaskResult:
        """The result of a task; DataError when a worker cannot read recordings that exist here."""
        assert pending.future is not None
        results = pending.future.result()
        check_mounted(self.job.root, pending.task, results[0])
        return results

    def close(self) -> None:
        """Stop the actors."""
        self.pool.close()

    def _whole(self, task: Task, decoded: Sequence[Any]) -> TaskResult:
        """Result of a task; when it crashes its workers, each clip runs alone and is rejected if it crashes again."""
        try:
            return self._call(task, decoded, MAX_CRASHES - 1)
        except WorkerCrashed:
            return joined([self._alone(single) for single in task.split()])

    def _alone(self, task: Task) -> TaskResult:
        try:
            return self._call(task, self._decoded(task), 1)
        except WorkerCrashed:
            return [[Result(reason=CRASH, by_embedder=True)] for _ in task.wanted]

    def _call(self, task: Task, decoded: Sequence[Any], tries: int) -> TaskResult:
        results: TaskResult = self.pool.call("embed" if decoded else "run", task, *decoded, tries=tries)
        return results

    def _decoded(self, task: Task) -> Sequence[Any]:
        """A reference to the waves that a CPU of the cluster decodes, for an actor that only embeds."""
        if self.job.embeds:
            return ()
        decode = load_ray().remote(_decode).options(num_cpus=1, max_retries=MAX_CRASHES - 1)
        return (decode.remote(self._pickled, task),)


def check_mounted(root: Path, task: Task, results: Sequence[Result]) -> None:
    """Raise DataError when a worker could open no recording of a task, but this process can."""
    if all(result.reason.startswith(UNREADABLE) for result in results):
        for path in task.paths:
            if (root / path).exists():
                raise DataError(
                    f"{root / path}: a worker reports {results[0].reason!r}, but the file exists here; the recordings "
                    "must be at the same path on every machine of the cluster"
                )


def ray_engine(actors: int | None, gpus: float, unit_clips: int) -> Callable[[Job], RayEngine]:
    """A value of BuildOptions.workers for builds on the cluster that this process is connected to."""
    return partial(RayEngine, actors=actors, gpus=gpus, unit_clips=unit_clips)


def make_worker(job: Job, fingerprints: Sequence[str]) -> Worker:
    """The worker of an actor; RequestError when its embedders differ from those of the building process."""
    worker = Worker(job)
    for embedder, expected in zip(worker.embedders, fingerprints, strict=True):
        if embedder.fingerprint != expected:
            raise RequestError(
                f"embedder {embedder.name} has fingerprint {embedder.fingerprint} in a worker, {expected} in the "
                "building process; use the same weights on every machine of the cluster"
            )
    return worker


def _decode(pickled: bytes, task: Task) -> TaskResult:
    return _decoder(pickled).run(task)


@cache
def _decoder(pickled: bytes) -> Worker:
    """One worker per process and job that only decodes; it loads no networks."""
    return Worker(pickle.loads(pickled))


def _resources() -> str:
    amounts = load_ray().cluster_resources()
    return ", ".join(f"{amounts.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
