"""Scores corrected by predicted domains, from a store to decisions; no domain or label of a test clip is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.metrics.auc import auc
from ensemble.decision.banks import EITHER
from ensemble.domains.correct import FittedDomains, decided_as, predicted_domains
from ensemble.inputs import Inputs
from ensemble.output import scores_csv
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect, redecided
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

ENSEMBLE = Recipe((Member("e", "knn:k=1"), Member("e", "mahalanobis")), fusion="fisher", domains="predicted")


def listed(source: int = 60, target: int = 3, test: int = 120) -> list[Clip]:
    """One machine with two sections; a fifth of the test clips are anomalies, half are of the target domain."""
    clips = []
    for section in ("00", "01"):
        for i in range(source + target):
            domain = "source" if i < source else "target"
            clips.append(Clip(f"fan/{section}/train/{i}.wav", "fan", section, "train", domain, "normal"))
        for i in range(test):
            domain, label = ("source", "target")[i % 2], "anomaly" if i % 5 == 0 else "normal"
            clips.append(Clip(f"fan/{section}/test/{i}.wav", "fan", section, "test", domain, label))
    return clips


def rows(clips: list[Clip], seed: int = 0) -> np.ndarray:
    """Target clips are displaced in dimension 0 and noisier, faults displaced in a random direction."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(len(clips), 8))
    for row, clip in zip(X, clips, strict=True):
        target = clip.domain == "target"
        row *= 2.0 if target else 1.0
        row[0] += 8.0 * target
        if clip.label == "anomaly":
            direction = rng.normal(size=8)
            row += 6 * direction / np.linalg.norm(direction)
    return X.astype(np.float32)


def made_store(path: Path, clips: list[Clip], X: np.ndarray | None = None) -> FeatureStore:
    import_matrix(path, "e", rows(clips) if X is None else X, ClipTable.from_clips(clips))
    return FeatureStore.open(path)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return made_store(tmp_path / "s", listed())


def auc_of_target(detection: Detection) -> float:
    """Mean over the sections of the AUC of all anomalies against target normal clips."""
    values = []
    for section in ("00", "01"):
        clips = detection.clips
        normal = clips.where(section=section, label="normal", domain="target")
        values.append(auc(detection.score[normal], detection.score[clips.where(section=section, label="anomaly")]))
    return float(np.mean(values))


def test_target_clips_rank_lower_and_false_alarms_fall(store: FeatureStore) -> None:
    predicted, pooled = detect(store, ENSEMBLE), detect(store, replace(ENSEMBLE, domains="pooled"))
    assert auc_of_target(predicted) > auc_of_target(pooled) + 0.05
    normal = {name: predicted.clips.where(label="normal", domain=name) for name in ("source", "target")}
    assert predicted.decision[normal["target"]].mean() < pooled.decision[normal["target"]].mean()
    assert predicted.decision[normal["source"]].mean() < 0.25
    assert {bank.domain for bank in predicted.decided.banks} == {"source", "target"}
    assert "scores are corrected for the predicted domain (" in predicted.remarks[-1]
    assert predicted.score.min() > 0
    assert predicted.score.max() < 1


def test_neither_domains_nor_labels_of_test_clips_are_read(tmp_path: Path, store: FeatureStore) -> None:
    clips = listed()
    hidden = [replace(clip, domain="unknown", label="unknown") if clip.split == "test" else clip for clip in clips]
    other = made_store(tmp_path / "hidden", hidden, rows(clips))
    first, second = detect(store, ENSEMBLE), detect(other, ENSEMBLE)
    np.testing.assert_array_equal(first.score, second.score)
    np.testing.assert_array_equal(first.decision, second.decision)


def test_the_score_of_a_test_clip_does_not_depend_on_other_test_clips(tmp_path: Path, store: FeatureStore) -> None:
    clips = listed()
    keep = [i for i, clip in enumerate(clips) if clip.split == "train" or clip.path.endswith("/7.wav")]
    few = made_store(tmp_path / "few", [clips[i] for i in keep], rows(clips)[keep])
    scores = dict(zip(detect(store, ENSEMBLE).clips.keys(), detect(store, ENSEMBLE).score.tolist(), strict=True))
    detection = detect(few, ENSEMBLE)
    for key, score in zip(detection.clips.keys(), detection.score.tolist(), strict=True):
        assert score == pytest.approx(scores[key], rel=1e-9)


def test_a_single_detector_keeps_its_order_within_a_domain(store: FeatureStore) -> None:
    single = Recipe((Member("e", "mahalanobis"),), domains="predicted")
    predicted, raw = detect(store, single), detect(store, replace(single, domains="pooled"))
    assert auc_of_target(predicted) > auc_of_target(raw)
    assert predicted.domains is not None
    sure = predicted.domains.scored < 1e-6
    for section in ("00", "01"):
        here = sure & predicted.clips.where(section=section)
        order = np.argsort(raw.score[here], kind="stable")
        assert (np.diff(predicted.score[here][order]) > -1e-9).all()


@pytest.mark.parametrize(("source", "target"), [(60, 0), (0, 60), (60, 2)])
def test_without_enough_clips_of_both_domains_nothing_changes(source: int, target: int, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", listed(source=source, target=target))
    if target == 2:  # two in each section are four on the machine, which are enough
        assert detect(store, ENSEMBLE).domains is not None
        store = made_store(tmp_path / "one", [clip for clip in listed(60, 2) if clip.section == "00"])
    predicted, pooled = detect(store, ENSEMBLE), detect(store, replace(ENSEMBLE, domains="pooled"))
    np.testing.assert_array_equal(predicted.score, pooled.score)
    np.testing.assert_array_equal(predicted.decision, pooled.decision)
    assert any("changes nothing" in note for note in predicted.notes) == (target == 2)


def test_fitted_domains_of_clips_that_come_later(tmp_path: Path, store: FeatureStore) -> None:
    """They are learned without any test clip, read the rows of every view once, and nothing of a clip's own domain."""
    both = Recipe((*ENSEMBLE.members, Member("wide", "knn:k=1")), fusion="fisher", domains="predicted")
    import_matrix(store.path, "wide", np.tile(rows(listed()), 2), ClipTable.from_clips(listed()))
    inputs = Inputs(FeatureStore.open(store.path), both, ())
    expected = predicted_domains(inputs, both)
    only_training = made_store(tmp_path / "train", [clip for clip in listed() if clip.split == "train"], trained_rows())
    import_matrix(only_training.path, "wide", np.tile(trained_rows(), 2), only_training.clips("e"))
    fitted = FittedDomains.fit(Inputs(FeatureStore.open(only_training.path), both, ()), both)
    assert expected is not None
    assert fitted is not None
    assert fitted.views == (Member("wide", "any"), Member("e", "any"))
    assert fitted.notes == expected.notes
    np.testing.assert_allclose(fitted.train, expected.train, rtol=1e-9)
    later = [replace(clip, domain="unknown", label="unknown") for clip in inputs.clips[inputs.roles.scored]]
    asked: list[Member] = []

    def rows_of_view(view: Member) -> np.ndarray:
        asked.append(view)
        return inputs.matrix(view)[inputs.roles.scored]

    domains = fitted.scored(rows_of_view, ClipTable.from_clips(later))
    assert asked == list(fitted.views)
    np.testing.assert_allclose(domains.scored, expected.scored, rtol=1e-9)
    np.testing.assert_array_equal(domains.train, fitted.train)


def trained_rows() -> np.ndarray:
    """Rows of the training clips alone."""
    clips = listed()
    return rows(clips)[[i for i, clip in enumerate(clips) if clip.split == "train"]]


def test_training_clips_ranked_among_themselves_are_not_corrected(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", [clip for clip in listed() if clip.split == "train"])
    predicted, pooled = detect(store, ENSEMBLE), detect(store, replace(ENSEMBLE, domains="pooled"))
    np.testing.assert_array_equal(predicted.score, pooled.score)


def test_other_rates_keep_the_corrected_scores(store: FeatureStore) -> None:
    detection = detect(store, ENSEMBLE)
    changed = redecided(detection, replace(ENSEMBLE, false_alarm_rate=0.3, domains="pooled"))
    np.testing.assert_array_equal(changed.score, detection.score)
    assert changed.recipe.domains == "predicted"
    assert changed.decision.sum() > detection.decision.sum()


def test_clips_of_unsure_domain_are_decided_by_either() -> None:
    probability = np.array([0.01, 0.09, 0.5, 0.91, 0.99, np.nan])
    expected = ["source", "source", EITHER, "target", "target", ""]
    assert decided_as(probability).tolist() == expected


def test_the_file_of_scores_names_the_probability(store: FeatureStore) -> None:
    header, first = scores_csv(detect(store, ENSEMBLE)).splitlines()[:2]
    at = header.split(",").index("target_probability")
    assert 0 <= float(first.split(",")[at]) <= 1
    assert "target_probability" not in scores_csv(detect(store, replace(ENSEMBLE, domains="pooled")))
