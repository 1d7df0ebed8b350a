"""A build's tasks on a Ray cluster: actors that hold the embedders, and decoding ahead of those that have a GPU.

On processors the actor decodes what it embeds, as a local worker does: waves cross no process, and no machine. Actors
on a GPU only embed; tasks on the cluster's processors decode ahead of them. Vectors come back to the building process,
its one writer, so only the recordings must be there for every machine, at the same path; the store need not be.
"""

import math
import pickle
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from featstore.audio import UNREADABLE
from featstore.building.units import TASK_CLIPS
from featstore.building.work import DEATH, UNITS_IN_FLIGHT, Job, Pending, Result, Task, TaskResult, Worker, joined
from featstore.distributed.ray_cluster import Need, library
from featstore.distributed.ray_pool import DEATHS, Crew, WorkerDied
from featstore.errors import DataError, RequestError


class RayEngine:
    """Computes tasks on the cluster that this process is connected to.

    actors: how many, None = as the cluster has room. gpus: of each actor, where the job does not embed on processors.
    ahead: units under way so that no actor waits for the oldest of them.
    """

    def __init__(self, job: Job, *, actors: int | None, gpus: float, unit_clips: int) -> None:
        self.job = job
        need = Need() if job.embeds else Need(cpus=0, gpus=gpus)
        size = actors or need.places()
        if not size:
            raise RequestError("the Ray cluster has no room for a worker: it has " + _resources())
        self.ahead = max(UNITS_IN_FLIGHT, math.ceil(2 * size * TASK_CLIPS / unit_clips))
        self.crew = Crew(partial(make_worker, job, [make().fingerprint for make in job.factories]), size, need)
        self._packed = library().cloudpickle.dumps(job)

    def submit(self, task: Task) -> Pending:
        """Queue a task; for a GPU its decoding begins at once."""
        return Pending(task, self.crew.submit(self._whole, task, self._decoded(task)))

    def result(self, pending: Pending) -> TaskResult:
        """The task's result; DataError when a worker cannot read what lies here."""
        assert pending.future is not None
        results = pending.future.result()
        refuse_unmounted(self.job.root, pending.task, results[0])
        return results

    def close(self) -> None:
        """Stop the actors."""
        self.crew.close()

    def _whole(self, task: Task, decoded: Sequence[Any]) -> TaskResult:
        """A task; if it kills its workers, clip by clip, rejecting the killer."""
        try:
            return self._call(task, decoded, DEATHS - 1)
        except WorkerDied:
            return joined([self._alone(single) for single in task.split()])

    def _alone(self, task: Task) -> TaskResult:
        try:
            return self._call(task, self._decoded(task), 1)
        except WorkerDied:
            return [[Result(reason=DEATH)] for _ in task.wanted]

    def _call(self, task: Task, decoded: Sequence[Any], tries: int) -> TaskResult:
        results: TaskResult = self.crew.call("embed" if decoded else "run", task, *decoded, tries=tries)
        return results

    def _decoded(self, task: Task) -> Sequence[Any]:
        """What an actor that only embeds is given: a reference to waves, which a processor of the cluster decodes."""
        if self.job.embeds:
            return ()
        return (library().remote(_decode).options(num_cpus=1, max_retries=DEATHS - 1).remote(self._packed, task),)


def refuse_unmounted(root: Path, task: Task, results: Sequence[Result]) -> None:
    """DataError when a worker could open none of a task's recordings, but this process can."""
    if all(result.reason.startswith(UNREADABLE) for result in results):
        for path in task.paths:
            if (root / path).exists():
                raise DataError(
                    f"{root / path}: a worker says {results[0].reason!r}, but it lies here; the recordings must be at "
                    "the same path on every machine of the cluster"
                )


def ray_engine(actors: int | None, gpus: float, unit_clips: int) -> Callable[[Job], RayEngine]:
    """For BuildOptions.workers: builds on the cluster that this process is connected to."""
    return partial(RayEngine, actors=actors, gpus=gpus, unit_clips=unit_clips)


def make_worker(job: Job, fingerprints: Sequence[str]) -> Worker:
    """A worker in an actor; RequestError when its embedders are not those of the building process."""
    worker = Worker(job)
    for embedder, expected in zip(worker.embedders, fingerprints, strict=True):
        if embedder.fingerprint != expected:
            raise RequestError(
                f"embedder {embedder.name} has fingerprint {embedder.fingerprint} in a worker, {expected} in the "
                "building process; use the same weights on every machine of the cluster"
            )
    return worker


def _decode(packed: bytes, task: Task) -> TaskResult:
    return _decoder(packed).run(task)


@cache
def _decoder(packed: bytes) -> Worker:
    """One worker per process and job, that does not embed; networks are only loaded by those that do."""
    return Worker(pickle.loads(packed))


def _resources() -> str:
    found = library().cluster_resources()
    return ", ".join(f"{found.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
