"""Approximate search in an archive run: indexes kept beside the reference, never used without a measured recall."""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detectors.approximate.cache import load_or_build, save_estimate
from detectors.approximate.index import ApproximateIndex
from detectors.approximate.recall import SAMPLE, recall_estimate
from detectors.search.neighbours import Bank
from detectors.search.streamed import TopK
from ensemble.archive.banks import Search
from ensemble.archive.rows import Part

PAYS = 30_000
"""Rows of a bank below which exact search was never slower (scripts/bench_approximate.py)."""

PER_BATCH = 40
"""Queries of every batch that are kept for the estimate: archives are sorted, so the first would not stand for all."""


@dataclass(eq=False)
class _Used:
    """An index at work, and queries it was asked, spread over the run."""

    path: Path
    index: ApproximateIndex
    queries: list[np.ndarray] = field(default_factory=list)
    exclude: list[np.ndarray] = field(default_factory=list)

    def remember(self, queries: np.ndarray, exclude: np.ndarray) -> None:
        """Keep some of a batch; when there are too many, every other one of all."""
        every = slice(None, None, -(-len(queries) // PER_BATCH))
        self.queries.append(queries[every].copy())
        self.exclude.append(exclude[every])
        if sum(map(len, self.queries)) > 10 * SAMPLE:
            self.queries = [one[::2] for one in self.queries]
            self.exclude = [one[::2] for one in self.exclude]


class Indexes:
    """Makes searches by indexes of one kind, kept in `folder`; `notes` says what happened to the files.

    Queries count towards `estimates` once `measuring` is set: those from the bank itself say little about an archive.
    """

    def __init__(self, kind: str, k: int, probes: int | None, folder: Path) -> None:
        self.kind, self.k, self.probes, self.folder = kind, k, probes, folder
        self.notes: list[str] = []
        self.measuring = False
        self._used: dict[str, _Used] = {}

    def make(self, part: Part, rows: np.ndarray, ids: np.ndarray) -> Search:
        """The search of a whole part, whose ids are 0 to n - 1."""
        name = " ".join(part) or "all"
        path = self.folder / f"{hashlib.sha256(repr(part).encode()).hexdigest()[:16]}.{self.kind}"
        index, note = load_or_build(path, Bank.of(rows[np.argsort(ids)]), self.kind)
        self.notes += [f"{name}: {note}"] if note else []
        if len(rows) < PAYS:
            self.notes.append(f"{name}: exact search is as fast in a bank of {len(rows):,} rows; leave out --index")
        used = self._used[name] = _Used(path, index)

        def improve(lists: TopK, queries: np.ndarray, exclude: np.ndarray, threads: int) -> None:
            index.threads = threads
            if self.measuring:
                used.remember(queries, exclude)
            lists.distance[:], lists.id[:] = index.nearest(queries, self.k, exclude=exclude, probes=self.probes)

        return improve

    def estimates(self) -> dict[str, dict[str, Any]]:
        """Recall and score error of every index that was used, by part; kept beside the index, and noted."""
        found = {}
        for name, used in sorted(self._used.items()):
            if not used.queries:
                continue
            queries, exclude = np.concatenate(used.queries), np.concatenate(used.exclude)
            estimate = recall_estimate(used.index, queries, self.k, exclude=exclude, probes=self.probes)
            save_estimate(used.path, estimate)
            self.notes.append(f"{name}: {estimate}")
            found[name] = asdict(estimate)
        return found
