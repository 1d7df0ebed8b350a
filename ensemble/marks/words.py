"""The words that people use for the marks of a clip: those of `detect mark`, of tables, and of labels.

fault    abnormal, anomaly, anomalous, faulty, defect, defective, bad, broken, ng, nok, not ok, alarm, true alarm
normal   ok, good, healthy, no fault, false alarm
ignore   ignored, skip, exclude, unusable
none     unmark, remove

Words in any case, with spaces, hyphens or underscores.
"""

from ensemble.marks.file import FAULT, IGNORE, MARKS, NONE, NORMAL
from featstore.layouts.labels import ANOMALY_WORDS, NORMAL_WORDS

SYNONYMS = {
    **dict.fromkeys((*ANOMALY_WORDS, "alarm", "true alarm"), FAULT),
    **dict.fromkeys((*NORMAL_WORDS, "no fault", "false alarm"), NORMAL),
    **dict.fromkeys(("ignored", "skip", "exclude", "unusable"), IGNORE),
    **dict.fromkeys(("unmark", "remove"), NONE),
    **{mark: mark for mark in MARKS},
}
"""The mark that a word stands for."""

FOLLOWS = {
    "normal": "from the next run on, it counts as a normal training clip and is not scored",
    "fault": "from the next run on, it is not used as normal sound or in metrics; selections use it as a fault",
    "ignore": "from the next run on, it is not used as normal sound and is not scored",
    "none": "its earlier marks no longer count",
}
"""What a mark does."""

LONGEST = 100


def mark_of(word: str) -> str | None:
    """The mark that a word stands for; None for another word."""
    return SYNONYMS.get(" ".join(word[:LONGEST].lower().replace("_", " ").replace("-", " ").split()))


def text_mark(text: str) -> tuple[str, str] | None:
    """Mark and note of a label: `fault`, or `fault: a knock`; None where it begins with no word for a mark."""
    word, _, note = text.partition(":")
    mark = mark_of(word)
    return None if mark is None else (mark, note.strip())


EXPECTED = f"{', '.join(MARKS)} (or words such as anomaly, ok, false alarm)"
"""For messages."""
