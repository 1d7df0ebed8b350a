"""The recordings of a store by what files call them, with their clips and times."""

from functools import cached_property

import numpy as np

from ensemble.marks import audacity
from ensemble.marks.apply import MarkedStore, Places
from ensemble.marks.names import Names
from featstore.table import ClipTable


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

    def _span(self, row: int) -> tuple[float, float]:
        start, end = self.table.windows[row].tolist()
        return (0.0, self.seconds[self.table.keys[row]]) if np.isnan(start) else (start, end)
