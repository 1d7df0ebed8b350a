"""Conformal p-values, and decisions on them: by a false-alarm rate per clip, or a false-discovery rate over all clips.

A p-value is (1 + number of reference scores at least as large) / (n + 1). For a normal clip that is exchangeable with
the training clips, it is at most u with probability at most u, at any n and for any detector (Vovk et al. 2005). The
p-values of clips that share reference scores depend on each other only positively, so the Benjamini-Hochberg procedure
keeps its guarantee (Bates et al. 2023, "Testing for outliers with conformal p-values").

A clip is compared with its bank, see banks.py.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ensemble.decision.banks import TAILS, Bank, BankRule, Scale, banks, p_values
from ensemble.decision.blocks import apart, blocked
from ensemble.decision.calibrate import PlacedScores, position, position_of_reference
from ensemble.decision.given import ByHand, given_value
from ensemble.decision.thresholds import GIVEN, Threshold, given_threshold, threshold
from featstore.terminal.shown import counted, counted_names

REPORTED_SHARE = 0.1
"""Share of clips that a false-discovery rate should be able to report; it decides how small p-values must get."""

MANY = 4
"""Banks with the same note from which one note is for all of them."""


def p_values_of_reference(reference: np.ndarray) -> np.ndarray:
    """p-value of each reference score among the n - 1 others."""
    at_least = len(reference) - np.searchsorted(np.sort(reference), reference, side="left")
    return np.asarray(at_least / len(reference))


def benjamini_hochberg(p: np.ndarray, fdr: float) -> float:
    """Largest of the p-values (m,) that may be reported at the false-discovery rate `fdr`; 0 if none may."""
    if not 0 < fdr < 1:
        raise ValueError(f"the false-discovery rate must be between 0 and 1, got {fdr}")
    ordered = np.sort(p)
    allowed = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / max(1, len(p)) + 1e-12)
    return float(ordered[allowed[-1]]) if len(allowed) else 0.0


def surprise(scores: np.ndarray) -> np.ndarray:
    """-log(1 - score): maps fused positions in (0, 1) to an unbounded scale, on which they can be shifted."""
    return np.asarray(-np.log1p(-np.minimum(scores, 1 - np.finfo(np.float64).epsneg)))


def from_surprise(surprises: np.ndarray) -> np.ndarray:
    """Inverse of `surprise`."""
    return np.asarray(-np.expm1(-surprises))


@dataclass(frozen=True, eq=False)
class Decisions:
    """Per scored clip (m,): p-value, position in its bank, threshold, and whether it is reported (score above it).

    `thresholds`: one per bank, None where no clip of the bank can be reported. `nominal`: the requested false-alarm
    rate, None where the false-discovery rate `fdr` decides instead. `self_ranked`: the training clips are decided among
    themselves. `mute`: the banks, by number, of ranked clips that are too few for one to be reported.
    """

    p_value: np.ndarray
    percentile: np.ndarray
    threshold: np.ndarray
    reported: np.ndarray
    banks: tuple[Bank, ...]
    thresholds: tuple[Threshold | None, ...]
    notes: tuple[str, ...]
    nominal: float | None
    fdr: float
    self_ranked: bool
    mute: frozenset[int] = frozenset()

    @property
    def expected_rates(self) -> np.ndarray:
        """Probability (m,) that each clip is reported if it is normal, as the training clips state it.

        With few of them it is not the requested rate. Of training clips ranked among themselves it is the share above
        the threshold, which the rule fixes.
        """
        rates = np.zeros(len(self.reported))
        for i, (bank, limit) in enumerate(zip(self.banks, self.thresholds, strict=True)):
            if limit is None or i in self.mute:
                continue
            rates[bank.rows] = limit.expected
            if self.self_ranked:  # clips of a group have thresholds of their own
                above = max(0, round(limit.expected * (limit.n + 1)) - 1)
                rates[bank.rows[self.threshold[bank.rows] == limit.value]] = above / limit.n
        return rates

    @property
    def can_report(self) -> bool:
        """Whether a clip of any bank can be reported."""
        return len(self.mute) < len(self.banks)


@dataclass(frozen=True)
class ThresholdRule:
    """A false-alarm rate, the rule that makes a threshold of it, and the thresholds by hand, which go first."""

    rate: float
    method: str
    given: Mapping[str, float] = field(default_factory=dict)

    def of(self, bank: Bank) -> Threshold:
        """The threshold of a bank; ValueError names its section."""
        value = given_value(self.given, bank.machine, bank.section)
        try:
            if value is not None:
                return given_threshold(value, bank.reference, bank.independent)
            return threshold(bank.reference, rate=self.rate, method=self.method, worth=bank.independent)
        except ValueError as error:
            raise ValueError(f"{bank.machine} section {bank.section}: {error}") from None


def decisions(  # noqa: PLR0913 - each is a setting of its own
    test: PlacedScores,
    reference: PlacedScores,
    *,
    rate: float,
    method: str = "quantile",
    fdr: float = 0.0,
    scale: Scale | None = None,
    tail: str = TAILS[0],
    given: ByHand = (),
    grouped: bool = True,
) -> Decisions:
    """Decide every test clip: by `fdr` over all of them where it is not 0, else by the false-alarm `rate`.

    `method` names the threshold rule for the rate; `scale` and `tail` say how banks are made (banks.py); `given` are
    thresholds by hand (given.py). Where `test` is `reference` itself, each training clip is compared with the others.
    Their p-values are then 1 / n to 1 by construction, so a false-discovery rate is a ValueError.
    Training clips with blocks are compared with those of other blocks, and each block has a threshold of its own; a
    note says so unless the blocks are copies alone (not `grouped`).
    """
    self_ranked = test is reference
    if fdr and (self_ranked or given):
        raise ValueError(
            "a false-discovery rate decides all clips together, so no threshold can be given by hand"
            if given
            else "a false-discovery rate needs test clips, and there are none; use a false-alarm rate"
        )
    rule = ThresholdRule(rate, method, dict(given))
    all_banks = tuple(banks(test, reference, BankRule(fdr * REPORTED_SHARE if fdr else rate, scale or Scale(), tail)))
    p_value, percentile, value = (np.empty(len(test.scores)) for _ in range(3))
    for bank in all_banks:
        scores = test.scores[bank.rows]
        same_clips = self_ranked and not bank.shifted and len(bank.rows) == len(bank.reference)
        p_value[bank.rows] = p_values_of_reference(scores) if same_clips else p_values(scores, bank.reference)
        percentile[bank.rows] = position_of_reference(scores) if same_clips else position(scores, bank.reference)
    mute: frozenset[int] = frozenset()
    if fdr:
        cut = benjamini_hochberg(p_value, fdr)
        thresholds = tuple(_threshold_at(cut, bank) for bank in all_banks)
        notes = _discovery_notes(cut, fdr, all_banks, len(p_value))
    else:
        limits = [rule.of(bank) for bank in all_banks]
        alone = self_ranked and not any(blocked(reference.block, bank.rows) for bank in all_banks)
        mute = frozenset(i for i, limit in enumerate(limits) if alone and _unreachable(limit))
        thresholds, notes = tuple(limits), _rate_notes(all_banks, limits, rate, ranked=alone)
        pairs = zip(all_banks, limits, strict=True)
        several = (blocked(reference.block, bank.rows) and limit.method != GIVEN for bank, limit in pairs)
        if self_ranked and grouped and any(several):
            notes += ("the clips of a group are decided by those of the other groups: each has a threshold of its own",)
    for bank, limit in zip(all_banks, thresholds, strict=True):
        value[bank.rows] = limit.value if limit else np.inf
        for own, others in _by_other_blocks(reference, bank) if self_ranked else ():
            p_value[own] = p_values(test.scores[own], others.reference)
            percentile[own] = position(test.scores[own], others.reference)
            value[own] = rule.of(others).value
    reported, nominal = test.scores > value, None if fdr else rate
    return Decisions(
        p_value, percentile, value, reported, all_banks, thresholds, notes, nominal, fdr, self_ranked, mute
    )


def _by_other_blocks(reference: PlacedScores, bank: Bank) -> Iterator[tuple[np.ndarray, Bank]]:
    """Rows of every block of a bank of ranked training clips, with the bank of the clips of other blocks.

    Nothing where its clips have no blocks.
    """
    if blocked(reference.block, bank.rows):
        of_section = reference.rows_of((bank.machine, bank.section))
        for own, others in apart(reference.block, bank.rows, bank.rows, of_section):
            yield own, replace(bank, reference=reference.scores[others])


def _threshold_at(cut: float, bank: Bank) -> Threshold | None:
    """The threshold that exactly the scores with a p-value of at most `cut` exceed; None where there can be none."""
    reference = bank.reference
    rank = math.ceil((len(reference) + 1) * (1 - cut) - 1e-9)
    if cut <= 0 or rank > len(reference):
        return None
    value = float(np.sort(reference)[rank - 1]) if rank else -math.inf
    return given_threshold(value, reference, bank.independent)


def _rate_notes(
    all_banks: Sequence[Bank], limits: Sequence[Threshold], rate: float, *, ranked: bool
) -> tuple[str, ...]:
    texts = [_unreachable(limit) if ranked else "" for limit in limits]
    pairs = zip(all_banks, (text or _note(limit) for text, limit in zip(texts, limits, strict=True)), strict=True)
    alike: dict[str, list[str]] = {}
    for bank, text in pairs:
        alike.setdefault(text, []).append(f"{bank.machine} section {bank.section} {bank.domain or ''}".rstrip())
    notes = [
        f"{name}: {text}"
        for text, names in alike.items()
        for name in (names if len(names) < MANY else [counted_names(names, "section")])
        if text
    ]
    shifted = [bank for bank, limit in zip(all_banks, limits, strict=True) if bank.shifted and limit.method != GIVEN]
    if shifted:
        notes.append(
            f"a false-alarm rate of {rate:g} is not guaranteed for "
            f"{counted(len(shifted), 'domain of a section', 'domains of sections')}, because "
            f"{'it has' if len(shifted) == 1 else 'each has'} fewer than {math.ceil(1 / rate - 1e-9) - 1} training "
            "clips on its machine. The threshold assumes that normal clips of both domains vary equally around the "
            "level of their domain; --tail none uses the clips of the domain alone, at the lowest rate that they allow"
        )
    return tuple(notes)


def _unreachable(limit: Threshold) -> str:
    """Why none of the clips that are ranked among themselves can be reported; empty where one can.

    The threshold is the ceil((n + 1)(1 - rate))-th smallest of the n scores, and one of them has to be above it.
    """
    needed = math.ceil(2 / limit.requested - 1e-9) - 1 if limit.method == "quantile" else 0
    if limit.n >= needed:
        return ""
    least = math.ceil(200 / (limit.n + 1)) / 100
    return (
        f"none of its {counted(limit.n, 'clip')} can be reported at a false-alarm rate of {limit.requested:g}, because "
        f"they are ranked among themselves; at least {needed} clips are needed, or --fpr {least:g}"
    )


def _note(limit: Threshold) -> str:
    """What the user should know of a threshold; empty for one that gives the requested rate."""
    if limit.method != GIVEN:
        return limit.note
    share = f"{float(f'{100 * limit.expected:.2g}'):g}"  # not 1e+02
    return f"threshold set to {limit.value:g}; about {share} % of normal clips are expected above it"


def _discovery_notes(cut: float, fdr: float, all_banks: Sequence[Bank], m: int) -> tuple[str, ...]:
    if cut > 0:
        return ()
    smallest = 1 / (1 + max(len(bank.reference) for bank in all_banks))
    needed = math.ceil(m * smallest / fdr - 1e-9)
    return (
        f"no clip is reported at a false-discovery rate of {fdr:g}: with these training clips the smallest possible "
        f"p-value is {smallest:.3g}, and at least {needed} of the {m} clips would have to reach it",
    )
