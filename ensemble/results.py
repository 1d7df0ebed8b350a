"""What `detect run`, `report`, `evaluate` and `select` do with a request: score, measure, choose, write the results."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.checks.disk import data_root, gone_note
from ensemble.checks.training import training_warnings
from ensemble.checks.unscored import (
    Unscored,
    belonging,
    refuse_short,
    rejected_clips,
    rejected_keys,
    unscored_json,
    unscored_note,
)
from ensemble.chosen import Ensemble
from ensemble.decision.drift import Drift, drift
from ensemble.decision.false_alarms import false_alarm_rates, false_alarms_text
from ensemble.deviation.locate import locator_of
from ensemble.deviation.of_detection import Places, places
from ensemble.inputs import embeddings_of, evidence_of, with_confirmed_labels
from ensemble.marks.apply import MarkedStore, keys_marked, marked_faults, with_all_marks, with_marks
from ensemble.marks.file import FAULT
from ensemble.output import (
    SELECTION_FILE,
    labelled,
    measure,
    metrics_json,
    metrics_text,
    package_year,
    prepare_out,
    read_any_scores,
    score_table,
    separation,
    separation_text,
    test_clips,
    trust_json,
    write_detection,
    write_metrics,
    write_package,
    write_scores_parquet,
    year_of,
)
from ensemble.recipe import read_recipe, write_recipe
from ensemble.report.build import ReportOptions, read_selection, report_html, write_report
from ensemble.report.media import recordings
from ensemble.request import RunRequest, Say, Screen, SelectRequest, ensemble_of, judged_members, write_transductive
from ensemble.run import Detection, detect
from ensemble.selection.candidates import default_candidates, read_grid
from ensemble.selection.faults import read_faults
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options, Selection, select
from ensemble.selection.summary import selection_bytes, write_selection
from ensemble.windows.events import event_rate
from ensemble.windows.files import write_windows
from ensemble.windows.findings import Findings, findings_of
from ensemble.windows.recordings import MAXIMUM, Recordings, recordings_of, rule_text
from featstore.clip import window_of
from featstore.console import counted
from featstore.disk.files import write_new
from featstore.errors import DataError, OptionError
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import block


@dataclass(frozen=True)
class Outcome:
    """A finished run: files, metrics as JSON and as text, notes and warnings, and where reported clips deviate."""

    detection: Detection
    findings: Findings
    ensemble: Ensemble
    files: tuple[Path, ...]
    metrics: dict[str, Any]
    texts: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    where: Places
    unscored: tuple[Unscored, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OutRequest:
    """What a run writes.

    submission: also the files of a DCASE submission; fill_missing: with rows for test clips without a score. parquet:
    also scores.parquet. year: the official rule, None for the one that fits the data. data: folder of the recordings,
    None for that of the last build.
    """

    submission: bool = False
    parquet: bool = False
    fill_missing: bool = False
    year: int | None = None
    data: Path | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that do not go together."""
        if self.fill_missing and not self.submission:
            raise OptionError("--fill-missing adds rows to a submission; give --format dcase with it")


def run_to(path: Path, out: Path, request: RunRequest, screen: Screen, written: OutRequest | None = None) -> Outcome:
    """Score every test clip of the store at `path`; write scores.csv, recipe.toml and metrics.json to `out`.

    IncompleteError for a submission that would lack test clips without a score.
    """
    request.refuse_nothing()
    written, store = written or OutRequest(), FeatureStore.open(path)
    notes = prepare_out(out, package=written.submission)
    ensemble, ranked = ensemble_of(store, request, screen)
    if written.submission and _marks_hide_tests(store, ensemble):
        raise OptionError("--format dcase needs the scores of all test clips, and marks leave some out; add --no-marks")
    root = data_root(store, written.data)
    rejected = rejected_clips(store, embeddings_of(store, ensemble.recipe), root)
    in_package = written.submission and not written.fill_missing
    refuse_short(belonging(rejected, "test", request.machines) if in_package else ())
    detection = _detection(store, ensemble, request, screen)
    split = "train" if detection.self_ranked else "test"
    unscored = (*detection.unscored, *belonging(rejected, split, request.machines))
    refuse_short(unscored if in_package else ())
    findings = findings_of(detection, request.recording_score, store)
    where = places(store, detection, written.data)
    files = [
        *write_detection(detection, out, findings.seconds, where.sentences(), unscored),
        *_write_reason(ensemble, out / SELECTION_FILE),
    ]
    files += [write_scores_parquet(out)] if written.parquet else []
    files += write_windows(out, detection, findings) if findings.recordings.divided else []
    files += write_transductive(detection, ranked, out)
    if written.submission:
        files.append(write_package(detection, out, written.year, findings.recordings, unscored))
    drifts = _drifts(detection, request)
    metrics, texts, lacking = _measured(detection, findings, drifts, written.year)
    metrics |= {"ensemble": ensemble.as_json(), **unscored_json(unscored)}
    write_metrics(out / "metrics.json", metrics)
    files.append(out / "metrics.json")
    left_out = [f"left out of the metrics: {reason}" for reason in lacking]
    found = filter(None, [unscored_note(unscored), gone_note(root, detection.clips, detection.train)])
    notes = [*left_out, *found, *detection.notes, *where.notes, *notes]
    warnings = (*detection.warnings, *(shift.warning for shift in drifts if shift.warning))
    return Outcome(
        detection, findings, ensemble, tuple(files), metrics, tuple(texts), tuple(notes), warnings, where, unscored
    )


def _marks_hide_tests(store: FeatureStore, ensemble: Ensemble) -> bool:
    marked = with_marks(store, ensemble.recipe.marks)
    return len(test_clips(marked, None)) < len(test_clips(store, None))


def _drifts(detection: Detection, request: RunRequest) -> tuple[Drift, ...]:
    recording = np.array(detection.clips.recordings())
    return drift(detection.score, detection.decided, recording=recording, anomalies_at_most=request.anomalies_at_most)


def _detection(store: FeatureStore, ensemble: Ensemble, request: RunRequest, screen: Screen) -> Detection:
    recipe, shown = ensemble.recipe, screen.detecting
    return detect(store, recipe, machines=request.machines, workers=request.workers, progress=shown)


def _write_reason(ensemble: Ensemble, path: Path) -> list[Path]:
    """Write the selection that the ensemble follows from; one of an earlier run that it does not follow from goes."""
    if ensemble.selection:
        write_new(path, selection_bytes(ensemble.selection))
        return [path]
    if ensemble.kind != "recipe":  # a recipe may have been written beside its selection
        path.unlink(missing_ok=True)
    return []


def _measured(
    detection: Detection, findings: Findings, drifts: tuple[Drift, ...], year: int | None
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Metrics and real rates where labels exist, as JSON and as text; why other clips were left out."""
    recordings, events = findings.recordings, findings.events
    rule = year or year_of(recordings.clips)
    clips, lacking = labelled(recordings.clips, rule)
    metrics = trust_json(detection, drifts)
    apart = separation(detection)
    if apart:
        metrics["separation"] = apart
    texts: list[str] = []
    if len(clips):
        measured = measure(recordings.table(score_table(detection), clips.keys()), clips, rule)
        metrics = {**metrics_json(*measured), **metrics}
        texts.append(block(metrics_text(*measured), *_origin(recordings, clips)))
        metrics, text = _without_copies(metrics, detection, recordings, clips, rule)
        texts += [text] if text else []
    texts += filter(None, [separation_text(detection)])
    rates = false_alarm_rates(detection.clips, detection.decided)
    texts += [false_alarms_text(rates)] if rates else []
    if recordings.divided:
        metrics |= {"recordings": len(recordings.clips), "events": [asdict(event) for event in events]}
        false = event_rate(detection, events)
        metrics |= {"false_events": {**asdict(false), "per_hour": false.per_hour}} if false else {}
        texts += [false.text] if false else []
    return metrics, texts, lacking


def _without_copies(
    metrics: dict[str, Any], detection: Detection, recordings: Recordings, clips: ClipTable, rule: int
) -> tuple[dict[str, Any], str]:
    """The metrics with the official score without scored copies of training clips, and a line of it; "" without any."""
    copies = detection.copies.scored
    if not copies:
        return metrics, ""
    kept, _ = labelled(_without(clips, recordings.clips[recordings.holding(copies)]), rule)
    what = counted(len(copies), "copy", "copies")
    counts = {"exact": len(detection.copies.exact), "near": len(detection.copies.near)}
    if not len(kept):
        return metrics | {"copies": counts}, f"official score without the {what}: no section is left to measure"
    table = recordings.table(score_table(detection), kept.keys())
    only = ScoreTable(table.name, tuple(kept.keys()), table.aligned(kept.keys()))
    score = evaluate(only, Labels.of(kept), rule).score
    text = f"official score without the {what} of training clips: {100 * score:.2f}"
    return metrics | {"copies": {**counts, "official_score_without": score}}, text


def _without(clips: ClipTable, others: ClipTable) -> ClipTable:
    """The clips that are not among the others."""
    return clips[~np.isin(np.array(clips.keys(), dtype=object), np.array(others.keys(), dtype=object))]


def _origin(recordings: Recordings, measured: ClipTable) -> list[str]:
    """What the metrics are of, as a line below them; none without windows."""
    if not recordings.divided:
        return []
    return [f"of {len(measured):,} recordings, scored by the {rule_text(recordings.rule)} of their windows"]


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """The options of `detect report` beside those of a run."""

    store: Path
    out: Path
    data: Path | None = None
    top: int = 20
    seconds: float = 5.0
    year: int | None = None
    selection: Path | None = None


def report_to(page: ReportRequest, request: RunRequest, screen: Screen) -> None:
    """Score the store as `run_to` does, and explain the detection in one HTML file; by default of `--ensemble`."""
    store = FeatureStore.open(page.store)
    page.out.parent.mkdir(parents=True, exist_ok=True)
    if not request.names_members:
        request = replace(request, ensemble=True)
    ensemble, _ = ensemble_of(store, request, screen)
    selection = read_selection(page.selection, ensemble.recipe) if page.selection else ensemble.selection
    detection = _detection(store, ensemble, request, screen)
    info = store.info(evidence_of(store, detection.recipe).embedding)
    listen = recordings(page.data, info.sample_rate_hz, info.channel) if page.data else None
    shown = ReportOptions(f"Anomaly report: {page.store.resolve().name}", page.top, page.seconds, page.year)
    drifts = _drifts(detection, request)
    findings = findings_of(detection, request.recording_score, store)
    locator = locator_of(store, detection.train, pool_sections=detection.recipe.pool_sections)[0] if listen else None
    text = report_html(
        detection, shown, drifts=drifts, listen=listen, locator=locator, selection=selection, findings=findings
    )
    write_report(page.out, text)


def evaluate_scores(
    scores: Path,
    path: Path,
    *,
    ground_truth: Path | None,
    year: int | None,
    recipe: Path | None = None,
    recording_score: str = MAXIMUM,
    no_marks: bool = False,
) -> tuple[dict[str, Any], str, list[str]]:
    """Official metrics of anybody's scores of a store's test clips: as JSON, as text, and why clips were left out.

    recipe: the one that made the scores; test clips with confirmed labels that it was chosen by are left out. So are
    marked clips, by the marks that the recipe was made with, or by all of the store. recording_score: the rule for
    recordings whose windows are scored; scores of whole recordings are read as they are.
    """
    store, made_by = FeatureStore.open(path), read_recipe(recipe) if recipe else None
    every = tests = test_clips(store, ground_truth)
    if not no_marks:
        store = with_marks(store, made_by.marks) if made_by else with_all_marks(store, lambda note: None)
        tests = _unmarked(tests, store)
    tests, chose = with_confirmed_labels(tests, made_by) if made_by else (tests, 0)
    chosen_by = {*made_by.confirmed_faults, *made_by.confirmed_normal} if made_by else set()
    recordings = recordings_of(tests, recording_score, unlabelled=chosen_by)
    rule = year or year_of(recordings.clips)
    clips, lacking = labelled(recordings.clips, rule)
    if not len(clips):
        missing = lacking[0] if lacking else "no test clip has a label"
        cure = "--ground-truth takes the evaluator's folder, with ground_truth_data and ground_truth_domain"
        raise DataError(f"{path}: {missing}; {cure}")
    of_windows = recordings.divided and not scores.is_dir() and any(map(window_of, read_scores(scores).keys))
    known = every if of_windows else recordings_of(every, recording_score).clips
    rejected = rejected_keys(store, sorted(store.embeddings))
    table = read_any_scores(scores, known, year or package_year(every), rejected)
    clips, unscored = _scored(clips, table, recordings)
    measured = measure(recordings.table(table, clips.keys()) if of_windows else table, clips, rule)
    lacking = [*unscored, *lacking]
    if len(tests) < len(every):
        lacking = [f"{len(every) - len(tests)} marked clips; --no-marks counts them", *lacking]
    if chose:
        lacking = [f"{chose} clips that chose this ensemble", *lacking]
    metrics = metrics_json(*measured) | ({"recordings": len(recordings.clips)} if of_windows else {})
    return metrics, block(metrics_text(*measured), *(_origin(recordings, clips) if of_windows else ())), lacking


def _scored(clips: ClipTable, table: ScoreTable, recordings: Recordings) -> tuple[ClipTable, list[str]]:
    """The clips but for those that the scores name as having none, and notes on the clips that are left out."""
    named, notes = set(table.unscored), []
    lacking = set(recordings.windows.keys()) & named
    if lacking:
        clips = _without(clips, recordings.clips[recordings.holding(lacking)])
        notes.append(f"{counted(len(lacking), 'clip')} without a score, as the file says")
    if named - lacking:
        others = counted(len(named - lacking), "recording")
        notes.append(f"{others} that the store rejected: the metrics are of the clips of the store")
    return clips, notes


def _unmarked(tests: ClipTable, store: FeatureStore) -> ClipTable:
    """The test clips that are still test clips with the marks of `store`, without those marked as faults."""
    still, keys = set(test_clips(store, None).keys()) - set(keys_marked(store, FAULT)), tests.keys()
    return tests[np.array([key in still for key in keys], dtype=bool)]


def select_to(
    request: SelectRequest, *, say: Say, progress: Callable[[int, int], None]
) -> tuple[Selection, list[Path]]:
    """Choose members and fusion; write the recipe and selection.json beside it, and return all files written."""
    store = FeatureStore.open(request.store)
    store = store if request.no_marks else with_all_marks(store, say)
    options = Options(
        rule=request.rule,
        ranker=request.ranker,
        replicates=request.replicates,
        seed=request.seed,
        workers=request.workers,
        race=request.race,
        perturbed=PerturbDesign() if request.perturb else None,
        group=request.group or "",
        domains=request.domains,
    )
    if request.grid:
        candidates = read_grid(request.grid, store, request.embeddings, own_code=request.own_code)
    else:
        candidates = default_candidates(store, request.embeddings)
    judged, ranked = judged_members(store, request.external, say)
    folder = request.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    known = training_warnings(store, candidates)
    cache = ScoreCache(request.cache or folder / "selection-cache")
    faults = {**marked_faults(store), **(read_faults(request.faults, store) if request.faults else {})}
    selection = select(store, [*candidates, *judged], cache, options, faults=faults, progress=progress)
    selection = replace(selection, warnings=(*known, *selection.warnings))
    if isinstance(store, MarkedStore):
        selection = replace(selection, recipe=replace(selection.recipe, marks=store.marks.head))
        for note in store.warnings:
            say(f"note: {note}")
    files = [request.out, request.out.with_name("selection.json")]
    write_recipe(selection.recipe, files[0])
    write_selection(files[1], selection)
    if ranked:
        files += write_transductive(detect(store, selection.recipe), ranked, folder)
    return selection, files
