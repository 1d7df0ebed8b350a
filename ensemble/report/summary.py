"""The head of a report: one sentence that says what was found, and the most important numbers."""

from collections.abc import Sequence

from detectors.metrics.intervals import Intervals
from detectors.metrics.official import Evaluation
from ensemble.decision.false_alarms import FalseAlarms, discoveries
from ensemble.evaluation.without_copies import without_copies
from ensemble.output import labelled, score_table
from ensemble.page.cards import card_of
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.run import Detection
from ensemble.windows.recordings import Recordings
from featstore.terminal.shown import counted

Metrics = tuple[Evaluation, Intervals]
Fact = tuple[str, str, str]
"""Term, value and detail."""


def lead(scored: Scored, items: Sequence[Item]) -> tuple[str, str, str]:
    """What was found, the recording to begin with, and how far above the threshold it is; the last two may be empty."""
    windows = scored.divided
    total = counted(len(scored.clips), "scored window" if windows else "scored clip")
    reported, events = int(scored.decision.sum()), [item for item in items if item.reported]
    if not events:
        return f"None of {total} is above its threshold.", "", ""
    text = f"{reported:,} of {total} {'is' if reported == 1 else 'are'} above the threshold"
    text += f" ({counted(len(events), 'event')})" if windows else ""
    if len(scored.sections) > 1:
        text += f", in {len({(item.machine, item.section) for item in events}):,} of {len(scored.sections):,} sections"
    card = card_of(scored, events[0])
    span = f", {card.span}" if card.span else ""
    return f"{text}. The furthest:", card.title, f"{span}, {card.excess} the threshold"


def facts(
    detection: Detection,
    metrics: Metrics | None,
    rates: Sequence[FalseAlarms],
    recordings: Recordings,
) -> list[Fact]:
    """The most important numbers; what is reported and what is expected, the overview says."""
    noun = "window" if recordings.divided else "clip"
    found = [("training clips", f"{len(detection.train):,}", "normal sound that scores are compared with")]
    if detection.recipe.fdr:
        share = "share of normal clips among the reported"
        found.append(("false-discovery rate asked for", f"{100 * detection.recipe.fdr:g} %", share))
    if rates:
        normal, alarms = sum(group.clips for group in rates), sum(group.reported for group in rates)
        detail = f"{alarms:,} of {counted(normal, noun)} labelled normal"
        found.append(("real false-alarm rate", f"{100 * alarms / normal:.1f} %", detail))
    if rates and detection.recipe.fdr:
        false = discoveries(detection.clips, detection.decided)
        detail = f"normal: {false.normal:,} of {counted(false.reported, 'reported clip')} with a label"
        found.append(("real false-discovery rate", f"{100 * false.rate:.1f} %", detail))
    return found + (_scores(detection, metrics, recordings) if metrics else [])


def _scores(detection: Detection, metrics: Metrics, recordings: Recordings) -> list[Fact]:
    """The official score; where test clips are copies of training clips, first the score without them."""
    evaluation, intervals = metrics
    score, copies = intervals.score, detection.copies
    interval = f"95 % interval {100 * score.low:.1f} to {100 * score.high:.1f}, rule of {evaluation.year}"
    clips, _ = labelled(recordings.clips, evaluation.year)
    scores = score_table(detection)
    without = without_copies(copies, lambda keys: recordings.table(scores, keys), recordings, clips, evaluation.year)
    if not copies.scored:
        return [("official score", f"{100 * score.value:.2f}", interval)]
    what = f"the {counted(len(copies.scored), 'copy', 'copies')} of training clips"
    alone = without.json["copies"].get("official_score_without")
    value = "unknown" if alone is None else f"{100 * alone:.2f}"
    detail = "no section is left to measure" if alone is None else f"rule of {evaluation.year}"
    worth = "it says nothing: most normal test clips are copies; " if without.worthless else ""
    return [
        (f"official score without {what}", value, detail),
        (f"official score with {what}", f"{100 * score.value:.2f}", worth + interval),
    ]
