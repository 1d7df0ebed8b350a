"""Clips to shards: workers read and embed unit after unit while finished units are committed.

A unit is committed whole or not at all, in order, and what is committed is never computed again; so a build can be
killed at any moment, started again, or run later over a grown folder, and ends with the same rows.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from featstore.audio import AudioPolicy
from featstore.build_state import BuildState, write_state
from featstore.clip import Clip
from featstore.errors import DataError, RequestError, ResourceError
from featstore.plan import FileState, Plan, PlanOptions, Unit, free_bytes, make_plan
from featstore.store import EmbeddingInfo, FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable, encode
from featstore.work import Embedder, Job, Pending, Pool, Render, Result, Task

__all__ = ["BuildOptions", "BuildReport", "Embedder", "Progress", "Request", "build", "plan_build"]

TASK_CLIPS = 16
UNITS_IN_FLIGHT = 2  # one being computed, one behind it, while the one before is written
SMALL_BUILD = 48  # clips under which starting processes costs more than it saves
RESERVE_BYTES = 16 << 20


@dataclass(frozen=True)
class Request:
    """An embedding to build: its name in the store, and how to make its embedder (picklable, for spawned workers)."""

    name: str
    make: Callable[[], Embedder]


@dataclass(frozen=True)
class BuildOptions:
    """workers: processes, None = as the machine has cores. embed_in_workers: False where one device serves all.

    batch: clips of equal length per call of the embedder. prune: drop rows whose recording has gone from the folder.
    render: makes a clip's variant from its wave (picklable); needed where clips have variants.
    """

    audio: AudioPolicy = field(default_factory=AudioPolicy)
    plan: PlanOptions = field(default_factory=PlanOptions)
    workers: int | None = None
    embed_in_workers: bool = True
    batch: int = 4
    dtype: str = "float32"
    strict: bool = False
    prune: bool = False
    render: Render | None = None


@dataclass(frozen=True)
class Progress:
    """How far a build has come; audio_s is the length of the recordings read so far."""

    done: int
    total: int
    rejected: int
    audio_s: float


@dataclass(frozen=True)
class BuildReport:
    """What a build did: the plan it carried out, rows per embedding afterwards, and what it rejected this time.

    standing: recordings that were rejected before and not tried again. gone: keys that are still there of recordings
    that are not.
    """

    plan: Plan
    rows: dict[str, int]
    rejected: tuple[Rejection, ...]
    standing: int
    gone: Mapping[str, Sequence[str]]
    audio_s: float


def plan_build(
    root: Path, clips: Sequence[Clip], path: Path, requests: Sequence[Request], options: BuildOptions
) -> tuple[Plan, list[EmbeddingInfo]]:
    """The plan of `build`, and the embeddings it would write, without touching anything.

    Raises RequestError when a name is already in the store with another fingerprint, shape or policy.
    """
    infos = [_info(request, options) for request in requests]
    store = FeatureStore.open(path) if (path / "manifest").is_dir() else None
    for info in infos:
        _check_same(store, info)
    names = [info.name for info in infos]
    return make_plan(root, clips, names, store, options.plan), infos


def build(
    root: Path,
    clips: Sequence[Clip],
    path: Path,
    requests: Sequence[Request],
    options: BuildOptions,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BuildReport:
    """Embed `clips` (paths below `root`) into the store at `path`; resumes, grows, and notices changed recordings.

    Raises StoreError when the store is locked or the name taken, ResourceError when disk or memory runs out, and with
    `strict` DataError at the first rejected recording; whatever was committed before stays.
    """
    _refuse_duplicates(clips)
    with StoreWriter(path) as writer:
        plan, infos = plan_build(root, clips, path, requests, options)
        write_state(path, BuildState(str(root.resolve()), len(clips), finished=False))
        _refuse_too_large(path, plan.bytes_needed(infos))
        _refresh(writer, clips, plan, infos)
        if options.prune:
            for name, gone in plan.gone.items():
                if gone:
                    writer.remove(name, gone)
        run = _Run(clips, plan, infos, options, report)
        if plan.units:
            makers = tuple(request.make for request in requests)
            run.execute(writer, Job(root, options.audio, makers, options.batch, render=options.render))
        write_state(path, BuildState(str(root.resolve()), len(clips), finished=True))
        known = writer.store.embeddings
        rows = {info.name: writer.store.rows(info.name) if info.name in known else 0 for info in infos}
        bad = {item.key for info in infos if info.name in known for item in writer.store.rejected(info.name)}
    left = {} if options.prune else plan.gone
    return BuildReport(plan, rows, tuple(run.rejected.values()), len(bad - run.rejected.keys()), left, run.audio_s)


class _Run:
    """One build under way: what has been read, what was rejected."""

    def __init__(
        self,
        clips: Sequence[Clip],
        plan: Plan,
        infos: Sequence[EmbeddingInfo],
        options: BuildOptions,
        report: Callable[[Progress], None],
    ) -> None:
        self.clips, self.plan, self.infos, self.options, self.report = clips, plan, infos, options, report
        self.rejected: dict[str, Rejection] = {}
        self.audio_s = 0.0
        self.done = 0

    def execute(self, writer: StoreWriter, job: Job) -> None:
        """Compute and commit every unit, in order."""
        workers = self.options.workers
        if workers is None:
            workers = 0 if self.plan.clips < SMALL_BUILD else len(os.sched_getaffinity(0))
        pool = Pool(replace(job, embeds=self.options.embed_in_workers or workers == 0), workers)
        try:
            self.report(self._progress())
            queue: deque[tuple[Unit, list[tuple[tuple[int, ...], Pending]]]] = deque()
            for unit in self.plan.units:
                queue.append((unit, [(part, pool.submit(task)) for part, task in self._tasks(unit)]))
                if len(queue) > UNITS_IN_FLIGHT:
                    self._finish(writer, pool, *queue.popleft())
            while queue:
                self._finish(writer, pool, *queue.popleft())
        finally:
            pool.close()

    def _tasks(self, unit: Unit) -> Iterator[tuple[tuple[int, ...], Task]]:
        for start in range(0, len(unit.clips), TASK_CLIPS):
            part = unit.clips[start : start + TASK_CLIPS]
            clips = [self.clips[i] for i in part]
            variants = tuple(clip.variant for clip in clips)
            yield part, Task(tuple(clip.path for clip in clips), unit.wanted, variants)

    def _finish(
        self, writer: StoreWriter, pool: Pool, unit: Unit, tasks: list[tuple[tuple[int, ...], Pending]]
    ) -> None:
        """Wait for the unit's tasks and commit one shard per embedding."""
        columns: list[list[Result]] = [[] for _ in unit.wanted]
        for part, pending in tasks:
            results = pool.result(pending)
            for column, found in zip(columns, results, strict=True):
                column.extend(found)
            self._count(part, results)
        shards = [
            self._shard(self.infos[i], unit.clips, column) for i, column in zip(unit.wanted, columns, strict=True)
        ]
        writer.commit(shards)

    def _count(self, part: Sequence[int], results: Sequence[Sequence[Result]]) -> None:
        self.done += len(part)
        for i, *found in zip(part, *results, strict=True):
            reasons = [result.reason for result in found if result.reason]
            if reasons:
                self._reject(self.clips[i], self.plan.states[i], reasons[0])
            elif found[0].recording is not None:
                self.audio_s += found[0].recording.n_samples / found[0].recording.sample_rate_hz
        self.report(self._progress())

    def _reject(self, clip: Clip, state: FileState, reason: str) -> None:
        if self.options.strict:
            raise DataError(f"{clip.key}: {reason} (stopped by --strict; what was finished is committed)")
        self.rejected[clip.key] = _rejection(clip, state, reason)

    def _progress(self) -> Progress:
        return Progress(self.done, self.plan.clips, len(self.rejected), self.audio_s)

    def _shard(self, info: EmbeddingInfo, positions: Sequence[int], results: Sequence[Result]) -> ShardData:
        """Rows of the clips that were embedded, rejections of the others."""
        good = [(i, result) for i, result in zip(positions, results, strict=True) if result.vector is not None]
        bad = [(i, result) for i, result in zip(positions, results, strict=True) if result.vector is None]
        matrix = np.empty((len(good), *info.shape), dtype=info.dtype)
        for row, (_, result) in zip(matrix, good, strict=True):
            row[...] = result.vector
        states = [self.plan.states[i] for i, _ in good]
        recordings = [result.recording for _, result in good if result.recording is not None]
        facts = {
            "size_bytes": np.array([state.size_bytes for state in states], dtype=np.int64),
            "mtime_ns": np.array([state.mtime_ns for state in states], dtype=np.int64),
            "content_hash": encode(recording.content_hash for recording in recordings),
            "sample_rate_hz": np.array([recording.sample_rate_hz for recording in recordings], dtype=np.int32),
            "n_samples": np.array([recording.n_samples for recording in recordings], dtype=np.int64),
            "channels": np.array([recording.channels for recording in recordings], dtype=np.int16),
            "outcome": encode(recording.outcome for recording in recordings),
        }
        table = ClipTable.from_clips([self.clips[i] for i, _ in good])
        rejected = [_rejection(self.clips[i], self.plan.states[i], result.reason) for i, result in bad]
        return ShardData(info=info, clips=table, matrix=matrix, facts=facts, rejected=rejected)


def _rejection(clip: Clip, state: FileState, reason: str) -> Rejection:
    return Rejection(clip.path, reason, state.size_bytes, state.mtime_ns, variant=clip.variant)


def _info(request: Request, options: BuildOptions) -> EmbeddingInfo:
    try:
        embedder = request.make()
    except ValueError as error:
        raise DataError(f"embedder {request.name}: {error}") from error
    return EmbeddingInfo(
        name=request.name,
        shape=embedder.shape,
        dtype=options.dtype,
        fingerprint=embedder.fingerprint,
        config=embedder.config,
        views=embedder.views,
        sample_rate_hz=embedder.sample_rate_hz,
        channel=options.audio.channel,
        length=options.audio.length,
    )


def _check_same(store: FeatureStore | None, info: EmbeddingInfo) -> None:
    """Refuse to mix two embedders or policies under one name before anything is computed."""
    if store is None or info.name not in store.embeddings:
        return
    known = store.embeddings[info.name]
    for field_name in ("fingerprint", "shape", "dtype", "channel", "length"):
        old, new = getattr(known, field_name), getattr(info, field_name)
        if old != new:
            raise RequestError(
                f"{store.path}: embedding {info.name!r} was built with {field_name} {old}, now it would be {new}; "
                "rows of the two must not mix: give the new one another name with --as NAME, or remove the old one "
                "with featstore drop"
            )


def _refuse_duplicates(clips: Sequence[Clip]) -> None:
    first, count = Counter(clip.key for clip in clips).most_common(1)[0] if clips else ("", 1)
    if count > 1:
        raise DataError(f"{first}: listed {count} times; every clip needs a path of its own")


def _refuse_too_large(path: Path, needed: int) -> None:
    free = free_bytes(path)
    if needed + RESERVE_BYTES > free:
        raise ResourceError(
            f"{path}: the build needs about {needed + RESERVE_BYTES:,} bytes and {free:,} are free; "
            "make room and run the same command again"
        )


def _refresh(writer: StoreWriter, clips: Sequence[Clip], plan: Plan, infos: Sequence[EmbeddingInfo]) -> None:
    """Rewrite rows of which the dataset now says something else, without embedding them again."""
    for info in infos:
        fresh = {clips[i].key: clips[i] for i in plan.relabelled[info.name]}
        if not fresh:
            continue
        keys = writer.store.clips(info.name).keys()
        where = np.array([key in fresh for key in keys])
        facts = {name: column[where] for name, column in writer.store.facts(info.name).items()}
        table = ClipTable.from_clips([fresh[key] for key in keys if key in fresh])
        matrix = writer.store.matrix(info.name, where).astype(info.dtype)
        writer.commit([ShardData(info=info, clips=table, matrix=matrix, facts=facts, rejected=[])])
