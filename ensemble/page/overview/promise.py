"""Whether the stated false-alarm rate holds in a section, in words.

A rate is stated for normal clips like the training clips. What is known of that, the strongest evidence first:

1. Test clips that are labelled normal, without copies of training clips. Their 95 % interval contradicts the rate
   where it lies above all rates that so few training clips allow (95 %). It supports the rate where it holds the rate,
   or lies below it, and ends below twice the rate. Windows of a recording, or clips of a group, resemble each other, so
   they count as the independent clips that they are worth (`ensemble.decision.blocks`).
2. The drift check (`ensemble.decision.drift`). It can contradict the rate. It cannot confirm it: a shift that anomalies
   could explain is not detected.
3. The threshold itself: too few training clips for the rate, or a tail model, whose rate is approximate.

So only labels let a rate hold, and no rate holds where the drift check found a direction. Without them, a rate that
nothing contradicts cannot be checked.
"""

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensemble.decision.blocks import independent
from ensemble.decision.false_alarms import exact_interval
from ensemble.decision.thresholds import rate_interval
from ensemble.groups import group_names
from ensemble.page.overview.recent import numbered
from ensemble.page.scored import Limit, Scored
from featstore.terminal.shown import counted

HOLDS, FAILS, UNKNOWN = "holds", "does not hold here", "cannot be checked here"
"""What can be known of a rate; the last two are followed by `, because` and the reason."""

BY_HAND = "Threshold set by hand"
"""Instead of what is known of a rate where none is stated."""

RARE = 0.05
"""Numbers of reported clips, and scores, that normal clips give less often are more than normal clips would give."""

SUPPORTS = 2.0
"""Labelled clips support a rate where their interval ends below this many times the rate."""


@dataclass(frozen=True)
class Promise:
    """verdict: one of HOLDS, FAILS, UNKNOWN and BY_HAND. reason: a clause without a full stop."""

    verdict: str
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict}{': ' if self.verdict in (HOLDS, BY_HAND) else ', because '}{self.reason}."

    def about(self, rate: str, where: str = "") -> str:
        """The whole sentence on a rate, as `False-alarm rate of 10 %`; where: words behind it."""
        return f"{BY_HAND}{where}: {self.reason}." if self.verdict == BY_HAND else f"{rate}{where}: {self}"

    def short(self, rate: str) -> str:
        """The verdict on a rate without its reason: `False-alarm rate holds`."""
        return self.verdict if self.verdict == BY_HAND else f"{rate.partition(' of ')[0]} {self.verdict}"


def promise(scored: Scored, machine: str, section: str) -> Promise:
    """What is known of the false-alarm rate in a section of the scored clips."""
    return next(_answers(scored, machine, section))


def _answers(scored: Scored, machine: str, section: str) -> Iterator[Promise]:
    """Answers, the one on the strongest evidence first."""
    limits = [limit for limit in scored.limits if _is_of(scored, limit.machine, limit.section, machine, section)]
    yield from _unstated(scored, limits)
    measured = _measured(scored, machine, section)
    yield from _failing(rate.text for rate in measured if rate.contradicts)
    supported = _supported(scored, measured, machine, section)
    unlabelled = int(scored.clips.where(machine=machine, section=section, label="unknown").sum())
    text = " and ".join(rate.text for rate in measured)
    drifts = drifts_of(scored, machine, section)
    if supported and not unlabelled:
        moved = " and ".join(_contradiction(row) for row in drifts if row["direction"])
        yield Promise(UNKNOWN, f"{text}, but {moved}") if moved else Promise(HOLDS, text)
    yield from _failing(map(_contradiction, drifts))
    if supported:
        yield Promise(HOLDS, f"{text}; {counted(unlabelled, 'clip')} {'has' if unlabelled == 1 else 'have'} no label")
    yield from _failing(map(_too_few, limits))
    yield Promise(UNKNOWN, _open_question(scored, limits, measured))


def _failing(reasons: Iterable[str]) -> Iterator[Promise]:
    """That the rate does not hold, where there is any reason."""
    given = " and ".join(filter(None, reasons))
    if given:
        yield Promise(FAILS, given)


def drifts_of(scored: Scored, machine: str, section: str) -> list[Mapping[str, Any]]:
    """The rows of the drift check of a section."""
    return [row for row in scored.drifts if _is_of(scored, row["machine"], row["section"], machine, section)]


def drift_text(drifts: Sequence[Mapping[str, Any]]) -> str:
    """The drift check of a section in a few words, with the domain where it checks domains."""
    if not drifts:
        return "drift not checked"
    words = []
    for row in drifts:
        p = min(row["higher"], row["lower"])
        found = f"drift to {row['direction']} scores (p {p:.1g})" if row["direction"] else ""
        words.append(f"{found} in the {row['domain']} domain" if found and row["domain"] else found)
    return " and ".join(filter(None, words)) or "no drift found"


def percent(share: float) -> str:
    """A share as 37 %, 5.6 %, 5 %, below 0.1 % or 0 %."""
    if 0 < share < 0.0005:
        return "below 0.1 %"
    text = f"{100 * share:.{0 if share >= 0.0995 else 1}f}"
    return f"{text.removesuffix('.0')} %"


def stated(rate: float) -> str:
    """A rate that was asked for, as 12.5 % or 0.04 %."""
    return f"{100 * rate:g} %"


def _about(share: float) -> str:
    return f"{'' if 0 < share < 0.0005 else 'about '}{percent(share)}"


def _is_of(scored: Scored, own_machine: str, own_section: str, machine: str, section: str) -> bool:
    """Whether a bank is that of a section; where sections are pooled, a machine has one bank for all."""
    return own_machine == machine and (scored.pool_sections or own_section == section)


def _unstated(scored: Scored, limits: Sequence[Limit]) -> Iterator[Promise]:
    """That there is no rate to check, where there is none."""
    if scored.nominal is not None and any(limit.requested is None for limit in limits):
        above = max(limit.expected for limit in limits)
        yield Promise(BY_HAND, f"{_about(above)} of normal clips are expected above it")
    if scored.self_ranked and scored.nominal is not None:
        references = sum(limit.references for limit in limits)
        above = sum(_above(limit) for limit in limits) / references if references else scored.nominal
        ranked = "the training clips are ranked among themselves"
        yield Promise(
            UNKNOWN,
            f"{ranked}: {_about(above)} of them are above the threshold by construction"
            if above
            else f"{ranked}, and they are so few that none can be reported",
        )


@dataclass(frozen=True)
class _Measured:
    """`reported` of `clips` labelled normal clips; [low, high]: 95 % interval of the rate.

    allowed: the highest rate (95 %) that the training clips allow. worth: how many independent clips they are counted
    as; unit: what these are called.
    """

    domain: str
    clips: int
    reported: int
    nominal: float
    low: float
    high: float
    allowed: float
    worth: int
    unit: str

    @property
    def contradicts(self) -> bool:
        return self.low > self.allowed

    @property
    def supports(self) -> bool:
        return self.low <= self.nominal and self.high <= SUPPORTS * self.nominal

    @property
    def where(self) -> str:
        """The domain in words, empty where it is unknown."""
        return f" of the {self.domain} domain" if self.domain not in ("", "unknown") else ""

    @property
    def interval(self) -> str:
        """The interval in words."""
        worth = f", counted as {counted(self.worth, self.unit)}" if self.worth < self.clips else ""
        return f"95 % interval {percent(self.low).removesuffix(' %')} to {percent(self.high)}{worth}"

    @property
    def text(self) -> str:
        """The whole evidence."""
        return (
            f"{self.reported:,} of {self.clips:,} clips labelled normal{self.where} {_were(self.reported)} reported "
            f"({percent(self.reported / self.clips)}, {self.interval}; {stated(self.nominal)} is stated)"
        )

    @property
    def short(self) -> str:
        """The evidence where it is too little."""
        return f"{self.reported:,} of {self.clips:,}{self.where} {_were(self.reported)} reported, {self.interval}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _measured(scored: Scored, machine: str, section: str) -> list[_Measured]:
    """The rates of the labelled normal clips, by domain, for which a rate is stated."""
    return [
        _of_recordings(scored, row)
        for row in scored.rates
        if (row["machine"], row["section"]) == (machine, section) and row["nominal"] is not None
    ]


def _of_recordings(scored: Scored, row: Mapping[str, Any]) -> _Measured:
    clips, reported = int(row["clips"]), int(row["reported"])
    normal = scored.clips.where(label="normal", **{name: row[name] for name in ("machine", "section", "domain")})
    rows = np.flatnonzero(normal if scored.copied is None else normal & ~scored.copied)
    group = str(_setting(scored, "group") or "")
    recordings = scored.clips[rows].recordings()
    names = group_names(group, scored.clips[rows]) if group else recordings
    blocks = numbered([(name, "") if name else ("", own) for name, own in zip(names, recordings, strict=True)])
    worth = max(1, math.floor(independent(blocks) + 1e-9)) if len(rows) else clips
    low, high = row["low"], row["high"]
    if worth < clips:
        hits = reported / clips * worth
        low = exact_interval(math.floor(hits + 1e-9), worth)[0]
        high = exact_interval(math.ceil(hits - 1e-9), worth)[1]
    equal = len(np.unique(np.bincount(blocks))) == 1 and not group
    unit = "recording" if equal else "independent clip"
    return _Measured(
        row["domain"], clips, reported, row["nominal"], low, high, _allowed(scored, rows, row), worth, unit
    )


def _allowed(scored: Scored, rows: np.ndarray, row: Mapping[str, Any]) -> float:
    """The highest upper bound (95 %) of the rate of these clips that the training clips of their limits allow."""
    own = [
        limit
        for number, limit in enumerate(scored.limits)
        if _is_of(scored, limit.machine, limit.section, row["machine"], row["section"])
        and np.isin(rows, scored.rows_of_limit(number)).any()
    ]
    return max(
        [float(row["nominal"]), *(rate_interval(limit.expected, limit.worth)[1] for limit in own if limit.worth)]
    )


def _supported(scored: Scored, measured: Sequence[_Measured], machine: str, section: str) -> bool:
    """Whether labelled clips of every domain of the section support the rate."""
    rows = scored.rows_of(machine, section)
    rows = rows if scored.copied is None else rows[~scored.copied[rows]]
    domains = set(scored.clips[rows].column("domain").tolist())
    return bool(measured) and domains == {rate.domain for rate in measured} and all(rate.supports for rate in measured)


def _contradiction(row: Mapping[str, Any]) -> str:
    """What the drift check has against the rate of a bank."""
    at_most = row["anomalies_at_most"]
    share = "half" if at_most == 0.5 else f"{100 * at_most:g} %"
    domain = f" of the {row['domain']} domain" if row["domain"] else ""
    otherwise = f"(or over {share} of the clips are anomalous)"
    if row["direction"] == "higher":
        return f"normal sound{domain} has probably shifted {otherwise}"
    if row["direction"] == "lower":
        return f"normal sound{domain} has probably shifted to lower scores, so faults may be missed"
    if row["at_least"] > row["nominal"]:
        return f"at least {percent(row['at_least'])} of the normal clips{domain} are reported {otherwise}"
    return ""


def _too_few(limit: Limit) -> str:
    """Why the training clips contradict the rate of a threshold."""
    if limit.requested is None or limit.shifted:
        return ""
    domain = f" of the {limit.domain} domain" if limit.domain else ""
    if limit.requested < 1 / (limit.references + 1) - 1e-12:
        clips = counted(limit.references, "training clip")
        return (
            f"{clips}{domain} {'is' if limit.references == 1 else 'are'} too few for {stated(limit.requested)}; "
            f"about {float(f'{100 * limit.expected:.2g}'):g} % of normal clips are expected above the threshold"
        )
    if limit.low > limit.requested:
        return f"{percent(limit.expected)} of the training clips{domain} are above the threshold"
    return ""


def _open_question(scored: Scored, limits: Sequence[Limit], measured: Sequence[_Measured]) -> str:
    """Why nothing is known of a rate that nothing contradicts."""
    if scored.nominal is None:
        return "it is stated for all sections together, not for one"
    shifted = sorted({limit.domain for limit in limits if limit.shifted})
    if shifted:
        domains = " and ".join(domain or "any" for domain in shifted)
        return f"training clips of the {domains} domain are too few, so the threshold is approximate"
    above = [rate.text for rate in measured if rate.low > rate.nominal]
    if above:
        return f"{' and '.join(above)}; so few training clips allow this"
    if measured:
        return f"too few clips are labelled normal ({'; '.join(rate.short for rate in measured)})"
    if _is_gamma(scored):
        return "the gamma rule keeps its rate only where scores follow a gamma distribution"
    return "no clip is labelled normal"


def _is_gamma(scored: Scored) -> bool:
    return bool(_setting(scored, "threshold") == "gamma")


def _setting(scored: Scored, name: str) -> object:
    """A setting of the recipe; None where it is left out."""
    try:
        return tomllib.loads(scored.recipe).get(name)
    except tomllib.TOMLDecodeError:
        return None


def _above(limit: Limit) -> int:
    """How many of its training clips are above a threshold."""
    return max(0, round(limit.expected * (limit.references + 1)) - 1)


def expected_rates(scored: Scored) -> np.ndarray | None:
    """The probability (m,) that each clip is reported if it is normal; None where a false-discovery rate decides.

    It is what the training clips let expect above the threshold of the clip: with few of them not the stated rate. For
    training clips that are ranked among themselves it is the share that is above by construction. It is 0 for copies of
    training clips, which say nothing.
    """
    if scored.nominal is None:
        return None
    rate = np.full(len(scored.clips), scored.nominal)
    for number, limit in enumerate(scored.limits):
        rows = scored.rows_of_limit(number)
        if scored.limit_of is None and limit.value is not None:
            rows = rows[scored.threshold[rows] == limit.value]
        rate[rows] = limit.expected
        if scored.self_ranked and limit.references:  # clips of a group have thresholds of their own
            rate[rows[scored.threshold[rows] == limit.value]] = _above(limit) / limit.references
    if scored.copied is not None:
        rate[scored.copied] = 0.0
    return rate


def is_usual(scored: Scored, rows: np.ndarray, expected: float, highest: float) -> bool:
    """Whether normal clips alone would give as many reported clips as the clips `rows` (k,) of a section give.

    expected: number of reported clips among them if all are normal. highest: their highest ratio to the threshold.
    Clips that are ranked among themselves always are. Others are where at least one report is expected, at least as
    many come by chance in more than `RARE` of all cases, and so do scores as high as the highest one. Windows of a
    recording resemble each other, so they count as fewer clips. The last is known for fused scores only.
    """
    if scored.self_ranked:
        return True
    if expected < 1:
        return False
    recordings = len({scored.recordings[row] for row in rows.tolist()})
    reported = int(scored.decision[rows].sum()) * recordings / len(rows)
    by_chance = _at_least(math.ceil(reported - 1e-9), recordings, expected / len(rows))
    as_high = 1 - (1 - expected / len(rows) / max(highest, 1.0)) ** len(rows)
    return by_chance > RARE and (as_high > RARE or not scored.bounded)


def _at_least(reported: int, clips: int, rate: float) -> float:
    """The chance of at least so many reports of so many normal clips."""
    from scipy.special import bdtrc

    return float(bdtrc(reported - 1, clips, rate))
