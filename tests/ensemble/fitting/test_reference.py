"""The training side of a detection: the same fused scores as where both sides are fused together."""

import numpy as np
import pytest

from ensemble.decision.calibrate import PlacedScores, calibrate, calibrate_reference
from ensemble.decision.fuse import FUSIONS, fuse
from ensemble.fitting.reference import Reference
from ensemble.recipe import Member, Recipe
from featstore.clip import Clip
from featstore.table import ClipTable


def clips(n: int, split: str) -> ClipTable:
    return ClipTable.from_clips(
        [Clip(f"{i}.wav", "fan", f"0{i % 2}", split, ("source", "target")[i % 3 == 0]) for i in range(n)]  # type: ignore[arg-type]
    )


def placed(scores: np.ndarray, of: ClipTable) -> PlacedScores:
    return PlacedScores(scores, of.column("machine"), of.column("section"))


@pytest.mark.parametrize("rule", FUSIONS)
@pytest.mark.parametrize("members", [1, 2, 3])
def test_both_sides_are_fused_by_the_rule(rng: np.random.Generator, rule: str, members: int) -> None:
    train, new = clips(20, "train"), clips(7, "test")
    weights = [0.5 + i for i in range(members)]
    recipe = Recipe(tuple(Member("e", f"knn:k={i + 1}", weight=w) for i, w in enumerate(weights)), fusion=rule)
    of_train = [placed(rng.normal(size=20), train) for _ in range(members)]
    of_new = [placed(rng.normal(size=7), new) for _ in range(members)]
    reference = Reference.of(recipe, of_train, train)
    fused, percentiles = reference.fuse(of_new, new, None)
    if members == 1:
        np.testing.assert_array_equal(fused.scores, of_new[0].scores)
        np.testing.assert_array_equal(fused.reference, of_train[0].scores)
    else:
        expected = fuse(rule, of_new, of_train, weights if FUSIONS[rule].weighted else None)
        np.testing.assert_allclose(fused.scores, expected.scores, rtol=0, atol=1e-12)
        np.testing.assert_allclose(fused.reference, expected.reference, rtol=0, atol=1e-12)
    pairs = zip(of_new, of_train, strict=True)
    np.testing.assert_allclose(percentiles, [calibrate(*pair) for pair in pairs], rtol=0, atol=1e-12)
    np.testing.assert_allclose(reference.positions, [calibrate_reference(m) for m in of_train], rtol=0, atol=1e-12)


def test_the_offset_of_target_scores_is_removed_on_both_sides(rng: np.random.Generator) -> None:
    """Target clips score 10 higher, so source clips are raised."""
    train = clips(60, "train")
    target = train.column("domain") == "target"
    scores = 20 + rng.normal(size=60) + 10.0 * target
    recipe = Recipe((Member("e", "knn"),), domains="predicted")
    reference = Reference.of(recipe, [placed(scores, train)], train, target * 1.0)
    assert abs(np.median(reference.scores[target]) - np.median(reference.scores[~target])) < 4
    new = clips(2, "test")
    of_new = [placed(np.array([20.0, 20.0]), new)]
    fused, _ = reference.fuse(of_new, new, np.array([1.0, 0.0]))
    assert fused.scores[0] == pytest.approx(20.0)
    assert fused.scores[1] > 25
    assert reference.fuse(of_new, new, None)[0].scores.tolist() == [20.0, 20.0]
