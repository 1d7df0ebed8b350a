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
from ensemble.selection.scoring.validation import CONFIRMED, Validation

METRICS = ("auc_source", "auc_target", "pauc")
FLOOR = 1e-3
"""Lower metrics are raised to it: with three target clips an AUC of 0 is chance, and would rule a harmonic mean."""


BLOCK = 1 << 16
"""Scores that are sorted at a time; these 512 kB and what follows from them stay in the cache."""


@dataclass(frozen=True, eq=False)
class _Section:
    """Positions of a section's normal clips and, sorted by pair, anomalies; masks of the normal clips by metric."""

    normal: np.ndarray
    anomaly: np.ndarray
    pairs: np.ndarray
    starts: np.ndarray
    masks: tuple[np.ndarray | None, np.ndarray | None, np.ndarray]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Computes metrics from the scores of all clips of a validation.

    With `keep` (n,), only these clips count; with `pairs` (pairs,), only these pairs.
    """

    validation: Validation
    keep: np.ndarray | None = None
    pairs: np.ndarray | None = None

    def metrics(self, scores: np.ndarray) -> np.ndarray:
        """AUC source, AUC target and pAUC of scores (..., n): (..., sections, pairs, 3), NaN where clips are missing.

        Where domains are unknown, the first metric is the AUC of the whole section.
        """
        rows = scores.reshape(-1, scores.shape[-1])
        metrics = self._missing(len(rows))
        for at, section in enumerate(self._sections):
            if section is None:
                continue
            counts = np.diff(section.starts, append=len(section.anomaly))
            step = max(1, BLOCK // (len(section.normal) + len(section.anomaly)))
            for start in range(0, len(rows), step):
                block = rows[start : start + step]
                for column, share in enumerate(_shares(block[:, section.normal], block[:, section.anomaly], section)):
                    if share is not None:
                        mean = np.add.reduceat(share, section.starts, axis=1) / counts
                        metrics[start : start + step, at, section.pairs, column] = mean
        return _standardised(metrics).reshape(*scores.shape[:-1], *metrics.shape[1:])

    def resampled_metrics(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As `metrics`, of one row of scores (n,) by each of the weights (b, sources): (b, sections, pairs, 3).

        A weight is how often a source recording counts. NaN also where none of the clips counts.
        """
        metrics = self._missing(len(weights))
        by_source = np.ascontiguousarray(weights.T)
        for at, section in enumerate(self._sections):
            if section is None:
                continue
            of_normal, of_anomaly = (by_source[self.validation.source[of]] for of in (section.normal, section.anomaly))
            total = np.add.reduceat(of_anomaly, section.starts, axis=0)
            shares = _weighted_shares(scores[section.normal], scores[section.anomaly], of_normal, section)
            for column, share in enumerate(shares):
                if share is not None:
                    share *= of_anomaly
                    mean = _divided(np.add.reduceat(share, section.starts, axis=0), total)
                    metrics[:, at, section.pairs, column] = mean.T
        return _standardised(metrics)

    def resampled(self, replicates: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Weights (b, sources) of a bootstrap over source recordings within every section and domain.

        Confirmed faults are resampled together: few of them are in one section.
        """
        validation = self.validation
        first = np.unique(validation.source, return_index=True)[1]
        strata = np.char.add(validation.section[first].astype(np.str_), validation.domain[first])
        fault = [validation.pairs[pair] == CONFIRMED if pair >= 0 else False for pair in validation.pair[first]]
        strata = np.where(fault, CONFIRMED.name, strata)
        return resamples(strata, replicates, rng)

    def _missing(self, rows: int) -> np.ndarray:
        validation = self.validation
        return np.full((rows, len(validation.sections), len(validation.pairs), len(METRICS)), np.nan)

    @cached_property
    def _sections(self) -> list[_Section | None]:
        """Every section, None where it has no normal clip or no anomaly."""
        validation = self.validation
        counted = np.ones(len(validation), dtype=bool) if self.keep is None else self.keep
        if self.pairs is not None:
            counted = counted & (validation.normal | self.pairs[validation.pair])
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
            sections.append(_Section(normal, anomaly, pairs, starts, _masks(validation.domain[normal])))
        return sections


def _masks(domain: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Masks of source, target and all clips, None for a domain without clips; the first is all where none is known."""
    source, target, every = domain == "source", domain == "target", np.ones(len(domain), dtype=bool)
    if not source.any() and not target.any():
        return every, None, every
    return source if source.any() else None, target if target.any() else None, every


def _shares(normal: np.ndarray, anomaly: np.ndarray, section: _Section) -> Iterator[np.ndarray | None]:
    """What each anomaly adds to each domain's AUC and to the raw pAUC, each (c, m); ties count half.

    normal (c, n), anomaly (c, m): each row is one candidate.
    """
    scores = np.concatenate([normal, anomaly], axis=1)
    rows, width = scores.shape
    order = np.argsort(scores, axis=1)
    flat = order + np.arange(rows)[:, None] * width
    place = np.empty(rows * width, dtype=np.intp)
    place[flat.ravel()] = np.tile(np.arange(width), rows)
    place = place.reshape(rows, width)[:, normal.shape[1] :]
    ordered = scores.ravel()[flat]
    new = ordered[:, 1:] != ordered[:, :-1]
    tied = np.flatnonzero(~new.all(axis=1))
    first, last = (np.take_along_axis(ends, place[tied], axis=1) for ends in _ends(new[tied]))
    place[tied] = first
    for mask, value in zip(section.masks, (_middle, _middle, _caught), strict=True):
        if mask is None:
            yield None
            continue
        below = np.zeros((rows, width + 1), dtype=np.int64)
        counted = np.concatenate([mask, np.zeros(anomaly.shape[1], dtype=bool)])
        np.cumsum(counted[order], axis=1, out=below[:, 1:])
        low = np.take_along_axis(below, place, axis=1) / np.count_nonzero(mask)
        share = value(low, low)
        if len(tied):
            high = np.take_along_axis(below[tied], last + 1, axis=1) / np.count_nonzero(mask)
            share[tied] = value(low[tied], high)
        yield share


def _ends(new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last position of the ties (c, w) of every position, from where a value differs from the one before."""
    at = np.arange(new.shape[1] + 1)
    edge = np.ones((len(new), 1), dtype=bool)
    starts, stops = np.concatenate([edge, new], axis=1), np.concatenate([new, edge], axis=1)
    first = np.maximum.accumulate(np.where(starts, at, 0), axis=1)
    last = np.minimum.accumulate(np.where(stops, at, at[-1])[:, ::-1], axis=1)[:, ::-1]
    return first, last


def _weighted_shares(
    normal: np.ndarray, anomaly: np.ndarray, weights: np.ndarray, section: _Section
) -> Iterator[np.ndarray | None]:
    """As `_shares`, of one candidate by weights (n, b) of the normal clips: (m, b)."""
    order = np.argsort(normal, kind="stable")
    low = np.searchsorted(normal[order], anomaly, side="left")
    high = np.searchsorted(normal[order], anomaly, side="right")
    ties = (low != high).any()
    for mask, value in zip(section.masks, (_middle, _middle, _caught), strict=True):
        if mask is None:
            yield None
            continue
        counted = mask[order]
        number = np.concatenate([[0], np.cumsum(counted)])
        below = np.zeros((number[-1] + 1, weights.shape[1]))
        np.cumsum(weights[order[counted]], axis=0, out=below[1:])
        below = _divided(below, below[-1:].copy())
        at_low = below[number[low]]
        yield value(at_low, below[number[high]] if ties else at_low)


def _middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share of the normal clips that an anomaly is above, from those below and those not above it."""
    middle: np.ndarray = low.copy() if low is high else (low + high) / 2
    return middle


def _caught(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Part of the false-alarm rates up to the limit at which an anomaly is detected, from the same shares.

    An anomaly that ties with normal clips is detected at any of their false-alarm rates alike: the mean is taken.
    """
    first = 1 - high
    caught: np.ndarray = np.clip(MAX_FPR - first, 0, None)
    if low is high:
        return caught
    last = 1 - low
    left = np.square(caught) - np.square(np.clip(MAX_FPR - last, 0, None))
    width = last - first
    np.divide(left, 2 * width, out=caught, where=width > 0)
    return caught


def _divided(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Shares of a total, NaN where it is 0."""
    shares: np.ndarray = np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0)
    return shares


def _standardised(metrics: np.ndarray) -> np.ndarray:
    """The metrics, changed in place, with the raw pAUC standardised."""
    lowest = MAX_FPR**2 / 2
    metrics[..., -1] = 0.5 * (1 + (metrics[..., -1] - lowest) / (MAX_FPR - lowest))
    return metrics


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
