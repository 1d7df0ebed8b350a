"""Units of a build: clips go through the workers' pool and come back as one shard per embedding.

Whoever takes the shards decides what becomes of them: a build commits them, a worker of many puts them into the
pending area, and any other engine may compute the tasks of a unit elsewhere and call `shards_of` on the results.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featstore.building.plan import FileState, Plan
from featstore.building.work import Engine, Job, Pending, Pool, Result, Task
from featstore.clip import Clip
from featstore.cores import cores
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, Rejection, ShardData
from featstore.table import ClipTable, encode

TASK_CLIPS = 16
SMALL_BUILD = 48  # clips under which starting processes costs more than it saves


@dataclass(frozen=True)
class UnitWork:
    """All that a worker needs of one unit: its place in the plan, its clips, the states of their files.

    wanted: positions of the embeddings that lack these clips.
    """

    number: int
    clips: tuple[Clip, ...]
    states: tuple[FileState, ...]
    wanted: tuple[int, ...]

    def tasks(self, size: int = TASK_CLIPS) -> list[Task]:
        """The unit cut into what one worker process takes at a time, in order."""
        parts = [self.clips[start : start + size] for start in range(0, len(self.clips), size)]
        return [
            Task(tuple(clip.path for clip in part), self.wanted, tuple(clip.variant for clip in part)) for part in parts
        ]


def units_of(plan: Plan, clips: Sequence[Clip]) -> Iterator[UnitWork]:
    """Every unit of `plan`, in order; `clips` is the listing that the plan was made from."""
    for number, unit in enumerate(plan.units):
        states = tuple(plan.states[i] for i in unit.clips)
        yield UnitWork(number, tuple(clips[i] for i in unit.clips), states, unit.wanted)


def shards_of(unit: UnitWork, infos: Sequence[EmbeddingInfo], columns: Sequence[Sequence[Result]]) -> list[ShardData]:
    """One shard per wanted embedding; `columns` holds for each of them one result per clip of the unit."""
    return [_shard(infos[i], unit, column) for i, column in zip(unit.wanted, columns, strict=True)]


def _shard(info: EmbeddingInfo, unit: UnitWork, results: Sequence[Result]) -> ShardData:
    """Rows of the clips that were embedded, rejections of the others."""
    found = list(zip(unit.clips, unit.states, results, strict=True))
    good = [item for item in found if item[2].vector is not None]
    matrix = np.empty((len(good), *info.shape), dtype=info.dtype)
    for row, (_, _, result) in zip(matrix, good, strict=True):
        row[...] = result.vector
    recordings = [result.recording for _, _, result in good if result.recording is not None]
    facts = {
        "size_bytes": np.array([state.size_bytes for _, state, _ in good], dtype=np.int64),
        "mtime_ns": np.array([state.mtime_ns for _, state, _ in good], dtype=np.int64),
        "content_hash": encode(recording.content_hash for recording in recordings),
        "sample_rate_hz": np.array([recording.sample_rate_hz for recording in recordings], dtype=np.int32),
        "n_samples": np.array([recording.n_samples for recording in recordings], dtype=np.int64),
        "channels": np.array([recording.channels for recording in recordings], dtype=np.int16),
        "outcome": encode(recording.outcome for recording in recordings),
    }
    table = ClipTable.from_clips([clip for clip, _, _ in good])
    rejected = [rejection(clip, state, result.reason) for clip, state, result in found if result.vector is None]
    return ShardData(info=info, clips=table, matrix=matrix, facts=facts, rejected=rejected)


def rejection(clip: Clip, state: FileState, reason: str) -> Rejection:
    """The entry of a clip that was not embedded."""
    return Rejection(clip.path, reason, state.size_bytes, state.mtime_ns, variant=clip.variant)


@dataclass(frozen=True)
class Progress:
    """How far a build has come; audio_s is the length of the recordings read so far."""

    done: int
    total: int
    rejected: int
    audio_s: float


Workers = int | None | Callable[[Job], Engine]
"""Processes, None = as the machine has cores; or what makes another engine."""


class UnitRun:
    """Units under way through a pool: what has been read, what was rejected.

    total: clips there are to read, for the progress. strict: DataError at the first rejected recording.
    """

    def __init__(
        self,
        infos: Sequence[EmbeddingInfo],
        total: int,
        *,
        strict: bool = False,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.infos, self.total, self.strict, self.report = infos, total, strict, report
        self.rejected: dict[str, Rejection] = {}
        self.audio_s = 0.0
        self.done = 0

    def execute(
        self,
        units: Iterable[UnitWork | None],
        job: Job,
        workers: Workers,
        finish: Callable[[UnitWork, list[ShardData]], object],
    ) -> None:
        """Compute every unit and hand its shards to `finish`, in order.

        A unit that is None means that there is none to take before those under way are finished.
        """
        pool, size = self._open(job, workers), max(TASK_CLIPS, job.batch)
        try:
            self.report(self._progress())
            queue: deque[tuple[UnitWork, list[Pending]]] = deque()
            for unit in units:
                if unit is not None:
                    queue.append((unit, [pool.submit(task) for task in unit.tasks(size)]))
                if queue and (unit is None or len(queue) > pool.ahead):
                    self._finish(pool, *queue.popleft(), finish)
            while queue:
                self._finish(pool, *queue.popleft(), finish)
        finally:
            pool.close()

    def _open(self, job: Job, workers: Workers) -> Engine:
        if callable(workers):
            return workers(job)
        if workers is None:
            workers = 0 if self.total < SMALL_BUILD else cores()
        return Pool(replace(job, embeds=job.embeds or workers == 0), workers)

    def _finish(
        self,
        pool: Engine,
        unit: UnitWork,
        tasks: Sequence[Pending],
        finish: Callable[[UnitWork, list[ShardData]], object],
    ) -> None:
        columns: list[list[Result]] = [[] for _ in unit.wanted]
        for pending in tasks:
            start = len(columns[0])
            for column, found in zip(columns, pool.result(pending), strict=True):
                column.extend(found)
            self._count(unit, columns, start)
        finish(unit, shards_of(unit, self.infos, columns))

    def _count(self, unit: UnitWork, columns: Sequence[Sequence[Result]], start: int) -> None:
        """Take note of the results from `start` on."""
        for i in range(start, len(columns[0])):
            found = [column[i] for column in columns]
            reasons = [result.reason for result in found if result.reason]
            if reasons:
                self._reject(unit.clips[i], unit.states[i], reasons[0])
            elif found[0].recording is not None:
                self.audio_s += found[0].recording.n_samples / found[0].recording.sample_rate_hz
        self.done += len(columns[0]) - start
        self.report(self._progress())

    def _reject(self, clip: Clip, state: FileState, reason: str) -> None:
        if self.strict:
            raise DataError(f"{clip.key}: {reason} (stopped by --strict; what was finished is kept)")
        self.rejected[clip.key] = rejection(clip, state, reason)

    def _progress(self) -> Progress:
        return Progress(self.done, self.total, len(self.rejected), self.audio_s)
