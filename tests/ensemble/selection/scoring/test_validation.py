"""The cross-fitted protocol, and metrics on generated anomalies against the official ones."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from selection_store import recordings, variants
from window_store import windows

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from ensemble.selection.quality import METRICS, Evaluator, by_pair, official_score
from ensemble.selection.scoring.held_out import held_out_scores
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.scoring.validation import NORMAL, Pair, Validation, plan_validation
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable, encode


def facts_of(clips: list[Clip], hashes: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    contents = [(hashes or {}).get(clip.path, f"hash of {clip.path}") for clip in clips]
    return {"content_hash": encode(contents), "outcome": encode("" for _ in clips)}


def planned(clips: list[Clip], hashes: dict[str, str] | None = None, folds: int = 5) -> Validation:
    return plan_validation(ClipTable.from_clips(clips), facts_of(clips, hashes), folds=folds)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [*recordings(), *variants(recordings())]


def test_a_pair_is_read_from_the_variant() -> None:
    assert Pair.of("leak@-5dB#17") == Pair("leak", -5.0)
    assert Pair.of("mix@0dB#3<pump/train/a@b.wav").name == "mix@0"
    with pytest.raises(DataError, match="names no generated anomaly"):
        Pair.of("loud")


def test_variants_share_the_fold_of_their_source_and_copies_that_of_the_first(clips: list[Clip]) -> None:
    one, two = clips[0].path, clips[7].path
    plan = planned(clips, {one: "same", two: "same"})
    fold_of = dict(zip(plan.keys, plan.fold.tolist(), strict=True))
    assert all(fold_of[key] == fold_of[key.partition("::")[0]] for key in plan.keys)
    assert fold_of[one] == fold_of[two]
    assert plan.source[plan.keys.index(one)] == plan.source[plan.keys.index(two)]


@pytest.mark.parametrize("seed", range(3))
def test_folds_and_halves_are_even_within_every_domain(clips: list[Clip], seed: int) -> None:
    """Whatever the order of the content hashes, which mixes the domains."""
    order = np.random.default_rng(seed).permutation(len(clips))
    plan = planned(clips, {clip.path: f"{number:05d}" for clip, number in zip(clips, order.tolist(), strict=True)})
    for section in (0, 1):
        for domain, expected in (("source", {3, 4}), ("target", {0, 1})):
            here = plan.normal & (plan.section == section) & (plan.domain == domain)
            assert set(np.bincount(plan.fold[here], minlength=5).tolist()) <= expected
            assert np.count_nonzero(plan.half(0)[here]) == np.count_nonzero(here) / 2


def test_no_clip_is_scored_by_a_bank_that_contains_it(clips: list[Clip]) -> None:
    """Every variant equals its source, and two sources are copies: any leak gives a score of 0."""
    one, two = clips[0].path, clips[7].path
    plan = planned(clips, {one: "same", two: "same"})
    vectors = {clip.path: np.random.default_rng(i).normal(size=8) for i, clip in enumerate(clips[:40])}
    vectors[two] = vectors[one]
    X = np.array([vectors[key.partition("::")[0]] for key in plan.keys])
    assert held_out_scores("knn", X, plan).min() > 1e-3


def test_scores_do_not_depend_on_the_order_of_rows(clips: list[Clip]) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(clips))
    shuffled = [clips[i] for i in order]
    first, second = planned(clips), planned(shuffled)
    assert first.keys == second.keys
    assert first.digest == second.digest
    X = rng.normal(size=(len(clips), 4))
    scores = [held_out_scores("mahalanobis", rows[plan.rows], plan) for rows, plan in ((X, first), (X[order], second))]
    np.testing.assert_allclose(*scores)


def test_the_digest_changes_with_clips_and_folds(clips: list[Clip]) -> None:
    assert len({planned(clips).digest, planned(clips[:-1]).digest, planned(clips, folds=4).digest}) == 3


def test_only_normal_training_clips_and_their_variants_are_used(clips: list[Clip]) -> None:
    outside = [
        replace(clips[0], path="fan/test/x.wav", split="test"),
        replace(clips[0], path="fan/test/x.wav", split="test", variant="leak@0dB#1"),
        replace(clips[0], path="fan/train/known_fault.wav", label="anomaly"),
        replace(clips[0], path="fan/train/gone.wav", label="anomaly", variant="leak@0dB#1"),
        replace(clips[0], path="pump/train/alone.wav", machine="pump"),
    ]
    plan = planned([*outside, *clips])
    assert set(plan.keys) == {clip.key for clip in clips}
    assert plan.notes == ("pump section 00 has no generated anomalies: left out",)
    silent = facts_of(clips)
    silent["outcome"] = encode(["silent", *("" for _ in clips[1:])])
    kept = plan_validation(ClipTable.from_clips(clips), silent)
    assert not any(key.startswith(clips[0].path) for key in kept.keys)


def test_a_section_of_copies_is_left_out(clips: list[Clip]) -> None:
    same = {clip.path: "same" for clip in clips if clip.section == "01"}
    assert planned(clips, same).sections == (("fan", "00"),)


def test_a_store_without_anomalies_is_refused() -> None:
    with pytest.raises(DataError, match="--anomalies auto"):
        planned(recordings())


def test_a_detector_that_cannot_be_fitted_names_the_section(clips: list[Clip]) -> None:
    plan = planned(clips)
    with pytest.raises(ValueError, match="fan section 00"):
        held_out_scores("mahalanobis:covariance=empirical", np.zeros((len(plan), 30)), plan)


def as_evaluated(plan: Validation, scores: np.ndarray, pair: int) -> list[list[float]]:
    """Metrics of one pair by the official evaluation."""
    rows = np.flatnonzero((plan.pair == NORMAL) | (plan.pair == pair))
    machine, section = (np.array([name[i] for name in plan.sections])[plan.section[rows]] for i in (0, 1))
    keys = tuple(plan.keys[row] for row in rows)
    labels = Labels(keys, machine, section, plan.domain[rows], plan.pair[rows] == pair)
    evaluation = evaluate(ScoreTable("x", keys, scores[rows]), labels, 2023)
    return [[row.values[name] for name in METRICS] for row in evaluation.rows]


@pytest.mark.parametrize("levels", [1_000_000, 7])  # few levels: many ties
def test_metrics_are_the_official_ones(clips: list[Clip], levels: int) -> None:
    plan = planned(clips)
    scores = np.random.default_rng(1).integers(levels, size=len(plan)).astype(float) + 3 * (plan.pair == 2)
    metrics = Evaluator(plan).metrics(scores)
    for pair in range(len(plan.pairs)):
        np.testing.assert_allclose(metrics[:, pair], as_evaluated(plan, scores, pair), rtol=1e-12)


def test_rows_of_scores_are_evaluated_each_for_itself(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with and without ties, in several blocks."""
    plan = planned(clips)
    rng = np.random.default_rng(6)
    scores = np.stack([rng.integers(levels, size=len(plan)) * 1.0 for levels in (7, 10**9, 1, 40)])
    monkeypatch.setattr("ensemble.selection.quality.BLOCK", 2 * len(plan) // len(plan.sections))
    metrics = Evaluator(plan).metrics(scores)
    for row, of_row in zip(scores, metrics, strict=True):
        np.testing.assert_array_equal(Evaluator(plan).metrics(row), of_row)
    ones = np.ones((2, int(plan.source.max()) + 1))
    for row, of_row in zip(scores, metrics, strict=True):
        np.testing.assert_allclose(Evaluator(plan).resampled_metrics(row, ones), [of_row] * 2, rtol=1e-12)


def test_metrics_of_some_pairs_are_those_among_all(clips: list[Clip]) -> None:
    plan = planned(clips)
    scores = np.random.default_rng(7).normal(size=len(plan))
    some = np.arange(len(plan.pairs)) % 2 == 0
    metrics = Evaluator(plan, pairs=some).metrics(scores)
    np.testing.assert_array_equal(metrics[:, some], Evaluator(plan).metrics(scores)[:, some])
    assert np.isnan(metrics[:, ~some]).all()


@pytest.mark.parametrize("levels", [1_000_000, 7])
def test_a_weight_counts_a_recording_as_often(clips: list[Clip], levels: int) -> None:
    """A bootstrap weight of 2 equals a second copy of the recording and its variants."""
    plan = planned(clips)
    rng = np.random.default_rng(2)
    weights = rng.integers(1, 4, size=(3, int(plan.source.max()) + 1))
    scores = rng.integers(levels, size=len(plan)).astype(float)
    metrics = Evaluator(plan).resampled_metrics(scores, weights)
    for row, counts in zip(metrics, weights, strict=True):
        again = np.repeat(np.arange(len(plan)), counts[plan.source])
        columns = {name: getattr(plan, name)[again] for name in ("rows", "section", "domain", "pair", "source", "fold")}
        repeated = replace(plan, keys=tuple(plan.keys[i] for i in again), **columns)
        np.testing.assert_allclose(row, Evaluator(repeated).metrics(scores[again]), rtol=1e-12)


def test_halves_divide_the_recordings(clips: list[Clip]) -> None:
    plan = planned(clips)
    first, second = plan.half(0), plan.half(1)
    assert (first ^ second).all()
    assert not set(plan.source[first]) & set(plan.source[second])
    scores = np.random.default_rng(3).normal(size=len(plan))
    alone = Evaluator(plan, first).metrics(scores)
    scores[second] = 99
    np.testing.assert_array_equal(Evaluator(plan, first).metrics(scores), alone)


def test_sections_without_domains_have_one_auc(clips: list[Clip]) -> None:
    plan = planned([replace(clip, domain="unknown") for clip in clips])
    metrics = Evaluator(plan).metrics(np.random.default_rng(4).normal(size=len(plan)))
    assert np.isnan(metrics[..., 1]).all()
    assert np.isfinite(official_score(metrics, np.ones(len(plan.pairs))))
    assert np.isfinite(by_pair(metrics)).all()


def test_the_official_score_of_one_pair_is_the_harmonic_mean_of_its_metrics(clips: list[Clip]) -> None:
    plan = planned(clips)
    metrics = Evaluator(plan).metrics(np.random.default_rng(5).normal(size=len(plan)))
    only = np.zeros(len(plan.pairs))
    only[3] = 1
    assert official_score(metrics, only) == pytest.approx(1 / np.mean(1 / metrics[:, 3]))


def dated(clips: list[Clip]) -> list[Clip]:
    """The clips with a day each: five recordings in a row, in both sections."""
    return [replace(clip, attributes={"day": f"{int(clip.path[-7:-4]) // 5}"}) for clip in clips]


def by_day(clips: list[Clip], **options: Any) -> Validation:
    return plan_validation(ClipTable.from_clips(clips), facts_of(clips), group="day", **options)


def test_folds_and_halves_hold_whole_days_with_everything_made_from_them(clips: list[Clip]) -> None:
    clips = dated(clips)
    plan = by_day(clips)
    day_of = {clip.key: clip.attributes["day"] for clip in clips}
    days = np.array([day_of[key] for key in plan.keys])
    for section in (0, 1):
        here = plan.section == section
        for of in (plan.fold, plan.half(0)):
            assert all(len(set(of[here & (days == day)].tolist())) == 1 for day in "0123")
        assert len(set(plan.fold[here].tolist())) == 4
        assert len(set(zip(days[here].tolist(), plan.half(0)[here].tolist(), strict=True))) == 4
        assert 0 < np.count_nonzero(plan.half(0)[here & plan.normal]) < np.count_nonzero(here & plan.normal)
    assert plan.keys == planned(clips).keys
    assert plan.digest != planned(clips).digest


def test_no_clip_is_scored_by_a_bank_of_its_day(clips: list[Clip]) -> None:
    """All clips of a day are equal: any leak gives a score of 0."""
    clips = dated(clips)
    plan = by_day(clips)
    vectors = np.random.default_rng(0).normal(size=(4, 8))
    day_of = {clip.key: int(clip.attributes["day"]) for clip in clips}
    X = vectors[[day_of[key] for key in plan.keys]]
    assert held_out_scores("knn", X, plan).min() > 1e-3
    assert held_out_scores("knn", X, planned(clips)).max() < 1e-9


def test_a_section_of_one_day_keeps_its_folds(clips: list[Clip]) -> None:
    one_day = [replace(clip, attributes={"day": "9"}) if clip.section == "01" else clip for clip in dated(clips)]
    plan, plain = by_day(one_day), planned(one_day)
    assert "--group day: machine fan section 01 has only one day" in plan.notes[-1]
    np.testing.assert_array_equal(plan.fold[plan.section == 1], plain.fold[plan.section == 1])
    with pytest.raises(DataError, match="of every section are of one day"):
        by_day([replace(clip, attributes={"day": "9"}) for clip in clips])


def test_perturbed_clips_are_in_the_block_of_their_original(clips: list[Clip]) -> None:
    plan = by_day(dated(clips), perturbed=PerturbDesign())
    assert plan.block is not None
    assert plan.changes is not None
    np.testing.assert_array_equal(plan.block[plan.stored :], plan.block[plan.changes.origin])
    np.testing.assert_array_equal(plan.fold[plan.stored :], plan.fold[plan.changes.origin])


def cut(clips: list[Clip], count: int = 3) -> list[Clip]:
    """Windows of the recordings."""
    return [window for clip in clips for window in windows(clip, count)]


def windowed(clips: list[Clip], *, hashed: bool = True, **options: Any) -> Validation:
    """The plan of windows; those of a recording share its content hash."""
    contents = encode(f"hash of {clip.recording}" if hashed else "" for clip in clips)
    facts = {"content_hash": contents, "outcome": encode("" for _ in clips)}
    return plan_validation(ClipTable.from_clips(clips), facts, **options)


def recordings_in(plan: Validation) -> np.ndarray:
    return np.array([key.partition("#")[0] for key in plan.keys])


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("group", ["", "recording"])
def test_windows_of_a_recording_are_in_one_fold_with_everything_made_from_them(hashed: bool, group: str) -> None:
    """All windows of a recording are equal: any leak gives a score of 0."""
    base = cut(recordings(6, 2))
    plan = windowed([*base, *variants(base)], hashed=hashed, group=group)
    names = recordings_in(plan)
    for of in (plan.fold, plan.half(0), plan.source, plan.block):
        assert of is not None
        assert all(len(set(of[names == name].tolist())) == 1 for name in names)
    assert len(set(plan.source.tolist())) == 12
    assert not plan.notes
    vectors = {name: np.random.default_rng(i).normal(size=8) for i, name in enumerate(sorted(set(names)))}
    X = np.array([vectors[name] for name in names])
    assert held_out_scores("knn", X, plan).min() > 1e-3


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("group", ["", "recording"])
def test_a_section_of_one_recording_is_cut_into_stretches(hashed: bool, group: str) -> None:
    one = windows(Clip("fan/train/long.wav", "fan", "00", "train", "source", "normal"), 30)
    others = [clip for clip in recordings(6, 2) if clip.section == "01"]
    clips = [*one, *others]
    plan = windowed([*clips, *variants(clips)], hashed=hashed, group=group)
    assert plan.sections == (("fan", "00"), ("fan", "01"))
    here = plan.section == 0
    start = np.array([float(key.partition("#t=")[2].partition(",")[0]) if "#t=" in key else 0.0 for key in plan.keys])
    stretch = (start // 30).astype(int)
    for number in range(10):
        assert len(set(plan.source[here & (stretch == number)].tolist())) == 1
    assert len(set(plan.source[here].tolist())) == 10
    assert np.bincount(plan.fold[here & plan.normal]).tolist() == [6] * 5
    notes = [note for note in plan.notes if "of one recording" in note]
    assert len(notes) == 1
    assert notes[0].startswith("the training windows of machine fan section 00 are of one recording")
    assert "the scores on generated anomalies are probably too high" in notes[0]


def test_windows_do_not_change_the_plan_of_a_section_without(clips: list[Clip]) -> None:
    pump = cut([replace(clip, machine="pump", path=f"pump/{clip.path}") for clip in recordings(6, 2)])
    plain, mixed = planned(clips), planned([*clips, *pump, *variants(pump)])
    assert plain.block is None
    of = dict(zip(mixed.keys, mixed.fold.tolist(), strict=True))
    assert [of[key] for key in plain.keys] == plain.fold.tolist()


def test_the_plan_of_windows_does_not_depend_on_the_order_of_rows() -> None:
    base = [*cut(recordings(6, 2)), *windows(Clip("pump/long.wav", "pump", "00", "train", "source", "normal"), 20)]
    clips = [*base, *variants(base)]
    order = np.random.default_rng(3).permutation(len(clips))
    first, second = windowed(clips), windowed([clips[i] for i in order])
    assert first.digest == second.digest
    np.testing.assert_array_equal(first.source, second.source)


def test_windows_of_one_day_keep_their_recordings_together() -> None:
    base = [
        replace(clip, attributes={"day": "12"[clip.section == "01" and i % 4 > 1]})
        for i, clip in enumerate(recordings(6, 2))
    ]
    windows_of = cut(base)
    plan = windowed([*windows_of, *variants(windows_of)], group="day")
    names = recordings_in(plan)
    assert all(len(set(plan.fold[names == name].tolist())) == 1 for name in names)
    assert "machine fan section 00 has only one day, so single recordings are left out" in " ".join(plan.notes)


def test_perturbed_windows_are_in_the_block_of_their_recording() -> None:
    plan = windowed(cut(recordings(6, 2)), perturbed=PerturbDesign())
    assert plan.block is not None
    names = recordings_in(plan)
    assert all(len(set(plan.block[names == name].tolist())) == 1 for name in names)
