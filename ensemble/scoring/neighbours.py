"""The rows of a store that are most similar to a recording, in one embedding."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from detectors.search.neighbours import nearest
from ensemble.inputs import one_view
from ensemble.scoring.sources import Sources
from featstore import registry
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


def neighbours(store: FeatureStore, recording: str, search: Search) -> list[Neighbour]:
    """The k recordings most similar to a file, or to a clip of the store, the nearest first.

    A recording of windows is compared window by window, and the best pair counts. A clip of the store, and what is
    generated from it, is not compared with itself. RequestError for an unknown embedding or view, DataError for a file
    that cannot be read or embedded.
    """
    name, view = _source(store, search.embedding)
    info, clips = store.info(name), store.clips(name)
    wanted = clips.where(variant="", **_filters(search))
    keys = np.array(clips.keys(), dtype=object)
    own = np.flatnonzero((keys == recording) | (np.array(clips.recordings(), dtype=object) == recording))
    if len(own):
        mask = np.zeros(len(clips), dtype=bool)
        mask[own] = True
        spans: list[Window | None] = [clip.window for clip in clips[mask]]
        queries = store.matrix(name, mask)
        content = store.facts(name)["content_hash"]
        same = np.isin(np.array(clips.recordings(), dtype=object), [clips[int(i)].recording for i in own])
        wanted &= ~same & ~(np.isin(content, content[own]) & (content != b""))
    else:
        queries, spans = _embedded(info, Path(recording), search.embedders)
    if not wanted.any():
        raise DataError(f"{store.path}: {name} has no other recordings of this machine and split")
    bank, rows = store.matrix(name, wanted), np.flatnonzero(wanted)
    k = min(len(rows), search.k * _windows_each(clips[wanted]), MOST)
    distance, index = nearest(one_view(queries, view), np.ascontiguousarray(one_view(bank, view)), k)
    return _best(distance, rows[index], spans, clips, store.facts(name))[: search.k]


def _filters(search: Search) -> dict[str, str]:
    given = {"split": search.split, "machine": search.machine}
    return {name: value for name, value in given.items() if value}


def _source(store: FeatureStore, text: str) -> tuple[str, int | None]:
    """Name of the embedding, and number of the view; all views joined without one."""
    names = sorted(store.embeddings)
    if not names:
        raise RequestError(f"{store.path}: no embeddings; fill it with `featstore build`")
    if not text:
        text = "logmel@mean" if "mean" in getattr(store.embeddings.get("logmel"), "views", ()) else names[0]
    name, _, view = text.partition("@") if text not in names else (text, "", "")
    if name not in names:
        raise RequestError(f"{store.path}: no embedding {name!r}; it has {', '.join(names)}{did_you_mean(name, names)}")
    views = store.info(name).views
    if view and view not in views:
        raise RequestError(f"{store.path}: {name} has no view {view!r}; it has {', '.join(views) or 'none'}")
    return name, views.index(view) if view else None


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


def _windows_each(clips: ClipTable) -> int:
    """The largest number of rows of a recording: that many neighbours may be of the same recording."""
    return int(np.unique(np.array(clips.recordings()), return_counts=True)[1].max())


def _best(
    distance: np.ndarray,
    rows: np.ndarray,
    spans: Sequence[Window | None],
    clips: ClipTable,
    facts: dict[str, np.ndarray],
) -> list[Neighbour]:
    """The nearest row of every recording, over all windows of the query."""
    best: dict[str, Neighbour] = {}
    order = np.unravel_index(np.argsort(distance, axis=None, kind="stable"), distance.shape)
    for query, place in zip(*order, strict=True):
        row = int(rows[query, place])
        clip = clips[row]
        if clip.recording not in best:
            rate = int(facts["sample_rate_hz"][row])
            end = int(facts["n_samples"][row]) / rate if rate else float("nan")
            window = clip.window or Window(0.0, end)
            best[clip.recording] = Neighbour(clip, float(distance[query, place]), *window, spans[query])
    return list(best.values())
