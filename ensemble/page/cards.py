"""What a page says of an item: title, how far above the threshold, outcome, evidence, mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ensemble.marks.file import Mark
from ensemble.page.excess import excess_meaning, excess_text
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.windows.screen import clip_title, clock

FALSE_ALARM, MISSED, DETECTED = "false alarm", "missed anomaly", "detected anomaly"
OUTCOMES = {
    ("normal", True): FALSE_ALARM,
    ("anomaly", False): MISSED,
    ("anomaly", True): DETECTED,
    ("normal", False): "normal",
    ("unknown", True): "reported",
    ("unknown", False): "not reported",
}
"""Outcome of a decision, by the clip's label and whether the clip is reported."""


@dataclass(frozen=True)
class Opinion:
    """What one member of the ensemble says of a clip: its percentile among the training clips."""

    member: str
    percentile: float
    above: bool


@dataclass(frozen=True)
class Card:
    """An item in words. opinions: the highest percentile first; empty for a single detector.

    span: the times of an event or a window in its recording, "" for a whole recording. recorded: local date and time of
    its beginning, "" where unknown. sentence: where it deviates, "" where unknown. nearest: key of the most similar
    training clip, nearest_title for people. percentile, p_value: among the reference scores of its bank; the decision
    is by score and threshold. excess: before "the threshold", such as `9 times`, `just above`;
    excess_meaning: what that means. mark: of its clip; marked: when.
    """

    item: Item
    title: str
    span: str
    recorded: str
    domain: str
    outcome: str
    excess: str
    excess_meaning: str
    sentence: str
    score: float
    threshold: float
    percentile: float
    p_value: float
    nearest: str
    nearest_title: str
    nearest_distance: float
    opinions: Sequence[Opinion]
    mark: Mark | None

    @property
    def marked(self) -> str:
        """Date and time of the mark, to the minute."""
        return local_time(self.mark.when) if self.mark else ""


def local_time(when: str) -> str:
    """A time in ISO 8601 as local date and time of this machine, to the minute; a text that is no time as it is."""
    try:
        return datetime.fromisoformat(when).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return when


def _excess_text(item: Item) -> str:
    """The ratio in words; one that is rounded to 1 says on which side of the threshold it is."""
    text = excess_text(item.excess)
    return text if text != excess_text(1.0) else "just above" if item.reported else "just below"


def card_of(scored: Scored, item: Item, mark: Mark | None = None) -> Card:
    """The card of an item with the mark of its clip."""
    row = item.row
    clip = scored.clips[row]
    span = f"{clock(item.start_s)} to {clock(item.end_s)}" if clip.window else ""
    alone = 1 - (scored.nominal or 0.1)
    ranked = np.argsort(-scored.member_percentiles[:, row], kind="stable")
    order: list[int] = ranked.tolist() if len(scored.members) > 1 else []
    percentiles = scored.member_percentiles[:, row]
    opinions = [Opinion(scored.members[i], float(percentiles[i]), bool(percentiles[i] > alone)) for i in order]
    known = np.isfinite(item.time)
    return Card(
        item=item,
        title=item.recording,
        span=span,
        recorded=datetime.fromtimestamp(item.time).astimezone().strftime("%Y-%m-%d %H:%M:%S") if known else "",
        domain=clip.domain,
        outcome=OUTCOMES[clip.label, item.reported],
        excess=_excess_text(item),
        excess_meaning=excess_meaning(scored.bounded),
        sentence=scored.where.get(row, ""),
        score=float(scored.score[row]),
        threshold=float(scored.threshold[row]),
        percentile=float(scored.percentile[row]),
        p_value=float(scored.p_value[row]),
        nearest=scored.nearest[row],
        nearest_title=clip_title(scored.nearest[row]),
        nearest_distance=float(scored.nearest_distance[row]),
        opinions=opinions,
        mark=mark,
    )
