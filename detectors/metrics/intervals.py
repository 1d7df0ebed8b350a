"""Percentile bootstrap intervals for the official figures, of one system or of the difference of two.

Clips are resampled within each (section, label, domain), so that the class counts of every replicate are those of the
data. Two systems are compared on the same resamples: what is hard for both cancels. The intervals speak about other
clips of the same machines, not about other machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.metrics.auc import percentile_interval, resamples, weighted_pauc
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, average, evaluate, rule_of, strata
from detectors.metrics.scores import ScoreTable


@dataclass(frozen=True)
class Interval:
    """A figure and the middle `level` of its bootstrap replicates."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Interval of the official score and, by (machine, section) and figure name, of every section's figures."""

    score: Interval
    sections: Mapping[tuple[str, str], Mapping[str, Interval]]


def bootstrap(
    table: ScoreTable,
    labels: Labels,
    year: int,
    rng: np.random.Generator,
    *,
    replicates: int = 1000,
    level: float = 0.95,
) -> Intervals:
    """Intervals of every figure under the rule of `year`."""
    drawn = _replicates([table], labels, year, rng, replicates)[0]
    return _intervals(_point(evaluate(table, labels, year)), drawn, labels, year, level)


def compare(
    table: ScoreTable,
    other: ScoreTable,
    labels: Labels,
    year: int,
    rng: np.random.Generator,
    *,
    replicates: int = 1000,
) -> Intervals:
    """Intervals (95 %) of `table` minus `other` on the same resamples: one that excludes 0 speaks for a difference."""
    points = [evaluate(one, labels, year) for one in (table, other)]
    first, second = _replicates([table, other], labels, year, rng, replicates)
    difference = {name: _point(points[0])[name] - _point(points[1])[name] for name in _point(points[0])}
    return _intervals(difference, first - second, labels, year, 0.95)


_Key = tuple[str, str, str]
_SCORE: _Key = ("", "", "score")


def _point(evaluation: Evaluation) -> dict[_Key, float]:
    """Every figure by (machine, section, name), then the official score: the order of the replicate columns."""
    figures = {(row.machine, row.section, name): value for row in evaluation.rows for name, value in row.values.items()}
    return {**figures, _SCORE: evaluation.score}


def _replicates(
    tables: list[ScoreTable], labels: Labels, year: int, rng: np.random.Generator, replicates: int
) -> np.ndarray:
    """(systems, replicates, figures): every section's figures and, last, the official score."""
    rule = rule_of(year)
    scores = np.array([table.exactly(labels.keys) for table in tables])
    groups = list(labels.sections())
    values = np.empty((len(tables), replicates, len(groups), len(rule.figures)))
    for at, (machine, section, rows) in enumerate(groups):
        domain, is_anomaly = labels.domain[rows], labels.is_anomaly[rows]
        splits = [figure.split(domain, is_anomaly, f"{machine} section {section}") for figure in rule.figures.values()]
        start = 0
        for drawn in resamples(strata(domain, is_anomaly), replicates, rng):
            block = slice(start, start + len(drawn))
            for column, (figure, (normal, anomaly)) in enumerate(zip(rule.figures.values(), splits, strict=True)):
                for system, score in enumerate(scores[:, rows]):
                    values[system, block, at, column] = weighted_pauc(
                        score[normal], score[anomaly], drawn[:, normal], drawn[:, anomaly], figure.max_fpr
                    )
            start += len(drawn)
    scored = [list(rule.figures).index(name) for name in rule.scored]
    official = average(values[..., scored], [machine for machine, _, _ in groups], rule)
    return np.concatenate([values.reshape(len(tables), replicates, -1), official[..., None]], axis=-1)


def _intervals(point: Mapping[_Key, float], drawn: np.ndarray, labels: Labels, year: int, level: float) -> Intervals:
    interval = {
        key: Interval(value, *percentile_interval(column, level))
        for (key, value), column in zip(point.items(), drawn.T, strict=True)
    }
    names = rule_of(year).figures
    sections = {
        (machine, section): {name: interval[machine, section, name] for name in names}
        for machine, section, _ in labels.sections()
    }
    return Intervals(interval[_SCORE], sections)
