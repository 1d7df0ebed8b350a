"""Intervals of the official metrics, for one system or for the difference of two.

The variance is that of other clips of the same machines with as many of each section, domain and label (DeLong et al.
1988; for partial areas the jackknife; for official scores the delta method). The limits are those of a share of as many
independent clips as have this variance (`Share`). Two systems are compared on the same clips, so clips that are hard
for both cancel out. The intervals do not hold for other machines. Coverage: docs/intervals.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.metrics.influence import Influence, influences, stratified_variance
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate
from detectors.metrics.scores import ScoreTable
from detectors.metrics.share import MISRANKED, normal_quantile

FEW = 5
"""Clips of a section, domain and label below which intervals are not guaranteed (docs/intervals.md)."""

LABELS = {"normal": "normal", "anomaly": "anomalous"}


@dataclass(frozen=True)
class Interval:
    """A metric and the limits of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Interval of the official score and, by (machine, section) and name, of the metrics of every section.

    means: by name, of the mean of each metric over all sections.
    """

    score: Interval
    sections: Mapping[tuple[str, str], Mapping[str, Interval]]
    means: Mapping[str, Interval]


def intervals(table: ScoreTable, labels: Labels, year: int, *, level: float = 0.95) -> Intervals:
    """Intervals of every metric under the rule of `year`."""
    evaluation, of = evaluate(table, labels, year), influences(table, labels, year)
    sections = {
        (row.machine, row.section): {
            name: _holding(value, of.sections[row.machine, row.section][name].share.interval(level))
            for name, value in row.values.items()
        }
        for row in evaluation.rows
    }
    means = {
        name: _holding(evaluation.mean(name), influence.share.interval(level)) for name, influence in of.means.items()
    }
    return Intervals(_holding(evaluation.score, of.score.share.interval(level)), sections, means)


def caution(evaluation: Evaluation) -> tuple[str, ...]:
    """A note on the section with the fewest clips of a domain and label, if these are fewer than FEW."""
    counts = [
        (clips, f"{row.machine} section {row.section}", stratum)
        for row in evaluation.rows
        for stratum, clips in row.counts.items()
    ]
    clips, where, stratum = min(counts)
    if clips >= FEW:
        return ()
    domain, _, label = stratum.rpartition(" ")
    of_domain = f" of the {domain} domain" if domain in ("source", "target") else ""
    return (
        f"{where} has {clips} {LABELS[label]} test clip{'' if clips == 1 else 's'}{of_domain}: with fewer than {FEW} "
        "of a domain and label, 95 % intervals are wide and not guaranteed",
    )


def compare(table: ScoreTable, other: ScoreTable, labels: Labels, year: int, *, level: float = 0.95) -> Intervals:
    """Intervals of `table` minus `other` on the same clips; an interval without 0 shows a difference."""
    evaluations = [evaluate(scores, labels, year) for scores in (table, other)]
    first, second = (influences(scores, labels, year) for scores in (table, other))
    sections = {}
    for row, other_row in zip(*(evaluation.rows for evaluation in evaluations), strict=True):
        section = row.machine, row.section
        own, others = first.sections[section], second.sections[section]
        sections[section] = {
            name: _holding(value - other_row.values[name], _difference(own[name], others[name], level))
            for name, value in row.values.items()
        }
    lead, means = evaluations[0].score - evaluations[1].score, {}
    for name, of_mean in first.means.items():
        value = evaluations[0].mean(name) - evaluations[1].mean(name)
        means[name] = _holding(value, _difference(of_mean, second.means[name], level))
    return Intervals(_holding(lead, _difference(first.score, second.score, level)), sections, means)


def _difference(first: Influence, second: Influence, level: float) -> tuple[float, float]:
    """Limits of the difference of two values on the same clips; 0 twice where the scores of both are the same.

    Where hardly any clip contributes to the difference, its variance cannot be measured. So MISRANKED of a clip that
    only one of the two ranks wrongly is added, the less the more clips contribute.
    """
    if np.array_equal(first.scores, second.scores):
        return 0.0, 0.0
    value, bias = (getattr(first.share, name) - getattr(second.share, name) for name in ("value", "bias"))
    by_clip = first.by_clip - second.by_clip
    squares = by_clip**2
    contributing = np.sum(squares) ** 2 / np.sum(squares**2) if squares.any() else 0.0
    one_clip = MISRANKED * (first.share.one_clip + second.share.one_clip) / (1 + contributing) ** 2
    half = normal_quantile(level) * (stratified_variance(by_clip, first.strata) + one_clip) ** 0.5
    widest = 1 - first.share.lowest
    return max(float(value - bias - half), -widest), min(float(value - bias + half), widest)


def _holding(value: float, limits: tuple[float, float]) -> Interval:
    """The interval with these limits, extended where the bias of a value puts it outside."""
    return Interval(value, min(limits[0], value), max(limits[1], value))
