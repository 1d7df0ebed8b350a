"""The drift check on verdicts: whether scored recordings still sound like those of training."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from ensemble.decision.drift import ANOMALIES_AT_MOST, drift
from ensemble.decision.fuse import Fused
from ensemble.fitting.decide import Sides, decide
from ensemble.fitting.fitted import Fitted
from ensemble.scoring.verdict import Verdict
from featstore.clip import Clip
from featstore.table import ClipTable

RECENT = 200
"""Number of last recordings of a section that are checked."""

WINDOWS = 20
"""Most windows of a recording that are kept for the check, evenly spaced; more would not count for more."""


def warnings_of(
    fitted: Fitted, verdicts: Sequence[Verdict], *, anomalies_at_most: float = ANOMALIES_AT_MOST
) -> tuple[str, ...]:
    """Warnings for sections whose clips differ from the training clips, see `ensemble.decision.drift`.

    verdicts: those of every recording in order, one recording after the other. anomalies_at_most: share of anomalies
    that the check allows for.
    """
    if not verdicts:
        return ()
    clips = ClipTable.from_clips([Clip(str(i), v.machine, v.section, "test") for i, v in enumerate(verdicts)])
    fused = Fused(np.array([verdict.score for verdict in verdicts]), fitted.reference.scores)
    values = [np.nan if verdict.target_probability is None else verdict.target_probability for verdict in verdicts]
    probability = np.array(values) if fitted.domains else None
    decided = decide(fitted.recipe, fused, Sides(clips, fitted.train, probability, fitted.blocks, self_ranked=False))
    checks = drift(fused.scores, decided, recording=recording_numbers(verdicts), anomalies_at_most=anomalies_at_most)
    return tuple(check.warning for check in checks if check.warning)


def recording_numbers(verdicts: Sequence[Verdict]) -> np.ndarray:
    """Number (n,) of each verdict's recording: a new one begins where a window does not start after the last one."""
    numbers, count = [], 0
    last: dict[tuple[str, str], tuple[float, int]] = {}
    for verdict in verdicts:
        start, number = last.get((verdict.machine, verdict.section), (np.inf, 0))
        if verdict.start_s <= start:
            number, count = count, count + 1
        last[verdict.machine, verdict.section] = (verdict.start_s, number)
        numbers.append(number)
    return np.array(numbers, dtype=np.intp)


class Recent:
    """The last recordings of every section, and the warnings that follow from them."""

    def __init__(self, check: Callable[[Sequence[Verdict]], tuple[str, ...]]) -> None:
        """`check`: warnings of verdicts, such as `Model.drift`."""
        self.check = check
        self._kept: dict[tuple[str, str], deque[Sequence[Verdict]]] = {}
        self._given: tuple[str, ...] = ()
        self._is_new = False

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Verdicts of a recording, in order."""
        if verdicts:
            place = (verdicts[0].machine, verdicts[0].section)
            kept = verdicts[:: -(-len(verdicts) // WINDOWS)]
            self._kept.setdefault(place, deque(maxlen=RECENT)).append(kept)
            self._is_new = True

    def news(self) -> tuple[str, ...]:
        """Warnings that were not given by the last call."""
        if not self._is_new:
            return ()
        self._is_new = False
        before = self._given
        self._given = tuple(text for own in self._kept.values() for text in self.check(list(chain(*own))))
        places = {text.partition(":")[0] for text in before}
        return tuple(text for text in self._given if text.partition(":")[0] not in places)
