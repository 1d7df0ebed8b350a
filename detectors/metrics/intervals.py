"""Percentile bootstrap intervals of the official metrics, for one system or for the difference of two.

Clips are resampled within each (section, label, domain), so every replicate has the class counts of the data. Two
systems are compared on the same resamples, so clips that are hard for both cancel out. The intervals hold for other
clips of the same machines, not for other machines.
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
    """A metric and the limits of the middle `level` of its bootstrap replicates."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Interval of the official score and, by (machine, section) and name, of the metrics of every section."""

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
    """Intervals of every metric under the rule of `year`."""
    values = _replicates([table], labels, year, rng, replicates)[0]
    return _intervals(_metrics(evaluate(table, labels, year)), values, labels, year, level)


def compare(
    table: ScoreTable,
    other: ScoreTable,
    labels: Labels,
    year: int,
    rng: np.random.Generator,
    *,
    replicates: int = 1000,
) -> Intervals:
    """Intervals (95 %) of `table` minus `other` on the same resamples; an interval without 0 shows a difference."""
    metrics, other_metrics = (_metrics(evaluate(scores, labels, year)) for scores in (table, other))
    first, second = _replicates([table, other], labels, year, rng, replicates)
    difference = {key: value - other_metrics[key] for key, value in metrics.items()}
    return _intervals(difference, first - second, labels, year, 0.95)


_Key = tuple[str, str, str]
_SCORE: _Key = ("", "", "score")


def _metrics(evaluation: Evaluation) -> dict[_Key, float]:
    """Metrics by (machine, section, name), then the official score, in the order of the replicate columns."""
    metrics = {(row.machine, row.section, name): value for row in evaluation.rows for name, value in row.values.items()}
    return {**metrics, _SCORE: evaluation.score}


def _replicates(
    tables: list[ScoreTable], labels: Labels, year: int, rng: np.random.Generator, replicates: int
) -> np.ndarray:
    """(systems, replicates, metrics): the metrics of every section and, last, the official score."""
    rule = rule_of(year)
    scores = np.array([table.exactly(labels.keys) for table in tables])
    groups = list(labels.sections())
    values = np.empty((len(tables), replicates, len(groups), len(rule.metrics)))
    for at, (machine, section, rows) in enumerate(groups):
        domain, is_anomaly = labels.domain[rows], labels.is_anomaly[rows]
        splits = [metric.split(domain, is_anomaly, f"{machine} section {section}") for metric in rule.metrics.values()]
        start = 0
        for counts in resamples(strata(domain, is_anomaly), replicates, rng):
            block = slice(start, start + len(counts))
            for column, (metric, (normal, anomaly)) in enumerate(zip(rule.metrics.values(), splits, strict=True)):
                for system, score in enumerate(scores[:, rows]):
                    values[system, block, at, column] = weighted_pauc(
                        score[normal], score[anomaly], counts[:, normal], counts[:, anomaly], metric.max_fpr
                    )
            start += len(counts)
    scored = [list(rule.metrics).index(name) for name in rule.scored]
    official = average(values[..., scored], [machine for machine, _, _ in groups], rule)
    return np.concatenate([values.reshape(len(tables), replicates, -1), official[..., None]], axis=-1)


def _intervals(
    metrics: Mapping[_Key, float], replicates: np.ndarray, labels: Labels, year: int, level: float
) -> Intervals:
    interval = {
        key: Interval(value, *percentile_interval(column, level))
        for (key, value), column in zip(metrics.items(), replicates.T, strict=True)
    }
    names = rule_of(year).metrics
    sections = {
        (machine, section): {name: interval[machine, section, name] for name in names}
        for machine, section, _ in labels.sections()
    }
    return Intervals(interval[_SCORE], sections)
