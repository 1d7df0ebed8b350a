"""Statistics of normal sound: medians over clips, no dependence on the order of rows, hostile arrays refused."""

import numpy as np
import pytest
from noise_plant import EMBEDDER, VIEWS, noise

from ensemble.deviation.statistics import NormalSound
from featstore.errors import DataError


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return EMBEDDER.embed(noise(np.random.default_rng(1), 40))


def test_the_order_of_training_rows_changes_nothing(rows: np.ndarray, rng: np.random.Generator) -> None:
    domain = np.where(np.arange(len(rows)) < 10, "target", "source")
    order = rng.permutation(len(rows))
    normal = NormalSound.of(rows, VIEWS, domain=domain)
    shuffled = NormalSound.of(rows[order], VIEWS, domain=domain[order])
    for name in normal.arrays():
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(normal, name), name)


def test_a_few_odd_clips_hardly_matter(rows: np.ndarray) -> None:
    odd = rows.copy()
    odd[:4] += 40
    clean, with_odd = NormalSound.of(rows, VIEWS), NormalSound.of(odd, VIEWS)
    np.testing.assert_allclose(with_odd.level, clean.level, atol=0.5)
    assert (with_odd.between.diagonal() < 4 * clean.between.diagonal()).all(), "a plain variance grows 500 times"


def test_level_and_spread_by_hand() -> None:
    """Two bands; the means of three clips are 1, 2, 6 and 3, 3, 3; frames spread by 2 and change little or much."""
    clip = {"mean": [[1, 3], [2, 3], [6, 3]], "std": [[2, 2]] * 3, "delta": [[0, 4]] * 3}
    extremes = {name: np.array(clip["mean"]) + sign * 5.8 for name, sign in (("max", 1), ("min", -1))}
    rows = np.stack(
        [np.array({**clip, **extremes}[name], dtype=float) for name in ("mean", "std", "delta", "min", "max")]
    )
    normal = NormalSound.of(rows.transpose(1, 0, 2), ("mean", "std", "delta", "min", "max"))
    np.testing.assert_allclose(normal.level, [[2, 3]])
    np.testing.assert_allclose(normal.within, [2, 2])
    # delta = 2 std sqrt((1 - r) / pi): none is r = 1 (limited to 0.98), twice the spread r < 0 (limited to 0).
    np.testing.assert_allclose(normal.memory, [1.98 / 0.02, 1])


def test_memory_of_an_autoregressive_process(rng: np.random.Generator) -> None:
    """Frames of an AR(1) process with r = 0.6 remember (1 + r) / (1 - r) = 4 frames."""
    S = np.zeros((4000, 2))
    for frame in range(1, len(S)):
        S[frame] = 0.6 * S[frame - 1] + rng.normal(size=2)
    views = [S.mean(0), S.std(0), np.abs(np.diff(S, axis=0)).mean(0), S.min(0), S.max(0)]
    normal = NormalSound.of(np.stack(views)[None], ("mean", "std", "delta", "min", "max"))
    np.testing.assert_allclose(normal.memory, 4, rtol=0.15)


def test_a_domain_has_a_level_of_its_own(rows: np.ndarray) -> None:
    shifted = rows.copy()
    shifted[:5, [VIEWS.index(name) for name in ("mean", "min", "max")]] += 10
    domain = np.where(np.arange(len(rows)) < 5, "target", "source")
    normal = NormalSound.of(shifted, VIEWS, domain=domain)
    mean = shifted[0, VIEWS.index("mean")]
    np.testing.assert_allclose(normal.nearest_level(mean), mean, atol=3)
    pooled = NormalSound.of(shifted, VIEWS)
    assert np.abs(pooled.nearest_level(mean) - mean).min() > 7


def test_arrays_are_the_statistics(rows: np.ndarray) -> None:
    normal = NormalSound.of(rows, VIEWS)
    again = NormalSound.from_arrays(normal.arrays())
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, normal.arrays()[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", np.zeros((0, 40), np.float32)),
        ("level", np.zeros((1, 39), np.float32)),
        ("within", np.ones((40, 1), np.float32)),
        ("within", np.zeros(40, np.float32)),
        ("within", np.float32(1)),
        ("memory", np.full(40, 0.5, np.float32)),
        ("memory", np.full(40, np.nan, np.float32)),
        ("between", np.ones((40, 40), np.float32)),
        ("between", np.eye(41, dtype=np.float32)),
        ("between", np.triu(np.ones((40, 40), np.float32)) + np.eye(40, dtype=np.float32)),
        ("between", np.eye(40, dtype=np.float32).astype(str)),
        ("more", np.ones(40, np.float32)),
    ],
)
def test_hostile_arrays_are_refused(rows: np.ndarray, name: str, value: np.ndarray) -> None:
    with pytest.raises(DataError, match="statistics of normal sound"):
        NormalSound.from_arrays({**NormalSound.of(rows, VIEWS).arrays(), name: value})


def test_missing_views_and_odd_rows_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"lack the views delta, max; featstore build DATA STORE -e logmel"):
        NormalSound.of(rows[:, :3], ("mean", "std", "min"))
    with pytest.raises(DataError, match="expected finite rows"):
        NormalSound.of(np.where(rows == rows[0, 0, 0], np.nan, rows), VIEWS)
    with pytest.raises(DataError, match="expected finite rows"):
        NormalSound.of(rows[:0], VIEWS)


def test_a_single_clip_has_statistics(rows: np.ndarray) -> None:
    normal = NormalSound.from_arrays(NormalSound.of(rows[:1], VIEWS).arrays())
    np.testing.assert_allclose(normal.level, rows[0, VIEWS.index("mean")][None], rtol=1e-5)
    assert (normal.between.diagonal() > 0).all()
