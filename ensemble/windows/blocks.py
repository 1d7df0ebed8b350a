"""Blocks of training clips that are windows: the windows of a recording are never each other's reference.

Windows of a recording overlap, or follow each other, so they resemble each other more than those of the next recording.
Recordings with equal content count as one. A section whose windows are all of one recording is cut into consecutive
stretches of equally many windows, which are blocks. Windows that overlap the border of two stretches stay in the one
that they start in, so some windows near a border have an overlapping neighbour in their reference.

In sections without windows, clips are left out singly, as without blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ensemble.groups import (
    ALONE,
    FEW_BLOCKS,
    Blocks,
    block_numbers,
    blocks_of,
    few,
    few_notes,
    filled,
    joined_blocks,
)
from featstore.clip import window_of
from featstore.table import ClipTable

STRETCHES = 10
"""Most stretches of an only recording."""

LEAST_WINDOWS = 3
"""Windows of a stretch, at least, where there are enough for two stretches."""


class Units(NamedTuple):
    """Name of what each clip belongs to (n,): its recording or a stretch of it, empty in sections without windows.

    recordings: number of recordings of every section with windows.
    """

    names: list[str]
    recordings: dict[str, int]

    def notes(self, consequence: str) -> tuple[str, ...]:
        """A note on the sections of one recording, which ends in the consequence."""
        cut = [section for section, count in self.recordings.items() if count == 1]
        if not cut:
            return ()
        return (
            f"the training windows of {few(cut)} are of one recording, so it is cut into up to {STRETCHES} stretches "
            f"that are left out in turn: {consequence}, because the reference is of the same recording",
        )


def any_windows(clips: ClipTable) -> bool:
    """Whether any clip is a window of a recording."""
    paths = clips.columns["path"]
    if b"#t=" not in paths.tobytes():  # most tables have none, and need no closer look
        return False
    return any(window_of(path.decode("utf-8", "surrogateescape")) for path in paths.tolist())


def units_of(clips: ClipTable, identity: Sequence[str], section: np.ndarray) -> Units:
    """The recordings and stretches of clips, within each section (n,); nothing depends on the order of the clips.

    `identity` is the content hash of each clip, or the path of its recording where that is unknown.
    """
    start = clips.windows()[:, 0]
    rows = np.flatnonzero(np.isin(section, section[np.isfinite(start)]))
    names, counts = [""] * len(clips), dict[str, int]()
    if not len(rows):
        return Units(names, counts)
    recordings = clips[rows].recordings()
    number = joined_blocks(section[rows], recordings, [identity[row] for row in rows.tolist()])
    name_of: dict[int, str] = {}
    for row, block in zip(rows.tolist(), number.tolist(), strict=True):
        name_of[block] = min(identity[row], name_of.get(block, identity[row]))
    for row, block in zip(rows.tolist(), number.tolist(), strict=True):
        names[row] = name_of[block]
    for text in np.unique(section[rows]).tolist():
        here = rows[section[rows] == text]
        counts[text] = len({names[row] for row in here})
        if counts[text] == 1:
            for row, stretch in zip(here.tolist(), stretches(start[here]).tolist(), strict=True):
                names[row] += f" {stretch}"
    return Units(names, counts)


def stretches(start: np.ndarray) -> np.ndarray:
    """Number of the stretch (n,) of each window of a recording, from its start (n,) in seconds; NaN is the beginning.

    At most STRETCHES, of equally many windows up to one; fewer for few windows. Windows of the same start, as those of
    copies, are in one stretch.
    """
    starts, place = np.unique(np.nan_to_num(start), return_inverse=True)
    count = min(STRETCHES, max(2, len(starts) // LEAST_WINDOWS))
    number: np.ndarray = place.reshape(-1) * count // len(starts)
    return number


def reference_blocks(group: str, clips: ClipTable, identity: Sequence[str], section: np.ndarray) -> Blocks:
    """Blocks of normal training clips within each section (n,), by a group or, where that is empty, by recording.

    `identity` as for `units_of`. A section with one block of the group has blocks of recordings, or of stretches, where
    it has windows; else its clips are left out singly. DataError as `ensemble.groups.blocks_of`.
    """
    units = units_of(clips, identity, section)
    own = np.arange(len(clips))
    if units.recordings:
        own = block_numbers(section, [unit or key for unit, key in zip(units.names, clips.keys(), strict=True)])
    for text in units.recordings:
        here = np.flatnonzero(section == text)
        if len(np.unique(own[here])) == 1:  # windows of the same start only: nothing can be divided
            own[here] = own.max() + 1 + np.arange(len(here))
    number, notes = np.full(len(clips), ALONE), tuple[str, ...]()
    if group:
        number, notes = blocks_of(group, clips, identity, section)
    notes += units.notes("the stated false-alarm rate may not hold")
    if not group:
        notes += tuple(few_notes("windows", units.recordings, f"{FEW_BLOCKS} recordings"))
    return Blocks(filled(number, own), notes)
