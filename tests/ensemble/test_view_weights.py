"""Weights of views: the inflation by hand, families, shared votes, copies, and stores whose views differ."""

from pathlib import Path

import numpy as np
import pytest
from view_store import listed, patterned, with_views

from ensemble.view_weights import (
    LEAST,
    SHARPNESS,
    Evidence,
    families,
    inflation,
    sampled,
    view_weights,
    weigh,
    weigh_mixes,
)
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

APART = np.eye(2)


def add(path: Path, clips: list[Clip], X: np.ndarray, name: str) -> FeatureStore:
    import_matrix(path, name, X.astype(np.float32), ClipTable.from_clips(clips))
    return FeatureStore.open(path)


def test_inflation_of_two_correlated_dimensions_is_known() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200_000)
    X = np.stack([x, 0.8 * x + 0.6 * rng.normal(size=len(x))], axis=1) * [1.0, 1e3]
    log, distance = inflation(X)
    assert np.exp(log) == pytest.approx(1 / (1 - 0.8**2), rel=0.01)
    assert distance.mean() == pytest.approx(2, rel=0.01)  # the mean of a chi-squared with 2 degrees of freedom
    independent = inflation(rng.normal(size=(20_000, 5)))[0]
    assert independent == pytest.approx(0, abs=0.01)


def test_constant_dimensions_do_not_count() -> None:
    X = patterned(50)
    both = np.concatenate([X, np.full((50, 3), 7.0)], axis=1)
    assert inflation(both)[0] == pytest.approx(inflation(X)[0])
    log, distance = inflation(np.full((50, 3), 7.0))
    assert log == 0
    np.testing.assert_array_equal(distance, 0)


def test_units_and_read_only_rows() -> None:
    X = patterned(50)
    X.flags.writeable = False
    log, distance = inflation(X)
    scaled = inflation(X * np.linspace(1, 50, X.shape[1]) + 3)
    assert scaled[0] == pytest.approx(log)
    np.testing.assert_allclose(scaled[1], distance)


def test_the_weight_falls_with_the_inflation_relative_to_the_best_of_the_family() -> None:
    weights = weigh(Evidence(np.array([4.0, 3.0]), APART), ["e", "e"])
    np.testing.assert_allclose(weights, [1, 0.75**SHARPNESS])
    other = weigh(Evidence(np.array([4.0, 3.0]), APART), ["e", "f"])
    np.testing.assert_allclose(other, [1, 0.75])


def test_views_of_little_weight_are_left_out_unless_all_stay() -> None:
    evidence = Evidence(np.array([10.0, 2.0]), APART)
    assert 0.2**SHARPNESS < LEAST
    np.testing.assert_allclose(weigh(evidence, ["e", "e"]), [1, 0])
    np.testing.assert_allclose(weigh(evidence, ["e", "e"], veto=False), [1, 0.2**SHARPNESS])
    np.testing.assert_allclose(weigh(Evidence(np.array([100.0, 2.0]), APART), ["e", "f"]), [1, 0.02])


def test_copies_are_left_out_and_views_that_agree_share_a_vote() -> None:
    copied = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(weigh(Evidence(np.ones(3), copied), ["e"] * 3), [1, 0, 1])
    np.testing.assert_allclose(weigh(Evidence(np.ones(3), copied), ["e"] * 3, veto=False), [0.5, 0.5, 1])
    close = np.array([[1, 0.98, 0], [0.98, 1, 0], [0, 0, 1.0]])
    shared = 1 / (1 + 0.98**30)
    np.testing.assert_allclose(weigh(Evidence(np.ones(3), close), ["e"] * 3), [shared, shared, 1])
    opposite = np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(weigh(Evidence(np.ones(3), opposite), ["e"] * 3), [1, 1, 1])


def test_embeddings_whose_views_agree_are_one_family() -> None:
    agreement = np.eye(5)
    agreement[1, 2] = agreement[2, 1] = 0.95
    family = families(agreement, ["a", "a", "b", "b", "c"])
    assert len(set(family[:4])) == 1
    assert family[4] != family[0]
    assert len(set(families(np.eye(5), ["a", "a", "b", "b", "c"]))) == 3


def test_a_view_of_noise_is_left_out_and_an_embedding_of_noise_counts_little(tmp_path: Path) -> None:
    clips = listed()
    rng = np.random.default_rng(5)
    X, noise = patterned(len(clips)), rng.normal(size=(len(clips), 12))
    store = with_views(tmp_path / "s", clips, {"good": X, "noise": noise, "copy": 3 * X + 1})
    sources = [("v", "good"), ("v", "noise"), ("v", "copy")]
    np.testing.assert_array_equal(view_weights(store, sources), [1, 0, 0])
    assert (view_weights(store, sources, veto=False) > 0).all()
    store = add(tmp_path / "s", clips[::-1], noise, "other")
    weights = view_weights(store, [("v", "good"), ("other", "")])
    assert weights[0] == 1
    assert 0 < weights[1] < 0.2


def test_the_order_of_the_rows_in_an_embedding_does_not_matter(tmp_path: Path) -> None:
    clips, order = listed(), np.random.default_rng(1).permutation(90 * 2)
    X, Y = patterned(len(clips)), patterned(len(clips), noise=0.4, seed=3)
    first = add(tmp_path / "a", clips, X, "x")
    first = add(tmp_path / "a", clips, Y, "y")
    mixed = add(tmp_path / "b", clips, X, "x")
    mixed = add(tmp_path / "b", [clips[i] for i in order], Y[order], "y")
    sources = [("x", ""), ("y", "")]
    np.testing.assert_allclose(view_weights(first, sources), view_weights(mixed, sources))


def test_test_clips_and_known_faults_do_not_matter(tmp_path: Path) -> None:
    clips = listed()
    X, Y = patterned(len(clips)), patterned(len(clips), noise=0.4, seed=3)
    changed = X.copy()
    is_test = np.array([clip.split == "test" for clip in clips])
    changed[is_test] = np.random.default_rng(0).normal(size=(is_test.sum(), X.shape[1]))
    faults = [Clip(f"fan/a/fault{i}.wav", "fan", "a", "train", "source", "anomaly") for i in range(30)]
    weights = []
    for name, rows, more in (("a", X, []), ("b", changed, faults)):
        extra = 9 * np.random.default_rng(1).normal(size=(len(more), X.shape[1]))
        add(tmp_path / name, [*clips, *more], np.concatenate([rows, extra]), "x")
        store = add(tmp_path / name, [*clips, *more], np.concatenate([Y, extra]), "y")
        weights.append(view_weights(store, [("x", ""), ("y", "")]))
    np.testing.assert_array_equal(*weights)


def test_equal_weights_where_nothing_can_be_learned(tmp_path: Path) -> None:
    clips = listed(train=6)
    store = with_views(tmp_path / "s", clips, {"one": patterned(len(clips)), "two": patterned(len(clips), seed=1)})
    sources = [("v", "one"), ("v", "two")]
    assert sampled(store, ["v"]) == []
    np.testing.assert_array_equal(view_weights(store, sources), [1, 1])
    np.testing.assert_array_equal(view_weights(store, [("v", "one"), ("v", "unknown")]), [1, 1])
    np.testing.assert_array_equal(view_weights(store, [("v", "one")]), [1])


def test_mixes_count_alike_and_a_channel_that_is_subtracted_does_not_count_alone() -> None:
    evidence = Evidence(np.array([10.0, 9.0, 50.0, 49.0, 2.0, 1.9]), np.eye(6))
    mixes = ["0", "0", "1", "1", "0-1", "0-1"]
    weights = weigh_mixes(evidence, ["e"] * 6, mixes)
    near, left = (
        weigh(Evidence(evidence.inflation[:2], APART), ["e"] * 2),
        weigh(Evidence(evidence.inflation[4:], APART), ["e"] * 2),
    )
    np.testing.assert_allclose(weights[:2] / weights[:2].sum(), near / near.sum())
    np.testing.assert_allclose(weights[4:] / weights[4:].sum(), left / left.sum())
    np.testing.assert_array_equal(weights[2:4], [0, 0])
    assert weights[:2].sum() == pytest.approx(weights[4:].sum())
    assert weights.max() == 1
    named = weigh_mixes(evidence, ["e"] * 6, mixes, veto=False)
    np.testing.assert_allclose(named.reshape(3, 2).sum(axis=1), named[:2].sum())


def test_without_a_subtraction_every_channel_counts() -> None:
    evidence = Evidence(np.array([10.0, 50.0]), APART)
    np.testing.assert_allclose(weigh_mixes(evidence, ["e"] * 2, ["0", "1"]), [1, 1])
    np.testing.assert_allclose(weigh_mixes(evidence, ["e"] * 2, ["0", "0"]), weigh(evidence, ["e"] * 2))
    both = weigh_mixes(Evidence(np.ones(3), np.eye(3)), ["e"] * 3, ["0-1", "1-0", "1"])
    np.testing.assert_allclose(both, [1, 1, 1])


def test_a_mix_that_is_a_copy_of_another_counts_once() -> None:
    agreement = np.array([[1, 0.2, 1, 0.2], [0.2, 1, 0.2, 1], [1, 0.2, 1, 0.2], [0.2, 1, 0.2, 1.0]])
    weights = weigh_mixes(Evidence(np.ones(4), agreement), ["e"] * 4, ["0", "0", "0-1", "0-1"])
    np.testing.assert_allclose(weights, [1, 1, 0, 0])


def test_a_mix_that_is_left_out_has_no_weight_and_no_copies() -> None:
    evidence = Evidence(np.array([10.0, 10.0, 50.0]), np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]]))
    mixes = ["0-1", "0", "1"]
    np.testing.assert_allclose(weigh_mixes(evidence, ["e"] * 3, mixes, without=["0-1"]), [0, 1, 0])
    assert weigh_mixes(evidence, ["e"] * 3, mixes, without=["0-1"], veto=False).all()


def test_a_view_without_veto_stays_and_leaves_the_others_to_it() -> None:
    copied = np.array([[1, 1, 0.2, 1], [1, 1, 0.2, 1], [0.2, 0.2, 1, 0.2], [1, 1, 0.2, 1.0]])
    evidence, stays = Evidence(np.array([10.0, 10.0, 1.0, 10.0]), copied), np.array([True, True, True, False])
    weights = weigh(evidence, ["e"] * 4, veto=stays)
    np.testing.assert_allclose(weights, [1, 0, 0, 1])  # 1 is a copy, 2 of little weight; the two that stay share a vote
    mixes = ["0", "0", "0-1", "0-1"]
    of_mixes = weigh_mixes(evidence, ["e"] * 4, mixes, without=["0-1"], veto=stays)
    np.testing.assert_allclose(of_mixes, [1, 0, 0, 1])
    copies = weigh_mixes(Evidence(np.ones(4), np.ones((4, 4))), ["e"] * 4, mixes, veto=stays)
    np.testing.assert_allclose(copies, [1, 0, 0, 1])  # a mix of copies: only the view that is named
    alike = Evidence(np.ones(2), np.ones((2, 2)))  # near counts, though a view of an unused mix before it is a copy
    added = weigh_mixes(alike, ["e"] * 2, ["0-1", "0"], without=["0-1"], veto=np.array([False, True]))
    np.testing.assert_allclose(added, [1, 1])
    far = weigh_mixes(Evidence(np.ones(3), np.eye(3)), ["e"] * 3, ["0", "1", "0-1"], veto=np.array([True, False, True]))
    np.testing.assert_allclose(far, [1, 1, 1])


def test_mixes_are_known_by_the_channel_of_an_embedding(tmp_path: Path) -> None:
    clips = listed()
    views = {
        f"{mix}/{view}": patterned(len(clips), noise=noise, seed=i)
        for i, (mix, view, noise) in enumerate([("0", "a", 0.4), ("0", "b", 0.4), ("1", "a", 0.01), ("0-1", "a", 0.8)])
    }
    sources = [("v", view) for view in views]
    plain = view_weights(with_views(tmp_path / "plain", clips, views), sources)
    assert plain.argmax() == 2
    store = with_views(tmp_path / "listed", clips, views, channel="0,1,0-1")
    weights = view_weights(store, sources)
    assert weights[2] == 0
    assert weights[:2].sum() == pytest.approx(weights[3])
    few = with_views(tmp_path / "few", clips[:4], {name: X[:4] for name, X in views.items()}, channel="0,1,0-1")
    np.testing.assert_array_equal(view_weights(few, sources), [1, 1, 0, 1])
    np.testing.assert_array_equal(view_weights(few, sources, veto=False), 1)
    np.testing.assert_array_equal(view_weights(few, sources, without=["0-1"]), [1, 1, 0, 0])
    last = np.array([True, True, True, False])
    np.testing.assert_array_equal(view_weights(few, sources, without=["0-1"], veto=last)[[0, 1, 3]], 1)
    np.testing.assert_array_equal(view_weights(store, sources, without=["0-1"])[2:], 0)
