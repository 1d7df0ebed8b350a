"""Decisions by the rules of a recipe, with domains that are unknown, labelled or predicted."""

import numpy as np
import pytest

from ensemble.decision.fuse import Fused
from ensemble.fitting.decide import Sides, bounded, decide
from ensemble.recipe import Member, Recipe
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable

ONE, TWO = (Member("e", "knn"),), (Member("e", "knn"), Member("e", "lof"))


def clips(n: int, split: str) -> ClipTable:
    return ClipTable.from_clips(
        [Clip(f"{i}.wav", "fan", "00", split, ("source", "target")[i % 2]) for i in range(n)]  # type: ignore[arg-type]
    )


def test_fused_positions_are_bounded() -> None:
    assert not bounded(Recipe(ONE))
    assert bounded(Recipe(TWO))
    assert not bounded(Recipe(TWO, fusion="min_zscore"))


@pytest.mark.parametrize(
    ("domains", "probability", "reported"),
    [
        ("pooled", None, [False, False]),
        ("known", None, [True, False]),
        ("predicted", [0.99, 0.01], [False, True]),
        ("predicted", [0.5, 0.5], [False, False]),
        ("predicted", [np.nan, np.nan], [False, False]),
        ("predicted", None, [False, False]),
    ],
)
def test_a_clip_is_decided_by_the_domain_that_is_known_of_it(
    domains: str, probability: list[float] | None, reported: list[bool]
) -> None:
    """Source clips score 1 to 20, target clips 101 to 120; the new clips, labelled source and target, score 90."""
    train, new = clips(40, "train"), clips(2, "test")
    reference = np.where(np.arange(40) % 2 == 0, 1.0, 101.0) + np.arange(40) // 2
    sides = Sides(new, train, None if probability is None else np.array(probability), None, self_ranked=False)
    decided = decide(Recipe(ONE, domains=domains), Fused(np.array([90.0, 90.0]), reference), sides)
    assert decided.reported.tolist() == reported


def test_what_cannot_be_decided_names_the_section() -> None:
    sides = Sides(clips(2, "test"), clips(4, "train"), None, None, self_ranked=False)
    with pytest.raises(DataError, match="fan section 00: a gamma threshold needs positive"):
        decide(Recipe(ONE, threshold="gamma"), Fused(np.zeros(2), -np.ones(4)), sides)


@pytest.mark.parametrize(("value", "share"), [(97.0, "no clip"), (1.0, "no clip"), (0.0, "every clip")])
def test_a_threshold_that_nothing_or_everything_exceeds_is_refused(value: float, share: str) -> None:
    train, new = clips(40, "train"), clips(2, "test")
    fused = Fused(np.array([0.5, 0.9]), np.linspace(0.01, 0.99, 40))
    recipe = Recipe(TWO, thresholds=(("fan/00", value),))
    with pytest.raises(DataError, match=rf"fan/00={value:g}: .* {share} would be reported"):
        decide(recipe, fused, Sides(new, train, None, None, self_ranked=False))
    raw = Recipe(ONE, thresholds=(("fan/00", 97.0),))
    assert not decide(raw, fused, Sides(new, train, None, None, self_ranked=False)).reported.any()


def test_fused_scores_are_shifted_on_their_common_scale() -> None:
    """Three target clips borrow the spread of the source clips; as positions, some would pass 1."""
    train = ClipTable.from_clips(
        [Clip(f"t{i}.wav", "fan", "00", "train", "target" if i < 3 else "source", "normal") for i in range(43)]
    )
    test = ClipTable.from_clips([Clip("new.wav", "fan", "00", "test", "target", "unknown")])
    reference = np.concatenate([[0.95, 0.96, 0.97], np.linspace(0.02, 0.98, 40)])
    recipe = Recipe((Member("e", "knn"), Member("e", "ldn")), fusion="mean", domains="known", false_alarm_rate=0.1)
    decided = decide(recipe, Fused(np.array([0.5]), reference), Sides(test, train, None, None, self_ranked=False))
    (bank,) = decided.banks
    assert bank.shifted
    assert 0 < bank.reference.min() < bank.reference.max() < 1
