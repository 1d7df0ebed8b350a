"""Ways to choose a set of candidates, and an honest figure for each way.

A way is judged by nested cross-fitting: it chooses on half of the source recordings and two thirds of the transforms,
and its choice is scored on the other half and on the transforms it has not seen. Choosing more freely gains on the
anomalies it sees and may lose on others; only the nested figure tells which. Pair weights follow from all candidates
together and favour none, so they are taken once, from everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from ensemble.decision.calibrate import PlacedScores, calibrate, calibrate_reference
from ensemble.decision.conformal import surprise
from ensemble.decision.fuse import combine
from ensemble.selection.discriminant import discriminant_weights
from ensemble.selection.informative import RULES, candidate_figure
from ensemble.selection.quality import Judge, by_pair, official
from ensemble.selection.validation import Validation

GROUPS = 3
GREEDY_POOL, GREEDY_STEPS = 40, 12
SHRINKAGE = 0.3
TWIN = 1e-3
"""Candidates whose positions nowhere differ by more are one and the same, found twice."""


def positions(scores: np.ndarray, validation: Validation, method: str = "ecdf") -> np.ndarray:
    """Scores (c, n) placed among the section's held-out normal scores; a normal clip among the others'."""
    machine, section = (np.array([pair[i] for pair in validation.sections])[validation.section] for i in (0, 1))
    normal = validation.normal
    placed = np.empty_like(scores)
    for row, values in enumerate(scores):
        reference, asked = (PlacedScores(values[m], machine[m], section[m]) for m in (normal, ~normal))
        placed[row, normal] = calibrate_reference(reference, method=method)
        placed[row, ~normal] = calibrate(asked, reference, method=method)
    return placed


def twins(placed: np.ndarray) -> np.ndarray:
    """Mask (c,) of the candidates that repeat an earlier one's positions (c, n): they would vote for it twice."""
    repeats = np.zeros(len(placed), dtype=bool)
    means = placed.mean(axis=1)
    for i in range(1, len(placed)):
        near = np.flatnonzero((np.abs(means[:i] - means[i]) <= TWIN) & ~repeats[:i])
        repeats[i] = any(np.abs(placed[j] - placed[i]).max() <= TWIN for j in near.tolist())
    return repeats


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a way may choose on: a judge of some clips, the candidates' figures there, and weights (0 = unseen pair)."""

    judge: Judge
    figures: np.ndarray
    pair_weights: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Candidates, the best first, by their weighted mean rank over the pairs."""
        figure = candidate_figure(by_pair(self.figures), self.pair_weights)
        return np.argsort(-figure, kind="stable")


@dataclass(frozen=True, eq=False)
class Problem:
    """Positions (candidates, n) of all candidates on a validation, and what follows from them."""

    validation: Validation
    placed: np.ndarray
    rule: str = "agreement"

    @cached_property
    def judges(self) -> tuple[Judge, Judge, Judge]:
        """Of either half of the clips, and of all."""
        halves = (Judge(self.validation, self.validation.half(number)) for number in (0, 1))
        return *halves, Judge(self.validation)  # type: ignore[return-value]

    @cached_property
    def figures(self) -> tuple[np.ndarray, ...]:
        """Figures (candidates, sections, pairs, 3) by each judge."""
        return tuple(np.array([judge.figures(row)[0] for row in self.placed]) for judge in self.judges)

    @cached_property
    def pair_weights(self) -> np.ndarray:
        """Weight of every pair, summing to 1; all 0 where none says anything."""
        first, second, whole = (by_pair(figures) for figures in self.figures)
        weights = RULES[self.rule](whole, (first, second))
        total = weights.sum()
        return weights / total if total else weights

    def groups(self) -> list[np.ndarray]:
        """Masks of pairs: the transforms in GROUPS parts of like weight, each transform with all its severities."""
        names = np.array([pair.transform for pair in self.validation.pairs])
        of_name = {name: self.pair_weights[names == name].sum() for name in sorted(set(names.tolist()))}
        ordered = sorted(of_name, key=lambda name: -of_name[name])
        parts = [set(ordered[i::GROUPS]) for i in range(GROUPS)]
        masks = [np.isin(names, sorted(part)) for part in parts]
        return [mask for mask in masks if self.pair_weights[mask].sum() > 0]

    def evidence(self, half: int = 2, unseen: np.ndarray | None = None) -> Evidence:
        """Of one half (0, 1) or of all clips (2), without the pairs `unseen`."""
        weights = self.pair_weights if unseen is None else np.where(unseen, 0, self.pair_weights)
        return Evidence(self.judges[half], self.figures[half], weights)


Choose = Callable[[Problem, Evidence], np.ndarray]
"""Weights (candidates,) from evidence."""


@dataclass(frozen=True)
class Way:
    """A way to choose and the fusion of what it chose."""

    fusion: str
    choose: Choose

    def fused(self, problem: Problem, weights: np.ndarray) -> np.ndarray:
        """Score of every clip (n,) by the members with a weight."""
        members = weights > 0
        return combine(f"weighted_{self.fusion}", problem.placed[members], weights[members].tolist())


def best(problem: Problem, evidence: Evidence, *, count: int) -> np.ndarray:
    """The `count` best candidates, weighing alike."""
    weights = np.zeros(len(problem.placed))
    weights[evidence.order[:count]] = 1
    return weights


def greedy(problem: Problem, evidence: Evidence, *, fusion: str) -> np.ndarray:
    """Forward selection with replacement (Caruana et al. 2004) out of the best; a member weighs as often as taken."""
    pool = evidence.order[:GREEDY_POOL]
    placed = problem.placed[pool]
    terms = np.log1p(-placed) if fusion == "fisher" else -placed  # either fusion orders as the sum of these falls
    counts, total = np.zeros(len(pool)), np.zeros(placed.shape[1])
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(GREEDY_STEPS):
        values = [official(evidence.judge.figures(-(total + term))[0], evidence.pair_weights) for term in terms]
        taken = int(np.argmax(values))
        counts[taken] += 1
        total = total + terms[taken]
        found.append((float(values[taken]), counts.copy()))
    weights = np.zeros(len(problem.placed))
    weights[pool] = max(found, key=lambda one: one[0])[1]
    return weights


def non_negative(problem: Problem, evidence: Evidence, *, count: int) -> np.ndarray:
    """Fisher's discriminant on the surprise of the `count` best; sections and domains weigh alike, pairs as they do."""
    validation, pool = problem.validation, evidence.order[:count]
    known = np.ones(len(validation), dtype=bool) if evidence.judge.keep is None else evidence.judge.keep
    weight = np.where(validation.normal, 1.0, evidence.pair_weights[validation.pair]) * known
    domain = np.unique(validation.domain, return_inverse=True)[1].reshape(-1)
    stratum = np.stack([validation.section, validation.pair, np.where(validation.normal, domain, -1)])
    number = np.unique(stratum, axis=1, return_inverse=True)[1].reshape(-1)
    share = weight / np.maximum(np.bincount(number, weights=known), 1)[number]
    weights = np.zeros(len(problem.placed))
    weights[pool] = discriminant_weights(
        surprise(problem.placed[pool]),
        np.where(validation.normal, share, 0),
        np.where(validation.normal, 0, share),
        validation.section,
        shrinkage=SHRINKAGE,
    )
    return weights


WAYS: dict[str, Way] = {
    "best 10, fisher": Way("fisher", partial(best, count=10)),
    "best 5, fisher": Way("fisher", partial(best, count=5)),
    "best 20, fisher": Way("fisher", partial(best, count=20)),
    "best 3, fisher": Way("fisher", partial(best, count=3)),
    "best 10, mean": Way("mean", partial(best, count=10)),
    "non-negative, fisher": Way("fisher", partial(non_negative, count=10)),
    "greedy, fisher": Way("fisher", partial(greedy, fusion="fisher")),
    "greedy, mean": Way("mean", partial(greedy, fusion="mean")),
    "best single": Way("fisher", partial(best, count=1)),
}
"""In order of preference where the nested figures do not tell them apart."""


def nested_figures(problem: Problem, fused: Callable[[Evidence], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Official figure (b,) of a way that chose on other clips and other transforms, by bootstrap weights (b, sources).

    `fused` turns evidence into scores of all clips.
    """
    validation, groups = problem.validation, problem.groups()
    halves = [problem.validation.half(number) for number in (0, 1)]
    figures = np.full((len(weights), len(validation.sections), len(validation.pairs), 3), np.nan)
    for unseen in groups:
        scores = np.empty(len(validation))
        for half in (0, 1):  # positions compare between the two choices, so both halves are judged as one
            scores[halves[1 - half]] = fused(problem.evidence(half, unseen if len(groups) > 1 else None))[
                halves[1 - half]
            ]
        figures[:, :, unseen] = problem.judges[2].figures(scores, weights)[:, :, unseen]
    return official(figures, problem.pair_weights)


def bootstrap_weights(problem: Problem, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How often each source recording counts, (1 + replicates, sources): first all once, then resamples."""
    drawn: Sequence[np.ndarray] = list(problem.judges[2].resampled(replicates, rng))
    return np.concatenate([np.ones((1, drawn[0].shape[1])), *drawn])
