"""What each clip contributes to the metrics of its section and to the official score: their variances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.official import Metric, Rule, average, rule_of, section_weights, strata
from detectors.metrics.placement import placements, standardised
from detectors.metrics.scores import ScoreTable
from detectors.metrics.share import Share


@dataclass(frozen=True)
class Influence:
    """A metric, or the official score, as a share; and what each of n clips contributes to it.

    by_clip (n,): about what the value loses without the clip. strata (n,): section, domain and label, as numbers: the
    variance is that of other clips with the same numbers of each. scores (n,): of the clips.
    """

    share: Share
    scores: np.ndarray
    by_clip: np.ndarray
    strata: np.ndarray


@dataclass(frozen=True)
class Influences:
    """Influences on the official score and, by (machine, section) and name, on the metrics of every section.

    means: by name, on the mean of each metric over all sections.
    """

    score: Influence
    sections: Mapping[tuple[str, str], Mapping[str, Influence]]
    means: Mapping[str, Influence]


def influences(table: ScoreTable, labels: Labels, year: int) -> Influences:
    """Influences of the clips under the rule of `year`; ValueError as in `evaluate`."""
    rule, scores = rule_of(year), table.exactly(labels.keys)
    sections, groups = {}, list(labels.sections())
    codes = np.zeros(len(scores), dtype=np.intp)
    for machine, section, rows in groups:
        domain, is_anomaly = labels.domain[rows], labels.is_anomaly[rows]
        code = np.unique(strata(domain, is_anomaly), return_inverse=True)[1]
        codes[rows] = codes.max() + 1 + code
        where = f"{machine} section {section}"
        sections[machine, section] = {
            name: _of_metric(metric, scores[rows], metric.split(domain, is_anomaly, where), code)
            for name, metric in rule.metrics.items()
        }

    def mean(*names: str) -> Influence:
        averaged = [[metrics[name] for name in names] for metrics in sections.values()]
        return _of_score(averaged, groups, rule, scores, codes)

    return Influences(mean(*rule.scored), sections, {name: mean(name) for name in rule.metrics})


def stratified_variance(by_clip: np.ndarray, strata: np.ndarray) -> float:
    """Variance of a sum of contributions (n,) of clips that are drawn anew within each stratum.

    A stratum of a single clip has no variance of its own; the square of its contribution is taken instead.
    """
    size = np.bincount(strata)
    mean = np.bincount(strata, by_clip) / np.maximum(size, 1)
    squares = np.bincount(strata, (by_clip - np.where(size > 1, mean, 0)[strata]) ** 2)
    return float(np.sum(squares * size / np.maximum(size - 1, 1)))


def _of_metric(metric: Metric, score: np.ndarray, split: tuple[np.ndarray, np.ndarray], code: np.ndarray) -> Influence:
    """Influence of the clips of a section with the scores (n,); `split` has the rows of normal clips and anomalies."""
    normal, anomaly = split
    placed = placements(score[normal], score[anomaly], metric.max_fpr)
    lowest = standardised(0, metric.max_fpr)
    unit = 1 - lowest
    by_clip = np.zeros(len(score))
    by_clip[normal], by_clip[anomaly] = unit * placed.normal, unit * placed.anomaly
    clips = min(len(anomaly), len(normal) * metric.max_fpr)  # a partial area depends on the highest normal clips only
    variance = stratified_variance(by_clip, code)
    value = standardised(placed.area, metric.max_fpr)
    share = Share(value, unit * placed.bias, variance, (unit / clips) ** 2, clips, lowest)
    return Influence(share, score, by_clip, code)


def _of_score(
    metrics: Sequence[Sequence[Influence]],
    groups: Sequence[tuple[str, str, np.ndarray]],
    rule: Rule,
    scores: np.ndarray,
    codes: np.ndarray,
) -> Influence:
    """Influence on the mean of metrics (sections, metrics) under a rule, to first order (the delta method)."""

    def column(name: str) -> np.ndarray:
        return np.array([[getattr(influence.share, name) for influence in of_section] for of_section in metrics])

    machines = [machine for machine, _, _ in groups]
    clips, variances = column("clips"), column("variance")
    values = np.maximum(column("value"), 0.5 / (clips + 1))  # a harmonic mean has no slope at 0
    value, harmonic = float(average(values, machines, rule)), rule.mean == "harmonic"
    weights = np.repeat(section_weights(machines, rule)[:, None], values.shape[1], axis=1)
    slopes = weights / weights.sum() * ((value / values) ** 2 if harmonic else 1)
    by_clip = np.zeros(len(codes))
    for of_section, slope, (_, _, rows) in zip(metrics, slopes, groups, strict=True):
        by_clip[rows] = slope @ np.array([influence.by_clip for influence in of_section])
    variance, bias = stratified_variance(by_clip, codes), float(np.sum(slopes * column("bias")))
    if harmonic:  # that of uncertain values is too low: the mean of 1 / x exceeds 1 / mean of x
        bias += value - float(average(values + variances / values, machines, rule)) / (1 + variance / value**2)
    # a clip that ranks wrongly does so in all metrics of its section
    one_clip = np.sum(slopes * np.sqrt(column("one_clip")), axis=1)
    all_clips = np.sum(slopes * np.sqrt(column("one_clip") * clips), axis=1)
    share = Share(value, bias, variance, float(one_clip @ one_clip), 1 / float(all_clips @ all_clips))
    return Influence(share, scores, by_clip, codes)
