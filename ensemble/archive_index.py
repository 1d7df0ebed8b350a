"""Approximate search in an archive run: indexes kept beside the reference, never used without a measured recall."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detectors.approximate_cache import cached, keep_estimate
from detectors.approximate_recall import recall_estimate
from detectors.neighbours import Bank
from detectors.streamed import Nearest
from ensemble.archive_banks import Search
from ensemble.archive_rows import Part


class Indexes:
    """Makes searches by indexes of one kind, kept in `folder`, and measures each on queries it meets.

    `estimates` holds what was measured, by part, once `measuring` is set: queries from the bank itself say little about
    an archive. `notes` says what happened to the files.
    """

    def __init__(self, kind: str, k: int, probes: int | None, folder: Path) -> None:
        self.kind, self.k, self.probes, self.folder = kind, k, probes, folder
        self.estimates: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self.measuring = False

    def make(self, part: Part, rows: np.ndarray, ids: np.ndarray) -> Search:
        """The search of a whole part, whose ids are 0 to n - 1."""
        name = " ".join(part) or "all"
        path = self.folder / f"{hashlib.sha256(repr(part).encode()).hexdigest()[:16]}.{self.kind}"
        bank = Bank.of(rows[np.argsort(ids)])
        index, note = cached(path, bank, self.kind)
        self.notes += [f"{name}: {note}"] if note else []

        def improve(lists: Nearest, queries: np.ndarray, exclude: np.ndarray, threads: int) -> None:
            index.threads = threads
            if self.measuring and name not in self.estimates:
                found = recall_estimate(index, queries, self.k, exclude=exclude, probes=self.probes)
                keep_estimate(path, found)
                self.estimates[name] = asdict(found)
                self.notes.append(f"{name}: {found}")
            lists.distance[:], lists.id[:] = index.nearest(queries, self.k, exclude=exclude, probes=self.probes)

        return improve
