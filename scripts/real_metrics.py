"""What labelled test clips say of candidates: shared by the benchmarks of selection, never by anything that chooses."""

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
from ensemble.selection.cache import ScoreCache, candidate_key, content_of
from ensemble.selection.informative import spearman
from featstore.building.work import follow_parent
from featstore.store import FeatureStore

SPLITS = 10
SHORT_LIST = 100


@dataclass
class Real:
    """Test and reference scores (candidates, clips), the clips of either, and the labels."""

    test: np.ndarray
    reference: np.ndarray
    placed: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    labels: Labels
    year: int

    def score(self, scores: np.ndarray, where: np.ndarray | None = None) -> float:
        """Official score of test scores (m,), of the clips `where` (m,) alone if given."""
        if where is None:
            return evaluate(self.table("", scores), self.labels, self.year).score
        labels = part_of(self.labels, where)
        return evaluate(ScoreTable("", labels.keys, scores[where]), labels, self.year).score

    def table(self, name: str, scores: np.ndarray) -> ScoreTable:
        """Scores by clip."""
        return ScoreTable(name, self.labels.keys, scores)

    def fused(self, rule: str) -> np.ndarray:
        """Test scores (m,) of all candidates fused."""
        sides = [
            [PlacedScores(row, *where) for row in scores]
            for scores, where in zip((self.test, self.reference), self.placed, strict=True)
        ]
        return fuse(rule, *sides).scores

    def halves(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Masks (m,) of halves of the test clips, alike in sections, domains and labels; SPLITS times two."""
        labels = self.labels
        columns = [labels.machine, labels.section, labels.domain, labels.is_anomaly.astype(np.str_)]
        stratum = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)
        for _ in range(SPLITS):
            half = np.zeros(len(stratum), dtype=bool)
            for one in range(stratum.max() + 1):
                rows = rng.permutation(np.flatnonzero(stratum == one))
                half[rows[: len(rows) // 2 + int(rng.integers(2)) * (len(rows) % 2)]] = True
            yield from (half, ~half)


def part_of(labels: Labels, where: np.ndarray) -> Labels:
    """Labels of some clips."""
    keys = tuple(key for key, taken in zip(labels.keys, where.tolist(), strict=True) if taken)
    columns = (labels.machine, labels.section, labels.domain, labels.is_anomaly)
    return Labels(keys, *(column[where] for column in columns))


def look(store: FeatureStore, members: list[Member], cache: ScoreCache) -> Real:
    """Real scores of all candidates, two views at a time, computed once."""
    train, test, _ = clips_and_rows(store, members[0])
    contents = {name: content_of(store, name) for name in {member.embedding for member in members}}
    keys = [candidate_key(member, contents[member.embedding], "real") for member in members]
    views: dict[tuple[str, str], list[tuple[Member, str]]] = {}
    for member, key in zip(members, keys, strict=True):
        if cache.get(key) is None:
            views.setdefault((member.embedding, member.view), []).append((member, key))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=follow_parent) as pool:
        list(pool.map(_look_at_view, [(store.path, wanted, cache) for wanted in views.values()]))
    scores = np.array([cache.get(key) for key in keys])
    clips = store.clips(members[0].embedding)
    placed = tuple((clips[rows].column("machine"), clips[rows].column("section")) for rows in (test, train))
    return Real(scores[:, : len(test)], scores[:, len(test) :], placed, Labels.of(clips[test]), year_of(clips[test]))


def _look_at_view(job: tuple[Path, list[tuple[Member, str]], ScoreCache]) -> None:
    """Keep test and reference scores, joined, of detectors on one view."""
    store, wanted, cache = FeatureStore.open(job[0]), job[1], job[2]
    train, test, X = clips_and_rows(store, wanted[0][0])
    clips = store.clips(wanted[0][0].embedding)
    with threadpool_limits(1):
        for member, key in wanted:
            found = score_sections(member.detector, X[train], clips[train], X[test], clips[test])
            cache.put(key, np.concatenate([found.scores, found.reference]))


def clips_and_rows(store: FeatureStore, member: Member) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that train, rows of the test clips, and the matrix of a view (of all where the member names none)."""
    clips, matrix = store.clips(member.embedding), store.matrix(member.embedding)
    train = clips.where(split="train") & clips.where(variant="") & ~clips.where(label="anomaly")
    if member.view:
        matrix = matrix[:, store.info(member.embedding).views.index(member.view)]
    return np.flatnonzero(train), np.flatnonzero(clips.where(split="test")), matrix.reshape(len(clips), -1)


@dataclass(frozen=True)
class Held:
    """Means over halves of the test clips, each system scored on the half that the oracle did not choose on.

    oracle: the best single candidate by the labels of one half, scored on the other. ceiling: the greatest rank
    correlation that any ranking of the candidates could have with their real figures, as far as these repeat
    themselves between halves (square root of the Spearman-Brown reliability).
    """

    oracle: float
    systems: dict[str, float]
    ceiling: float


def held_out(real: Real, singles: np.ndarray, systems: dict[str, np.ndarray]) -> Held:
    """The oracle without its luck, from the SHORT_LIST best of all clips (which leaves it some)."""
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
    return Held(float(np.mean(oracle)), means, float(np.sqrt(max(0, 2 * half_rho / (1 + half_rho)))))
