"""The words for normal and anomalous recordings, in folders, manifests, truth files and lists of faults."""

from featstore.clip import Label

NORMAL_WORDS = ("normal", "ok", "good", "healthy")
ANOMALY_WORDS = (
    *("abnormal", "anomaly", "anomalous", "fault", "faulty", "defect", "defective"),
    *("bad", "broken", "ng", "nok", "not ok"),
)
_LABELS: dict[str, Label] = {
    **dict.fromkeys(NORMAL_WORDS, "normal"),
    **dict.fromkeys(ANOMALY_WORDS, "anomaly"),
}

EXPECTED = f"{' or '.join(NORMAL_WORDS)} (normal), {' or '.join(ANOMALY_WORDS)} (anomaly), or unknown"
"""For messages. They propose no near word: the nearest word to `unnormal` is its opposite."""

FLAG_COLUMNS: dict[str, tuple[Label, Label]] = {
    **dict.fromkeys(("normal", "is_normal"), ("anomaly", "normal")),
    **dict.fromkeys(("anomaly", "is_anomaly", "abnormal", "fault", "faulty", "defect"), ("normal", "anomaly")),
}
"""Columns of 0 and 1, and the labels that these mean."""

_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def label_of(word: str) -> Label | None:
    """The label that a word means, in any case, with any of space, hyphen and underscore; None for other words."""
    return _LABELS.get(" ".join(word.lower().replace("_", " ").replace("-", " ").split()))


def label_of_flag(column: str, cell: str) -> Label | None:
    """The label that a cell of one of FLAG_COLUMNS means; None for another cell."""
    flag = _FLAGS.get(cell.strip().lower())
    return None if flag is None else FLAG_COLUMNS[column][flag]
