"""The drift check on verdicts: whether scored recordings still sound like those of training."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ensemble.decision.drift import ANOMALIES_AT_MOST, drift
from ensemble.decision.fuse import Fused
from ensemble.fitting.decide import Sides, decide
from ensemble.fitting.fitted import Fitted
from ensemble.scoring.verdict import Verdict
from featstore.clip import Clip
from featstore.table import ClipTable

RECENT = 200
"""Number of last clips of a section that are checked."""


def warnings_of(
    fitted: Fitted, verdicts: Sequence[Verdict], *, anomalies_at_most: float = ANOMALIES_AT_MOST
) -> tuple[str, ...]:
    """Warnings for sections whose clips differ from the training clips, see `ensemble.decision.drift`.

    Of overlapping windows, only those that share no sound are counted. anomalies_at_most: share of anomalies that the
    check allows for.
    """
    verdicts = list(_apart(verdicts))
    if not verdicts:
        return ()
    clips = ClipTable.from_clips([Clip(str(i), v.machine, v.section, "test") for i, v in enumerate(verdicts)])
    fused = Fused(np.array([verdict.score for verdict in verdicts]), fitted.reference.scores)
    values = [np.nan if verdict.target_probability is None else verdict.target_probability for verdict in verdicts]
    probability = np.array(values) if fitted.domains else None
    decided = decide(fitted.recipe, fused, Sides(clips, fitted.train, probability, fitted.blocks, self_ranked=False))
    checks = drift(fused.scores, decided, anomalies_at_most=anomalies_at_most)
    return tuple(check.warning for check in checks if check.warning)


def _apart(verdicts: Iterable[Verdict]) -> Iterable[Verdict]:
    """The verdicts without windows that begin before the last one counted of their section has ended."""
    ends: dict[tuple[str, str], tuple[float, float]] = {}
    for verdict in verdicts:
        place = (verdict.machine, verdict.section)
        start, end = ends.get(place, (np.inf, -np.inf))
        if start < verdict.start_s < end:
            continue
        ends[place] = (verdict.start_s, verdict.end_s)
        yield verdict


class Recent:
    """The last clips of every section, and the warnings that follow from them."""

    def __init__(self, check: Callable[[Sequence[Verdict]], tuple[str, ...]]) -> None:
        """`check`: warnings of verdicts, such as `Model.drift`."""
        self.check = check
        self._kept: dict[tuple[str, str], deque[Verdict]] = {}
        self._given: tuple[str, ...] = ()
        self._is_new = False

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Verdicts of a recording, in order."""
        for verdict in _apart(verdicts):
            self._kept.setdefault((verdict.machine, verdict.section), deque(maxlen=RECENT)).append(verdict)
            self._is_new = True

    def news(self) -> tuple[str, ...]:
        """Warnings that were not given by the last call."""
        if not self._is_new:
            return ()
        self._is_new = False
        before, self._given = self._given, tuple(text for own in self._kept.values() for text in self.check(list(own)))
        places = {text.partition(":")[0] for text in before}
        return tuple(text for text in self._given if text.partition(":")[0] not in places)
