"""What is known of the acquisition of every recording: from the facts of a store, or measured in a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from featstore.audio.measure import Measures
from featstore.audio.near_far.mixes import side_by_side
from featstore.audio.policy import AudioPolicy
from featstore.building.plan import states_of
from featstore.building.units import Progress, UnitRun, UnitWork, Workers
from featstore.building.work import Job
from featstore.clip import Clip, window_of
from featstore.disk.shard import EmbeddingInfo, Rejection, ShardData
from featstore.errors import DataError, StoreError
from featstore.store import FeatureStore
from featstore.table import ClipTable, decode

FACTS = ("sample_rate_hz", "n_samples", "channels", "content_hash", "outcome", *Measures._fields)
UNIT_CLIPS = 512


@dataclass(frozen=True, eq=False)
class Recordings:
    """The clips of a store or a folder, without generated ones, and facts on how each was made.

    facts: a column of n values for every name of FACTS; `sample_rate_hz` 0, an empty `content_hash` and NaN are
    unknown. policy: the part of a recording that is used. rejected: recordings that could not be read.
    """

    clips: ClipTable
    facts: Mapping[str, np.ndarray]
    policy: AudioPolicy = field(default_factory=AudioPolicy)
    rejected: Sequence[Rejection] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def sections(self) -> list[tuple[str, str]]:
        """Machine and section of every clip."""
        return list(zip(self.clips.column("machine").tolist(), self.clips.column("section").tolist(), strict=True))

    @cached_property
    def silent(self) -> np.ndarray:
        """Whether every sample that is used is zero."""
        silent: np.ndarray = self.facts["outcome"] == b"silent"
        return silent

    @cached_property
    def rate_hz(self) -> np.ndarray:
        """Sample rate of every file, float64; NaN where it is unknown."""
        rate = self.facts["sample_rate_hz"].astype(np.float64)
        return np.where(rate > 0, rate, np.nan)

    @cached_property
    def channels(self) -> np.ndarray:
        """Channels of every file, float64; NaN where they are unknown."""
        channels = self.facts["channels"].astype(np.float64)
        return np.where(channels > 0, channels, np.nan)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Length of every recording or window, float64, at most that of the policy; NaN where it is unknown."""
        seconds: np.ndarray = self.facts["n_samples"] / self.rate_hz
        _, fixed = self.policy.fixed_seconds()
        return seconds if fixed is None else np.minimum(seconds, fixed)

    @cached_property
    def content(self) -> list[str]:
        """What is equal for copies: the hash of the file and the window; empty where the hash is unknown."""
        hashes, paths = decode(self.facts["content_hash"]), decode(self.clips.columns["path"])
        windows = (window_of(path) for path in paths)
        return [f"{digest} {window or ''}" if digest else "" for digest, window in zip(hashes, windows, strict=True)]


def of_store(store: FeatureStore) -> Recordings:
    """The recordings of a store by the facts of that embedding which knows most of them.

    StoreError for a store without embeddings.
    """
    if not store.embeddings:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    known = {name: int(np.isfinite(store.facts(name)["level_dbfs"]).sum()) for name in sorted(store.embeddings)}
    name = max(known, key=lambda name: (known[name], store.rows(name)))
    info, recorded = store.info(name), store.clips(name).where(variant="")
    facts = {fact: column[recorded] for fact, column in store.facts(name).items() if fact in FACTS}
    rejected = [item for item in store.rejected(name) if not item.variant]
    return Recordings(store.clips(name)[recorded], facts, policy_of(info), rejected)


def policy_of(info: EmbeddingInfo) -> AudioPolicy:
    """The part of a recording that an embedding is made of; the default where it does not say."""
    try:
        return AudioPolicy(info.channel or "0", info.length or "native")
    except DataError:
        return AudioPolicy()


def of_folder(
    root: Path,
    clips: Sequence[Clip],
    policy: AudioPolicy,
    *,
    workers: Workers = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Recordings:
    """The recordings `clips` below `root`, read and measured in worker processes as a build reads them."""
    name, fingerprint = Listener.name, Listener.fingerprint
    shape, _ = side_by_side(policy.mixes, Listener.shape, Listener.views)
    info = EmbeddingInfo(name, shape, "float32", fingerprint, channel=policy.channel, length=policy.length)
    run, shards = UnitRun([info], len(clips), report=report), list[ShardData]()
    states = states_of(root, clips)
    starts = range(0, len(clips), UNIT_CLIPS)
    parts = [slice(start, start + UNIT_CLIPS) for start in starts]
    units = [UnitWork(i, tuple(clips[part]), states[part], (0,)) for i, part in enumerate(parts)]
    job = Job(root, policy, (Listener,), batch=1)
    run.execute(units, job, workers, lambda _, finished: shards.extend(finished))
    facts = {fact: [shard.facts[fact] for shard in shards] for fact in FACTS}
    return Recordings(
        ClipTable.concatenate([shard.clips for shard in shards]),
        {fact: np.concatenate(parts) for fact, parts in facts.items()},
        policy,
        tuple(run.rejected.values()),
    )


class Listener:
    """Stands in for an embedder where recordings are only read: each keeps its own sample rate."""

    name = fingerprint = "nothing"
    sample_rate_hz, min_samples = 0, 1
    shape: tuple[int, ...] = (1,)
    views: tuple[str, ...] = ()
    config: Mapping[str, object] = {}

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """One number per wave, which nobody reads."""
        return np.zeros((len(waves), 1), np.float32)
