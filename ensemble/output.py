"""What `detect` leaves behind: scores.csv for people and programs, the resolved recipe, metrics as text and JSON."""

import csv
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detectors.metrics.auc import auc
from detectors.metrics.intervals import Interval, Intervals, bootstrap
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate, rule_of
from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import discoveries, false_alarm_rates
from ensemble.recipe import FUSED, write_recipe
from ensemble.run import Detection
from ensemble.submission.package import read_submission
from featstore.console import table
from featstore.errors import DataError
from featstore.layouts.truth import apply_truth
from featstore.store import FeatureStore
from featstore.table import ClipTable

REPLICATES = 1000
PACKAGE = "dcase"
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


def clear_earlier(out: Path, *, package: bool) -> list[str]:
    """Remove the files an earlier run left in `out`, so that no two runs mix; notes about what stays.

    Also finds out whether `out` can be written, before anything is computed. The submission package of an earlier run
    is removed only when a new one is asked for.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
    earlier = [out / name for name in ("scores.csv", "recipe.toml", "metrics.json") if (out / name).exists()]
    for path in earlier:
        path.unlink()
    notes = [f"the results of an earlier run in {out} are replaced; -o keeps them apart"] if earlier else []
    if not (out / PACKAGE).exists():
        return notes
    if not package:
        return [*notes, f"{out / PACKAGE} is the package of an earlier run"]
    shutil.rmtree(out / PACKAGE)
    return notes


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


def read_any_scores(path: Path, clips: ClipTable, year: int) -> ScoreTable:
    """Anybody's scores of the test clips by key: a submission folder, or a CSV of `clip,score`.

    Names in a CSV may be keys or bare file names that only one test clip has. DataError names the first that is
    neither, or fits several clips.
    """
    if path.is_dir():
        return read_submission(path, clips, year=year)
    table = read_scores(path)
    known = clips.keys()
    keys, of_name = set(known), dict[str, list[str]]()
    for key in known:
        of_name.setdefault(PurePosixPath(key).name, []).append(key)
    found: list[str] = []
    for name in table.keys:
        fitting = [name] if name in keys else of_name.get(PurePosixPath(name.replace("\\", "/")).name, [])
        if len(fitting) != 1:
            fits = f"fits {len(fitting)} test clips, as {fitting[0]!r}" if fitting else "is no test clip of the store"
            raise DataError(
                f"{path}: {name!r} {fits}; expected paths as `featstore export` and scores.csv give them, file names "
                "that are unique, or the folder of a submission"
            )
        found += fitting
    try:
        return ScoreTable(table.name, tuple(found), table.scores)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def labelled(clips: ClipTable, year: int | None = None) -> tuple[ClipTable, list[str]]:
    """The clips of the sections that the rule of `year` can measure, and what the other labelled sections lack."""
    known = clips[~clips.where(label="unknown")]
    labels = Labels.of(known)
    kept, lacking = np.zeros(len(known), dtype=bool), []
    for machine, section, rows in labels.sections():
        try:
            for metric in rule_of(year or year_of(clips)).metrics.values():
                metric.split(labels.domain[rows], labels.is_anomaly[rows], f"{machine} section {section}")
            kept[rows] = True
        except ValueError as error:
            lacking.append(str(error))
    return known[kept], lacking


def year_of(clips: ClipTable) -> int:
    """The rule where the user names none: per domain where the domains are known and some section has both."""
    known = clips[~clips.where(label="unknown")]
    normal = known[known.where(label="normal")]
    source, target = (set(normal[normal.where(domain=domain)].sections()) for domain in ("source", "target"))
    return DOMAIN_RULE if source & target and not known.where(domain="unknown").any() else PLAIN_RULE


def package_year(clips: ClipTable) -> int:
    """The submission format where the user names no year: machine ids were handed in in 2020, sections since."""
    return 2020 if all(section.startswith("id_") for section in clips.column("section").tolist()) else DOMAIN_RULE


def measure(scores: ScoreTable, clips: ClipTable, year: int, *, seed: int = 0) -> tuple[Evaluation, Intervals]:
    """Official figures of the labelled `clips` with bootstrap intervals."""
    labels = Labels.of(clips)
    try:
        ours = ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys))
    except ValueError as error:
        raise DataError(str(error)) from error
    return evaluate(ours, labels, year), bootstrap(
        ours, labels, year, np.random.default_rng(seed), replicates=REPLICATES
    )


def metrics_text(evaluation: Evaluation, intervals: Intervals) -> str:
    """The table on the terminal: percent, 95 % intervals, the official score last."""
    names = list(rule_of(evaluation.year).metrics)
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


def separation_text(detection: Detection) -> str:
    """How labelled anomalies stand against the training clips' honest scores, where no normal clip was held out.

    Not an official figure: the training clips' scores are leave-one-out or cross-fitted. Empty where figures exist.
    """
    tests, train = detection.clips, detection.train
    normal = set(tests[tests.where(label="normal")].sections())
    rows = []
    for machine, section in tests[tests.where(label="anomaly")].sections():
        faults = tests.where(machine=machine, section=section, label="anomaly")
        among = train.where(machine=machine, section=section)
        if (machine, section) not in normal and among.any():
            value = auc(detection.reference[among], detection.score[faults])
            rows.append([machine, section, int(faults.sum()), int(among.sum()), f"{100 * value:.2f}"])
    if not rows:
        return ""
    header = ["machine", "section", "anomalies", "training clips", "auc against their leave-one-out scores"]
    return table(header, rows)


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
