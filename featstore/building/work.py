"""What a worker of a build does: read clips, embed them in batches of equal length, return vectors or reasons.

Where the policy has several mixes, the embedder is applied to the wave of each, and their views stand side by side. An
embedder with `n_channels` above 1 gets the waves of that many mixes together, and gives one row.

A generated variant is rendered at the rate of its recording where the embedder reads at a higher one. Then it has no
sound above what the recorder can record, which a normal clip would never have, and all embedders get the same fault.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from featstore.anomalies.far import with_fault
from featstore.anomalies.variants import Variant
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import Kept, Recording, fit_length, mixed, read_clip, read_kept_clip
from featstore.building.make import CODE_FAILS, failure
from featstore.errors import DataError, RejectedAudio


@runtime_checkable
class Embedder(Protocol):
    """Turns waves of equal length into vectors.

    fingerprint: changes with everything that changes a vector. shape: (d,), or (views, d) with one name per view in
    `views`. min_samples: shorter waves are zero-padded to it. An embedder may also have `n_channels`, see
    `channels_of`.
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
        """Float32 (batch, time) to float32 (batch, *shape).

        The waves may be read-only, so work on a copy. A batch may have 0 rows; the result is then (0, *shape). The
        vector of a wave does not depend on the other waves of its batch.
        """
        ...


def channels_of(embedder: Embedder) -> int:
    """Mixes of a recording that an embedder reads together: its `n_channels`, 1 where it has none.

    Above 1, `embed` gets float32 (batch, n_channels, time); the policy must have exactly that many mixes.
    """
    return int(getattr(embedder, "n_channels", 1))


Render = Callable[[np.ndarray, int, str], np.ndarray]


@dataclass(frozen=True)
class Job:
    """Settings of a build for its workers; pickled once per worker.

    root: folder of the recordings. batch: clips per call of the embedder. embeds: whether the worker embeds, or only
    reads. render: (wave, sample rate, variant) to the wave of a generated variant, at the near microphone where there
    are several; required for tasks with variants.
    """

    root: Path
    policy: AudioPolicy
    factories: tuple[Callable[[], Embedder], ...]
    batch: int
    embeds: bool = True
    render: Render | None = None


@dataclass
class Result:
    """Result of one clip for one embedder: a vector, a recording still to be embedded, or a rejection reason.

    by_embedder: whether the recording could be read, and sounds, so that the embedder may be the cause of the reason.
    """

    recording: Recording | None = None
    vector: np.ndarray | None = None
    reason: str = ""
    by_embedder: bool = False


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
    _kept: tuple[tuple[str, int], Kept, tuple[str, ...]] | None = None  # the same before it is mixed

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
            if variant and self.job.render is None:
                raise ValueError(f"{path}: variant {variant} needs Job.render")
            if variant and len(self.job.policy.mixes.sources) > 1:
                return Result(self._with_fault(path, variant, rate_hz, min_samples))
            if variant:
                return Result(self._rendered(path, variant, rate_hz, min_samples))
            return Result(self._recording(path, rate_hz, min_samples, keep=False))
        except RejectedAudio as error:
            return Result(reason=str(error))
        except MemoryError:
            return Result(
                reason="does not fit in memory; cut it into windows with --window, or use a part with --length crop:S"
            )

    def _rendered(self, path: str, variant: str, rate_hz: int, min_samples: int) -> Recording:
        """A variant under a policy that keeps one channel."""
        assert self.job.render is not None
        source = self._recording(path, rate_hz, min_samples, keep=True)
        own_hz = min(rate_hz, source.sample_rate_hz)
        wave = _at(self.job.render(source.wave, own_hz, variant), own_hz, rate_hz)
        return replace(source, wave=fit_length(wave, rate_hz, self.job.policy, min_samples)[0])

    def _recording(self, path: str, rate_hz: int, min_samples: int, *, keep: bool) -> Recording:
        """A recording at a rate; if it is to be kept for its variants, at no higher rate than its own."""
        key = (path, rate_hz, min_samples)
        if self._source is not None and self._source[0] == key:
            return self._source[1]
        self._source = None  # freed before the next one is read
        recording = read_clip(self.job.root, path, rate_hz, self.job.policy, min_samples=min_samples)
        if keep and recording.sample_rate_hz < rate_hz:
            recording = read_clip(self.job.root, path, recording.sample_rate_hz, self.job.policy)
        self._source = (key, recording) if keep else None
        return recording

    def _with_fault(self, path: str, variant: str, rate_hz: int, min_samples: int) -> Recording:
        """A variant under a policy that keeps several channels: all of them hear the fault before they are mixed.

        A mix that subtracts nothing from the recording itself subtracts nothing from its variants.
        """
        assert self.job.render is not None
        policy, key = self.job.policy, (path, rate_hz)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # freed before the next one is read
            kept = read_kept_clip(self.job.root, path, rate_hz, policy)
            if kept.file_hz < rate_hz:
                kept = read_kept_clip(self.job.root, path, kept.file_hz, policy)
            self._kept = (key, kept, policy.mixes.finished(kept.columns)[1])
        _, kept, fallen = self._kept
        near = self.job.render(kept.columns[:, policy.mixes.near], kept.rate_hz, variant)
        columns = with_fault(
            kept.columns,
            near,
            policy.mixes,
            kept.channels,
            path=path,
            rate_hz=kept.rate_hz,
            far_db=Variant.parse(variant).far_db,
        )
        columns = _at(columns, kept.rate_hz, rate_hz)
        waves, _ = policy.mixes.finished(columns, [bool(outcome) for outcome in fallen])
        return mixed(kept._replace(rate_hz=rate_hz), waves, fallen, policy, min_samples)

    def embed(self, task: Task, results: TaskResult) -> TaskResult:
        """Add the vectors to `results`, in batches of equal length, and free the waves."""
        for i, column in zip(task.wanted, results, strict=True):
            for batch in equal_length_batches(column, self.job.batch):
                self._embed_batch(self.embedders[i], batch)
        return results

    @staticmethod
    def _embed_batch(embedder: Embedder, batch: list[Result]) -> None:
        waves = [result.recording.wave for result in batch if result.recording is not None]
        if waves[0].ndim == 1 or channels_of(embedder) > 1:
            vectors = _embedded(embedder, waves)
        else:  # one call per mix: the vectors of a mix are those of a build of this mix alone
            parts = [_embedded(embedder, of_mix) for of_mix in zip(*waves, strict=True)]
            vectors = np.stack(parts, axis=1).reshape(len(waves), -1, parts[0].shape[-1])
        for result, vector in zip(batch, vectors, strict=True):
            if result.recording is None:
                continue
            if np.isfinite(vector).all():
                result.vector = vector
                result.recording = _without_wave(result.recording)
            else:
                result.by_embedder = bool(result.recording.wave.any(axis=-1).all())
                result.recording, result.reason = None, f"embedder {embedder.name} returned NaN or infinite values"


def _at(samples: np.ndarray, own_hz: int, rate_hz: int) -> np.ndarray:
    """Samples (time,) or (time, n) at another rate."""
    if own_hz == rate_hz:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, own_hz, rate_hz))


def _embedded(embedder: Embedder, waves: Sequence[np.ndarray]) -> np.ndarray:
    """Vectors of waves (time,) or (n_channels, time) of equal length; DataError if the embedder fails or errs."""
    stacked = waves[0][None] if len(waves) == 1 else np.stack(waves)
    try:
        vectors = embedder.embed(stacked)
    except CODE_FAILS as error:
        raise failure(f"embedder {embedder.name} fails on float32 waves {stacked.shape}", error) from error
    _check_vectors(embedder, vectors, len(waves))
    return vectors


def _check_vectors(embedder: Embedder, vectors: object, n: int) -> None:
    """Raise DataError unless an embedder returned one vector of its shape for each of `n` waves."""
    expected = (n, *embedder.shape)
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        got = f"an array of {vectors.dtype}" if isinstance(vectors, np.ndarray) else f"a {type(vectors).__name__}"
        raise DataError(f"embedder {embedder.name} returned {got}, expected float32 of shape {expected}")
    if vectors.shape != expected:
        raise DataError(f"embedder {embedder.name} returned shape {vectors.shape}, expected {expected}")


def _without_wave(recording: Recording) -> Recording:
    return replace(recording, wave=np.empty(0, np.float32))


def equal_length_batches(results: Iterable[Result], batch: int) -> Iterator[list[Result]]:
    """Groups of at most `batch` clips of equal length; padding in a batch would change the result of some encoders."""
    groups: dict[int, list[Result]] = {}
    for result in results:
        if result.recording is None:
            continue
        group = groups.setdefault(result.recording.wave.shape[-1], [])
        group.append(result)
        if len(group) == batch:
            yield groups.pop(result.recording.wave.shape[-1])
    yield from groups.values()


def joined(parts: Sequence[TaskResult]) -> TaskResult:
    """The result of a task from the results of its parts, in order."""
    return [[result for column in columns for result in column] for columns in zip(*parts, strict=True)]
