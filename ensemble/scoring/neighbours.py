"""The rows of a store that are most similar to a recording, in one embedding."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from detectors.search.neighbours import nearest
from ensemble.inputs import one_view
from ensemble.scoring.sources import Sources
from featstore import registry
from featstore.audio.near_far.mixes import main_views
from featstore.audio.policy import AudioPolicy
from featstore.building.make import made
from featstore.building.work import Job, Task, Worker
from featstore.clip import Clip, Window
from featstore.errors import DataError, RequestError
from featstore.layouts.windows import windows_of
from featstore.spec import did_you_mean
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import ClipTable

MOST = 2000
"""Most rows of a search; fewer than k recordings are listed if these rows are windows of fewer recordings."""

BLOCK = 4096
"""Rows of all views that are read at a time."""


@dataclass(frozen=True)
class Neighbour:
    """A row of the store that is similar to a recording, and its cosine distance. query: the window of the recording.

    start_s, end_s: the part of the neighbour; NaN as an end where the store does not know its length.
    """

    clip: Clip
    distance: float
    start_s: float
    end_s: float
    query: Window | None


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to search: a view of an embedding, the number of neighbours, and which clips.

    embedding: NAME or NAME@VIEW, "" for the only one or logmel@mean. embedders: lines of text as of `featstore build`,
    for an embedding with weights. split, machine: "" for all.
    """

    embedding: str = ""
    k: int = 10
    split: str = ""
    machine: str = ""
    embedders: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a view of an embedding in memory, for any number of searches. matrix: float32 (n, d).

    view: its number, None for all views joined. facts: of the recording of every row.
    """

    path: Path
    info: EmbeddingInfo
    view: int | None
    clips: ClipTable
    facts: dict[str, np.ndarray]
    matrix: np.ndarray

    @cached_property
    def keys(self) -> np.ndarray:
        """Key (n,) of every row, as objects."""
        return np.array(self.clips.keys(), dtype=object)

    @cached_property
    def recordings(self) -> np.ndarray:
        """Path (n,) of the recording of every row, as objects."""
        return np.array(self.clips.recordings(), dtype=object)

    def of(self, recording: str) -> np.ndarray:
        """Numbers of the rows that a key, or the path of a recording of windows, names; empty for any other text."""
        return np.flatnonzero((self.keys == recording) | (self.recordings == recording))


def rows_of(store: FeatureStore, embedding: str) -> Rows:
    """The rows of a view of an embedding, named as in `Search`; RequestError for an unknown one."""
    name, view = _source(store, embedding)
    info = store.info(name)
    width = int(np.prod(info.shape if view is None else info.shape[1:]))
    matrix, start = np.empty((store.rows(name), width), dtype=np.float32), 0
    for _, block in store.blocks(name, BLOCK):
        matrix[start : start + len(block)] = one_view(block, view)
        start += len(block)
    return Rows(store.path, info, view, store.clips(name), store.facts(name), matrix)


def neighbours(store: FeatureStore, recording: str, search: Search, rows: Rows | None = None) -> list[Neighbour]:
    """The k recordings most similar to a file, or to a clip of the store, the nearest first.

    A recording of windows is compared window by window, and the best pair counts. A clip of the store, and what is
    generated from it, is not compared with itself. rows: those of the embedding of `search`, where a caller has them.
    RequestError for an unknown embedding or view, DataError for a file that cannot be read or embedded.
    """
    rows = rows or rows_of(store, search.embedding)
    clips = rows.clips
    wanted = clips.where(variant="", **_filters(search))
    own = rows.of(recording)
    if len(own):
        spans: list[Window | None] = [clip.window for clip in clips[own]]
        queries, content = rows.matrix[own], rows.facts["content_hash"]
        same = np.isin(rows.recordings, rows.recordings[own])
        wanted &= ~same & ~(np.isin(content, content[own]) & (content != b""))
    else:
        embedded, spans = _embedded(rows.info, Path(recording), search.embedders)
        queries = one_view(embedded, rows.view)
    if not wanted.any():
        raise DataError(f"{rows.path}: {rows.info.name} has no other recordings of this machine and split")
    numbers = np.flatnonzero(wanted)
    k = min(len(numbers), search.k * _windows_each(rows.recordings[numbers]), MOST)
    distance, index = nearest(queries, rows.matrix[numbers], k)
    return _best(distance, numbers[index], spans, rows)[: search.k]


def _filters(search: Search) -> dict[str, str]:
    given = {"split": search.split, "machine": search.machine}
    return {name: value for name, value in given.items() if value}


def _source(store: FeatureStore, text: str) -> tuple[str, int | None]:
    """Name of the embedding, and number of the view; all views joined without one."""
    names = sorted(store.embeddings)
    if not names:
        raise RequestError(f"{store.path}: no embeddings; fill it with `featstore build`")
    if not text:
        text = _default(store, names)
    name, _, view = text.partition("@") if text not in names else (text, "", "")
    if name not in names:
        raise RequestError(f"{store.path}: no embedding {name!r}; it has {', '.join(names)}{did_you_mean(name, names)}")
    views = store.info(name).views
    if view and view not in views:
        raise RequestError(f"{store.path}: {name} has no view {view!r}; it has {', '.join(views) or 'none'}")
    return name, views.index(view) if view else None


def _default(store: FeatureStore, names: Sequence[str]) -> str:
    """The mean over time of the log-mel spectrogram, of the first mix where there are several; else the first name."""
    info = store.embeddings.get("logmel")
    place = main_views(info.channel, info.views).get("mean") if info else None
    return names[0] if info is None or place is None else f"logmel@{info.views[place]}"


def _embedded(info: EmbeddingInfo, path: Path, specs: Sequence[str]) -> tuple[np.ndarray, list[Window | None]]:
    """Rows of a recording, or of its windows, by the embedder of an embedding."""
    if not path.is_file():
        raise DataError(f"{path}: neither a clip of the store nor a file")
    policy = AudioPolicy(info.channel or "0", info.length or "native")
    clips = windows_of(Path(), [Clip(str(path.absolute()), "", "", "test")], policy)
    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        (line,) = Sources.of({info.name: info}, specs, inside=False).lines(Path(folder)).values()
        make = registry.factory(registry.creator("embedder"), line, registry.device("auto"))
        worker = Worker(Job(Path(), policy, (partial(made, info.name, make),), 4))
    (results,) = worker.run(Task(tuple(clip.path for clip in clips), (0,)))
    reason = next((result.reason for result in results if result.reason), "")
    if reason:
        raise DataError(f"{path}: {reason}")
    vectors = [result.vector for result in results if result.vector is not None]
    return np.stack(vectors).astype(info.dtype).astype(np.float32), [clip.window for clip in clips]


def _windows_each(recordings: np.ndarray) -> int:
    """The largest number of rows of a recording: that many neighbours may be of the same recording."""
    return max(Counter(recordings.tolist()).values())


def _best(distance: np.ndarray, numbers: np.ndarray, spans: Sequence[Window | None], rows: Rows) -> list[Neighbour]:
    """The nearest row of every recording, over all windows of the query."""
    best: dict[str, Neighbour] = {}
    order = np.unravel_index(np.argsort(distance, axis=None, kind="stable"), distance.shape)
    for query, place in zip(*order, strict=True):
        row = int(numbers[query, place])
        if rows.recordings[row] not in best:
            clip = rows.clips[row]
            rate = int(rows.facts["sample_rate_hz"][row])
            end = int(rows.facts["n_samples"][row]) / rate if rate else float("nan")
            window = clip.window or Window(0.0, end)
            best[clip.recording] = Neighbour(clip, float(distance[query, place]), *window, spans[query])
    return list(best.values())
