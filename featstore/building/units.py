"""Units of a build: a pool of workers turns the clips of each unit into one shard per embedding.

The caller decides what happens to the shards: a build commits them, a worker of a shared build adds them to its plan.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featstore.audio.measure import Measures
from featstore.audio.outcomes import Outcomes, add_outcome
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import Recording
from featstore.building.cores import cores
from featstore.building.failing import Failing
from featstore.building.plan import FileState, Plan
from featstore.building.pool import Engine, Pending, Pool
from featstore.building.work import Job, Result, Task
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, Rejection, ShardData
from featstore.table import ClipTable, encode

TASK_CLIPS = 16
SMALL_BUILD = 48  # below this number of clips, starting processes takes longer than it saves


@dataclass(frozen=True)
class UnitWork:
    """A unit as a worker needs it: its number in the plan, its clips and the states of their files.

    wanted: positions of the embeddings that lack these clips.
    """

    number: int
    clips: tuple[Clip, ...]
    states: tuple[FileState, ...]
    wanted: tuple[int, ...]

    def tasks(self, size: int = TASK_CLIPS) -> list[Task]:
        """The unit cut into tasks of at most `size` clips, in order."""
        parts = [self.clips[start : start + size] for start in range(0, len(self.clips), size)]
        return [
            Task(tuple(clip.path for clip in part), self.wanted, tuple(clip.variant for clip in part)) for part in parts
        ]


def units_of(plan: Plan, clips: Sequence[Clip]) -> Iterator[UnitWork]:
    """Every unit of `plan`, in order; `clips` is the list that `plan` was made from."""
    for number, unit in enumerate(plan.units):
        states = tuple(plan.states[i] for i in unit.clips)
        yield UnitWork(number, tuple(clips[i] for i in unit.clips), states, unit.wanted)


def shards_of(unit: UnitWork, infos: Sequence[EmbeddingInfo], columns: Sequence[Sequence[Result]]) -> list[ShardData]:
    """One shard per wanted embedding; `columns` has a list per wanted embedding with one result per clip."""
    return [_shard(infos[i], unit, column) for i, column in zip(unit.wanted, columns, strict=True)]


def _shard(info: EmbeddingInfo, unit: UnitWork, results: Sequence[Result]) -> ShardData:
    """Rows of the embedded clips and rejections of the others."""
    clips = list(zip(unit.clips, unit.states, results, strict=True))
    embedded = [item for item in clips if item[2].vector is not None]
    matrix = np.empty((len(embedded), *info.shape), dtype=info.dtype)
    for row, (_, _, result) in zip(matrix, embedded, strict=True):
        row[...] = result.vector
    recordings = [result.recording for _, _, result in embedded if result.recording is not None]
    facts = {
        "size_bytes": np.array([state.size_bytes for _, state, _ in embedded], dtype=np.int64),
        "mtime_ns": np.array([state.mtime_ns for _, state, _ in embedded], dtype=np.int64),
        "content_hash": encode(recording.content_hash for recording in recordings),
        "sample_rate_hz": np.array([recording.sample_rate_hz for recording in recordings], dtype=np.int32),
        "n_samples": np.array([recording.n_samples for recording in recordings], dtype=np.int64),
        "channels": np.array([recording.channels for recording in recordings], dtype=np.int16),
        "outcome": encode(recording.outcome for recording in recordings),
        **_measures(recordings),
    }
    table = ClipTable.from_clips([clip for clip, _, _ in embedded])
    rejected = [rejection(clip, state, result.reason) for clip, state, result in clips if result.vector is None]
    return ShardData(info=info, clips=table, matrix=matrix, facts=facts, rejected=rejected)


def _measures(recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Facts on how recordings were made, by column; of a generated variant those of its source."""
    rows = np.array([recording.measures for recording in recordings], dtype=np.float32)
    return dict(zip(Measures._fields, rows.reshape(-1, len(Measures._fields)).T, strict=True))


def rejection(clip: Clip, state: FileState, reason: str) -> Rejection:
    """The rejection of a clip."""
    return Rejection(clip.path, reason, state.size_bytes, state.mtime_ns, variant=clip.variant)


@dataclass(frozen=True)
class Progress:
    """Progress of a build, in clips.

    rejected: number of recordings or windows. audio_s: seconds of sound read so far, as the length policy uses them.
    """

    done: int
    total: int
    rejected: int
    audio_s: float


Workers = int | None | Callable[[Job], Engine]
"""Number of processes, None for one per core, or a function that creates another engine."""


class UnitRun:
    """Runs units through a pool and counts what was read and rejected.

    total: number of clips to read, for the progress. held: names of the embeddings that already have rows. strict:
    raise DataError at the first rejected recording. outcomes: the recordings of every outcome, in order, as keys.
    """

    def __init__(
        self,
        infos: Sequence[EmbeddingInfo],
        total: int,
        *,
        held: Collection[str] = (),
        strict: bool = False,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.infos, self.total, self.strict, self.report = infos, total, strict, report
        self.rejected: dict[str, Rejection] = {}
        self.outcomes: Outcomes = {}
        self.policy = AudioPolicy(infos[0].channel, infos[0].length)
        self.rejected_paths: set[str] = set()
        self.audio_s = 0.0
        self.done = 0
        self._failing = Failing(infos, held)
        self._waiting: list[tuple[UnitWork, list[ShardData]]] = []  # computed while an embedder has only failed

    def execute(
        self,
        units: Iterable[UnitWork | None],
        job: Job,
        workers: Workers,
        finish: Callable[[UnitWork, list[ShardData]], object],
    ) -> None:
        """Compute every unit and pass its shards to `finish`, in order.

        None in place of a unit: finish a running unit before the next one is requested. Raises what an embedder raises,
        and DataError for one that has failed on every clip; `finish` then gets none of its units.
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
                elif unit is None:
                    self._settle(finish)
            while queue:
                self._finish(pool, *queue.popleft(), finish)
            self._settle(finish)
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
            for column, results in zip(columns, pool.result(pending), strict=True):
                column.extend(results)
            for position, column in zip(unit.wanted, columns, strict=True):
                self._failing.count(position, column[start:])
            self._count(unit, columns, start)
        self._waiting.append((unit, shards_of(unit, self.infos, columns)))
        if not self._failing.suspects():
            self._settle(finish)

    def _settle(self, finish: Callable[[UnitWork, list[ShardData]], object]) -> None:
        """Finish the units that wait; DataError where an embedder is still under suspicion."""
        self._failing.end()
        for unit, shards in self._waiting:
            finish(unit, shards)
        self._waiting = []

    def _count(self, unit: UnitWork, columns: Sequence[Sequence[Result]], start: int) -> None:
        """Count the results from index `start` on and report the progress."""
        for i in range(start, len(columns[0])):
            results = [column[i] for column in columns]
            reasons = [result.reason for result in results if result.reason]
            recording = results[0].recording
            if reasons:
                self._reject(unit.clips[i], unit.states[i], reasons[0])
            elif recording is not None:
                self.audio_s += self.policy.used_seconds(recording.n_samples / recording.sample_rate_hz)
                if not unit.clips[i].variant:
                    add_outcome(self.outcomes, recording.outcome, unit.clips[i].path, unit.clips[i].recording)
        self.done += len(columns[0]) - start
        self.report(self._progress())

    def _reject(self, clip: Clip, state: FileState, reason: str) -> None:
        if self.strict:
            raise DataError(f"{clip.key}: {reason} (stopped by --strict; finished units are kept)")
        self.rejected[clip.key] = rejection(clip, state, reason)
        if not clip.variant:
            self.rejected_paths.add(clip.path)

    def _progress(self) -> Progress:
        return Progress(self.done, self.total, len(self.rejected_paths), self.audio_s)
