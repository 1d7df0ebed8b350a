from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from detectors import make_detector
from detectors.sections import score_sections
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable


def table(*rows: tuple[str, str, str], split: str = "train", speed: str = "") -> ClipTable:
    clips = [
        Clip(f"{split}/{i}.wav", machine, section, split, domain, attributes={"speed": speed or str(i % 2)})
        for i, (machine, section, domain) in enumerate(rows)
    ]
    return ClipTable.from_clips(clips)


PARTS = [("fan", "00"), ("fan", "01"), ("pump", "00")]
TRAIN = table(*[(*PARTS[i % 3], "target" if i > 24 else "source") for i in range(30)])
TEST = table(*[(*PARTS[i % 3], "unknown") for i in range(12)], split="test")


@pytest.fixture
def vectors(rng):
    return rng.normal(size=(30, 4)), rng.normal(size=(12, 4))


@pytest.mark.parametrize("detector", ["knn:k=2", partial(make_detector, "knn", k=2)], ids=["text", "function"])
def test_every_section_by_itself_in_the_order_of_the_tables(vectors, detector):
    train_X, test_X = vectors
    result = score_sections(detector, train_X, TRAIN, test_X, TEST)
    for part in range(3):
        alone = make_detector("knn", k=2).fit(train_X[part::3])
        np.testing.assert_array_equal(result.scores[part::3], alone.anomaly_score(test_X[part::3]))
        np.testing.assert_array_equal(result.reference[part::3], alone.reference_scores_)
    assert result.scores.dtype == result.reference.dtype == np.float64


def test_pooled_sections_share_one_detector_per_machine(vectors):
    train_X, test_X = vectors
    result = score_sections("knn", train_X, TRAIN, test_X, TEST, pool_sections=True)
    fan, fan_test = TRAIN.where(machine="fan"), TEST.where(machine="fan")
    alone = make_detector("knn").fit(train_X[fan])
    np.testing.assert_array_equal(result.scores[fan_test], alone.anomaly_score(test_X[fan_test]))


def test_a_section_without_training_clips_is_named(vectors):
    train_X, test_X = vectors
    only = ~(TRAIN.where(machine="fan", section="01"))
    with pytest.raises(DataError, match=r"machine fan section 01: 0 training clips for 4 test clips.*--pool-sections"):
        score_sections("knn", train_X[only], TRAIN[only], test_X, TEST)
    pooled = score_sections("knn", train_X[only], TRAIN[only], test_X, TEST, pool_sections=True)
    assert np.isfinite(pooled.scores).all()


def test_a_machine_without_training_clips_cannot_be_pooled(vectors):
    train_X, test_X = vectors
    only = TRAIN.where(machine="fan")
    with pytest.raises(DataError, match="machine pump: 0 training clips") as caught:
        score_sections("knn", train_X[only], TRAIN[only], test_X, TEST, pool_sections=True)
    assert "--pool-sections" not in str(caught.value)


def test_one_training_clip_has_no_reference_score(vectors):
    train_X, test_X = vectors
    few = np.array([0, 1, 2, 3, 4])
    with pytest.raises(DataError, match="machine pump section 00: 1 training clips"):
        score_sections("knn", train_X[few], TRAIN[few], test_X, TEST)


def test_domains_and_groups_reach_the_detector(vectors):
    train_X, test_X = vectors
    result = score_sections("mahalanobis:by=group", train_X, TRAIN, test_X, TEST, group_by="speed")
    group = np.array([clip.attributes["speed"] for clip in TRAIN])
    alone = make_detector("mahalanobis", by="group").fit(train_X[::3], group=group[::3])
    np.testing.assert_array_equal(result.scores[::3], alone.anomaly_score(test_X[::3]))
    by_domain = score_sections("mahalanobis:by=domain", train_X, TRAIN, test_X, TEST)
    alone = make_detector("mahalanobis", by="domain").fit(train_X[::3], domain=TRAIN.column("domain")[::3])
    np.testing.assert_array_equal(by_domain.scores[::3], alone.anomaly_score(test_X[::3]))


def test_unknown_attribute_lists_the_known(vectors):
    with pytest.raises(DataError, match="no training clip has the attribute 'load'; known: speed"):
        score_sections("mahalanobis:by=group", vectors[0], TRAIN, vectors[1], TEST, group_by="load")


def test_all_attributes_form_groups_together(vectors):
    train_X, test_X = vectors
    clips = [
        replace(clip, attributes={"load": str(i // 3 % 2), "speed": str(i // 6 % 2)} if i > 5 else {})
        for i, clip in enumerate(TRAIN)
    ]
    train = ClipTable.from_clips(clips)
    result = score_sections("mahalanobis:by=group", train_X, train, test_X, TEST, group_by="attributes")
    group = np.array(["", "", "01", "11", "00", "10", "01", "11", "00", "10"])  # of clips 0, 3, 6, ...
    alone = make_detector("mahalanobis", by="group").fit(train_X[::3], group=group)
    np.testing.assert_array_equal(result.scores[::3], alone.anomaly_score(test_X[::3]))


def test_an_attribute_of_that_name_comes_first(vectors):
    named = ClipTable.from_clips(
        [replace(clip, attributes={"attributes": str(i // 3 % 2), "noise": str(i)}) for i, clip in enumerate(TRAIN)]
    )
    result = score_sections("mahalanobis:by=group", vectors[0], named, vectors[1], TEST, group_by="attributes")
    alone = make_detector("mahalanobis", by="group").fit(vectors[0][::3], group=np.arange(10) % 2)
    np.testing.assert_array_equal(result.scores[::3], alone.anomaly_score(vectors[1][::3]))


def test_groups_of_clips_without_any_attribute(vectors):
    bare = ClipTable.from_clips([replace(clip, attributes={}) for clip in TRAIN])
    with pytest.raises(DataError, match="no training clip has attributes to group by, expected 'attributes'; use a"):
        score_sections("mahalanobis:by=group", vectors[0], bare, vectors[1], TEST, group_by="attributes")


def test_a_detector_that_cannot_be_fitted_names_the_section(vectors):
    with pytest.raises(DataError, match="machine fan section 00: KNN needs at least 11 training clips, got 10"):
        score_sections("knn:k=11", vectors[0], TRAIN, vectors[1], TEST)


def test_rows_and_views_are_checked(vectors):
    train_X, test_X = vectors
    with pytest.raises(DataError, match="29 training embeddings for 30 training clips"):
        score_sections("knn", train_X[1:], TRAIN, test_X, TEST)
    with pytest.raises(DataError, match=r"test embeddings have shape \(12, 2, 2\).*choose one view"):
        score_sections("knn", train_X, TRAIN, test_X.reshape(12, 2, 2), TEST)


def test_nothing_to_score(vectors):
    result = score_sections("knn", vectors[0], TRAIN, vectors[1][:0], TEST[:0])
    assert result.scores.shape == (0,)
    assert np.isfinite(result.reference).all()
