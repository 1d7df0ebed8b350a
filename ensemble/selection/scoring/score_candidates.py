"""Scores of every candidate on the clips of a validation, computed on all cores and cached.

A task scores one view of one section by all its detectors. A candidate is cached once all its sections are scored.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ensemble.external import scores_of
from ensemble.inputs import one_view, width_of
from ensemble.parallel.pool import Task, processes_for, run_tasks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import Member
from ensemble.selection.scoring.cache import ScoreCache, candidate_key, content_of
from ensemble.selection.scoring.held_out import Fold, fold_scores, folds_of
from ensemble.selection.scoring.validation import Validation
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.terminal.shown import counted


@dataclass
class Scored:
    """Scores (candidates, n) in the order of `members`.

    computed: how many the cache lacked. failed: the reason by name of every candidate without scores.
    """

    members: list[Member]
    scores: np.ndarray
    computed: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def score_candidates(
    store: FeatureStore,
    members: Sequence[Member],
    validation: Validation,
    cache: ScoreCache,
    *,
    part: np.ndarray | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Compute the scores that the cache lacks, then read all; DataError where no candidate could be scored.

    `part` is a mask (n,) of whole folds; the scores of other clips may be NaN.
    """
    needed = np.ones(len(validation), dtype=bool) if part is None else part
    contents = {name: content_of(store, name) for name in {member.embedding for member in members if not member.file}}
    keys = [
        candidate_key(member, contents.get(member.embedding, member.fingerprint), validation.digest)
        for member in members
    ]
    missing: dict[str, Member] = {}
    for member, key in zip(members, keys, strict=True):
        if member.file:
            cache.put(key, scores_of(member, validation.keys, "training clips and generated anomalies"))
        elif not _covers(cache.get(key), needed):
            missing[key] = member
    known = len(members) - len(missing)
    work = _Work(store, validation, cache, missing, needed)
    for done in work.run(workers):
        progress(known + done, len(members))
    cached = [(member, cache.get(key)) for member, key in zip(members, keys, strict=True) if key not in work.failed]
    scored = [(member, scores) for member, scores in cached if scores is not None]
    reasons = {member.name: work.failed[key] for member, key in zip(members, keys, strict=True) if key in work.failed}
    if not scored:
        raise DataError(f"no candidate could be scored; the first: {': '.join(next(iter(reasons.items())))}")
    scores = np.array([scores for _, scores in scored])
    return Scored([member for member, _ in scored], scores, len(missing) - len(work.failed), reasons)


def _covers(scores: np.ndarray | None, needed: np.ndarray) -> bool:
    return scores is not None and scores.shape == needed.shape and not np.isnan(scores[needed]).any()


@dataclass
class _Work:
    """The candidates to be scored on the `needed` clips, by cache key; failed: the reasons of those that cannot be."""

    store: FeatureStore
    validation: Validation
    cache: ScoreCache
    missing: dict[str, Member]
    needed: np.ndarray
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, workers: int | None) -> Iterator[int]:
        """Score all; yields how many are done."""
        n = len(self.validation)
        scores = {key: self._known(key) for key in self.missing}
        jobs = self._jobs(scores)
        left = Counter(key for of_embedding in jobs.values() for keys in of_embedding.values() for key in keys)
        values = n * sum(width_of(self.store.info(member.embedding), member) for member in self.missing.values())
        for task, results in run_tasks(self._batches(jobs), processes_for(left.total(), values, workers)):
            folds, keys = task.label
            for key, result in zip(keys, results, strict=True):
                left[key] -= 1
                if isinstance(result, str):
                    self.failed.setdefault(key, result)
                    continue
                for fold, of_fold in zip(folds, result, strict=True):
                    scores[key][fold.held_out] = of_fold
                if not left[key] and key not in self.failed:
                    self.cache.put(key, scores.pop(key))
            yield sum(not count for count in left.values())

    def _known(self, key: str) -> np.ndarray:
        """Scores so far (n,), NaN where there is none."""
        cached, shape = self.cache.get(key), self.needed.shape
        return cached if cached is not None and cached.shape == shape else np.full(shape, np.nan)

    def _jobs(self, scores: dict[str, np.ndarray]) -> dict[str, dict[tuple[str, tuple[Fold, ...]], list[str]]]:
        """By embedding: view and folds of a section, and the keys of the candidates that lack their scores."""
        sections: dict[str, list[Fold]] = {}
        for fold in folds_of(self.validation):
            if self.needed[fold.held_out].all():
                sections.setdefault(fold.section, []).append(fold)
        jobs: dict[str, dict[tuple[str, tuple[Fold, ...]], list[str]]] = {}
        for key, member in self.missing.items():
            for folds in sections.values():
                lacking = tuple(fold for fold in folds if np.isnan(scores[key][fold.held_out]).any())
                if lacking:
                    jobs.setdefault(member.embedding, {}).setdefault((member.view, lacking), []).append(key)
        return jobs

    def _batches(self, jobs: dict[str, dict[tuple[str, tuple[Fold, ...]], list[str]]]) -> Iterator[list[Task]]:
        for name, of_embedding in jobs.items():
            rows = rows_of(self.store, name, self.validation)
            names = self.store.info(name).views
            yield [
                Task(
                    score_view,
                    (rows, names.index(view) if view else None, folds, [self.missing[key].detector for key in keys]),
                    cost=len(keys) * sum(len(fold.held_out) for fold in folds),
                    label=(folds, keys),
                )
                for (view, folds), keys in of_embedding.items()
            ]


def score_view(
    rows: SharedRows, view: int | None, folds: Sequence[Fold], detectors: Sequence[str]
) -> list[list[np.ndarray] | str]:
    """Scores of the folds of a section by several detectors on one view, as `fold_scores`."""
    return fold_scores(detectors, one_view(rows.array, view), folds)


def rows_of(store: FeatureStore, name: str, validation: Validation) -> SharedRows:
    """Rows (stored, *shape) of an embedding for the stored clips of a validation, found by key."""
    place = {key: i for i, key in enumerate(store.clips(name).keys())}
    stored = validation.keys[: validation.stored]
    absent = [key for key in stored if key not in place]
    if absent:
        raise DataError(
            f"{store.path}: {counted(len(absent), 'clip')} without a row in {name}, first {absent[0]!r}; run "
            f"featstore build --anomalies auto with -e {name} too, or leave {name} out"
        )
    places = np.array([place[key] for key in stored])
    where = np.zeros(len(place), dtype=bool)
    where[places] = True
    rows = SharedRows((len(places), *store.info(name).shape))
    order = np.argsort(np.argsort(places))
    np.take(store.matrix(name, where), order, axis=0, out=rows.array, mode="clip")
    return rows
