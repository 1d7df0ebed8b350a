"""Results as a page shows them, made of plain numbers: scores of machines and sections, times, thresholds, drifts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ensemble.page.scored import Limit, Scored
from featstore.clip import Clip
from featstore.table import ClipTable

NEWEST = 1_700_000_000.0


def limit_of(machine: str, section: str, rate: float | None = 0.1, **changes: Any) -> Limit:
    """The threshold of a section at a rate, from 200 training clips."""
    expected = 0.1 if rate is None else rate
    values = {"domain": "", "value": 0.9, "requested": rate, "expected": expected, "low": 0.07, "high": 0.14}
    values |= {"references": 200, "shifted": False, **changes}
    return Limit(machine=machine, section=section, **{"worth": values["references"], **values})


def results(
    scores: Mapping[str, Sequence[float]],
    *,
    threshold: float = 0.9,
    times: Mapping[str, Sequence[float]] | None = None,
    time_source: str = "name",
    labels: Mapping[str, Sequence[str]] | None = None,
    windows_of: int = 0,
    **changes: Any,
) -> Scored:
    """Fused scores by `machine/section`, the threshold for all.

    times: by section, relative to NEWEST. labels: by section, else unknown. windows_of: 0 for whole recordings of 10 s,
    else windows of 10 s, so many of each recording.
    """
    clips, score, time = [], [], []
    for key, values in scores.items():
        machine, section = key.split("/")
        for i, value in enumerate(values):
            label = labels[key][i] if labels else "unknown"
            path = f"{key}/{i:03d}.wav"
            if windows_of:
                start = 10 * (i % windows_of)
                path = f"{key}/{i // windows_of:03d}.wav#t={start:.3f},{start + 10:.3f}"
            clips.append(Clip(path, machine, section, "test", "unknown", label))
            score.append(value)
            time.append(NEWEST + times[key][i] if times else np.nan)
    m, table = len(clips), ClipTable.from_clips(clips)
    windows = table.windows()
    values = {
        "title": "store",
        "recipe": "",
        "members": ("e",),
        "clips": table,
        "score": np.array(score, dtype=float),
        "percentile": np.array(score, dtype=float),
        "p_value": 1 - np.array(score, dtype=float),
        "threshold": np.full(m, threshold),
        "member_percentiles": np.array([score], dtype=float).reshape(1, m),
        "nearest": [""] * m,
        "nearest_distance": np.zeros(m),
        "seconds": np.where(np.isnan(windows), [0.0, 10.0], windows).reshape(m, 2),
        "times": np.array(time, dtype=float),
        "time_source": time_source if times else "",
        "train": ClipTable.from_clips([]),
        "reference": np.zeros(0),
        "limits": tuple(limit_of(*key.split("/")) for key in scores),
        "bounded": True,
        "nominal": 0.1,
        "self_ranked": False,
        "pool_sections": False,
    }
    return Scored(**{**values, **changes})


def drift_row(section: str, **changes: Any) -> dict[str, Any]:
    """A row of the drift check of `machine/section` that found nothing."""
    machine, _, name = section.partition("/")
    values = {"machine": machine, "section": name, "domain": "", "clips": 100, "references": 200, "direction": ""}
    values |= {"higher": 0.4, "lower": 0.6, "at_least": 0.0, "nominal": 0.14, "anomalies_at_most": 0.5, "warning": ""}
    return {**values, **changes}


def rate_row(section: str, clips: int, reported: int, **changes: Any) -> dict[str, Any]:
    """The real rate of labelled normal clips of `machine/section`."""
    from ensemble.decision.false_alarms import exact_interval

    low, high = exact_interval(reported, clips)
    machine, _, name = section.partition("/")
    values = {"machine": machine, "section": name, "domain": "unknown", "clips": clips, "reported": reported}
    return {**values, "nominal": 0.1, "low": low, "high": high, "rate": reported / clips, **changes}
