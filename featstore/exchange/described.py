"""Rows of an import and their clips: manifests, checks of rows, and descriptions of recordings for their windows."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from featstore.clip import Clip
from featstore.disk.shard import finite_rows
from featstore.errors import DataError
from featstore.layouts.listed import check_texts
from featstore.layouts.manifest import read_manifest
from featstore.layouts.tree import Tree
from featstore.table import ClipTable
from featstore.terminal.shown import counted

BLOCK_ROWS = 8192


def read_clips(manifest: Path) -> ClipTable:
    """Rows of a CSV or Parquet manifest as clips; its columns are those of the manifest layout."""
    clips = read_manifest(Tree(manifest.parent, listed_in=manifest)).clips
    check_texts(clips)
    return ClipTable.from_clips(clips)


def with_description(clips: ClipTable, described: ClipTable, where: str) -> ClipTable:
    """`clips` with machine, section, split, domain, label and attributes of the same path, or of its recording.

    DataError where a recording is not described.
    """
    known = {clip.path.replace("\\", "/"): clip for clip in described}  # as Windows writes it, or as it is imported
    known |= {clip.path: clip for clip in described}
    rows: list[Clip] = []
    lacking: Counter[str] = Counter()
    for clip in clips:
        row = known.get(clip.path) or known.get(clip.recording)
        if row is None:
            lacking[clip.recording] += 1
        else:
            rows.append(replace(row, path=clip.path, variant=clip.variant))
    if lacking:
        first = next(iter(lacking))
        raise DataError(
            f"{where}: {counted(len(lacking), 'recording')} not in the manifest, first {first!r}; paths must be "
            f"the same in both (the manifest has {next(iter(known), 'none')!r})"
        )
    return ClipTable.from_clips(rows)


def check_rows(name: str, clips: ClipTable, matrix: np.ndarray) -> None:
    """DataError where two rows have the same key, or a row has a number that is not finite."""
    keys = clips.keys()
    if len(set(keys)) < len(keys):
        key, count = Counter(keys).most_common(1)[0]
        first, second = [row for row, other in enumerate(keys, start=1) if other == key][:2]
        raise DataError(
            f"{name}: {key!r} stands in {count} rows, first in {first} and {second}; a row needs a path of its own, "
            "parts of a recording need start_s and end_s"
        )
    lacking, first = 0, -1
    for start in range(0, len(matrix), BLOCK_ROWS):
        with np.errstate(over="ignore"):  # a store holds float32
            finite = finite_rows(matrix[start : start + BLOCK_ROWS].astype(np.float32, copy=False))
        if first < 0 and not finite.all():
            first = start + int(np.argmin(finite))
        lacking += int((~finite).sum())
    if first >= 0:
        raise DataError(
            f"{name}: {counted(lacking, 'row')} with numbers that are not finite as float32 (NaN, infinite), first row "
            f"{first + 1} ({keys[first]!r}); remove these rows from the array and from its description"
        )
