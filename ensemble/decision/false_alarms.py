"""The real false-alarm rate beside the nominal one, where test clips are labelled normal.

Labels are only counted here: nothing that decides calls this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.decision.conformal import Decisions
from ensemble.decision.thresholds import GIVEN
from featstore.console import table
from featstore.table import ClipTable


@dataclass(frozen=True)
class FalseAlarms:
    """`reported` of `clips` normal clips of one section and domain; [low, high]: 95 % interval of the real rate.

    `nominal` is the requested rate; None where a false-discovery rate or a threshold by hand decides, which request no
    false-alarm rate.
    """

    machine: str
    section: str
    domain: str
    clips: int
    reported: int
    nominal: float | None
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share of normal clips that were reported."""
        return self.reported / self.clips


def exact_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share by Clopper and Pearson (1934): at least as long as `level` needs, however small n is."""
    from scipy.special import betaincinv  # the quantile of a beta distribution; scipy.stats takes long to load

    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    return low, float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0


def false_alarm_rates(
    clips: ClipTable, decisions: Decisions, copied: np.ndarray | None = None
) -> tuple[FalseAlarms, ...]:
    """One entry per machine, section and domain with labelled normal test clips, sorted; empty without labels.

    `decisions` are those on `clips`. copied (m,): clips that do not count, as copies of training clips; None for none.
    """
    if decisions.self_ranked:
        return ()  # the training clips are ranked among themselves: their rate is the nominal one by construction
    normal = clips.where(label="normal")
    normal = np.flatnonzero(normal if copied is None else normal & ~copied)
    columns = [clips.column(name)[normal].tolist() for name in ("machine", "section", "domain")]
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, group in zip(normal.tolist(), zip(*columns, strict=True), strict=True):
        groups.setdefault(group, []).append(row)
    pairs = zip(decisions.banks, decisions.thresholds, strict=True)
    by_hand = {row for bank, limit in pairs if limit and limit.method == GIVEN for row in bank.rows.tolist()}
    rates = []
    for group, rows in sorted(groups.items()):
        reported = int(decisions.reported[rows].sum())
        nominal = None if by_hand.intersection(rows) else decisions.nominal
        rates.append(FalseAlarms(*group, len(rows), reported, nominal, *exact_interval(reported, len(rows))))
    return tuple(rates)


def false_alarms_text(rates: Sequence[FalseAlarms]) -> str:
    """The table on the terminal, in percent."""
    rows = [
        [rate.machine, rate.section, rate.domain, rate.clips, nominal_text(rate), in_percent(rate)] for rate in rates
    ]
    return table(["machine", "section", "domain", "normal clips", "nominal %", "real false alarms %"], rows)


def nominal_text(alarms: FalseAlarms) -> str:
    """The nominal rate in percent, or a dash where there is none."""
    return "-" if alarms.nominal is None else f"{100 * alarms.nominal:g}"


def in_percent(alarms: FalseAlarms) -> str:
    """Rate and interval: 25.0 [5.5, 57.2]."""
    return f"{100 * alarms.rate:.1f} [{100 * alarms.low:.1f}, {100 * alarms.high:.1f}]"


@dataclass(frozen=True)
class Discoveries:
    """`normal` of the `reported` labelled clips are false discoveries; `nominal` is the requested share."""

    reported: int
    normal: int
    nominal: float

    @property
    def rate(self) -> float:
        """Share of the reported clips that are normal; 0 where none is reported."""
        return self.normal / max(1, self.reported)


def discoveries(clips: ClipTable, decisions: Decisions) -> Discoveries:
    """How many of the labelled clips that were reported are normal, over all sections."""
    label = clips.column("label")
    reported = decisions.reported & (label != "unknown")
    normal = int((reported & (label == "normal")).sum())
    return Discoveries(int(reported.sum()), normal, decisions.fdr)
