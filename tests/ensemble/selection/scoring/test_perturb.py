"""Perturbations: their severity, what they do not change, and their directions."""

import numpy as np
import pytest

from ensemble.selection.scoring.perturb import PERTURBATIONS, Bank, perturb
from featstore.anomalies.table import ANOMALIES

SCALE = np.array([1, 100, 0.01, 3, 1, 1, 7, 1, 0, 1.0])  # one dimension is constant


def embeddings(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, len(SCALE))) * SCALE + 5


def perturbed(name: str, X: np.ndarray, bank: Bank, severity_db: float, seeds: range) -> np.ndarray:
    rngs = [np.random.default_rng(seed) for seed in seeds]
    donors = embeddings(50, 2)[: len(X)] + 1 if PERTURBATIONS[name].donor else None
    return perturb(name, X, bank, severity_db, rngs=rngs, donors=donors)


@pytest.fixture
def bank() -> Bank:
    return Bank.of(embeddings(40, 0))


@pytest.fixture
def X() -> np.ndarray:
    X = embeddings(12, 1)
    X.flags.writeable = False
    return X


def test_the_spread_is_that_of_unit_dimensions(bank: Bank) -> None:
    """Nine dimensions vary, each by 1: the root mean square distance to the centre is 3."""
    assert bank.spread == pytest.approx(3)


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("severity_db", [-20.0, 0.0, 6.0])
def test_the_length_of_a_change_is_its_severity(name: str, severity_db: float, X: np.ndarray, bank: Bank) -> None:
    change = bank.standardised(perturbed(name, X, bank, severity_db, range(12))) - bank.standardised(X)
    np.testing.assert_allclose(np.linalg.norm(change, axis=1), 3 * 10 ** (severity_db / 20), rtol=1e-9)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_change_depends_on_the_clip_and_its_seed_only(name: str, X: np.ndarray, bank: Bank) -> None:
    whole = perturbed(name, X, bank, 0, range(12))
    np.testing.assert_allclose(perturbed(name, X[:3], bank, 0, range(3)), whole[:3], rtol=1e-12)
    np.testing.assert_array_equal(perturbed(name, X, bank, 0, range(12)), whole)
    np.testing.assert_array_equal(whole[:, SCALE == 0], X[:, SCALE == 0])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_stronger_change_has_the_same_direction(name: str, X: np.ndarray, bank: Bank) -> None:
    weak, strong = (perturbed(name, X, bank, db, range(12)) - X for db in (-20, 0))
    np.testing.assert_allclose(10 * weak, strong, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_units_of_the_dimensions_do_not_matter(name: str, X: np.ndarray, bank: Bank) -> None:
    """The same clips in other units are changed alike: so views of one clip are perturbed coherently."""
    unit = np.array([10, 1e-3, 5, 1, 2, 3, 4, 5, 6, 7.0])
    other = Bank.of(embeddings(40, 0) * unit - 3)
    rngs, again = ([np.random.default_rng(seed) for seed in range(12)] for _ in range(2))
    donors = embeddings(12, 2) if PERTURBATIONS[name].donor else None
    plain = perturb(name, X, bank, 0, rngs=rngs, donors=donors)
    scaled_donors = None if donors is None else donors * unit - 3
    np.testing.assert_allclose(
        perturb(name, X * unit - 3, other, 0, rngs=again, donors=scaled_donors), plain * unit - 3, rtol=1e-7
    )


def test_directions_by_hand() -> None:
    """Four clips at (+-1, +-1): centre 0, spread 1 along each dimension, RMS distance sqrt(2)."""
    bank = Bank.of(np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]))
    rngs = [np.random.default_rng(0)]
    apart = perturb("apart", np.array([[1.0, 3]]), bank, 0, rngs=rngs)
    np.testing.assert_allclose(apart, [[1, 3 + np.sqrt(2)]])
    away = perturb("away", np.array([[0.0, 0]]), bank, 20, rngs=rngs, donors=np.array([[3.0, 4]]))
    np.testing.assert_allclose(away, 10 * np.sqrt(2) * np.array([[-0.6, -0.8]]))
    unchanged = perturb("apart", np.array([[1.0, 1]]), bank, 0, rngs=rngs)
    np.testing.assert_array_equal(unchanged, [[1, 1]])


def test_a_block_moves_neighbours_alike(bank: Bank, X: np.ndarray) -> None:
    """A block moves by one step, up or down, without a gap except for the constant dimension."""
    change = (bank.standardised(perturbed("block", X, bank, 0, range(12))) - bank.standardised(X))[:, SCALE > 0]
    for row in change:
        moved = np.flatnonzero(np.abs(row) > 1e-9)
        assert np.ptp(moved) + 1 == len(moved) <= 4
        np.testing.assert_allclose(np.abs(row[moved]), 3 / np.sqrt(len(moved)))
        assert np.ptp(np.sign(row[moved])) == 0
    assert {1, -1} <= set(np.sign(np.round(change.sum(axis=1), 6)).tolist())


def test_an_exchange_goes_towards_the_donor_in_a_block(bank: Bank, X: np.ndarray) -> None:
    donors = embeddings(50, 2)[:12] + 1
    change = bank.standardised(perturbed("exchange", X, bank, 0, range(12))) - bank.standardised(X)
    towards = bank.standardised(donors) - bank.standardised(X)
    for row, whole in zip(change, towards, strict=True):
        moved = np.abs(row) > 1e-9
        assert 0 < moved.sum() <= 4
        np.testing.assert_allclose(row[moved] / whole[moved], 3 / np.linalg.norm(whole[moved]))


def test_wrong_arguments_are_named_in_the_error(X: np.ndarray, bank: Bank) -> None:
    rngs = [np.random.default_rng(0)] * 12
    with pytest.raises(ValueError, match="unknown perturbation 'wobble'; choose from"):
        perturb("wobble", X, bank, 0, rngs=rngs)
    with pytest.raises(ValueError, match="one generator per clip and a donor; got 12 for 12 clips"):
        perturb("away", X, bank, 0, rngs=rngs)
    with pytest.raises(ValueError, match="one generator per clip and no donor; got 3 for 12 clips"):
        perturb("noise", X, bank, 0, rngs=rngs[:3])


def test_names_differ_from_those_of_generated_anomalies() -> None:
    assert not set(PERTURBATIONS) & set(ANOMALIES)
