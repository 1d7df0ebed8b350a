"""The words for normal and anomalous recordings, in folders, manifests, truth files and lists of faults."""

import re
import unicodedata
from difflib import get_close_matches

from featstore.clip import Label

NORMAL_WORDS = ("normal", "ok", "good", "healthy")
ANOMALY_WORDS = (
    *("abnormal", "anomaly", "anomalous", "fault", "faulty", "defect", "defective"),
    *("bad", "broken", "ng", "nok", "not ok"),
)
FOREIGN_WORDS = (
    *("damage", "damaged", "error", "errors", "fail", "failed", "failure", "anomalies", "faults", "defects"),
    *("gut", "io", "in ordnung", "schlecht", "nio", "fehler", "fehlerhaft", "defekt", "kaputt", "schaden", "anomalie"),
    *("bon", "sain", "mauvais", "defaut", "défaut", "panne", "anormal", "bueno", "malo", "fallo", "averia", "defecto"),
    *("normale", "buono", "guasto", "difetto", "difettoso", "anomalia", "正常", "異常", "异常", "良品", "不良", "故障"),
)
"""Words that people use for a label and that are none, so that a note can name them."""

_LABELS: dict[str, Label] = {
    **dict.fromkeys(NORMAL_WORDS, "normal"),
    **dict.fromkeys(ANOMALY_WORDS, "anomaly"),
}

MISSPELT = 5
"""Letters of the shortest label whose misspellings are recognised; shorter ones resemble too many words."""

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


def resembles_label(word: str) -> bool:
    """Whether a word that is no label was probably meant as one: misspelt, of another language, or a label and more."""
    plain = " ".join(re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", word).lower()))
    if {plain, plain.replace(" ", "")} & {*FOREIGN_WORDS} or any(part in _LABELS for part in plain.split()):
        return True
    alike = get_close_matches(plain, [label for label in _LABELS if len(label) >= MISSPELT], n=len(_LABELS), cutoff=0.8)
    return any(abs(len(label) - len(plain)) <= 1 for label in alike)


def label_of_flag(column: str, cell: str) -> Label | None:
    """The label that a cell of one of FLAG_COLUMNS means; None for another cell."""
    flag = _FLAGS.get(cell.strip().lower())
    return None if flag is None else FLAG_COLUMNS[column][flag]
