"""What `detect` leaves behind: scores.csv for people and programs, the resolved recipe, metrics as text and JSON."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detectors.intervals import Interval, Intervals, bootstrap
from detectors.labels import Labels
from detectors.official import Evaluation, evaluate, rule_of
from detectors.scores import ScoreTable
from ensemble.drift import Drift
from ensemble.false_alarms import discoveries, false_alarm_rates
from ensemble.recipe import FUSED, write_recipe
from ensemble.run import Detection
from featstore.console import table
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.truth import apply_truth

REPLICATES = 1000
DOMAIN_RULE, PLAIN_RULE = 2023, 2020


def write_detection(detection: Detection, out: Path) -> list[Path]:
    """Write scores.csv and recipe.toml below `out`; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "scores.csv", out / "recipe.toml"]
    write_scores_csv(detection, files[0])
    write_recipe(detection.recipe, files[1])
    return files


def write_scores_csv(detection: Detection, path: Path) -> None:
    """One row per clip, most anomalous first within the file, with the evidence beside the decision."""
    members = [member.name for member in detection.recipe.members]
    header = ["clip", "machine", "section", "domain", "score", "percentile", "p_value", "threshold", "decision"]
    clips = detection.clips
    p_values, thresholds = detection.decided.p_value, detection.decided.threshold
    text = [clips.column(name).tolist() for name in ("machine", "section", "domain")]
    keys = clips.keys()
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*header, "nearest_normal", "nearest_distance", *members])
        for i in np.argsort(-detection.percentile, kind="stable"):
            writer.writerow(
                [
                    keys[i],
                    *(column[i] for column in text),
                    repr(float(detection.score[i])),
                    f"{detection.percentile[i]:.6f}",
                    f"{p_values[i]:.6f}",
                    repr(float(thresholds[i])),
                    int(detection.decision[i]),
                    detection.nearest[i],
                    f"{detection.nearest_distance[i]:.6f}" if detection.nearest[i] else "",
                    *(f"{value:.6f}" for value in detection.member_percentiles[:, i]),
                ]
            )


def score_table(detection: Detection) -> ScoreTable:
    """The fused (or the single detector's) scores by clip key."""
    name = FUSED if len(detection.recipe.members) > 1 else detection.recipe.members[0].name
    return ScoreTable(name, tuple(detection.clips.keys()), detection.score)


def test_clips(store: FeatureStore, ground_truth: Path | None) -> ClipTable:
    """The test clips of a store, with the labels of official ground-truth files where they are given."""
    tables = [store.clips(name) for name in sorted(store.embeddings)]
    clips = max(tables, key=len, default=ClipTable.from_clips([]))
    tests = clips[clips.where(split="test")]
    return tests if ground_truth is None else ClipTable.from_clips(apply_truth(list(tests), ground_truth)[0])


def labelled(clips: ClipTable) -> ClipTable:
    """The clips of sections that have both labelled normal clips and labelled anomalies; figures need both."""
    known = ~clips.where(label="unknown")
    section = np.array([f"{m}\0{s}" for m, s in zip(clips.column("machine"), clips.column("section"), strict=True)])
    both = [set(section[known & clips.where(label=label)].tolist()) for label in ("normal", "anomaly")]
    return clips[known & np.isin(section, sorted(both[0] & both[1]))]


def year_of(clips: ClipTable) -> int:
    """The rule where the user names none: per domain where no clip's is unknown and no section with labelled normal
    clips lacks those of one domain, else over all clips.
    """
    normal = clips[clips.where(label="normal")]
    source, target = (set(normal[normal.where(domain=one)].sections()) for one in ("source", "target"))
    return PLAIN_RULE if clips.where(domain="unknown").any() or source != target else DOMAIN_RULE


def measure(scores: ScoreTable, clips: ClipTable, year: int, *, seed: int = 0) -> tuple[Evaluation, Intervals]:
    """Official figures of the labelled `clips` with bootstrap intervals."""
    labels = Labels.of(clips)
    ours = ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys))
    return evaluate(ours, labels, year), bootstrap(
        ours, labels, year, np.random.default_rng(seed), replicates=REPLICATES
    )


def metrics_text(evaluation: Evaluation, intervals: Intervals) -> str:
    """The table on the terminal: percent, 95 % intervals, the official score last."""
    names = list(rule_of(evaluation.year).figures)
    rows: list[list[object]] = []
    for row in evaluation.rows:
        found = intervals.sections[row.machine, row.section]
        rows.append([row.machine, row.section, *(_percent(found[name]) for name in names)])
    kind = rule_of(evaluation.year).mean
    means = [f"{100 * evaluation.mean(name):.2f}" for name in names]
    rows.append([f"{kind} mean", "", *means])
    lines = [table(["machine", "section", *names], rows)]
    lines.append(f"official score ({evaluation.year} rule): {_percent(intervals.score)}")
    lines += [f"warning: {warning}" for warning in evaluation.warnings]
    return "\n".join(lines)


def metrics_json(evaluation: Evaluation, intervals: Intervals) -> dict[str, Any]:
    """The same, unrounded."""
    sections = [
        {
            "machine": row.machine,
            "section": row.section,
            "clips": dict(row.counts),
            **{name: _values(one) for name, one in intervals.sections[row.machine, row.section].items()},
        }
        for row in evaluation.rows
    ]
    return {"rule": evaluation.year, "official_score": _values(intervals.score), "sections": sections}


def trust_json(detection: Detection, drifts: Sequence[Drift]) -> dict[str, Any]:
    """Nominal and real rates where labels exist, and what the drift check found: how far decisions can be trusted."""
    real = [{**asdict(one), "rate": one.rate} for one in false_alarm_rates(detection)]
    shifts = [{**asdict(one), "warning": one.warning} for one in drifts]
    found: dict[str, Any] = {"false_alarms": real, "drift": shifts}
    if detection.recipe.fdr and real:
        found["false_discoveries"] = {**asdict(discoveries(detection)), "rate": discoveries(detection).rate}
    return found


def write_metrics(path: Path, figures: dict[str, Any]) -> None:
    """Write metrics as indented JSON."""
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.2f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _values(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
