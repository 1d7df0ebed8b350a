"""Tasks spread over spawned processes of one thread each, the largest first; or run in this process.

For matrices of a section's size, two single-threaded processes are faster than one with two threads. They are spawned,
because a fork hangs after torch has computed.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from threadpoolctl import threadpool_limits

from featstore.building.cores import cores
from featstore.building.pool import ENVIRONMENT, follow_parent
from featstore.errors import ResourceError


@dataclass(frozen=True, eq=False)
class Task:
    """A picklable call `work(*arguments)`, its cost relative to other tasks, and a label for its caller."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    cost: float = 1.0
    label: Any = None


def run_tasks(
    batches: Iterable[Sequence[Task]], processes: int, *, threads: int | None = 1
) -> Iterator[tuple[Task, Any]]:
    """Every task with its result, as they finish.

    A batch is fetched when a process would be idle otherwise, so at most two batches are held. With fewer than two
    `processes`, the tasks run here, with so many `threads` of a product (None: all). ResourceError for a process that
    dies. An exception of a task, or an interrupt, ends all processes.
    """
    if processes < 2:
        import scipy.linalg  # noqa: F401 - only libraries that are loaded can be limited

        for batch in batches:
            for task in _largest_first(batch):
                with threadpool_limits(threads):
                    result = task.work(*task.arguments)
                yield task, result
        return
    try:
        with _processes(processes) as pool:
            yield from _spread(pool, iter(batches), processes)
    except BrokenProcessPool as error:
        raise ResourceError("a scoring process died, probably out of memory; try fewer --workers") from error


def processes_for(tasks: int, values: float, workers: int | None) -> int:
    """Processes for a number of tasks on so many `values`; by default one per core where that saves time.

    More than twice as many as there are cores would only take time to start.
    """
    if workers is None:
        return min(cores(), tasks) if values >= PROCESSES_FROM else 1
    return min(workers, tasks, 2 * cores())


PROCESSES_FROM = 1e7
"""Values scored, over all tasks, from which processes save more time than their start costs (a second each)."""


HEAVY = "sklearn.cluster"
"""Loaded by every process while the first batch is fetched; most tasks need it, and it takes longest."""


def _largest_first(batch: Sequence[Task]) -> list[Task]:
    return sorted(batch, key=lambda task: -task.cost)


def _spread(pool: ProcessPoolExecutor, batches: Iterator[Sequence[Task]], processes: int) -> Iterator[tuple[Task, Any]]:
    for _ in range(processes):
        pool.submit(import_module, HEAVY)
    waiting: dict[Future[Any], Task] = {}
    more = True
    while more or waiting:
        while more and len(waiting) <= processes:
            batch = next(batches, None)
            more = batch is not None
            waiting |= {pool.submit(task.work, *task.arguments): task for task in _largest_first(batch or ())}
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future.result()


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, at once where it raises."""
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)  # a spawned process reads its thread counts before it loads a library
    others = set(multiprocessing.active_children())
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, mp_context=context, initializer=follow_parent) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
