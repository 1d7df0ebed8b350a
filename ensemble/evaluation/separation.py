"""How well the labelled anomalies of sections without normal test clips stand apart from the training clips."""

from typing import Any

from detectors.metrics.auc import auc
from ensemble.run import Detection
from featstore.console import table


def separation_text(detection: Detection) -> str:
    """AUC of labelled anomalies against the honest scores of training clips, for sections without normal test clips.

    Empty text where there is no such section.
    """
    rows = [[*row.values()] for row in separation(detection)]
    for row in rows:
        row[-1] = f"{100 * row[-1]:.2f}"
    header = ["machine", "section", "anomalies", "training clips", "auc against training clips"]
    return table(header, rows) if rows else ""


def separation(detection: Detection) -> list[dict[str, Any]]:
    """The rows of `separation_text`, unrounded.

    This is not an official metric: the scores of training clips are leave-one-out or cross-fitted.
    """
    tests, train = detection.clips, detection.train
    with_normal = set(tests[tests.where(label="normal")].sections())
    rows = []
    for machine, section in tests[tests.where(label="anomaly")].sections():
        anomalies = tests.where(machine=machine, section=section, label="anomaly")
        of_section = train.where(machine=machine, section=section)
        if (machine, section) not in with_normal and of_section.any():
            value = float(auc(detection.reference[of_section], detection.score[anomalies]))
            counts = {"anomalies": int(anomalies.sum()), "training_clips": int(of_section.sum())}
            rows.append({"machine": machine, "section": section, **counts, "auc": value})
    return rows
