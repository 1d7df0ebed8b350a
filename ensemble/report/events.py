"""The report's table of events, where the scored clips are windows of recordings."""

from markupsafe import Markup

from ensemble.page.html import EMPTY, name, table
from ensemble.windows.findings import Findings
from ensemble.windows.screen import clock

ROWS = 50


def events_table(findings: Findings) -> Markup:
    """The most anomalous events with their times; empty where there are none."""
    if not findings.events:
        return EMPTY
    rows = [
        [
            name(event.recording),
            name(event.machine),
            name(event.section),
            *map(clock, (event.start_s, event.end_s, event.peak_time_s)),
            f"{event.peak_percentile:.4f}",
            f"{event.windows}",
        ]
        for event in findings.events[:ROWS]
    ]
    caption = (
        f"The {len(rows)} most anomalous of {len(findings.events):,} events, which are neighbouring reported windows"
    )
    header = ["recording", "machine", "section", "from", "to", "peak at", "peak percentile", "windows"]
    return table(caption, header, rows, text_columns=3)
