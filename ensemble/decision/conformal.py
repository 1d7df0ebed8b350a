"""Conformal p-values and the decisions on them: by a false-alarm rate per clip, or a false-discovery rate over all.

A p-value is (1 + number of reference scores at least as large) / (n + 1): for a normal clip that is exchangeable with
the training clips it is at most u with probability at most u, at any n and for any detector (Vovk et al. 2005). With
shared reference scores the p-values of many clips depend on each other only positively, so that Benjamini and
Hochberg's procedure keeps its promise (Bates et al. 2023, "Testing for outliers with conformal p-values").

What a clip is compared with is its bank. That is its section's training clips; where the domain of test clips is known,
the training clips of its domain, if they are enough for the rate asked for. Of fewer, only the level is taken, their
median, and the spread around it from the whole section; such a bank is called shifted, and its promise is approximate.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.decision.calibrate import PlacedScores, position, position_of_reference
from ensemble.decision.thresholds import Threshold, given_threshold, threshold

REPORTED_SHARE = 0.1
"""Share of clips that a discovery rate should be able to report: decides how fine the p-values of a bank must be."""


def p_values(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Conformal p-value of each score (m,) among n reference scores, in [1 / (n + 1), 1]."""
    at_least = len(reference) - np.searchsorted(np.sort(reference), scores, side="left")
    return np.asarray((1 + at_least) / (len(reference) + 1))


def p_values_of_reference(reference: np.ndarray) -> np.ndarray:
    """p-value of each reference score among the n - 1 others."""
    at_least = len(reference) - np.searchsorted(np.sort(reference), reference, side="left")
    return np.asarray(at_least / len(reference))


def benjamini_hochberg(p: np.ndarray, fdr: float) -> float:
    """Largest p-value (m,) that may be reported so that false discoveries are at most `fdr` of all; 0 if none may."""
    if not 0 < fdr < 1:
        raise ValueError(f"the false-discovery rate must be between 0 and 1, got {fdr}")
    ordered = np.sort(p)
    allowed = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / max(1, len(p)) + 1e-12)
    return float(ordered[allowed[-1]]) if len(allowed) else 0.0


def surprise(scores: np.ndarray) -> np.ndarray:
    """Fused positions in (0, 1) on a line without an end, where shifting them means something."""
    return np.asarray(-np.log1p(-np.minimum(scores, 1 - np.finfo(np.float64).epsneg)))


def from_surprise(surprises: np.ndarray) -> np.ndarray:
    """Inverse of `surprise`."""
    return np.asarray(-np.expm1(-surprises))


@dataclass(frozen=True)
class Scale:
    """To a line on which scores may be shifted, and back."""

    forward: Callable[[np.ndarray], np.ndarray] = np.asarray
    back: Callable[[np.ndarray], np.ndarray] = np.asarray


@dataclass(frozen=True, eq=False)
class Bank:
    """The reference scores (n,) that the scored clips `rows` of one section meet.

    `domain` is empty where clips of any domain share the bank. `shifted`: see the module's text.
    """

    machine: str
    section: str
    domain: str
    rows: np.ndarray
    reference: np.ndarray
    shifted: bool = False


def banks(test: PlacedScores, reference: PlacedScores, *, level: float, scale: Scale) -> Iterator[Bank]:
    """Every bank that test clips need, sections sorted; `level` is the p-value that a domain's own bank must reach.

    Domains count only where both sides give them.
    """
    for (machine, section), rows in test.groups():
        among = reference.rows_of((machine, section))
        scores, pooled = reference.scores[among], np.ones(len(rows), dtype=bool)
        if test.domain is not None and reference.domain is not None:
            of_train, of_test = reference.domain[among], test.domain[rows]
            for domain in ("source", "target"):
                here = of_test == domain
                own = scores[of_train == domain]
                if here.any() and len(own):
                    pooled &= ~here
                    enough = len(own) + 1 >= 1 / level - 1e-9
                    met = own if enough else shifted_reference(scores, of_train, domain, scale)
                    yield Bank(machine, section, domain, rows[here], met, shifted=not enough)
        if pooled.any():
            yield Bank(machine, section, "", rows[pooled], scores)


def shifted_reference(scores: np.ndarray, domain: np.ndarray, wanted: str, scale: Scale) -> np.ndarray:
    """Reference scores (n,) of a section moved to the level of one domain; each leaves its own domain's level unseen.

    A clip that is alone in its domain says nothing about the spread and is left out.
    """
    line = scale.forward(scores)
    residuals = [median_residuals(line[domain == one]) for one in np.unique(domain) if (domain == one).sum() > 1]
    if not residuals:
        return scores
    return scale.back(np.median(line[domain == wanted]) + np.concatenate(residuals))


def median_residuals(values: np.ndarray) -> np.ndarray:
    """Each value (n >= 2) minus the median of the others."""
    n, order = len(values), np.argsort(values, kind="stable")
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    ranked = values[order]
    low, high = (n - 2) // 2, (n - 1) // 2  # middle places among the n - 1 others
    others = (ranked[low + (place <= low)] + ranked[high + (place <= high)]) / 2
    return np.asarray(values - others)


@dataclass(frozen=True, eq=False)
class Decisions:
    """Per scored clip (m,): p-value, position in its bank, score above which it is reported, whether it is.

    `thresholds` belong to `banks`, one each; None where no clip of a bank can be reported.
    """

    p_value: np.ndarray
    percentile: np.ndarray
    threshold: np.ndarray
    reported: np.ndarray
    banks: tuple[Bank, ...]
    thresholds: tuple[Threshold | None, ...]
    notes: tuple[str, ...]


def decisions(
    test: PlacedScores,
    reference: PlacedScores,
    *,
    rate: float,
    method: str = "quantile",
    fdr: float = 0.0,
    scale: Scale | None = None,
) -> Decisions:
    """Decide every test clip: by `fdr` over all of them where it is not 0, else by the false-alarm `rate`.

    `method` names the threshold rule for the rate. Where `test` is `reference` itself, each clip meets the others, and
    a discovery rate means nothing: their p-values are 1 / n to 1 by construction. ValueError says so.
    """
    if fdr and test is reference:
        raise ValueError("a false-discovery rate needs test clips: training clips ranked among themselves hold none")
    level = fdr * REPORTED_SHARE if fdr else rate
    found = tuple(banks(test, reference, level=level, scale=scale or Scale()))
    p_value, percentile, value = (np.empty(len(test.scores)) for _ in range(3))
    for bank in found:
        scores = test.scores[bank.rows]
        themselves = test is reference and not bank.shifted and len(bank.rows) == len(bank.reference)
        p_value[bank.rows] = p_values_of_reference(scores) if themselves else p_values(scores, bank.reference)
        percentile[bank.rows] = position_of_reference(scores) if themselves else position(scores, bank.reference)
    if fdr:
        cut = benjamini_hochberg(p_value, fdr)
        thresholds = tuple(_at(cut, bank.reference) for bank in found)
        notes = _discovery_notes(cut, fdr, found, len(p_value))
    else:
        thresholds = tuple(_stated(bank, rate, method) for bank in found)
        notes = _rate_notes(found, thresholds, rate)
    for bank, one in zip(found, thresholds, strict=True):
        value[bank.rows] = one.value if one else np.inf
    return Decisions(p_value, percentile, value, test.scores > value, found, thresholds, notes)


def _stated(bank: Bank, rate: float, method: str) -> Threshold:
    try:
        return threshold(bank.reference, rate=rate, method=method)
    except ValueError as error:
        raise ValueError(f"{bank.machine} section {bank.section}: {error}") from None


def _at(cut: float, reference: np.ndarray) -> Threshold | None:
    """The threshold above which exactly the scores with a p-value of at most `cut` lie."""
    rank = math.ceil((len(reference) + 1) * (1 - cut) - 1e-9)
    if cut <= 0 or rank > len(reference):
        return None
    return given_threshold(float(np.sort(reference)[rank - 1]) if rank else -math.inf, reference)


def _rate_notes(found: Sequence[Bank], thresholds: Sequence[Threshold | None], rate: float) -> tuple[str, ...]:
    notes = [
        f"{bank.machine} section {bank.section}{f' {bank.domain}' if bank.domain else ''}: {one.note}"
        for bank, one in zip(found, thresholds, strict=True)
        if one is not None and one.note
    ]
    shifted = [bank for bank in found if bank.shifted]
    if shifted:
        notes.append(
            f"{len(shifted)} domains of sections have too few training clips for a rate of {rate:g}; their level and "
            "their section's spread are used, so that the rate is approximate there"
        )
    return tuple(notes)


def _discovery_notes(cut: float, fdr: float, found: Sequence[Bank], m: int) -> tuple[str, ...]:
    if cut > 0:
        return ()
    finest = 1 / (1 + max(len(bank.reference) for bank in found))
    needed = math.ceil(m * finest / fdr - 1e-9)
    return (
        f"no clip is reported at a false-discovery rate of {fdr:g}: the finest p-value that the training clips allow "
        f"is {finest:.3g}, which at least {needed} of the {m} clips would have to reach together",
    )
