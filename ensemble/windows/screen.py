"""Windows and events as a person reads them."""

import math
from collections.abc import Sequence

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


def expected_text(detection: Detection, noun: str = "", expected: float | None = None) -> str:
    """How many reports to expect if all were normal: `about 3 clips would be expected if all were normal`.

    expected: their number, None for that of the stated rate. Where a note doubts the rate, this says so too.
    """
    number = round(detection.decided.expected if expected is None else expected)
    few, about = (f"fewer than 1 {noun}".strip(), counted(number, noun) if noun else f"{number:,}")
    doubted = any(doubt in note for note in detection.notes for doubt in DOUBTS)
    text = f"{f'about {about}' if number else few} would be expected if all were normal"
    return text + (", but that rate is not guaranteed, see the notes" if doubted else "")


def events_text(detection: Detection, findings: Findings, shown: int) -> Block:
    """How many events there are and the most anomalous of them, with recording, start, end and peak."""
    recordings, events = findings.recordings, findings.events
    reported, total, rate = int(detection.decision.sum()), len(detection.clips), detection.recipe.false_alarm_rate
    affected = int(recordings.any(detection.decision).sum())
    lines = [
        f"{counted(len(events), 'event')} in {affected:,} of {counted(len(recordings.clips), 'recording')}: "
        f"{reported:,} of {counted(total, 'window')} reported."
    ]
    if not detection.recipe.fdr and detection.decided.can_report:
        basis = (
            "With the thresholds by hand" if detection.recipe.thresholds else f"At a {100 * rate:g} % false-alarm rate"
        )
        lines[0] += f" {basis} {expected_text(detection, 'window')}."
    if not events:
        return block(*lines)
    lines += filter(None, [recorded_warning(detection)])
    lines.append(f"The {min(shown, len(events))} most anomalous:")
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
