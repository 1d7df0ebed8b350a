"""Everything of a build before the first clip is embedded: the request, the plan, the checks, the new labels."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from featstore.audio.near_far.mixes import side_by_side
from featstore.audio.policy import AudioPolicy, length_option
from featstore.building.make import made
from featstore.building.plan import Plan, PlanOptions, make_plan
from featstore.building.state import BuildState, write_state
from featstore.building.units import Workers
from featstore.building.work import Embedder, Job, Render, channels_of
from featstore.clip import Clip
from featstore.disk.files import free_bytes, is_full
from featstore.disk.manifest import check_info
from featstore.disk.parts import parts
from featstore.errors import DataError, RequestError, ResourceError
from featstore.reader import differing_fields
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

RESERVE_BYTES = 16 << 20
READING = ("dtype", "channel", "length")
"""Properties of an embedding that are options of a build; the others follow from its embedder."""


@dataclass(frozen=True)
class Request:
    """An embedding to build: its name in the store, and a function that creates its embedder.

    make: picklable, because spawned worker processes call it too.
    """

    name: str
    make: Callable[[], Embedder]

    def embedder(self) -> Embedder:
        """The embedder; DataError or ResourceError says why it cannot be made."""
        return made(self.name, self.make)


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    workers: number of processes, None for one per core, or a function that creates another engine. embed_in_workers:
    False when all workers share one device. batch: clips of equal length per call of the embedder. prune: drop rows
    whose recording is no longer in the folder. render: creates a clip's variant from its wave (picklable); required
    for clips with variants.
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


def plan_build(
    root: Path, clips: Sequence[Clip], path: Path, requests: Sequence[Request], options: BuildOptions
) -> tuple[Plan, list[EmbeddingInfo]]:
    """The plan of a build and the embeddings that it would write; changes nothing.

    Raises RequestError when a name is already in the store with another fingerprint, shape or policy.
    """
    infos = infos_of(requests, options)
    store = FeatureStore.open(path) if (path / "manifest").is_dir() else None
    for info in infos:
        _check_same(store, info)
    names = [info.name for info in infos]
    return make_plan(root, clips, names, store, options.plan), infos


def prepare(
    writer: StoreWriter, root: Path, clips: Sequence[Clip], requests: Sequence[Request], options: BuildOptions
) -> tuple[Plan, list[EmbeddingInfo]]:
    """Plan a build, check the free space, update changed labels and prune; returns what `plan_build` returns."""
    plan, infos = plan_build(root, clips, writer.path, requests, options)
    write_state(writer.path, BuildState(str(root.resolve()), len(clips), finished=not plan.units))
    _check_space(writer.path, plan.bytes_needed(infos))
    _update_labels(writer, clips, plan, infos)
    if options.prune:
        for name, gone in plan.gone.items():
            outdated = [*gone, *_rejections_gone(writer.store, name, clips)]
            if outdated:
                writer.remove(name, outdated)
    return plan, infos


def _rejections_gone(store: FeatureStore, name: str, clips: Sequence[Clip]) -> list[str]:
    """Keys of rejected clips that are no longer listed, such as a recording that was repaired and is cut now."""
    listed = {clip.key for clip in clips}
    rejected = store.rejected(name) if name in store.embeddings else []
    return [item.key for item in rejected if not {item.key, item.path} & listed]


def job_of(root: Path, requests: Sequence[Request], options: BuildOptions) -> Job:
    """What every worker process of a build needs to know."""
    makers = tuple(request.embedder for request in requests)
    return Job(root, options.audio, makers, options.batch, options.embed_in_workers, options.render)


def infos_of(requests: Sequence[Request], options: BuildOptions) -> list[EmbeddingInfo]:
    """Description of every requested embedding."""
    return [_info(request, options) for request in requests]


def _info(request: Request, options: BuildOptions) -> EmbeddingInfo:
    embedder = request.embedder()
    return made(request.name, partial(_described, request.name, embedder, options))


def _described(name: str, embedder: Embedder, options: BuildOptions) -> EmbeddingInfo:
    """Description of an embedder; its properties may run code too. ValueError for one of a wrong type."""
    if type(embedder.min_samples) is not int or embedder.min_samples < 0:
        raise ValueError(f"min_samples is {embedder.min_samples!r:.80}, expected an integer of at least 0")
    shape, views = embedder.shape, embedder.views
    if isinstance(shape, tuple) and isinstance(views, tuple):
        shape, views = side_by_side(options.audio.mixes, shape, views, channels_of(embedder))
    info = EmbeddingInfo(
        name=name,
        shape=shape,
        dtype=options.dtype,
        fingerprint=embedder.fingerprint,
        config=embedder.config,
        views=views,
        sample_rate_hz=embedder.sample_rate_hz,
        channel=options.audio.channel,
        length=options.audio.length,
    )
    check_info(info)
    return info


def _check_same(store: FeatureStore | None, info: EmbeddingInfo) -> None:
    """Raise RequestError when the store holds other rows under this name, before anything is computed."""
    if store is None or info.name not in store.embeddings:
        return
    held = store.embeddings[info.name]
    differing = differing_fields(info, held)
    if not differing:
        return
    if "channel" in differing and "fingerprint" not in differing:  # then shape and views follow from it
        differing = {name: pair for name, pair in differing.items() if name not in {"shape", "views"}}
    if next(iter(differing)) in READING:
        cure = "to go on with it " + " and ".join(f"give {_option(name, old)}" for name, (_, old) in differing.items())
    else:
        cure = "to go on with it leave -e out, or give the -e that made it"
        configs = {key: (info.config.get(key), held.config.get(key)) for key in [*held.config, *info.config]}
        differing = {key: pair for key, pair in configs.items() if pair[0] != pair[1]} or differing
    new, old = (", ".join(f"{name} {_text(pair[i])}" for name, pair in differing.items()) for i in (0, 1))
    raise RequestError(
        f"{store.path}: embedding {info.name!r} was built with {old}, the new one has {new}; rows of both must not "
        f"mix: {cure}; to add the new one beside it give --as NAME; to replace it use featstore drop first"
    )


def _option(name: str, value: object) -> str:
    """The option of `featstore build` that gives a property of READING."""
    return length_option(str(value)) if name == "length" else f"--{name} {value}"


def _text(value: object) -> str:
    return ";".join(map(str, value)) if isinstance(value, list) else str(value)


def check_unique(clips: Sequence[Clip]) -> None:
    """Raise DataError when two clips have the same key."""
    key, count = Counter(clip.key for clip in clips).most_common(1)[0] if clips else ("", 1)
    if count > 1:
        raise DataError(f"{key}: listed {count} times; every clip needs its own path")


def _check_space(path: Path, needed: int) -> None:
    if is_full(path, needed + RESERVE_BYTES):
        raise ResourceError(
            f"{path}: the build needs about {needed + RESERVE_BYTES:,} bytes and {free_bytes(path):,} are free; "
            "free some space and run the same command again"
        )


def _update_labels(writer: StoreWriter, clips: Sequence[Clip], plan: Plan, infos: Sequence[EmbeddingInfo]) -> None:
    """Rewrite rows whose labels or attributes changed in the dataset; their embeddings stay as they are."""
    for info in infos:
        changed = {clips[i].key: clips[i] for i in plan.relabelled[info.name]}
        if not changed:
            continue
        keys = writer.store.clips(info.name).keys()
        where = np.array([key in changed for key in keys])
        facts = {name: column[where] for name, column in writer.store.facts(info.name).items()}
        table = ClipTable.from_clips([changed[key] for key in keys if key in changed])
        matrix = writer.store.matrix(info.name, where).astype(info.dtype)
        writer.commit(parts(ShardData(info=info, clips=table, matrix=matrix, facts=facts)))
