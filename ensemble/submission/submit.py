"""What a run writes of a submission: the folder of one system, the zip of its team, and what they still lack."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.checks.unscored import Unscored, refuse_short
from ensemble.output import PACKAGE, labelled, score_table, test_clips
from ensemble.run import Detection
from ensemble.submission.archive import systems_of, team_of, zip_team
from ensemble.submission.authors import Stated
from ensemble.submission.check import check_submission
from ensemble.submission.check_package import team_problems
from ensemble.submission.clips import is_evaluation, submitted
from ensemble.submission.facts import facts_of
from ensemble.submission.fill import expected_clips, filled, in_submission
from ensemble.submission.meta import write_meta
from ensemble.submission.package import DEFAULT_LABEL, TASK, write_submission
from ensemble.windows.recordings import Recordings
from featstore.store import FeatureStore
from featstore.table import ClipTable

SHOWN = 5
"""Problems that a run names; `detect submission` names all."""


@dataclass(frozen=True)
class Submission:
    """A system to submit: the year of the rules, its label, and what its authors state.

    fill_missing: test clips without a score get one.
    """

    year: int
    label: str = DEFAULT_LABEL
    stated: Stated = field(default_factory=Stated)
    fill_missing: bool = False


@dataclass(frozen=True)
class Submitted:
    """The folder of a system and the zip of its team, with notes and warnings about them."""

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def refuse_incomplete(submission: Submission | None, store: FeatureStore, unscored: Sequence[Unscored]) -> None:
    """IncompleteError that names the clips without a score that the submission would lack."""
    if submission and not submission.fill_missing:
        refuse_short(in_submission(unscored, test_clips(store, None)))


def write_package(
    store: FeatureStore,
    detection: Detection,
    out: Path,
    submission: Submission,
    *,
    recordings: Recordings | None = None,
    unscored: Sequence[Unscored] = (),
) -> Submitted:
    """Write OUT/dcase/task2/LABEL and OUT/dcase/TEAM.zip; the same system of an earlier run is replaced last.

    `recordings`: those of the clips, by default every clip; one is decided as an anomaly if any of its windows is.
    unscored: test clips that get the highest score of their section and are decided as anomalies.
    """
    clips, scores, decision = detection.clips, score_table(detection), detection.decision
    if recordings:
        clips, decision = recordings.clips, recordings.any(decision)
        scores = recordings.table(scores, clips.keys())
    development = (scores, clips)
    clips, scores, decision = _evaluation(*filled(clips, scores, decision, in_submission(unscored, clips)))
    year, package, new = submission.year, out / PACKAGE, out / f"{PACKAGE}.tmp"
    shutil.rmtree(new, ignore_errors=True)
    try:
        folder = write_submission(new, clips, scores, decision, year=year, label=submission.label)
        facts = facts_of(store, detection.recipe, recordings)
        write_meta(folder, year, facts, submission.stated, _results(*development, year))
        archive = zip_team(package, team_of(submission.label), new=folder, out=new)
        target = package / TASK / folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        archive.replace(package / archive.name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    found = check_submission(target, expected_clips(store), year)
    problems = [*found.problems, *team_problems(systems_of(target.parent))]
    warnings = [f"{target.name}: {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        rest = len(problems) - SHOWN
        warnings.append(f"{target.name}: {rest:,} more; all: detect submission {target} {store.path} --year {year}")
    notes = tuple(f"{target.name}: {text}" for text in found.notes)
    return Submitted((target, package / archive.name), notes, tuple(warnings))


def _evaluation(clips: ClipTable, scores: ScoreTable, decision: np.ndarray) -> tuple[ClipTable, ScoreTable, np.ndarray]:
    """The clips that are submitted, with their scores and decisions."""
    own = submitted(clips)
    row = {key: i for i, key in enumerate(clips.keys())}
    order = np.array([row[key] for key in own.keys()], dtype=np.intp)  # noqa: SIM118 - a table, not a dict
    return own, ScoreTable(scores.name, tuple(own.keys()), scores.aligned(own.keys())), decision[order]


def _results(scores: ScoreTable, clips: ClipTable, year: int) -> Evaluation | None:
    """The metrics of the labelled development clips, those that are not submitted; of all where all are submitted."""
    mask = np.array([not is_evaluation(path) for path in clips.recordings()], dtype=bool)
    measurable, _ = labelled(clips[mask] if mask.any() else clips, year)
    if not len(measurable):
        return None
    labels = Labels.of(measurable)
    return evaluate(ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys)), labels, year)
