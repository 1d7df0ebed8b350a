"""Standings: how far strategies lead the fixed default in nested scores, and which of them may replace it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.auc import percentile_interval
from ensemble.selection.choose import Evidence, Problem, Strategy, bootstrap_weights, nested_scores, strategies
from ensemble.selection.quality import Evaluator

SURE = 0.05
"""Share of the resamples in which a choice that replaces the default may fail to lead it (one-sided)."""

MARGIN = 0.02
"""Smaller differences of nested scores do not show which is better on real anomalies (docs/selection.md)."""

DEFAULT = "fixed default"


@dataclass(frozen=True)
class Standing:
    """Nested official score of a choice, and its lead over another with the middle 95 % of the replicates.

    p: share of the replicates in which it does not lead; the observed clips count as one of them.
    """

    name: str
    score: float
    lead: float
    low: float
    high: float
    p: float


def standing_of(name: str, values: np.ndarray, other: np.ndarray) -> Standing:
    """The standing of a choice with the scores `values` (1 + replicates,), observed first, against those of another."""
    difference = values - other
    p = (1 + np.count_nonzero(difference[1:] <= 0)) / len(difference)
    return Standing(name, float(values[0]), float(difference[0]), *percentile_interval(difference[1:]), p)


def standings(replicates: Mapping[str, np.ndarray], reference: str) -> tuple[Standing, ...]:
    """Standings of all choices against `reference`, the best first."""
    rows = [standing_of(name, values, replicates[reference]) for name, values in replicates.items()]
    return tuple(sorted(rows, key=lambda standing: -standing.score))


def chosen_by(
    replicates: Mapping[str, np.ndarray], offered: Mapping[str, Strategy], warnings: Sequence[str]
) -> tuple[str, str]:
    """Name of the strategy to take, or of the default, and the reason in words.

    It is the first one that may replace the default, among those not clearly behind the best. A strategy of which the
    default is half may if it is not behind the default by more than MARGIN: on real anomalies the two have
    differed by more than on generated ones. Any other may if it leads the default in all but SURE of the resamples.
    """
    top = max(offered, key=lambda name: replicates[name][0])
    behind = [standing_of(name, replicates[name], replicates[top]) for name in offered]
    similar = [standing.name for standing in behind if standing.high >= 0 or standing.lead >= -MARGIN]
    leads = [standing_of(name, replicates[name], replicates[DEFAULT]) for name in similar]
    first = next((standing for standing in leads if _may_replace(standing, offered[standing.name])), leads[0])
    points = f"{100 * first.lead:+.1f} points [{100 * first.low:+.1f}, {100 * first.high:+.1f}]"
    lead = f"{first.name}: {points} against the {DEFAULT}, better in {100 * (1 - first.p):.1f} % of the resamples"
    if warnings:
        return DEFAULT, f"{lead}, but {warnings[0]}: the {DEFAULT} is kept"
    if not _may_replace(first, offered[first.name]):
        return DEFAULT, f"{lead}, which is within the uncertainty: the {DEFAULT} is kept"
    preference = (
        f"preferred among {len(similar)} strategies of similar quality" if len(similar) > 1 else "the best strategy"
    )
    return first.name, f"{lead}, on recordings and anomaly types that were not used to choose ({preference})"


def _may_replace(standing: Standing, strategy: Strategy) -> bool:
    """Whether a strategy with this lead over the default may replace it."""
    return standing.lead >= -MARGIN if strategy.with_default else standing.p <= SURE


def by_machine(problem: Problem, chosen: str, once: np.ndarray, replicates: int, seed: int) -> Standing | None:
    """Lead of the same strategy choosing for every machine separately; None with a single machine.

    once: its scores (1 + replicates,) where it chooses once for all.
    """
    validation, strategy = problem.validation, strategies(problem.validation)[chosen]
    machines = np.array([machine for machine, _ in validation.sections])
    if len(set(machines.tolist())) < 2:
        return None

    def fused(evidence: Evidence) -> np.ndarray:
        scores = np.empty(len(validation))
        for machine in np.unique(machines):
            of_section = machines == machine
            of_clip = of_section[validation.section]
            metrics = np.where(of_section[:, None, None], evidence.metrics, np.nan)
            own = Evidence(Evaluator(validation, of_clip & evidence.clips), metrics, evidence.pair_weights)
            scores[of_clip] = strategy.fused(problem, strategy.choose(problem, own))[of_clip]
        return scores

    weights = bootstrap_weights(problem, replicates, np.random.default_rng(seed))
    return standing_of("chosen per machine", nested_scores(problem, fused, weights), once)
