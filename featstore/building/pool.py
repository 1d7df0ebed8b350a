"""The worker processes of a build: spawned, given tasks, and replaced when they crash.

Workers are spawned, not forked, because a fork hangs after torch has computed. Each has one thread: two processes with
one thread are faster than one process with two. On a CPU the worker also embeds, so no wave is sent to another process.
For an accelerator it returns the waves, and the main process, which owns the device, embeds them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from featstore.building.make import CODE_FAILS, failure
from featstore.building.work import Job, Result, Task, TaskResult, Worker, joined
from featstore.errors import AsdError, ResourceError

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # glibc keeps freed wave buffers, because getting new pages for every clip takes as long as decoding it.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
UNITS_IN_FLIGHT = 2  # one unit is computed and one waits, while the previous one is written
CRASH = "the worker process crashed while reading or embedding it"
NO_START = (
    "worker processes end while they make their embedders, before the first recording; this may be a crash of a "
    "library, or too little memory: try --workers 1, or --workers 0 to see it happen in this process"
)

_worker: Worker | AsdError | None = None


def _start(job: Job) -> None:
    """Initialise a worker process; its environment has the thread limits before its libraries load.

    An embedder that cannot be made is told by the first task: an error here would only end the process.
    """
    global _worker  # noqa: PLW0603 - the one place where a spawned process can keep its embedders
    follow_parent()
    try:
        _worker = Worker(job)
    except CODE_FAILS as error:
        _worker = failure("an embedder cannot be made in a worker process", error)


def follow_parent() -> None:
    """Initialise a spawned process: leave Ctrl-C to the main process, and exit when the main process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the main process ends; a killed main process cannot stop its workers itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ready() -> Worker:
    """The worker of this process."""
    if _worker is None:
        raise RuntimeError("the worker process was not initialised")
    if isinstance(_worker, AsdError):
        raise _worker
    return _worker


def _begin() -> None:
    """Make sure that the worker of this process is there."""
    _ready()


def _run(task: Task) -> TaskResult:
    return _ready().run(task)


@dataclass(frozen=True)
class Pending:
    """A submitted task; without a future it runs in this process when its result is requested."""

    task: Task
    future: "Future[TaskResult] | None"


class Engine(Protocol):
    """Computes tasks in local processes (Pool) or on other machines. ahead: number of units to keep running."""

    ahead: int

    def submit(self, task: Task) -> Pending: ...  # noqa: D102
    def result(self, pending: Pending) -> TaskResult: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Pool:
    """Runs tasks in spawned processes, or in this one with `workers=0`, and continues when a process crashes."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job = job
        self.workers = workers
        self.ahead = UNITS_IN_FLIGHT if workers else 0  # without processes, no unit is computed ahead
        self._local = Worker(job) if workers == 0 or not job.embeds else None
        self._executor = self._spawn(workers) if workers else None

    def _spawn(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(self.job,))

    def submit(self, task: Task) -> Pending:
        """Queue a task."""
        if self._executor is None:
            return Pending(task, None)
        with _environment(ENVIRONMENT):  # processes start while tasks are submitted
            try:
                return Pending(task, self._executor.submit(_run, task))
            except BrokenProcessPool:
                self._executor = self._spawn(self.workers)
                return Pending(task, self._executor.submit(_run, task))

    def result(self, pending: Pending) -> TaskResult:
        """The result of a task; after a crash each clip runs in its own process and is rejected if it crashes again."""
        if pending.future is None:
            assert self._local is not None
            return self._local.run(pending.task)
        try:
            results = pending.future.result()
        except BrokenProcessPool:
            results = joined([self._alone(single) for single in pending.task.split()])
        if self._local is not None:
            self._local.embed(pending.task, results)
        return results

    def _alone(self, task: Task) -> TaskResult:
        """The result of one clip in a process of its own; ResourceError where no process gets as far as a clip."""
        started = False
        for _ in range(2):  # one crash may have another cause, such as the system's memory
            with _environment(ENVIRONMENT), self._spawn(1) as executor, suppress(BrokenProcessPool):
                executor.submit(_begin).result()
                started = True
                return executor.submit(_run, task).result()
        if not started:
            raise ResourceError(NO_START)
        return [[Result(reason=CRASH, by_embedder=True)] for _ in task.wanted]

    def close(self) -> None:
        """Stop the workers without waiting for queued tasks."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that the block starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
