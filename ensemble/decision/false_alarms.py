"""The real false-alarm rate next to the nominal one, wherever test clips are known to be normal.

Labels enter here only to be counted: nothing that decides calls this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.run import Detection
from featstore.console import table


@dataclass(frozen=True)
class FalseAlarms:
    """`reported` of `clips` normal clips of one section and domain; [low, high] holds the real rate with 95 %.

    `nominal` is the rate asked for; None where a false-discovery rate decides, which promises none.
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
    """Clopper and Pearson's (1934) interval of a share; never too short, however few the clips."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0


def false_alarm_rates(detection: Detection) -> tuple[FalseAlarms, ...]:
    """One entry per machine, section and domain with labelled normal test clips, sorted; empty without labels."""
    clips = detection.clips
    normal = np.flatnonzero(clips.where(label="normal"))
    if detection.self_ranked:
        return ()  # training clips ranked among themselves: the rate is nominal by construction
    columns = [clips.column(name)[normal].tolist() for name in ("machine", "section", "domain")]
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, group in zip(normal.tolist(), zip(*columns, strict=True), strict=True):
        groups.setdefault(group, []).append(row)
    nominal = None if detection.recipe.fdr else detection.recipe.false_alarm_rate
    found = []
    for group, rows in sorted(groups.items()):
        reported = int(detection.decision[rows].sum())
        interval = exact_interval(reported, len(rows))
        found.append(FalseAlarms(*group, len(rows), reported, nominal, *interval))
    return tuple(found)


def false_alarms_text(rates: Sequence[FalseAlarms]) -> str:
    """The table on the terminal, in percent."""
    rows = [[one.machine, one.section, one.domain, one.clips, nominal_text(one), in_percent(one)] for one in rates]
    return table(["machine", "section", "domain", "normal clips", "nominal %", "real false alarms %"], rows)


def nominal_text(one: FalseAlarms) -> str:
    """The nominal rate in percent, a dash where there is none."""
    return "-" if one.nominal is None else f"{100 * one.nominal:g}"


def in_percent(one: FalseAlarms) -> str:
    """Rate and interval: 25.0 [5.5, 57.2]."""
    return f"{100 * one.rate:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


@dataclass(frozen=True)
class Discoveries:
    """Of `reported` labelled clips, `normal` are false discoveries; `nominal` is the share asked for."""

    reported: int
    normal: int
    nominal: float

    @property
    def rate(self) -> float:
        """Share of the reported clips that are normal; 0 where none is reported."""
        return self.normal / max(1, self.reported)


def discoveries(detection: Detection) -> Discoveries:
    """How many of the labelled clips that were reported are normal, over the whole archive."""
    label = detection.clips.column("label")
    reported = detection.decision & (label != "unknown")
    normal = int((reported & (label == "normal")).sum())
    return Discoveries(int(reported.sum()), normal, detection.recipe.fdr)
