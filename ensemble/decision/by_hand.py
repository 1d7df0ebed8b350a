"""What a threshold by hand changes in rows of results: the real false-alarm rate, and what the drift check says."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ensemble.decision.drift import Drift, least_reported
from ensemble.decision.false_alarms import FalseAlarms, exact_interval
from ensemble.decision.thresholds import rate_interval
from featstore.table import ClipTable


def rate_again(
    row: Mapping[str, Any],
    clips: ClipTable,
    reported: np.ndarray,
    changed: np.ndarray,
    copied: np.ndarray | None = None,
) -> Mapping[str, Any]:
    """A row of `FalseAlarms`, counted again by the new decisions (m,); itself where no clip of it has `changed` (m,).

    A threshold by hand requests no rate. copied (m,): clips that do not count, None for none.
    """
    names = {name: row[name] for name in ("machine", "section", "domain")}
    normal = clips.where(**names, label="normal")
    rows = np.flatnonzero(normal if copied is None else normal & ~copied)
    if not len(rows) or not changed[rows].any():
        return row
    hits = int(reported[rows].sum())
    low, high = exact_interval(hits, len(rows))
    rate = FalseAlarms(**names, clips=len(rows), reported=hits, nominal=None, low=low, high=high)
    return {**vars(rate), "rate": rate.rate}


def drift_again(row: Mapping[str, Any], reported: np.ndarray, expected: float) -> Mapping[str, Any]:
    """A row of `Drift` with its warning, by new decisions on the clips of its bank and the rate that they are to have.

    The comparison of the scores stays.
    """
    drift = Drift(**{field.name: row[field.name] for field in fields(Drift)})
    again = replace(
        drift,
        at_least=least_reported(reported, drift.independent, drift.anomalies_at_most),
        nominal=rate_interval(expected, drift.independent_references)[1],
    )
    return {**vars(again), "warning": again.warning}
