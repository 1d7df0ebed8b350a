"""Metrics of candidates on labelled test clips, for the benchmarks of selection; nothing that chooses may use them."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from detectors.sections import score_sections
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.fuse import fuse
from ensemble.output import year_of
from ensemble.recipe import Member
from ensemble.selection.informative import spearman
from ensemble.selection.scoring.cache import ScoreCache, candidate_key, content_of
from featstore.building.pool import follow_parent
from featstore.store import FeatureStore

SPLITS = 10
SHORT_LIST = 100


@dataclass
class Real:
    """Test and reference scores (candidates, clips), machine and section of their clips, and the labels."""

    test: np.ndarray
    reference: np.ndarray
    placed: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    labels: Labels
    year: int

    def score(self, scores: np.ndarray, where: np.ndarray | None = None) -> float:
        """Official score of test scores (m,), or of the clips in the mask `where` (m,) only."""
        if where is None:
            return evaluate(self.table("", scores), self.labels, self.year).score
        labels = part_of(self.labels, where)
        return evaluate(ScoreTable("", labels.keys, scores[where]), labels, self.year).score

    def table(self, name: str, scores: np.ndarray) -> ScoreTable:
        """Table of test scores (m,) by clip key."""
        return ScoreTable(name, self.labels.keys, scores)

    def fused(self, rule: str) -> np.ndarray:
        """Fused test scores (m,) of all candidates."""
        sides = [
            [PlacedScores(row, *where) for row in scores]
            for scores, where in zip((self.test, self.reference), self.placed, strict=True)
        ]
        return fuse(rule, *sides).scores

    def halves(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """2 * SPLITS masks (m,): random halves of the test clips, stratified by section, domain and label."""
        labels = self.labels
        columns = [labels.machine, labels.section, labels.domain, labels.is_anomaly.astype(np.str_)]
        stratum = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)
        for _ in range(SPLITS):
            half = np.zeros(len(stratum), dtype=bool)
            for i in range(stratum.max() + 1):
                rows = rng.permutation(np.flatnonzero(stratum == i))
                half[rows[: len(rows) // 2 + int(rng.integers(2)) * (len(rows) % 2)]] = True
            yield from (half, ~half)


def part_of(labels: Labels, where: np.ndarray) -> Labels:
    """Labels of the clips in the mask `where`."""
    keys = tuple(key for key, selected in zip(labels.keys, where.tolist(), strict=True) if selected)
    columns = (labels.machine, labels.section, labels.domain, labels.is_anomaly)
    return Labels(keys, *(column[where] for column in columns))


def real_scores(store: FeatureStore, members: list[Member], cache: ScoreCache) -> Real:
    """Scores of all candidates on the real test clips, from the cache or computed by two processes."""
    train, test, _ = clips_and_rows(store, members[0])
    contents = {name: content_of(store, name) for name in {member.embedding for member in members}}
    keys = [candidate_key(member, contents[member.embedding], "real") for member in members]
    views: dict[tuple[str, str], list[tuple[Member, str]]] = {}
    for member, key in zip(members, keys, strict=True):
        if cache.get(key) is None:
            views.setdefault((member.embedding, member.view), []).append((member, key))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=follow_parent) as pool:
        list(pool.map(_score_view, [(store.path, candidates, cache) for candidates in views.values()]))
    scores = np.array([cache.get(key) for key in keys])
    clips = store.clips(members[0].embedding)
    placed = tuple((clips[rows].column("machine"), clips[rows].column("section")) for rows in (test, train))
    return Real(scores[:, : len(test)], scores[:, len(test) :], placed, Labels.of(clips[test]), year_of(clips[test]))


def _score_view(job: tuple[Path, list[tuple[Member, str]], ScoreCache]) -> None:
    """Cache the joined test and reference scores of the detectors on one view."""
    store, candidates, cache = FeatureStore.open(job[0]), job[1], job[2]
    train, test, X = clips_and_rows(store, candidates[0][0])
    clips = store.clips(candidates[0][0].embedding)
    with threadpool_limits(1):
        for member, key in candidates:
            result = score_sections(member.detector, X[train], clips[train], X[test], clips[test])
            cache.put(key, np.concatenate([result.scores, result.reference]))


def clips_and_rows(store: FeatureStore, member: Member) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the training clips, rows of the test clips, and the matrix of the member's view (or of all views)."""
    clips, matrix = store.clips(member.embedding), store.matrix(member.embedding)
    train = clips.where(split="train") & clips.where(variant="") & ~clips.where(label="anomaly")
    if member.view:
        matrix = matrix[:, store.info(member.embedding).views.index(member.view)]
    return np.flatnonzero(train), np.flatnonzero(clips.where(split="test")), matrix.reshape(len(clips), -1)


@dataclass(frozen=True)
class HeldOut:
    """Mean official scores over halves of the test clips.

    oracle: the candidate that is best by the labels of one half, scored on the other half. ceiling: the highest rank
    correlation that any ranking of the candidates can have with their real metrics, given how well these agree between
    halves (square root of the Spearman-Brown reliability).
    """

    oracle: float
    systems: dict[str, float]
    ceiling: float


def held_out(real: Real, singles: np.ndarray, systems: dict[str, np.ndarray]) -> HeldOut:
    """Scores of the systems and of an oracle that chooses on other clips, among the SHORT_LIST best on all clips.

    The oracle remains slightly too good, because the short list is chosen on all clips.
    """
    best = np.argsort(-singles)[:SHORT_LIST]
    spread = np.argsort(-singles)[:: max(1, len(singles) // SHORT_LIST)]
    halves = list(real.halves(np.random.default_rng(0)))
    oracle, others, ceilings = [], {name: [] for name in systems}, []
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        of_first, of_second = (np.array([real.score(real.test[i], half) for i in best]) for half in (first, second))
        oracle += [of_second[of_first.argmax()], of_first[of_second.argmax()]]
        for name, scores in systems.items():
            others[name] += [real.score(scores, first), real.score(scores, second)]
        a, b = (np.array([[real.score(real.test[i], half)] for i in spread]) for half in (first, second))
        ceilings.append(float(spearman(a, b)[0]))
    half_rho = float(np.mean(ceilings))
    means = {name: float(np.mean(values)) for name, values in others.items()}
    return HeldOut(float(np.mean(oracle)), means, float(np.sqrt(max(0, 2 * half_rho / (1 + half_rho)))))
