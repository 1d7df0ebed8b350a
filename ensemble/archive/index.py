"""Approximate search in an archive run: indexes are stored beside the reference, and their recall is measured."""

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
from ensemble.archive.rows import Group

WORTHWHILE = 30_000
"""Bank rows below which exact search was never slower (scripts/bench_approximate.py)."""

PER_BATCH = 40
"""Queries of every batch that are sampled for the estimate; the first batches of a sorted archive are not typical."""


@dataclass(eq=False)
class _Used:
    """An index in use, and a sample of its queries from the whole run."""

    path: Path
    index: ApproximateIndex
    queries: list[np.ndarray] = field(default_factory=list)
    exclude: list[np.ndarray] = field(default_factory=list)

    def sample(self, queries: np.ndarray, exclude: np.ndarray) -> None:
        """Add some queries of a batch; halve the sample when it is too large."""
        every = slice(None, None, -(-len(queries) // PER_BATCH))
        self.queries.append(queries[every].copy())
        self.exclude.append(exclude[every])
        if sum(map(len, self.queries)) > 10 * SAMPLE:
            self.queries = [batch[::2] for batch in self.queries]
            self.exclude = [batch[::2] for batch in self.exclude]


class Indexes:
    """Makes searches by indexes of one kind, stored in `folder`; `notes` tells what was done with the files.

    Queries are sampled for `estimates` only while `measuring` is set: queries from the bank itself are not typical of
    an archive.
    """

    def __init__(self, kind: str, k: int, probes: int | None, folder: Path) -> None:
        self.kind, self.k, self.probes, self.folder = kind, k, probes, folder
        self.notes: list[str] = []
        self.measuring = False
        self._used: dict[str, _Used] = {}

    def make(self, group: Group, rows: np.ndarray, ids: np.ndarray) -> Search:
        """The search of a whole group, whose ids are 0 to n - 1."""
        name = " ".join(group) or "all"
        path = self.folder / f"{hashlib.sha256(repr(group).encode()).hexdigest()[:16]}.{self.kind}"
        index, note = load_or_build(path, Bank.of(rows[np.argsort(ids)]), self.kind)
        self.notes += [f"{name}: {note}"] if note else []
        if len(rows) < WORTHWHILE:
            self.notes.append(f"{name}: exact search is as fast in a bank of {len(rows):,} rows; leave out --index")
        used = self._used[name] = _Used(path, index)

        def improve(lists: TopK, queries: np.ndarray, exclude: np.ndarray, threads: int) -> None:
            index.threads = threads
            if self.measuring:
                used.sample(queries, exclude)
            lists.distance[:], lists.id[:] = index.nearest(queries, self.k, exclude=exclude, probes=self.probes)

        return improve

    def estimates(self) -> dict[str, dict[str, Any]]:
        """Recall and score error of every index that was used, by group; stored beside the index, and noted."""
        estimates = {}
        for name, used in sorted(self._used.items()):
            if not used.queries:
                continue
            queries, exclude = np.concatenate(used.queries), np.concatenate(used.exclude)
            estimate = recall_estimate(used.index, queries, self.k, exclude=exclude, probes=self.probes)
            save_estimate(used.path, estimate)
            self.notes.append(f"{name}: {estimate}")
            estimates[name] = asdict(estimate)
        return estimates
