"""The files that `detect` writes: scores.csv, the resolved recipe and metrics; and scores that it reads."""

import csv
import io
import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from detectors.metrics.intervals import Interval, Intervals, caution, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate, rule_of
from detectors.metrics.scores import NOT_SCORED, ScoreTable, read_scores
from ensemble.checks.unscored import Unscored
from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import discoveries, false_alarm_rates
from ensemble.page.kept import FILE as PAGE_FILE
from ensemble.recipe import FUSED, write_recipe
from ensemble.run import Detection
from ensemble.submission.package import read_submission
from ensemble.windows.blocks import any_windows
from ensemble.windows.events import spans_of
from ensemble.windows.files import remove_windows, time_text
from ensemble.windows.recordings import Recordings, recordings_of, rule_text
from featstore.clip import window_of
from featstore.console import table
from featstore.disk.files import write_new
from featstore.errors import DataError
from featstore.layouts.names import Names, several
from featstore.layouts.truth import apply_truth
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import Block, block, counted

PACKAGE = "dcase"
DOMAIN_RULE, PLAIN_RULE = 2023, 2020
PARQUET_FILE = "scores.parquet"
SCORES_FILE, RECIPE_FILE, METRICS_FILE, SELECTION_FILE = "scores.csv", "recipe.toml", "metrics.json", "selection.json"


def prepare_out(out: Path, *, package: bool) -> list[str]:
    """Make the folder `out`; notes on the results of an earlier run in it.

    OSError where `out` cannot be written, before anything is computed. `package`: a submission package will be written.
    """
    writable(out)
    notes = []
    if any((out / name).exists() for name in (SCORES_FILE, RECIPE_FILE, METRICS_FILE)):
        notes.append(
            f"the results of an earlier run in {out} are replaced; to keep both, choose another folder with -o"
        )
    if (out / PACKAGE).exists() and not package:
        notes.append(f"{out / PACKAGE} is the package of an earlier run")
    return notes


def writable(out: Path) -> None:
    """Make the folder `out`; OSError where it cannot be written."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


@contextmanager
def removed_if_empty(out: Path) -> Iterator[None]:
    """Remove the folder `out`, where it is new, if the block fails before anything was written to it."""
    is_new = not out.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # not empty, or never made
                out.rmdir()
        raise


def write_detection(
    detection: Detection,
    out: Path,
    seconds: np.ndarray | None = None,
    where: Mapping[int, str] = MappingProxyType({}),
    unscored: Sequence[Unscored] = (),
) -> list[Path]:
    """Write scores.csv and recipe.toml to the folder `out`; returns the files. Other files of an earlier run go.

    seconds, where, unscored: see `scores_csv`.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_new(out / SCORES_FILE, scores_csv(detection, seconds, where, unscored).encode("utf-8", "surrogateescape"))
    for name in (METRICS_FILE, PARQUET_FILE, PAGE_FILE):
        (out / name).unlink(missing_ok=True)  # no two runs may mix
    remove_windows(out)
    write_recipe(detection.recipe, out / RECIPE_FILE)
    return [out / SCORES_FILE, out / RECIPE_FILE]


def scores_csv(
    detection: Detection,
    seconds: np.ndarray | None = None,
    where: Mapping[int, str] = MappingProxyType({}),
    unscored: Sequence[Unscored] = (),
) -> str:
    """One row per clip, most anomalous first, with the evidence beside the decision.

    Where some clips are windows, every row has a start and an end; `seconds` are the lengths (m,) of whole recordings.
    where: row of a clip -> where it deviates from normal, in words. A column `copy_of` names the training clip that a
    copy repeats, if there are copies; `recording` says how a clip was recorded differently, if any was. unscored: clips
    without a score come last, with the reason in `not_scored`.
    """
    members = [member.name for member in detection.recipe.members]
    spans = spans_of(detection.clips, seconds) if any_windows(detection.clips) else np.zeros((len(detection.clips), 0))
    header = ["clip", "machine", "section", "domain", *(["start_s", "end_s"] if spans.size else [])]
    header += ["score", "percentile", "p_value", "threshold", "decision"]
    p_values, thresholds = detection.decided.p_value, detection.decided.threshold
    columns = [detection.clips.column(name).tolist() for name in ("machine", "section", "domain")]
    keys, text = detection.clips.keys(), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    domains = detection.domains
    header += ["target_probability"] if domains else []
    copies = detection.copies
    copy_of = {**copies.scored, **(copies.of_training if detection.self_ranked else {})}
    header += ["nearest_normal", "nearest_distance", "where"]
    header += [*(["copy_of"] if copy_of else []), *(["recording"] if detection.recorded else [])]
    header += [*([NOT_SCORED] if unscored else []), *members]
    writer.writerow(header)
    for i in np.argsort(-detection.percentile, kind="stable"):
        writer.writerow(
            [
                keys[i],
                *(column[i] for column in columns),
                *map(time_text, spans[i]),
                repr(float(detection.score[i])),
                f"{detection.percentile[i]:.6f}",
                f"{p_values[i]:.6f}",
                repr(float(thresholds[i])),
                int(detection.decision[i]),
                *([f"{domains.scored[i]:.6f}"] if domains else []),
                detection.nearest[i],
                f"{detection.nearest_distance[i]:.6f}" if detection.nearest[i] else "",
                where.get(int(i), ""),
                *([copy_of.get(keys[i], "")] if copy_of else []),
                *(["; ".join(detection.recorded.get(keys[i], ()))] if detection.recorded else []),
                *([""] if unscored else []),
                *(f"{value:.6f}" for value in detection.member_percentiles[:, i]),
            ]
        )
    for clip in unscored:
        place, span = clip.place, window_of(clip.path) or ("", "")
        cells = {"clip": clip.path, "machine": place.machine, "section": place.section, "domain": place.domain}
        cells |= {"start_s": str(span[0]), "end_s": str(span[1]), NOT_SCORED: clip.reason}
        writer.writerow([cells.get(name, "") for name in header])
    return text.getvalue()


def score_table(detection: Detection) -> ScoreTable:
    """The fused scores (or those of the single member) by clip key."""
    name = FUSED if len(detection.recipe.members) > 1 else detection.recipe.members[0].name
    return ScoreTable(name, tuple(detection.clips.keys()), detection.score)


def test_clips(store: FeatureStore, ground_truth: Path | None) -> ClipTable:
    """The test clips of a store, with the labels of official ground-truth files where these are given."""
    tables = [store.clips(name) for name in sorted(store.embeddings)]
    clips = max(tables, key=len, default=ClipTable.from_clips([]))
    tests = clips[clips.where(split="test")]
    if ground_truth is None:
        return tests
    recordings = recordings_of(tests)  # the truth names recordings, not windows
    return recordings.labelled(ClipTable.from_clips(apply_truth(list(recordings.clips), ground_truth)[0]))


def read_any_scores(path: Path, clips: ClipTable, year: int, rejected: Collection[str] = ()) -> ScoreTable:
    """Scores of the test clips by key, from a submission folder or a CSV of `clip,score`.

    A clip of the CSV is named by its key, by a path that ends alike, or by a file name that only one has. Scores
    of recordings that the store `rejected` are left out, and named by `unscored` of the table. DataError names the
    first name that fits no clip or several.
    """
    if path.is_dir():
        return read_submission(path, clips, year=year, rejected=rejected)
    table = read_scores(path)
    names, left_out = Names(clips.keys()), Names(rejected)
    scored: list[str] = []
    unscored, rows = list(table.unscored), []
    for row, name in enumerate(table.keys):
        fitting = [] if name in left_out.keys - names.keys else names.fitting(name)
        if not fitting and left_out.fitting(name):
            unscored.append(name)
            continue
        if len(fitting) != 1:
            problem = several(fitting, "test clips") if fitting else "is no test clip of the store"
            raise DataError(
                f"{path}: {name!r} {problem}; expected paths as in scores.csv and `featstore export`, unique file "
                "names, or the folder of a submission"
            )
        scored += fitting
        rows.append(row)
    try:
        return ScoreTable(table.name, tuple(scored), table.scores[rows], tuple(unscored))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def labelled(clips: ClipTable, year: int | None = None) -> tuple[ClipTable, list[str]]:
    """The clips of the sections that the rule of `year` can measure, and why each other labelled section cannot be."""
    known = clips[~clips.where(label="unknown")]
    labels = Labels.of(known)
    measurable, reasons = np.zeros(len(known), dtype=bool), []
    for machine, section, rows in labels.sections():
        try:
            for metric in rule_of(year or year_of(clips)).metrics.values():
                metric.split(labels.domain[rows], labels.is_anomaly[rows], f"{machine} section {section}")
            measurable[rows] = True
        except ValueError as error:
            reasons.append(str(error))
    return known[measurable], reasons


def year_of(clips: ClipTable) -> int:
    """The rule where the user names none: by domain where all domains are known and some section has both."""
    known = clips[~clips.where(label="unknown")]
    normal = known[known.where(label="normal")]
    source, target = (set(normal[normal.where(domain=domain)].sections()) for domain in ("source", "target"))
    return DOMAIN_RULE if source & target and not known.where(domain="unknown").any() else PLAIN_RULE


def measure(scores: ScoreTable, clips: ClipTable, year: int) -> tuple[Evaluation, Intervals]:
    """Official metrics of the labelled `clips` with 95 % intervals."""
    labels = Labels.of(clips)
    try:
        labelled_scores = ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys))
    except ValueError as error:
        raise DataError(str(error)) from error
    return evaluate(labelled_scores, labels, year), intervals(labelled_scores, labels, year)


def metrics_text(evaluation: Evaluation, limits: Intervals) -> Block:
    """The table on the terminal: percent, 95 % intervals, the official score last."""
    names = list(rule_of(evaluation.year).metrics)
    rows: list[list[object]] = []
    for row in evaluation.rows:
        values = limits.sections[row.machine, row.section]
        rows.append([row.machine, row.section, *(percent(values[name]) for name in names)])
    means = [f"{100 * evaluation.mean(name):.2f}" for name in names]
    rows.append([f"{rule_of(evaluation.year).mean} mean", "", *means])
    score = f"official score ({evaluation.year} rule): {percent(limits.score)}"
    warnings = [f"warning: {warning}" for warning in evaluation.warnings]
    notes = [f"note: {note}" for note in caution(evaluation)]
    return block(table(["machine", "section", *names], rows), score, *warnings, *notes)


def origin(recordings: Recordings, measured: ClipTable) -> list[str]:
    """What the metrics are of, as a line below them; none without windows."""
    if not recordings.divided:
        return []
    what = counted(len(measured), "recording")
    return [f"of {what}, scored by the {rule_text(recordings.rule)} of their windows"]


def metrics_json(evaluation: Evaluation, limits: Intervals) -> dict[str, Any]:
    """The metrics of `metrics_text`, unrounded."""
    sections = [
        {
            "machine": row.machine,
            "section": row.section,
            "clips": dict(row.counts),
            **{name: _values(interval) for name, interval in limits.sections[row.machine, row.section].items()},
        }
        for row in evaluation.rows
    ]
    notes = {"interval_notes": list(notes)} if (notes := caution(evaluation)) else {}
    return {"rule": evaluation.year, "official_score": _values(limits.score), "sections": sections, **notes}


def trust_json(detection: Detection, drifts: Sequence[Drift]) -> dict[str, Any]:
    """How far the decisions can be trusted: nominal and real rates where labels exist, and the drift check."""
    clips, decided = detection.clips, detection.decided
    rates = [{**asdict(alarms), "rate": alarms.rate} for alarms in false_alarm_rates(clips, decided)]
    shifts = [{**asdict(drift), "warning": drift.warning} for drift in drifts]
    trust: dict[str, Any] = {"false_alarms": rates, "drift": shifts}
    if decided.fdr and rates:
        false = discoveries(clips, decided)
        trust["false_discoveries"] = {**asdict(false), "rate": false.rate}
    return trust


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics as indented JSON, whole or not at all."""
    write_new(path, (json.dumps(metrics, indent=1) + "\n").encode())


def percent(interval: Interval) -> str:
    """A metric in percent, with its interval in brackets."""
    return f"{100 * interval.value:.2f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _values(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
