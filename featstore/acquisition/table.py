"""The acquisition of all recordings as text and as CSV: a row per machine and section, the outliers, a row per clip."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from featstore.acquisition.kinds import CLIPPED_SHARE, ZEROS_S
from featstore.acquisition.outliers import ACROSS, IN_TEST, IN_TRAINING, Finding, Section, sections_of
from featstore.acquisition.recordings import Recordings
from featstore.audio.measure import Measures
from featstore.clip import path_tail
from featstore.console import table
from featstore.terminal.shown import Block, block, counted, one_line

WIDTH = 110
SHOWN = 3
"""Names of clips per finding."""

NONE, UNKNOWN = ".", "?"
COPIED = {ACROSS: "test clip", IN_TRAINING: "training clip", IN_TEST: "test clip"}
"""Findings of copies, and what their clips are."""

HEADER = (
    "machine", "section", "clips", "rate\nHz", "length\ns", "chan-\nnels", "level\ndBFS", "clip-\nping", "DC\noffset",
    "drop-\nouts", "zeros", "silent", "copies", "sound\nup to Hz",
)  # fmt: skip


def sections_text(recordings: Recordings, findings: Sequence[Finding]) -> Block:
    """One row per machine and section: median and range, or the number of clips that have it; at most WIDTH wide."""
    copied = {row for finding in findings if finding.what in COPIED for row in finding.rows}
    rows = [_section_row(recordings, section, copied) for section in sections_of(recordings)]
    return table(HEADER, rows, text_columns=2, width=WIDTH)


def _section_row(recordings: Recordings, section: Section, copied: set[int]) -> list[str]:
    rows, facts = section.rows, recordings.facts
    sound = rows[~recordings.silent[rows]]
    return [
        one_line(section.machine, 16),
        one_line(section.section, 12),
        f"{len(rows):,}",
        _range(recordings.rate_hz[rows], "{:.0f}"),
        _range(recordings.seconds[rows], "{:.3g}"),
        _range(recordings.channels[rows], "{:.0f}"),
        _median(facts["level_dbfs"][sound], "{:.0f}"),
        _count(facts["clipped"][rows], lambda share: share >= CLIPPED_SHARE),
        _largest(facts["dc_offset"][sound]),
        _count(facts["dropouts"][rows], lambda number: number > 0),
        _count(facts["zero_run_s"][sound], lambda seconds: seconds >= ZEROS_S),
        _number(int(recordings.silent[rows].sum())),
        _number(len(copied.intersection(rows.tolist()))),
        _range(facts["bandwidth_hz"][sound], "{:.0f}"),
    ]


def _number(count: int) -> str:
    return f"{count:,}" if count else NONE


def _count(values: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]) -> str:
    known = values[np.isfinite(values)]
    return _number(int(holds(known).sum())) if len(known) else UNKNOWN


def _range(values: np.ndarray, form: str) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return UNKNOWN
    low, high = form.format(known.min()), form.format(known.max())
    return low if low == high else f"{low}-{high}"


def _median(values: np.ndarray, form: str) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return UNKNOWN
    low, middle, high = (form.format(value) for value in (known.min(), np.median(known), known.max()))
    return middle if low == high else f"{middle} [{low} {high}]"


def _largest(values: np.ndarray) -> str:
    known = np.abs(values[np.isfinite(values)])
    if not len(known):
        return UNKNOWN
    text = f"{known.max():.3f}"
    return NONE if float(text) == 0 else text


def outliers_text(recordings: Recordings, findings: Sequence[Finding]) -> Block:
    """A row per clip that differs from those of its section, at most SHOWN per finding."""
    rows: list[list[str]] = []
    for finding in findings:
        place = [one_line(finding.machine, 16), one_line(finding.section, 12), finding.what]
        for row, value in list(zip(finding.rows, finding.values, strict=True))[:SHOWN]:
            value = path_tail(value, finding.machine) if finding.what in COPIED else value
            rows.append([*place, path_tail(recordings.clips[row].key, finding.machine), value, finding.bank])
        if len(finding.rows) > SHOWN:
            rows.append([*place, f"and {len(finding.rows) - SHOWN:,} more", "", ""])
    return table(["machine", "section", "what", "clip", "value", "usual"], rows, text_columns=6) if rows else block()


def verdict(findings: Sequence[Finding]) -> str:
    """How many clips differ in which way: `1 clip has another level, 2 clipping`; copies of training clips first."""
    counts: Counter[tuple[str, str]] = Counter()
    for finding in sorted(findings, key=lambda finding: finding.what != ACROSS):
        counts[COPIED.get(finding.what, "clip"), finding.said] += len(finding.rows)
    parts, before = [], ""
    for (noun, said), count in counts.items():
        verb = "has" if count == 1 else "have"
        parts.append(f"{count:,} {said}" if noun == before else f"{counted(count, noun)} {verb} {said}")
        before = noun
    return ", ".join(parts)


CSV_HEADER = (
    "clip", "machine", "section", "split", "domain", "label", "sample_rate_hz", "n_samples", "channels",
    "content_hash", "silent", "outcome", *Measures._fields, "differs_in", "copy_of",
)  # fmt: skip


def clips_csv(recordings: Recordings, findings: Sequence[Finding]) -> str:
    """A row per clip with everything that is known of it; unknown numbers are empty."""
    kinds: dict[int, list[str]] = {}
    originals: dict[int, str] = {}
    for finding in findings:
        for row, value in zip(finding.rows, finding.values, strict=True):
            kinds.setdefault(row, []).append(finding.what)
            if finding.what in COPIED:
                originals[row] = value
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    facts = recordings.facts
    for row, clip in enumerate(recordings.clips):
        numbers = [int(facts[name][row]) or "" for name in ("sample_rate_hz", "n_samples", "channels")]
        measures = [float(facts[name][row]) for name in Measures._fields]
        writer.writerow(
            [
                *(clip.key, clip.machine, clip.section, clip.split, clip.domain, clip.label, *numbers),
                *(facts["content_hash"][row].decode(), int(recordings.silent[row]), facts["outcome"][row].decode()),
                *("" if np.isnan(value) else f"{value:.7g}" for value in measures),
                *("; ".join(kinds.get(row, [])), originals.get(row, "")),
            ]
        )
    return text.getvalue()
