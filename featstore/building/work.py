"""The workers of a build: read clips, embed them in batches of equal length, return vectors or rejection reasons.

Workers are spawned, not forked, because a fork hangs after torch has computed. Each has one thread: two processes with
one thread are faster than one process with two. On a CPU the worker also embeds, so no wave is sent to another process.
For an accelerator it returns the waves, and the main process, which owns the device, embeds them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from featstore.audio.policy import AudioPolicy
from featstore.audio.read import Recording, read_clip
from featstore.errors import AsdError, DataError, RejectedAudio, place_of

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # glibc keeps freed wave buffers, because getting new pages for every clip takes as long as decoding it.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
UNITS_IN_FLIGHT = 2  # one unit is computed and one waits, while the previous one is written
CRASH = "the worker process crashed while reading or embedding it"


@runtime_checkable
class Embedder(Protocol):
    """Turns waves of equal length into vectors.

    fingerprint: changes with everything that changes a vector. shape: (d,), or (views, d) with one name per view in
    `views`. min_samples: shorter waves are zero-padded to it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def sample_rate_hz(self) -> int: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def views(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def config(self) -> Mapping[str, object]: ...  # noqa: D102
    @property
    def min_samples(self) -> int: ...  # noqa: D102

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Float32 (batch, time) to float32 (batch, *shape)."""
        ...


Render = Callable[[np.ndarray, int, str], np.ndarray]


@dataclass(frozen=True)
class Job:
    """Settings of a build for its workers; pickled once per worker.

    root: folder of the recordings. batch: clips per call of the embedder. embeds: whether the worker embeds, or only
    reads. render: (wave, sample rate, variant) to the wave of a generated variant; required for tasks with variants.
    """

    root: Path
    policy: AudioPolicy
    factories: tuple[Callable[[], Embedder], ...]
    batch: int
    embeds: bool = True
    render: Render | None = None


@dataclass
class Result:
    """Result of one clip for one embedder: a vector, a recording still to be embedded, or a rejection reason."""

    recording: Recording | None = None
    vector: np.ndarray | None = None
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """Clips (paths below the root) and the embedders (positions in Job.factories) that lack them.

    variants: one per path, empty for the recording itself; an empty tuple when all are recordings.
    """

    paths: tuple[str, ...]
    wanted: tuple[int, ...]
    variants: tuple[str, ...] = ()

    def clips(self) -> "list[tuple[str, str]]":
        """Path and variant of every clip."""
        return list(zip(self.paths, self.variants or ("",) * len(self.paths), strict=True))

    def split(self) -> "list[Task]":
        """One task per clip."""
        return [Task((path,), self.wanted, (variant,)) for path, variant in self.clips()]


TaskResult = list[list[Result]]
"""One list per wanted embedder, one Result per clip."""


@dataclass
class Worker:
    """Reads and embeds tasks; creates its embedders once."""

    job: Job
    embedders: list[Embedder] = field(default_factory=list)
    _source: tuple[tuple[str, int, int], Recording] | None = None  # the last recording, for its next variant

    def __post_init__(self) -> None:
        """Create the embedders; this loads their libraries, once per process."""
        self.embedders = [make() for make in self.job.factories]

    def run(self, task: Task) -> TaskResult:
        """Read the clips of `task`, and embed them if the job says so."""
        waves: dict[tuple[str, str, int, int], Result] = {}  # shared by embedders with the same sample rate and minimum
        results = [[self._read(clip, self.embedders[i], waves) for clip in task.clips()] for i in task.wanted]
        del waves  # so that each wave is freed as soon as it is embedded
        if self.job.embeds:
            self.embed(task, results)
        return results

    def _read(
        self, clip: tuple[str, str], embedder: Embedder, waves: dict[tuple[str, str, int, int], Result]
    ) -> Result:
        key = (*clip, embedder.sample_rate_hz, embedder.min_samples)
        if key not in waves:
            waves[key] = self._read_once(*key)
        return replace(waves[key])

    def _read_once(self, path: str, variant: str, rate_hz: int, min_samples: int) -> Result:
        try:
            recording = self._recording(path, rate_hz, min_samples, keep=bool(variant))
            if variant and self.job.render is None:
                raise ValueError(f"{path}: variant {variant} needs Job.render")
            if variant and self.job.render is not None:
                recording = replace(recording, wave=self.job.render(recording.wave, rate_hz, variant))
        except RejectedAudio as error:
            return Result(reason=str(error))
        except MemoryError:
            return Result(
                reason="does not fit in memory; cut it into windows with --window, or use a part with --length crop:S"
            )
        return Result(recording)

    def _recording(self, path: str, rate_hz: int, min_samples: int, *, keep: bool) -> Recording:
        key = (path, rate_hz, min_samples)
        if self._source is not None and self._source[0] == key:
            return self._source[1]
        self._source = None  # freed before the next one is read
        recording = read_clip(self.job.root, path, rate_hz, self.job.policy, min_samples=min_samples)
        self._source = (key, recording) if keep else None
        return recording

    def embed(self, task: Task, results: TaskResult) -> TaskResult:
        """Add the vectors to `results`, in batches of equal length, and free the waves."""
        for i, column in zip(task.wanted, results, strict=True):
            for batch in equal_length_batches(column, self.job.batch):
                self._embed_batch(self.embedders[i], batch)
        return results

    @staticmethod
    def _embed_batch(embedder: Embedder, batch: list[Result]) -> None:
        waves = [result.recording.wave for result in batch if result.recording is not None]
        stacked = waves[0][None] if len(waves) == 1 else np.stack(waves)
        try:
            vectors = embedder.embed(stacked)
        except (MemoryError, AsdError):
            raise
        except Exception as error:
            raise DataError(
                f"embedder {embedder.name} fails on float32 waves {stacked.shape}: {type(error).__name__}: {error} "
                f"({place_of(error)})"
            ) from error
        if vectors.shape != (len(batch), *embedder.shape):
            raise DataError(
                f"embedder {embedder.name} returned shape {vectors.shape}, expected {(len(batch), *embedder.shape)}"
            )
        for result, vector in zip(batch, vectors, strict=True):
            if result.recording is None:
                continue
            if np.isfinite(vector).all():
                result.vector = vector
                result.recording = _without_wave(result.recording)
            else:
                result.recording, result.reason = None, f"embedder {embedder.name} returned NaN or infinite values"


def _without_wave(recording: Recording) -> Recording:
    return replace(recording, wave=np.empty(0, np.float32))


def equal_length_batches(results: Iterable[Result], batch: int) -> Iterator[list[Result]]:
    """Groups of at most `batch` clips of equal length; padding in a batch would change the result of some encoders."""
    groups: dict[int, list[Result]] = {}
    for result in results:
        if result.recording is None:
            continue
        group = groups.setdefault(len(result.recording.wave), [])
        group.append(result)
        if len(group) == batch:
            yield groups.pop(len(result.recording.wave))
    yield from groups.values()


def joined(parts: Sequence[TaskResult]) -> TaskResult:
    """The result of a task from the results of its parts, in order."""
    return [[result for column in columns for result in column] for columns in zip(*parts, strict=True)]


_worker: Worker | None = None


def _start(job: Job) -> None:
    """Initialise a worker process; its environment has the thread limits before its libraries load."""
    global _worker  # noqa: PLW0603 - the one place where a spawned process can keep its embedders
    follow_parent()
    _worker = Worker(job)


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


def _run(task: Task) -> TaskResult:
    if _worker is None:
        raise RuntimeError("the worker process was not initialised")
    return _worker.run(task)


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
        for _ in range(2):  # one crash may have another cause, such as the system's memory
            with _environment(ENVIRONMENT), self._spawn(1) as executor, suppress(BrokenProcessPool):
                return executor.submit(_run, task).result()
        return [[Result(reason=CRASH)] for _ in task.wanted]

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
