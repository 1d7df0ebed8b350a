"""Windows and events as a person reads them."""

import math
from collections.abc import Sequence

import numpy as np

from ensemble.checks.recorded import recorded_warning
from ensemble.run import Detection
from ensemble.windows.events import Event
from ensemble.windows.findings import Findings
from featstore.clip import path_tail, recording_of, window_of
from featstore.console import table
from featstore.terminal.shown import Block, block, counted

LONGEST_S = 1e9
"""Longer times are not shown as hours, minutes and seconds."""


def clock(seconds: float | None) -> str:
    """A time as 0:05, 12:30.5 or 1:02:03, rounded to tenths of a second; a question mark where it is unknown.

    A time of LONGEST_S or more, which no recording has, is shown as a number of seconds.
    """
    if seconds is None or math.isnan(seconds):
        return "?"
    if abs(seconds) >= LONGEST_S:
        return f"{seconds:.3g} s"
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    text = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


def clip_title(key: str) -> str:
    """A clip's key; for a window the recording and its times."""
    window = window_of(key)
    return f"{recording_of(key)}, {clock(window.start_s)} to {clock(window.end_s)}" if window else key


DOUBTS = ("is not guaranteed", "may not hold", "rate is approximate")
"""What notes say where the stated false-alarm rate is no promise."""


PERCENTILE = "percentile: share of the normal training clips of the section with a lower score"
"""What the column of the tables is."""


def reported_text(detection: Detection, noun: str) -> str:
    """How many clips are reported, and how many to expect if all were normal.

    3 of 40 clips reported. At a 10 % false-alarm rate about 4 would be expected if all were normal.

    Copies of training clips are never reported, so none is expected of them. No number is stated for a false-discovery
    rate, and where no clip can be reported.
    """
    decided = detection.decided
    text = f"{int(detection.decision.sum()):,} of {counted(len(detection.clips), noun)} reported."
    if detection.recipe.fdr or not decided.can_report:
        return text
    if detection.self_ranked and not detection.recipe.thresholds:
        share = f"about {100 * detection.recipe.false_alarm_rate:g} %"
        return f"{text} They are ranked among themselves: {share} are always reported, however many are faults."
    copies = detection.copies.scored
    new = np.array([key not in copies for key in detection.clips.keys()], dtype=bool)  # noqa: SIM118 - a method
    return f"{text} {expected_text(detection, decided.expected_rates[new])}."


def expected_text(detection: Detection, rates: np.ndarray) -> str:
    """How many of the clips with these rates (m,) would be reported if all were normal.

    The basis is the rate of the recipe, or that of the training clips where they are too few for it. Where a note
    doubts the rate, this says so too.
    """
    total, stated = float(rates.sum()), detection.recipe.false_alarm_rate
    basis = f"At a {100 * stated:g} % false-alarm rate"
    if detection.recipe.thresholds:
        basis = "With the thresholds set by hand"
    elif abs(total - stated * len(rates)) >= 1:
        real = float(f"{100 * total / len(rates):.2g}")
        basis = f"With these training clips, the false-alarm rate is {real:g} % instead of {100 * stated:g} %:"
    number = f"about {round(total):,}" if round(total) else "fewer than 1"
    doubted = any(doubt in note for note in detection.notes for doubt in DOUBTS)
    doubt = ", but that rate is not guaranteed, see the notes" if doubted else ""
    return f"{basis} {number} would be expected if all were normal{doubt}"


def most_anomalous_text(shown: int) -> str:
    """The line above a table of the most anomalous clips or events, which says what a percentile is."""
    return f"The {f'{shown:,} ' if shown > 1 else ''}most anomalous ({PERCENTILE}):"


def events_text(detection: Detection, findings: Findings, shown: int) -> Block:
    """How many events there are and the most anomalous of them, with recording, start, end and peak."""
    recordings, events = findings.recordings, findings.events
    affected = int(recordings.any(detection.decision).sum())
    where = f"{counted(len(events), 'event')} in {affected:,} of {counted(len(recordings.clips), 'recording')}"
    lines = [f"{where}: {reported_text(detection, 'window')}"]
    if not events:
        return block(*lines)
    lines += filter(None, [recorded_warning(detection)])
    lines.append(most_anomalous_text(min(shown, len(events))))
    return block(*lines, events_table(events[:shown]))


def events_table(events: Sequence[Event], sentences: Sequence[str] = ()) -> Block:
    """A line per event, with a sentence for each where they are given."""
    rows = [
        [
            path_tail(event.recording, event.machine),
            clock(event.start_s),
            clock(event.end_s),
            clock(event.peak_time_s),
            f"{event.peak_percentile:.4f}",
            event.windows,
        ]
        for event in events
    ]
    header = ["recording", "from", "to", "peak at", "percentile", "windows"]
    if not sentences:
        return table(header, rows)
    return table([*header, "where, at the peak"], [[*row, text] for row, text in zip(rows, sentences, strict=True)])
