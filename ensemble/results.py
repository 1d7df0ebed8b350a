"""What `detect run`, `evaluate` and `select` do with a request: score, measure, choose, write the results."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.checks.disk import data_root, gone_note
from ensemble.checks.subtracted import left_out_notes
from ensemble.checks.training import training_warnings
from ensemble.checks.unscored import (
    Unscored,
    belonging,
    rejected_clips,
    unscored_json,
    unscored_note,
)
from ensemble.chosen import Ensemble
from ensemble.decision.drift import Drift, drift
from ensemble.decision.false_alarms import false_alarm_rates, false_alarms_text
from ensemble.decision.given import unused_notes
from ensemble.deviation.of_detection import Places, places
from ensemble.evaluation.separation import separation, separation_text
from ensemble.evaluation.without_copies import without_copies
from ensemble.inputs import embeddings_of
from ensemble.marks.apply import MarkedStore, marked_faults, with_all_marks, with_marks
from ensemble.output import (
    SCORES_FILE,
    SELECTION_FILE,
    labelled,
    measure,
    metrics_json,
    metrics_text,
    origin,
    prepare_out,
    score_table,
    test_clips,
    trust_json,
    write_detection,
    write_metrics,
    year_of,
)
from ensemble.page.kept import FILE as PAGE_FILE
from ensemble.page.kept import write_results
from ensemble.page.of_run import scored_of_run
from ensemble.recipe import write_recipe
from ensemble.request import RunRequest, Say, Screen, SelectRequest, ensemble_of, judged_members, write_transductive
from ensemble.run import Detection, detect
from ensemble.selection.candidates import default_candidates, read_grid
from ensemble.selection.faults import read_faults
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options, Selection, select
from ensemble.selection.summary import selection_bytes, write_selection
from ensemble.submission.authors import Stated, read_authors
from ensemble.submission.clips import package_year
from ensemble.submission.package import DEFAULT_LABEL, label_problem
from ensemble.submission.submit import Submission, Submitted, refuse_incomplete, write_package
from ensemble.tables.results import write_scores_parquet
from ensemble.windows.events import event_rate
from ensemble.windows.files import write_windows
from ensemble.windows.findings import Findings, findings_of
from featstore.disk.files import write_new
from featstore.errors import OptionError
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

    submission: also a DCASE submission, of the system `label` by the `authors` of a TOML file; fill_missing: with rows
    for test clips without a score. parquet: also scores.parquet. year: the official rule, None for the one that fits
    the data. data: folder of the recordings, None for that of the last build.
    """

    submission: bool = False
    parquet: bool = False
    label: str | None = None
    authors: Path | None = None
    fill_missing: bool = False
    year: int | None = None
    data: Path | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for options that do not go together."""
        given = {"--fill-missing": self.fill_missing, "--label": self.label is not None, "--authors": self.authors}
        for option, value in given.items():
            if value and not self.submission:
                raise OptionError(f"{option} is about a submission; give --format dcase with it")
        if self.label is not None and (problem := label_problem(self.label)):
            raise OptionError(f"--label: {problem}")

    def prepared(self, store: FeatureStore) -> Submission | None:
        """The system to submit, None where none is asked for; DataError for a file of authors that does not fit.

        Its year, where none is given, is the one that fits the test clips.
        """
        if not self.submission:
            return None
        year = self.year or package_year(test_clips(store, None))
        stated = read_authors(self.authors, year) if self.authors else Stated()
        return Submission(year, self.label or DEFAULT_LABEL, stated, self.fill_missing)


def run_to(path: Path, out: Path, request: RunRequest, screen: Screen, written: OutRequest | None = None) -> Outcome:
    """Score every test clip of the store at `path`; write scores.csv, recipe.toml and metrics.json to `out`.

    Last comes page.safetensors, which `detect review` opens. IncompleteError for a submission that would lack test
    clips without a score.
    """
    request, written, store = request.or_ensemble(), written or OutRequest(), FeatureStore.open(path)
    notes = prepare_out(out, package=written.submission)
    submission = written.prepared(store)
    ensemble, ranked = ensemble_of(store, request, screen)
    if written.submission and _marks_hide_tests(store, ensemble):
        raise OptionError("--format dcase needs the scores of all test clips, and marks leave some out; add --no-marks")
    root = data_root(store, written.data)
    rejected = rejected_clips(store, embeddings_of(store, ensemble.recipe), root)
    refuse_incomplete(submission, store, belonging(rejected, "test", request.machines))
    detection = detection_of(store, ensemble, request, screen)
    split = "train" if detection.self_ranked else "test"
    unscored = (*detection.unscored, *belonging(rejected, split, request.machines))
    refuse_incomplete(submission, store, unscored)
    findings = findings_of(detection, request.recording_score, store)
    where = places(store, detection, written.data)
    files = [
        *write_detection(detection, out, findings.seconds, where.sentences(), unscored),
        *_write_reason(ensemble, out / SELECTION_FILE),
    ]
    files += [write_scores_parquet(out / SCORES_FILE)] if written.parquet else []
    files += write_windows(out, detection, findings, where.sentences()) if findings.recordings.divided else []
    files += write_transductive(detection, ranked, out)
    submitted = Submitted()
    if submission:
        recordings = findings.recordings
        submitted = write_package(store, detection, out, submission, recordings=recordings, unscored=unscored)
    files += submitted.files
    drifts = drifts_of(detection, request)
    metrics, texts, lacking = _measured(detection, findings, drifts, written.year)
    metrics |= {"ensemble": ensemble.as_json(), **unscored_json(unscored)}
    write_metrics(out / "metrics.json", metrics)
    files.append(out / "metrics.json")
    notes += unused_notes(out, ensemble.recipe.thresholds)
    left_out = [f"left out of the metrics: {reason}" for reason in lacking]
    gone = gone_note(root, detection.clips, detection.train)
    found = filter(None, [unscored_note(unscored), *detection.found, gone])
    notes = [*found, *detection.remarks, *detection.decided.notes, *where.notes, *notes, *left_out, *submitted.notes]
    warnings = (*detection.warnings, *(shift.warning for shift in drifts if shift.warning), *submitted.warnings)
    outcome = Outcome(
        detection, findings, ensemble, tuple(files), metrics, tuple(texts), tuple(notes), warnings, where, unscored
    )
    return replace(outcome, files=(*files, _write_page(out / PAGE_FILE, store, outcome, drifts)))


def _write_page(path: Path, store: FeatureStore, outcome: Outcome, drifts: Sequence[Drift]) -> Path:
    """Keep the results as a page shows them."""
    scored = scored_of_run(
        store,
        outcome.detection,
        where=outcome.where.sentences(),
        drifts=drifts,
        metrics=outcome.metrics,
        notes=outcome.notes,
        warnings=outcome.warnings,
    )
    return write_results(path, scored)


def _marks_hide_tests(store: FeatureStore, ensemble: Ensemble) -> bool:
    marked = with_marks(store, ensemble.recipe.marks)
    return len(test_clips(marked, None)) < len(test_clips(store, None))


def _is_separated(reason: str, apart: list[dict[str, Any]]) -> bool:
    """Whether a section without normal clips has an AUC against the scores of its training clips instead."""
    sections = (f"{row['machine']} section {row['section']}" for row in apart)
    return any(reason.startswith(f"{section}: no normal clips") for section in sections)


def drifts_of(detection: Detection, request: RunRequest) -> tuple[Drift, ...]:
    """Whether the scores of each section have moved since training; copies of training clips do not count."""
    recording, copies = np.array(detection.clips.recordings()), detection.copies.scored
    counted_in = np.array([key not in copies for key in ClipTable.keys(detection.clips)], dtype=bool)
    share = request.anomalies_at_most
    return drift(detection.score, detection.decided, recording=recording, counted=counted_in, anomalies_at_most=share)


def detection_of(store: FeatureStore, ensemble: Ensemble, request: RunRequest, screen: Screen) -> Detection:
    """Score the machines of the request by an ensemble."""
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
        lacking = [reason for reason in lacking if not _is_separated(reason, apart)]
    texts: list[str] = []
    if len(clips):
        measured = measure(recordings.table(score_table(detection), clips.keys()), clips, rule)
        scores = score_table(detection)
        without = without_copies(detection.copies, lambda keys: recordings.table(scores, keys), recordings, clips, rule)
        metrics = {**metrics_json(*measured), **metrics, **without.json}
        texts += without.around(block(metrics_text(*measured), *origin(recordings, clips)))
    texts += filter(None, [separation_text(detection)])
    rates = false_alarm_rates(detection.clips, detection.decided)
    texts += [false_alarms_text(rates)] if rates else []
    if recordings.divided:
        metrics |= {"recordings": len(recordings.clips), "events": [asdict(event) for event in events]}
        false = event_rate(detection, events)
        metrics |= {"false_events": {**asdict(false), "per_hour": false.per_hour}} if false else {}
        texts += [false.text] if false else []
    return metrics, texts, lacking


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
        strategy=request.strategy,
        machines=request.machines,
    )
    if request.grid:
        candidates = read_grid(request.grid, store, request.embeddings, own_code=request.own_code)
    else:
        candidates = default_candidates(store, request.embeddings)
    for note in left_out_notes(store, request.embeddings):
        say(f"note: {note}")
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
