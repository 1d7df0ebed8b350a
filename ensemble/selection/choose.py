"""Strategies that choose a set of candidates, and an unbiased score for each strategy.

A strategy is judged by nested cross-fitting: it chooses on half of the source recordings and two thirds of the
transforms, and its choice is scored on the other half and on the other transforms. A more flexible strategy gains on
the anomalies that it sees and may lose on others; only the nested score shows which. Pair weights are computed once,
from all clips and candidates, because they favour no candidate.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ensemble.decision.blocks import apart, blocked
from ensemble.decision.calibrate import calibration
from ensemble.decision.conformal import from_surprise, surprise
from ensemble.decision.fuse import combine
from ensemble.selection.discriminant import discriminant_weights
from ensemble.selection.informative import RULES, mean_rank
from ensemble.selection.quality import Evaluator, by_pair, official_score
from ensemble.selection.scoring.confirmed import confirmed_faults, confirmed_share
from ensemble.selection.scoring.validation import CONFIRMED, Validation

GROUPS = 3
GREEDY_POOL, GREEDY_STEPS = 40, 12
SHRINKAGE = 0.3
SAME = 1e-3
"""Candidates whose positions differ nowhere by more are duplicates."""


def positions(scores: np.ndarray, validation: Validation, method: str = "ecdf") -> np.ndarray:
    """Scores (c, n) placed among the held-out training scores of the section; a training clip among the others'.

    Where clips have blocks, all of a block, generated anomalies too, are placed among the training clips of the others.
    """
    rule = calibration(method)
    placed = np.empty_like(scores)
    for number in range(len(validation.sections)):
        here = validation.section == number
        training, others = np.flatnonzero(here & validation.training), np.flatnonzero(here & ~validation.training)
        if blocked(validation.block, training):
            for own, rest in apart(validation.block, np.flatnonzero(here), training, training):
                for row, values in enumerate(scores):
                    placed[row, own] = rule.of_test(values[own], values[rest])
            continue
        for row, values in enumerate(scores):
            placed[row, training] = rule.of_reference(values[training])
            placed[row, others] = rule.of_test(values[others], values[training])
    return placed


def duplicates(placed: np.ndarray) -> np.ndarray:
    """Mask (c,) of the candidates with the positions (c, n) of an earlier one, which would then count twice."""
    repeats = np.zeros(len(placed), dtype=bool)
    means = placed.mean(axis=1)
    for i in range(1, len(placed)):
        near = np.flatnonzero((np.abs(means[:i] - means[i]) <= SAME) & ~repeats[:i])
        repeats[i] = any(np.abs(placed[j] - placed[i]).max() <= SAME for j in near.tolist())
    return repeats


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a strategy may use: an evaluator of some clips, the candidates' metrics on them, and pair weights.

    A pair with weight 0 is hidden from the strategy. dropped: metrics of candidates that cannot be chosen any more.
    """

    evaluator: Evaluator
    metrics: np.ndarray
    pair_weights: np.ndarray
    dropped: np.ndarray | None = None

    @cached_property
    def order(self) -> np.ndarray:
        """Candidates, best first, by their weighted mean rank over the pairs, among the dropped ones too."""
        known = self.metrics if self.dropped is None else np.concatenate([self.metrics, self.dropped])
        rank = mean_rank(by_pair(known), self.pair_weights)[: len(self.metrics)]
        return np.argsort(-rank, kind="stable")

    @property
    def clips(self) -> np.ndarray:
        """Mask (n,) of the clips that may be used."""
        keep = self.evaluator.keep
        return np.ones(len(self.evaluator.validation), dtype=bool) if keep is None else keep


@dataclass(frozen=True, eq=False)
class Problem:
    """Positions (candidates, n) of all candidates on a validation, with metrics and pair weights.

    dropped: metrics of the candidates that lost the race (see `racing.py`), by each evaluator. They count in the pair
    weights, and in the ranks of the others, as if they had been scored whole. default: fused positions (n,) of the
    fixed default.
    """

    validation: Validation
    placed: np.ndarray
    rule: str = "agreement"
    dropped: tuple[np.ndarray, ...] = ()
    default: np.ndarray | None = None

    @cached_property
    def evaluators(self) -> tuple[Evaluator, Evaluator, Evaluator]:
        """One for each half of the clips, and one for all."""
        halves = (Evaluator(self.validation, self.validation.half(number)) for number in (0, 1))
        return *halves, Evaluator(self.validation)  # type: ignore[return-value]

    @cached_property
    def metrics(self) -> tuple[np.ndarray, ...]:
        """Metrics (candidates, sections, pairs, 3) by each evaluator."""
        return tuple(each.metrics(self.placed) for each in self.evaluators)

    @property
    def all_metrics(self) -> tuple[np.ndarray, ...]:
        """Metrics by each evaluator, those of the dropped candidates last."""
        if not self.dropped:
            return self.metrics
        return tuple(np.concatenate(pair) for pair in zip(self.metrics, self.dropped, strict=True))

    @cached_property
    def pair_weights(self) -> np.ndarray:
        """Weight of every pair, summing to 1; all 0 where no pair separates the candidates.

        The generated pairs share what confirmed faults leave them, see `confirmed_share`.
        """
        generated = ~self.confirmed
        first, second, whole = (by_pair(metrics)[:, generated] for metrics in self.all_metrics)
        weights = np.zeros(len(generated))
        weights[generated] = RULES[self.rule](whole, (first, second))
        total = weights.sum()
        share = confirmed_share(self.validation, generated=bool(total))
        weights *= (1 - share) / total if total else 0
        weights[self.confirmed] = share
        return weights

    @property
    def confirmed(self) -> np.ndarray:
        """Mask (pairs,) of that of the confirmed faults."""
        return np.array([pair == CONFIRMED for pair in self.validation.pairs], dtype=bool)

    def groups(self) -> list[np.ndarray]:
        """Masks of generated pairs: the transforms, with all their severities, in GROUPS parts of similar weight."""
        names = np.array([pair.transform for pair in self.validation.pairs])
        of_transform = sorted(set(names[~self.confirmed].tolist()))
        weight = {name: self.pair_weights[names == name].sum() for name in of_transform}
        ordered = sorted(weight, key=lambda name: -weight[name])
        masks = [np.isin(names, sorted(ordered[i::GROUPS])) for i in range(GROUPS)]
        return [mask for mask in masks if self.pair_weights[mask].sum() > 0]

    def evidence(self, half: int = 2, hidden: np.ndarray | None = None) -> Evidence:
        """Evidence of one half (0, 1) or of all clips (2), without the `hidden` pairs."""
        weights = self.pair_weights if hidden is None else np.where(hidden, 0, self.pair_weights)
        return Evidence(
            self.evaluators[half], self.metrics[half], weights, self.dropped[half] if self.dropped else None
        )

    @cached_property
    def splits(self) -> list["Split"]:
        """Every group of pairs, hidden from evidence of either half; nothing is hidden where there is one group.

        Confirmed faults are never hidden: each half is scored by a choice from the faults of the other half.
        """
        groups = self.groups()
        splits = [(group, group if len(groups) > 1 else None) for group in groups]
        if self.pair_weights[self.confirmed].any():
            splits.append((self.confirmed, None))
        return [
            Split(
                scored,
                Evaluator(self.validation, pairs=scored),
                tuple(self.evidence(half, hidden) for half in (0, 1)),
            )
            for scored, hidden in splits
        ]


@dataclass(frozen=True, eq=False)
class Split:
    """A mask of the pairs that are scored, their evaluator on all clips, and the evidence of each half."""

    scored: np.ndarray
    evaluator: Evaluator
    evidence: tuple[Evidence, ...]


Choose = Callable[[Problem, Evidence], np.ndarray]
"""Computes weights (candidates,) from evidence."""


@dataclass(frozen=True)
class Strategy:
    """How candidates are chosen, and how the chosen ones are fused.

    with_default: the fixed default is half of the result.
    """

    fusion: str
    choose: Choose
    with_default: bool = False

    def fused(self, problem: Problem, weights: np.ndarray) -> np.ndarray:
        """Score of every clip (n,) by the members with a weight above 0."""
        members = weights > 0
        own = combine(f"weighted_{self.fusion}", problem.placed[members], weights[members].tolist())
        if not self.with_default or problem.default is None:
            return own
        return from_surprise((surprise(own) + surprise(problem.default)) / 2)


def best(problem: Problem, evidence: Evidence, *, count: int) -> np.ndarray:
    """Equal weights for the `count` best candidates."""
    weights = np.zeros(len(problem.placed))
    weights[evidence.order[:count]] = 1
    return weights


def greedy(problem: Problem, evidence: Evidence, *, fusion: str) -> np.ndarray:
    """Forward selection with replacement (Caruana et al. 2004) from the best; a weight is how often one was taken."""
    pool = evidence.order[:GREEDY_POOL]
    placed = problem.placed[pool]
    terms = np.log1p(-placed) if fusion == "fisher" else -placed  # a fused score falls with the sum of its terms
    counts, total = np.zeros(len(pool)), np.zeros(placed.shape[1])
    top, top_counts = -np.inf, counts
    evaluator = replace(evidence.evaluator, pairs=evidence.pair_weights > 0)
    for _ in range(GREEDY_STEPS):
        scores = official_score(evaluator.metrics(-(total + terms)), evidence.pair_weights)
        taken = int(np.argmax(scores))
        counts[taken] += 1
        total = total + terms[taken]
        if scores[taken] > top:
            top, top_counts = float(scores[taken]), counts.copy()
    weights = np.zeros(len(problem.placed))
    weights[pool] = top_counts
    return weights


def non_negative(problem: Problem, evidence: Evidence, *, count: int) -> np.ndarray:
    """Fisher's discriminant on the surprise of the `count` best candidates.

    Sections and domains have equal weights, pairs their own.
    """
    validation, pool = problem.validation, evidence.order[:count]
    weight = np.where(validation.normal, 1.0, evidence.pair_weights[validation.pair]) * evidence.clips
    domain = np.unique(validation.domain, return_inverse=True)[1].reshape(-1)
    stratum = np.stack([validation.section, validation.pair, np.where(validation.normal, domain, -1)])
    number = np.unique(stratum, axis=1, return_inverse=True)[1].reshape(-1)
    share = weight / np.maximum(np.bincount(number, weights=evidence.clips), 1)[number]
    weights = np.zeros(len(problem.placed))
    weights[pool] = discriminant_weights(
        surprise(problem.placed[pool]),
        np.where(validation.normal, share, 0),
        np.where(validation.normal, 0, share),
        validation.section,
        shrinkage=SHRINKAGE,
    )
    return weights


STRATEGIES: dict[str, Strategy] = {
    "best 10 and the default": Strategy("fisher", partial(best, count=10), with_default=True),
    "best 10, fisher": Strategy("fisher", partial(best, count=10)),
    "best 5, fisher": Strategy("fisher", partial(best, count=5)),
    "best 20, fisher": Strategy("fisher", partial(best, count=20)),
    "best 3, fisher": Strategy("fisher", partial(best, count=3)),
    "best 10, mean": Strategy("mean", partial(best, count=10)),
    "non-negative, fisher": Strategy("fisher", partial(non_negative, count=10)),
    "greedy, fisher": Strategy("fisher", partial(greedy, fusion="fisher")),
    "greedy, mean": Strategy("mean", partial(greedy, fusion="mean")),
    "best single": Strategy("fisher", partial(best, count=1)),
}
"""In order of preference where their nested scores do not differ clearly."""

WITH_FAULTS: dict[str, Strategy] = {
    "non-negative of 40, fisher": Strategy("fisher", partial(non_negative, count=GREEDY_POOL))
}
"""Preferred to the others from MANY_FAULTS confirmed faults on: weights from generated anomalies alone do not carry
over to real faults, weights from confirmed ones do (docs/selection.md)."""

MANY_FAULTS = 20


def strategies(validation: Validation) -> dict[str, Strategy]:
    """The strategies to choose from, in order of preference."""
    return {**WITH_FAULTS, **STRATEGIES} if confirmed_faults(validation) >= MANY_FAULTS else STRATEGIES


def nested_scores(problem: Problem, fused: Callable[[Evidence], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Official score (b,) of choices on clips and transforms that were not used to choose.

    `fused` turns evidence into scores of all clips; `weights` (b, sources) are those of a bootstrap.
    """
    validation = problem.validation
    halves = [validation.half(number) for number in (0, 1)]
    metrics = np.full((len(weights), len(validation.sections), len(validation.pairs), 3), np.nan)
    for split in problem.splits:
        scores = np.empty(len(validation))
        for half in (0, 1):  # positions are comparable between the two choices, so both halves are evaluated as one
            others = halves[1 - half]
            scores[others] = fused(split.evidence[half])[others]
        metrics[:, :, split.scored] = split.evaluator.resampled_metrics(scores, weights)[:, :, split.scored]
    return official_score(metrics, problem.pair_weights)


def bootstrap_weights(problem: Problem, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How often each source recording counts, (1 + replicates, sources): first each once, then resamples."""
    resamples = list(problem.evaluators[2].resampled(replicates, rng))
    return np.concatenate([np.ones((1, resamples[0].shape[1])), *resamples])
