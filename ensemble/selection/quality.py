"""Official metrics on generated anomalies: by section and pair (transform, severity).

They equal what the official evaluators compute. Each metric is a mean of one value per anomaly: for an AUC the share of
normal clips below it, for the pAUC the part of the false-alarm rates up to 0.1 at which it is detected. So one pass
over sorted scores gives the metrics of all pairs, and a bootstrap over source recordings only changes weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detectors.metrics.auc import MAX_FPR, resamples
from detectors.metrics.official import harmonic_mean
from ensemble.selection.scoring.validation import Validation

METRICS = ("auc_source", "auc_target", "pauc")
FLOOR = 1e-3
"""Lower metrics are raised to it: with three target clips an AUC of 0 is chance, and would rule a harmonic mean."""


@dataclass(frozen=True, eq=False)
class _Section:
    """Positions of a section's normal clips and, sorted by pair, anomalies; masks of the normal clips by domain."""

    normal: np.ndarray
    anomaly: np.ndarray
    pairs: np.ndarray
    starts: np.ndarray
    domains: tuple[np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Computes metrics from the scores of all clips of a validation; with `keep` (n,), only these clips count."""

    validation: Validation
    keep: np.ndarray | None = None

    def metrics(self, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """AUC source, AUC target and pAUC of scores (n,): (b, sections, pairs, 3), NaN where clips are missing.

        weights: (b, sources), how often each source recording counts; by default each once (b = 1). Where domains are
        unknown, the first metric is the AUC of the whole section.
        """
        validation = self.validation
        rows = len(weights) if weights is not None else 1
        metrics = np.full((rows, len(validation.sections), len(validation.pairs), len(METRICS)), np.nan)
        for at, section in enumerate(self._sections):
            if section is None:
                continue
            of_normal, of_anomaly = (self._weights(weights, part) for part in (section.normal, section.anomaly))
            shares = _shares(scores[section.normal], scores[section.anomaly], of_normal, section.domains)
            total = np.add.reduceat(of_anomaly, section.starts, axis=1)
            for column, share in enumerate(shares):
                if share is not None:
                    summed = np.add.reduceat(share * of_anomaly, section.starts, axis=1)
                    mean = np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)
                    metrics[:, at, section.pairs, column] = mean
        lowest = MAX_FPR**2 / 2
        metrics[..., -1] = 0.5 * (1 + (metrics[..., -1] - lowest) / (MAX_FPR - lowest))
        return metrics

    def resampled(self, replicates: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Weights (b, sources) of a bootstrap over source recordings within every section and domain."""
        validation = self.validation
        first = np.unique(validation.source, return_index=True)[1]
        strata = np.char.add(validation.section[first].astype(np.str_), validation.domain[first])
        return resamples(strata, replicates, rng)

    def _weights(self, weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
        return np.ones((1, len(rows))) if weights is None else weights[:, self.validation.source[rows]]

    @cached_property
    def _sections(self) -> list[_Section | None]:
        """Every section, None where it has no normal clip or no anomaly."""
        validation = self.validation
        counted = np.ones(len(validation), dtype=bool) if self.keep is None else self.keep
        sections: list[_Section | None] = []
        for number in range(len(validation.sections)):
            here = counted & (validation.section == number)
            normal = np.flatnonzero(here & validation.normal)
            anomaly = np.flatnonzero(here & ~validation.normal)
            anomaly = anomaly[np.argsort(validation.pair[anomaly], kind="stable")]
            if not len(normal) or not len(anomaly):
                sections.append(None)
                continue
            pairs, starts = np.unique(validation.pair[anomaly], return_index=True)
            sections.append(_Section(normal, anomaly, pairs, starts, _domains(validation.domain[normal])))
        return sections


def _domains(domain: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Masks of source and target clips, None for a domain without clips; (all, None) where no domain is known."""
    source, target = domain == "source", domain == "target"
    if not source.any() and not target.any():
        return np.ones(len(domain), dtype=bool), None
    return source if source.any() else None, target if target.any() else None


def _shares(
    normal: np.ndarray, anomaly: np.ndarray, weights: np.ndarray, domains: tuple[np.ndarray | None, np.ndarray | None]
) -> list[np.ndarray | None]:
    """What each anomaly adds to each domain's AUC and to the raw pAUC, each (b, m); ties count half."""
    order = np.argsort(normal, kind="stable")
    low = np.searchsorted(normal[order], anomaly, side="left")
    high = np.searchsorted(normal[order], anomaly, side="right")
    shares: list[np.ndarray | None] = []
    for mask in domains:
        if mask is None:
            shares.append(None)
            continue
        below = _cumulated(weights * mask, order)
        shares.append((below[:, low] + below[:, high]) / 2)
    below = _cumulated(weights, order)
    # An anomaly that ties with normal clips is detected at any of their false-alarm rates alike: take the mean.
    first, last = 1 - below[:, high], 1 - below[:, low]
    left = np.square(np.clip(MAX_FPR - first, 0, None)) - np.square(np.clip(MAX_FPR - last, 0, None))
    width = last - first
    shares.append(np.divide(left, 2 * width, out=np.clip(MAX_FPR - first, 0, None), where=width > 0))
    return shares


def _cumulated(weights: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Share of the weight (b, n) among the first j clips in order, (b, n + 1); NaN where the total weight is 0."""
    summed = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    total = summed[:, -1:]
    share: np.ndarray = np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)
    return share


def official_score(metrics: np.ndarray, pair_weights: np.ndarray) -> np.ndarray:
    """Official score (...) of metrics (..., sections, pairs, 3), with anomalies mixed by `pair_weights`.

    Sections and metrics are joined as in the challenge, by one harmonic mean over all.
    """
    known = ~np.isnan(metrics)
    weight = known * pair_weights[:, None]
    total = weight.sum(axis=-2)
    mixed = np.where(known, metrics, 0) * weight
    mean = np.divide(mixed.sum(axis=-2), total, out=np.zeros_like(total), where=total > 0)
    return _harmonic(mean, total > 0)


def _harmonic(metrics: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Harmonic mean (...) of those metrics (..., sections, 3) that are `known`."""
    flat = known.reshape(*known.shape[:-2], -1).astype(np.float64)
    values = np.maximum(metrics, FLOOR).reshape(flat.shape)
    return harmonic_mean(values, flat)


def by_pair(metrics: np.ndarray) -> np.ndarray:
    """One value per pair (..., pairs) of metrics (..., sections, pairs, 3): mean over sections, then harmonic mean."""
    known = ~np.isnan(metrics)
    counts = known.sum(axis=-3)
    mean = np.where(known, metrics, 0).sum(axis=-3) / np.maximum(counts, 1)
    present = counts > 0
    inverse = np.where(present, 1 / np.maximum(mean, FLOOR), 0).sum(axis=-1)
    value: np.ndarray = np.divide(present.sum(axis=-1), inverse, out=np.zeros_like(inverse), where=inverse > 0)
    return value
