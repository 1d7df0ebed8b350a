"""The effect of marks: a store whose marked clips have another split and label.

- normal: a training clip of its section, so it joins the bank; it is not scored, and no metric counts it.
- fault: in no bank. A training clip becomes an anomaly; a test clip is scored and has no label, so no metric counts it.
  Selections use it as a confirmed fault, see `marked_faults`.
- ignore: in no bank, not scored, in no metric.

The last mark of a clip counts. A mark of a recording holds for all its windows; a mark of a part holds for the
windows of which at least half lies in the part. A recording that is stored as a whole is a fault if a part of it is
marked as a fault; a part cannot make it normal or ignored. A mark of a window holds for this window; if the store has
other windows, it is a mark of that part of the recording.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from ensemble.marks.file import FAULT, FILE, IGNORE, NONE, NORMAL, Mark, Marks, read_marks
from featstore.clip import recording_of, window_of
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable, encode
from featstore.terminal.shown import counted

HALF = 0.5
"""Least share of a window in a marked part for which the mark holds."""

EFFECTS = {
    NORMAL: "used as normal sound, not scored",
    FAULT: "not used as normal sound or in metrics",
    IGNORE: "not used as normal sound, not scored",
}


class MarkedStore(FeatureStore):
    """A store whose clips have the splits and labels that follow from marks; the rows are those of `store`.

    warnings: also the number of clips by mark, and of marks that name no recording of the store.
    """

    def __init__(self, store: FeatureStore, marks: Marks) -> None:
        super().__init__(store.path, store.manifest)
        self._store, self._tables = store, store._tables
        self._marked: dict[str, ClipTable] = {}
        self.marks = marks
        self.warnings = (*store.warnings, *self._notes())

    def clips(self, name: str) -> ClipTable:
        """The clip of every row, with the split and the label that follow from the marks."""
        if name not in self._marked:
            clips = self._store.clips(name)
            self._marked[name] = with_roles(clips, marked_rows(self.marks.items, clips))
        return self._marked[name]

    @cached_property
    def marked(self) -> Mapping[str, Mark]:
        """The mark that counts, by the key of every marked clip of any embedding."""
        return marked_keys(self._store, self.marks.items)

    def _notes(self) -> list[str]:
        counts = Counter(mark.mark for mark in self.marked.values())
        parts = [f"{counts[mark]} {mark} ({effect})" for mark, effect in EFFECTS.items() if counts[mark]]
        notes = [f"marked clips: {', '.join(parts)}; --no-marks ignores the marks"] if parts else []
        return [
            *notes,
            *(
                [f"{counted(self.lost, 'mark names', 'marks name')} no recording of this store ({FILE})"]
                if self.lost
                else []
            ),
        ]

    @cached_property
    def lost(self) -> int:
        """Number of marks that name no recording of the store."""
        named = {recording_of(mark.clip) for mark in self.marks.items}
        if named:
            named.difference_update(*(self._store.clips(name).recordings() for name in self.embeddings))
        return sum(recording_of(mark.clip) in named for mark in self.marks.items)


def marked_keys(store: FeatureStore, marks: Sequence[Mark]) -> dict[str, Mark]:
    """The mark that counts, by the key of every marked clip of any embedding."""
    marked: dict[str, Mark] = {}
    for name in sorted(store.embeddings):
        clips = store.clips(name)
        rows = marked_rows(marks, clips)
        keys = clips[np.array(list(rows), dtype=np.intp)].keys()
        marked.update(zip(keys, rows.values(), strict=True))
    return marked


def marked_rows(marks: Sequence[Mark], clips: ClipTable) -> dict[int, Mark]:
    """The mark that counts for every marked row of a table; generated variants have none."""
    if not marks:
        return {}
    places, rows = Places(clips), dict[int, Mark]()
    for mark in marks:
        for row in places.held(mark):
            if mark.mark == NONE:
                rows.pop(row, None)
            else:
                rows[row] = mark
    return rows


class Places:
    """Where the recorded clips of a table are, to find the rows that marks hold for.

    keys: of all rows. of_recording: rows by the path of their recording. windows: as `ClipTable.windows`.
    """

    def __init__(self, clips: ClipTable) -> None:
        recorded = np.flatnonzero(clips.where(variant="")).tolist()
        self.keys, self.windows = clips.keys(), clips.windows()
        self.row_of = {self.keys[row]: row for row in recorded}
        self.of_recording: dict[str, list[int]] = {}
        for row in recorded:
            self.of_recording.setdefault(recording_of(self.keys[row]), []).append(row)

    def held(self, mark: Mark) -> list[int]:
        """The rows that a mark holds for; see the module docstring."""
        window = window_of(mark.clip)
        if window and mark.clip in self.row_of:
            return [self.row_of[mark.clip]]
        rows = list(self.of_recording.get(recording_of(mark.clip), ()))
        if window is None and (mark.start_s is None or mark.end_s is None):
            return rows
        start, end = window or (mark.start_s or 0.0, mark.end_s or 0.0)
        starts, ends = self.windows[rows].T
        shared = np.minimum(ends, end) - np.maximum(starts, start)
        inside = shared >= HALF * (ends - starts) - 1e-6  # False for a whole recording, whose times are NaN
        if mark.mark in (FAULT, NONE):
            inside |= np.isnan(starts)
        return [row for row, is_inside in zip(rows, inside.tolist(), strict=True) if is_inside]


def with_roles(clips: ClipTable, rows: Mapping[int, Mark]) -> ClipTable:
    """The clips with the split and the label that follow from their marks."""
    if not rows:
        return clips
    split, label = clips.column("split").astype(object), clips.column("label").astype(object)
    for row, mark in rows.items():
        if mark.mark == NORMAL:
            split[row], label[row] = "train", "normal"
        elif mark.mark == IGNORE:
            split[row] = "supplemental"
        else:
            label[row] = "anomaly" if split[row] == "train" else "unknown"
    return ClipTable({**clips.columns, "split": encode(split.tolist()), "label": encode(label.tolist())})


def with_marks(store: FeatureStore, head: str) -> FeatureStore:
    """The store with its marks up to the one with the checksum `head`; without any where that is empty.

    DataError where the store has no such mark.
    """
    if not head or isinstance(store, MarkedStore):
        return store
    marks = read_marks(store.path).until(head)
    if marks is None:
        raise DataError(
            f"{store.path}: the recipe was made with marks up to {head[:12]}, which {FILE} does not have: lines were "
            "removed from its end, or the recipe is of another store; remove `marks` from the recipe"
        )
    return MarkedStore(store, marks)


def with_all_marks(store: FeatureStore, say: Callable[[str], None]) -> FeatureStore:
    """The store with all its marks; itself where it has none. `say` shows a note on an incomplete last line."""
    marks = read_marks(store.path)
    for note in marks.notes:
        say(f"note: {note}")
    return MarkedStore(store, marks) if marks.items else store


def marks_of(store: FeatureStore) -> Mapping[str, Mark]:
    """The mark that counts for every marked clip, by key; none for a store without marks."""
    return store.marked if isinstance(store, MarkedStore) else {}


def keys_marked(store: FeatureStore, mark: str) -> list[str]:
    """Sorted keys of the clips with a mark."""
    return sorted(key for key, own in marks_of(store).items() if own.mark == mark)


def marked_faults(store: FeatureStore) -> dict[str, bool]:
    """The clips marked as faults, as `selection.select` takes confirmed ones."""
    return dict.fromkeys(keys_marked(store, FAULT), True)


def marks_digest(store: FeatureStore) -> str:
    """SHA-256 of the marks of all clips; empty if none is marked."""
    marked = sorted((key, own.mark) for key, own in marks_of(store).items())
    return hashlib.sha256(json.dumps(marked).encode()).hexdigest() if marked else ""
