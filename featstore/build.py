"""Clips to shards: workers read and embed unit after unit while finished units are committed.

A unit is committed whole or not at all, in order, and what is committed is never computed again; so a build can be
killed at any moment, started again, or run later over a grown folder, and ends with the same rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featstore.audio import AudioPolicy
from featstore.building.plan import Plan, PlanOptions, make_plan
from featstore.building.state import BuildState, write_state
from featstore.building.units import Progress, UnitRun, Workers, units_of
from featstore.building.work import Embedder, Job, Render
from featstore.clip import Clip
from featstore.disk.files import free_bytes
from featstore.distributed.gather import take_over
from featstore.errors import DataError, RequestError, ResourceError
from featstore.store import EmbeddingInfo, FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable

__all__ = ["BuildOptions", "BuildReport", "Embedder", "Progress", "Request", "build", "plan_build"]

RESERVE_BYTES = 16 << 20


@dataclass(frozen=True)
class Request:
    """An embedding to build: its name in the store, and how to make its embedder (picklable, for spawned workers)."""

    name: str
    make: Callable[[], Embedder]


@dataclass(frozen=True)
class BuildOptions:
    """workers: processes, None = as the machine has cores, or what makes another engine.

    embed_in_workers: False where one device serves all. batch: clips of equal length per call of the embedder. prune:
    drop rows whose recording has gone from the folder. render: makes a clip's variant from its wave (picklable); needed
    where clips have variants.
    """

    audio: AudioPolicy = field(default_factory=AudioPolicy)
    plan: PlanOptions = field(default_factory=PlanOptions)
    workers: Workers = None
    embed_in_workers: bool = True
    batch: int = 4
    dtype: str = "float32"
    strict: bool = False
    prune: bool = False
    render: Render | None = None


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
    infos = infos_of(requests, options)
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
    refuse_duplicates(clips)
    with StoreWriter(path) as writer:
        take_over(writer, [request.name for request in requests])
        plan, infos = begin(writer, root, clips, requests, options)
        run = UnitRun(infos, plan.clips, strict=options.strict, report=report)
        if plan.units:
            job = job_of(root, requests, options)
            run.execute(units_of(plan, clips), job, options.workers, lambda _, shards: writer.commit(shards))
        write_state(path, BuildState(str(root.resolve()), len(clips), finished=True))
        known = writer.store.embeddings
        rows = {info.name: writer.store.rows(info.name) if info.name in known else 0 for info in infos}
        bad = {item.key for info in infos if info.name in known for item in writer.store.rejected(info.name)}
    left = {} if options.prune else plan.gone
    return BuildReport(plan, rows, tuple(run.rejected.values()), len(bad - run.rejected.keys()), left, run.audio_s)


def begin(
    writer: StoreWriter, root: Path, clips: Sequence[Clip], requests: Sequence[Request], options: BuildOptions
) -> tuple[Plan, list[EmbeddingInfo]]:
    """All of a build that comes before embedding: its plan, the space it needs, labels refreshed and rows pruned."""
    plan, infos = plan_build(root, clips, writer.path, requests, options)
    write_state(writer.path, BuildState(str(root.resolve()), len(clips), finished=not plan.units))
    _refuse_too_large(writer.path, plan.bytes_needed(infos))
    _refresh(writer, clips, plan, infos)
    if options.prune:
        for name, gone in plan.gone.items():
            if gone:
                writer.remove(name, gone)
    return plan, infos


def job_of(root: Path, requests: Sequence[Request], options: BuildOptions) -> Job:
    """What every worker process of a build needs to know."""
    makers = tuple(request.make for request in requests)
    return Job(root, options.audio, makers, options.batch, options.embed_in_workers, options.render)


def infos_of(requests: Sequence[Request], options: BuildOptions) -> list[EmbeddingInfo]:
    """The embeddings that `requests` make, under `options`."""
    return [_info(request, options) for request in requests]


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


def refuse_duplicates(clips: Sequence[Clip]) -> None:
    """DataError when two clips have one key."""
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
