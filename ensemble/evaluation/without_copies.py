"""The official score without test clips that are copies of training clips."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.checks.copies import Copies, repeated_rows, sounds_of
from ensemble.inputs import banks_of
from ensemble.output import labelled
from ensemble.windows.recordings import Recordings
from featstore.layouts.csv_text import csv_rows
from featstore.store import FeatureStore
from featstore.table import ClipTable, decode
from featstore.terminal.shown import counted


@dataclass(frozen=True)
class WithoutCopies:
    """What to print and to keep of it: lines, for `metrics.json`, and whether most normal test clips are copies."""

    lines: tuple[str, ...] = ()
    json: Mapping[str, Any] = field(default_factory=dict)
    worthless: bool = False

    def around(self, metrics: str) -> list[str]:
        """The lines and the text of the metrics: first what is worth more."""
        return [*self.lines, metrics] if self.worthless else [metrics, *self.lines]


def without_copies(
    copies: Copies, scores: Callable[[Sequence[str]], ScoreTable], recordings: Recordings, clips: ClipTable, rule: int
) -> WithoutCopies:
    """The official score of the measured `clips` without those that hold a scored copy; empty without any.

    scores: a table with a score of the recordings with these keys.
    """
    if not copies.scored:
        return WithoutCopies()
    copied = recordings.clips[recordings.holding(copies.scored)]
    kept = labelled(without(clips, copied), rule)[0]
    n_normal, n_kept = (int(part.where(label="normal").sum()) for part in (clips, without(clips, copied)))
    what = counted(len(copies.scored), "copy", "copies")
    json: dict[str, Any] = {"exact": len(copies.exact), "near": len(copies.near)}
    if len(kept):
        table = scores(kept.keys())
        only = ScoreTable(table.name, tuple(kept.keys()), table.aligned(kept.keys()))
        score = evaluate(only, Labels.of(kept), rule).score
        json["official_score_without"] = score
        lines = [f"official score without the {what} of training clips: {100 * score:.2f}"]
    else:
        lines = [f"official score without the {what} of training clips: no section is left to measure"]
    worthless = 2 * n_kept < n_normal
    if worthless:
        lines.append(
            f"warning: {n_normal - n_kept:,} of {counted(n_normal, 'normal test clip')} are copies of training clips: "
            "the official score says nothing"
        )
    return WithoutCopies(tuple(lines), {"copies": json}, worthless)


def without(clips: ClipTable, others: ClipTable) -> ClipTable:
    """The clips that are not among the others."""
    return clips[~np.isin(np.array(clips.keys(), dtype=object), np.array(others.keys(), dtype=object))]


def known_copies(store: FeatureStore, scores: Path, *, pool_sections: bool = False) -> Copies:
    """Test clips of a store with the content of a training clip, and those that a score file calls copies.

    scores: a CSV with a column `copy_of` as `detect run` writes it, or any other file or folder.
    """
    exact: dict[str, str] = {}
    for name in sorted(store.embeddings):
        exact = {**_exact(store, name, pool_sections), **exact}
    stated = {} if scores.is_dir() else dict(_stated(scores))
    return Copies(exact=exact, near={key: twin for key, twin in stated.items() if key not in exact})


def _exact(store: FeatureStore, name: str, pool_sections: bool) -> dict[str, str]:
    clips, facts = store.clips(name), store.facts(name)
    heard = clips.where(variant="") & (facts["outcome"] != b"silent")
    train = np.flatnonzero(heard & clips.where(split="train") & ~clips.where(label="anomaly"))
    test = np.flatnonzero(heard & clips.where(split="test"))
    rows = np.concatenate([train, test])
    sounds = dict(zip(rows.tolist(), sounds_of(clips[rows], decode(facts["content_hash"][rows])), strict=True))
    banks, keys = banks_of(clips, pool_sections), clips.keys()
    first, _ = repeated_rows(train.tolist(), banks, sounds)
    pairs = ((row, first.get((banks[row], sounds[row]))) for row in test.tolist())
    return {keys[row]: keys[twin] for row, twin in pairs if twin is not None}


def _stated(scores: Path) -> Iterator[tuple[str, str]]:
    """Clip and training clip of every row with a `copy_of`."""
    rows = csv_rows(scores)
    _, header = next(rows)
    if not {"clip", "copy_of"} <= set(header):
        return
    clip_at, twin_at = header.index("clip"), header.index("copy_of")
    yield from ((row[clip_at], row[twin_at]) for _, row in rows if len(row) == len(header) and row[twin_at])
