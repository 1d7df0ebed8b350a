"""Bootstrap replicates of the official metrics of several systems, all on the same resampled test clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.auc import resamples, weighted_pauc
from detectors.metrics.labels import Labels
from detectors.metrics.official import average, rule_of, strata
from detectors.metrics.scores import ScoreTable


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicates of the metrics (systems, n, sections, metrics) of a rule, and of the official score (systems, n)."""

    metrics: np.ndarray
    score: np.ndarray


def replicates_of(
    tables: Sequence[ScoreTable], labels: Labels, year: int, n: int, rng: np.random.Generator
) -> Replicates:
    """Draw the test clips `n` times, with replacement within every section, domain and label.

    Every system is measured on the same draws, so differences of systems are paired. Sections are in the order of
    `labels.sections()`, metrics in that of the rule. ValueError as in `evaluate`.
    """
    rule, groups = rule_of(year), list(labels.sections())
    scores = [table.exactly(labels.keys) for table in tables]
    values = np.empty((len(tables), n, len(groups), len(rule.metrics)))
    for at, (machine, section, rows) in enumerate(groups):
        domain, is_anomaly = labels.domain[rows], labels.is_anomaly[rows]
        splits = [metric.split(domain, is_anomaly, f"{machine} section {section}") for metric in rule.metrics.values()]
        start = 0
        for counts in resamples(strata(domain, is_anomaly), n, rng):
            drawn = slice(start, start + len(counts))
            for column, (metric, (normal, anomaly)) in enumerate(zip(rule.metrics.values(), splits, strict=True)):
                weights = counts[:, normal], counts[:, anomaly]
                for system, score in enumerate(scores):
                    own = score[rows]
                    values[system, drawn, at, column] = weighted_pauc(
                        own[normal], own[anomaly], *weights, metric.max_fpr
                    )
            start += len(counts)
    scored = [list(rule.metrics).index(name) for name in rule.scored]
    return Replicates(values, average(values[..., scored], [machine for machine, _, _ in groups], rule))
