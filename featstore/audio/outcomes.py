"""What was unusual about a recording that was decoded: the words of `Recording.outcome`, and notes for people."""

from collections.abc import Mapping, Sequence

from featstore.audio.near_far.subtract import FAR_COPY, FAR_SILENT
from featstore.terminal.shown import counted

SILENT, PADDED = "silent", "padded"
ONE_SILENT = "silent in one of its channels"
UNKNOWN, LONGER = "length unknown", "longer than its header says"

MEANINGS = {
    SILENT: "in the channel that was read; detectors leave them out of the banks",
    UNKNOWN: "the header states no length, decoded to the end of the file",
    LONGER: "decoded to the end of the file",
    FAR_SILENT: "nothing is subtracted, the near channel is used as it is",
    FAR_COPY: "of the near one; nothing is subtracted, the near channel is used as it is",
    ONE_SILENT: "not the first one; the views of that channel are those of silence",
    PADDED: "shorter than the embedder needs, zeros were added",
}
"""In order of weight: a recording has the first outcome that is true."""

SHOWN = 3

Outcomes = dict[str, dict[str, None]]
"""Outcome -> names of its recordings, or of windows, in order, as keys."""


def first_of(*outcomes: str) -> str:
    """The outcome of most weight; "" is none."""
    return next((outcome for outcome in MEANINGS if outcome in outcomes), "")


def add_outcome(outcomes: Outcomes, outcome: str, path: str, recording: str) -> None:
    """Add the clip at `path`. A length is that of a whole recording, whatever windows it is read in."""
    if outcome:
        outcomes.setdefault(outcome, {})[recording if outcome in (UNKNOWN, LONGER) else path] = None


def outcome_notes(outcomes: Mapping[str, Sequence[str]]) -> list[str]:
    """A line per outcome: how many recordings, what it means, and the first names."""
    lines = []
    for outcome, meaning in MEANINGS.items():
        names = outcomes.get(outcome, ())
        shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
        lines += [f"{counted(len(names), 'recording')}: {outcome} ({meaning}): {shown}"] if names else []
    return lines
