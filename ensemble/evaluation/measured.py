"""The test clips that official metrics can be computed on, and anybody's scores of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.checks.unscored import rejected_keys
from ensemble.inputs import refuse_unknown_machines, with_confirmed_labels
from ensemble.marks.apply import keys_marked
from ensemble.marks.file import FAULT
from ensemble.output import labelled, read_any_scores, test_clips, year_of
from ensemble.recipe import Recipe
from ensemble.submission.clips import package_year
from ensemble.submission.package import evaluated
from ensemble.windows.recordings import MAXIMUM, Recordings, recordings_of
from featstore.clip import window_of
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import counted


@dataclass(frozen=True, eq=False)
class Measured:
    """Labelled test recordings of the sections that the rule of a year can measure.

    every: all test clips of the store. recordings: those of the clips that no mark and no choice takes away. clips:
    the recordings to measure. left_out: why others are not measured.
    """

    every: ClipTable
    recordings: Recordings
    rule: int
    clips: ClipTable
    left_out: tuple[str, ...]

    @classmethod
    def of(
        cls,
        store: FeatureStore,
        every: ClipTable,
        *,
        year: int | None,
        marked: FeatureStore | None = None,
        recipes: Sequence[Recipe] = (),
        recording_score: str = MAXIMUM,
        machines: Sequence[str] = (),
    ) -> "Measured":
        """Of `every` test clip of a store, of the named machines or of all; `marked`: the store with marks that count.

        Test clips with confirmed labels that some of the `recipes` was chosen by are left out. DataError where no
        section can be measured.
        """
        refuse_unknown_machines(machines, every, store)
        own = every[np.isin(every.column("machine"), machines)] if machines else every
        tests, notes = own, []
        chosen_by = {key for recipe in recipes for key in (*recipe.confirmed_faults, *recipe.confirmed_normal)}
        if marked is not None:
            tests = _unmarked(tests, marked)
        n_marked = len(own) - len(tests)
        chose = sum(key in chosen_by for key in ClipTable.keys(tests))
        for recipe in recipes:
            tests, _ = with_confirmed_labels(tests, recipe)
        if chose:
            notes.append(f"{counted(chose, 'clip')} that chose {'this ensemble' if len(recipes) == 1 else 'a system'}")
        if n_marked:
            notes.append(f"{counted(n_marked, 'marked clip')}; --no-marks counts them")
        recordings = recordings_of(tests, recording_score, unlabelled=chosen_by)
        rule = year or year_of(recordings.clips)
        clips, lacking = labelled(recordings.clips, rule)
        if not len(clips):
            raise DataError(f"{store.path}: {_nothing_to_measure(recordings.clips, lacking)}")
        return cls(every, recordings, rule, clips, (*notes, *lacking))

    def read(
        self, path: Path, store: FeatureStore, year: int | None, others: Collection[str] = ()
    ) -> tuple[ScoreTable, bool]:
        """Scores of a file or of a submission folder by key, and whether they are of windows of recordings.

        others: keys of further clips, whose scores are left out and named by `unscored` of the table.
        """
        divided = self.recordings.divided
        of_windows = divided and not path.is_dir() and any(map(window_of, read_scores(path).keys))
        known = self.every if of_windows else recordings_of(self.every, self.recordings.rule).clips
        rejected = {*rejected_keys(store, sorted(store.embeddings)), *others}
        return read_any_scores(path, known, year or package_year(self.every), rejected), of_windows


def scorable_clips(
    store: FeatureStore,
    ground_truth: Path | None,
    scores: Sequence[Path],
    year: int | None,
    machines: Collection[str],
) -> ClipTable:
    """The test clips of a store that scores can be about: those of the evaluation data for a submission of these.

    DataError for a submission without some of the named machines, which the store has.
    """
    clips = test_clips(store, ground_truth)
    for folder in filter(Path.is_dir, scores):
        own = evaluated(folder, clips, year or package_year(clips))
        lost = (set(machines) & set(clips.column("machine").tolist())) - set(own.column("machine").tolist())
        if lost:
            raise DataError(
                f"{folder}: this submission scores the evaluation data alone, and machine {min(lost)} is not among "
                f"them; leave out --machine {min(lost)}"
            )
        clips = own
    return clips


def _unmarked(tests: ClipTable, store: FeatureStore) -> ClipTable:
    """The test clips that are still test clips with the marks of `store`, without those marked as faults."""
    still, keys = set(test_clips(store, None).keys()) - set(keys_marked(store, FAULT)), tests.keys()
    return tests[np.array([key in still for key in keys], dtype=bool)]


def _nothing_to_measure(clips: ClipTable, lacking: list[str]) -> str:
    """Why no section can be measured, and what to do."""
    known = clips[~clips.where(label="unknown")]
    for label, folder, noun in (("normal", "normal", "normal"), ("anomaly", "abnormal", "anomalous")):
        if len(known) and not known.where(label=label).any():
            machine = min(known.column("machine").tolist())
            return f"no {noun} test recordings, so no AUC; put some in {machine}/test/{folder} and build again"
    missing = lacking[0] if lacking else "no test clip has a label"
    cure = "--ground-truth takes the evaluator's folder, with ground_truth_data and ground_truth_domain"
    return f"{missing}; {cure}"
