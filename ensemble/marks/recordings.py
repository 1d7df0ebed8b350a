"""The recordings of a store by what files call them, with their clips and times."""

from functools import cached_property

import numpy as np

from ensemble.marks import audacity
from ensemble.marks.apply import MarkedStore, Places
from ensemble.marks.file import Mark
from featstore.clip import recording_of, window_of
from featstore.layouts.names import Names
from featstore.store import FeatureStore
from featstore.table import ClipTable

SLACK_S = 1.0
"""A marked part may end so much after its recording."""


def latest_end(store: FeatureStore, recording: str) -> float:
    """Latest time in seconds at which a part of a recording can end; infinite where its length is unknown.

    It is the length of the recording where it is stored as a whole. Else it is the end of its last window and the
    length of that window, because windows need not reach the end of a recording.
    """
    name, latest = recording.encode("utf-8", "surrogateescape"), 0.0
    for embedding in sorted(store.embeddings):
        clips = store.clips(embedding)
        rows = np.flatnonzero(np.char.startswith(clips.columns["path"], name) & clips.where(variant=""))
        own = [(row, key) for row, key in zip(rows.tolist(), clips[rows].keys(), strict=True)]
        for row, key in own:
            if recording_of(key) != recording:
                continue
            window = window_of(key)
            if window:
                latest = max(latest, 2 * window.end_s - window.start_s)
                continue
            samples, rate_hz = (int(store.facts(embedding)[column][row]) for column in ("n_samples", "sample_rate_hz"))
            if samples > 0 and rate_hz > 0:
                return samples / rate_hz
            latest = np.inf
    return latest or np.inf


def beyond(mark: Mark, latest_s: float) -> str:
    """A sentence where a marked part ends after its recording, "" where it does not; latest_s: of `latest_end`."""
    if mark.end_s is None or window_of(mark.clip) or mark.end_s <= latest_s + SLACK_S:
        return ""
    return f"the part ends at {mark.end_s:g} s, but the recording at {latest_s:g} s"


class Recordings:
    """The recordings of a store, by what files call them."""

    def __init__(self, store: MarkedStore) -> None:
        self.store = store
        tables, known = [], set[str]()
        self.seconds: dict[str, float] = {}
        for name in sorted(store.embeddings):
            clips, facts = store.clips(name), store.facts(name)
            keys = clips.keys()
            fresh = clips.where(variant="") & np.array([key not in known for key in keys], dtype=bool)
            known.update(keys)
            tables.append(clips[fresh])
            samples, rate = (facts[column][fresh].astype(np.float64) for column in ("n_samples", "sample_rate_hz"))
            length = np.divide(samples, rate, out=np.zeros(len(rate)), where=(samples > 0) & (rate > 0))
            self.seconds.update(zip(clips[fresh].keys(), length.tolist(), strict=True))
        self.table = Places(ClipTable.concatenate(tables))

    @cached_property
    def names(self) -> Names:
        """Keys of clips, and paths of recordings that are stored as windows."""
        return Names({*self.table.row_of, *self.table.of_recording})

    @cached_property
    def label_names(self) -> dict[str, str]:
        """Name of the label file of every recording, without its suffix."""
        return audacity.file_names(self.table.of_recording)

    @cached_property
    def _labelled(self) -> tuple[tuple[Names, dict[str, list[str]]], ...]:
        whole: dict[str, list[str]] = {}
        stems: dict[str, list[str]] = {}
        for recording, name in self.label_names.items():
            whole.setdefault(name, []).append(recording)
            stems.setdefault(audacity.stem(name), []).append(recording)
        return tuple((Names(names), names) for names in (whole, stems))

    def of_label_file(self, name: str) -> list[str]:
        """The recordings that a label file may belong to by its name: with the recording's suffix, or without."""
        text = name[: -len(audacity.SUFFIX)] if name.lower().endswith(audacity.SUFFIX) else name
        for names, recordings in self._labelled:
            fitting = [recording for match in names.fitting(text) for recording in recordings[match]]
            if fitting:
                return fitting
        return []

    @cached_property
    def spans(self) -> dict[str, list[tuple[str, float, float]]]:
        """Key, start and end of every clip by recording, in seconds; an unknown length is 0."""
        return {
            recording: [(self.table.keys[row], *self._span(row)) for row in rows]
            for recording, rows in self.table.of_recording.items()
        }

    def latest(self, clip: str) -> float:
        """Latest time of a part of a clip's recording, see `latest_end`."""
        spans = self.spans[recording_of(clip)]
        wholes = [end for key, _, end in spans if window_of(key) is None]
        return max(wholes) or np.inf if wholes else max(2 * end - start for _, start, end in spans)

    def _span(self, row: int) -> tuple[float, float]:
        start, end = self.table.windows[row].tolist()
        return (0.0, self.seconds[self.table.keys[row]]) if np.isnan(start) else (start, end)
