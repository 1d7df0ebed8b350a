"""An archive run on a Ray cluster: actors that hold the banks score one unit after the other.

Every machine reads the two stores and writes result files itself. So all machines, including this one, need a shared
file system with the stores and the result folder at the same paths. No other data passes between machines.
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
    """A run in an actor; it scores units that the driver process assigns."""

    job: ArchiveJob
    resources: Resources
    run: ArchiveRun = field(init=False)
    ids: set[str] = field(init=False)

    def __post_init__(self) -> None:
        """Open the stores. The banks are read with the first unit."""
        self.run = ArchiveRun(self.job, self.resources)
        self.ids = {unit.id for unit in self.run.units}

    def score(self, unit: Unit, folder: Path) -> None:
        """Write one unit's results; RequestError where the stores on this machine differ from the driver's."""
        if unit.id not in self.ids:
            raise RequestError(
                f"{self.job.archive}: a worker sees another content of it or of {self.job.reference}; run the command "
                "again if they have changed, and mount the same stores on every machine of the cluster"
            )
        self.run.score([unit], folder)


def score_on_cluster(run: ArchiveRun, folder: Path, done: Callable[[Unit], None], *, actors: int | None = None) -> None:
    """Score every unit of `run` into `folder` on the connected Ray cluster, and call `done` after each.

    Every actor takes the threads and memory of `run.resources`. DataError, after all other units are done, names units
    that crash their workers; also where results do not appear in `folder`.
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
    capacity = actors or need.capacity()
    if not capacity:
        raise RequestError(
            f"no machine of the Ray cluster has {need.cpus:g} processors and {need.memory / 1e9:.1f} GB for a worker; "
            "give fewer --threads or less --memory"
        )
    pool = ActorPool(partial(Scorer, job, run.resources), min(capacity, len(missing)), need)
    try:
        futures = {pool.submit(pool.call, "score", unit, folder.absolute()): unit for unit in missing}
        crashed = finish(futures, folder, done)
    finally:
        pool.close()
    if crashed:
        raise DataError(
            f"{len(crashed)} of {len(run.units)} units crashed every worker that scored them, first {crashed[0].file}; "
            "all others are done. Try more --memory, or run the same command with --engine local to see the error"
        )


def finish(futures: "dict[Future[None], Unit]", folder: Path, done: Callable[[Unit], None]) -> Sequence[Unit]:
    """Wait for all units, and return those that crashed their workers."""
    crashed = []
    for future in as_completed(futures):
        unit = futures[future]
        try:
            future.result()
        except WorkerCrashed:
            crashed.append(unit)
            continue
        if not is_done(folder, unit):
            raise DataError(
                f"{folder / unit.file}: a worker wrote this file, but it is missing here; mount the result folder at "
                "the same path on every machine of the cluster"
            )
        done(unit)
    return crashed
