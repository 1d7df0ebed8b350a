"""An archive run on a Ray cluster: actors that hold the banks score unit after unit.

Every machine reads the two stores and writes files of results itself, so all of them, and this one, must see the
stores and the folder of results at the same paths: a shared file system. Nothing else passes between machines.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ensemble.archive.parts import is_done
from ensemble.archive.rows import Unit
from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources
from featstore.distributed.ray_cluster import ActorResources
from featstore.distributed.ray_pool import ActorPool, WorkerCrashed
from featstore.errors import DataError, RequestError


@dataclass
class Scorer:
    """A run opened in an actor, that scores units of the run of the process which leads it."""

    job: ArchiveJob
    resources: Resources
    run: ArchiveRun = field(init=False)
    ids: set[str] = field(init=False)

    def __post_init__(self) -> None:
        """Open the stores; banks are read with the first unit."""
        self.run = ArchiveRun(self.job, self.resources)
        self.ids = {unit.id for unit in self.run.units}

    def score(self, unit: Unit, folder: Path) -> None:
        """Write one unit's results; RequestError when the stores here are not those of the leading process."""
        if unit.id not in self.ids:
            raise RequestError(
                f"{self.job.archive}: a worker sees other contents of it or of {self.job.reference}; run the command "
                "again if they have changed, and mount the same stores on every machine of the cluster"
            )
        self.run.score([unit], folder)


def score_on_cluster(run: ArchiveRun, folder: Path, done: Callable[[Unit], None], *, actors: int | None = None) -> None:
    """Score every unit of `run` into `folder` on the cluster that this process is connected to; `done` after each.

    Every actor takes the threads and the memory of `run.resources`. DataError names units that killed their workers,
    after all others are done, and says when results do not appear here.
    """
    missing = []
    for unit in run.units:
        if is_done(folder, unit):
            done(unit)
        else:
            missing.append(unit)
    if not missing:
        return
    reference, archive = (str(Path(store).absolute()) for store in (run.job.reference, run.job.archive))
    job = replace(run.job, reference=reference, archive=archive)
    need = ActorResources(cpus=run.resources.threads, memory=run.resources.memory)
    places = actors or need.capacity()
    if not places:
        raise RequestError(
            f"no machine of the Ray cluster has {need.cpus:g} processors and {need.memory / 1e9:.1f} GB for a worker; "
            "give fewer --threads or less --memory"
        )
    crew = ActorPool(partial(Scorer, job, run.resources), min(places, len(missing)), need)
    try:
        futures = {crew.submit(crew.call, "score", unit, folder.absolute()): unit for unit in missing}
        killers = finish(futures, folder, done)
    finally:
        crew.close()
    if killers:
        raise DataError(
            f"{len(killers)} of {len(run.units)} units killed every worker that scored them, first {killers[0].file}; "
            "all others are done: try more --memory, or run the same command with --engine local to see why"
        )


def finish(futures: "dict[Future[None], Unit]", folder: Path, done: Callable[[Unit], None]) -> Sequence[Unit]:
    """Wait for all units, and return those that killed their workers."""
    killers = []
    for future in as_completed(futures):
        unit = futures[future]
        try:
            future.result()
        except WorkerCrashed:
            killers.append(unit)
            continue
        if not is_done(folder, unit):
            raise DataError(
                f"{folder / unit.file}: a worker has written it, but it is not here; every machine of the cluster must "
                "see the folder of results at the same path"
            )
        done(unit)
    return killers
