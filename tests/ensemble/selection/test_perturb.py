"""Perturbations: their severity, what they leave alone, and where they go."""

import numpy as np
import pytest

from ensemble.selection.perturb import PERTURBATIONS, Bank, perturb
from featstore.anomalies.table import ANOMALIES

SCALE = np.array([1, 100, 0.01, 3, 1, 1, 7, 1, 0, 1.0])  # one dimension never varies


def embeddings(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, len(SCALE))) * SCALE + 5


def made(name: str, X: np.ndarray, bank: Bank, severity_db: float, seeds: range) -> np.ndarray:
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
def test_a_change_is_as_long_as_asked(name: str, severity_db: float, X: np.ndarray, bank: Bank) -> None:
    change = bank.place(made(name, X, bank, severity_db, range(12))) - bank.place(X)
    np.testing.assert_allclose(np.linalg.norm(change, axis=1), 3 * 10 ** (severity_db / 20), rtol=1e-9)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_clip_is_changed_by_itself_and_by_its_seed(name: str, X: np.ndarray, bank: Bank) -> None:
    whole = made(name, X, bank, 0, range(12))
    np.testing.assert_allclose(made(name, X[:3], bank, 0, range(3)), whole[:3], rtol=1e-12)
    np.testing.assert_array_equal(made(name, X, bank, 0, range(12)), whole)
    np.testing.assert_array_equal(whole[:, SCALE == 0], X[:, SCALE == 0])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_stronger_change_goes_on_in_the_same_direction(name: str, X: np.ndarray, bank: Bank) -> None:
    weak, strong = (made(name, X, bank, db, range(12)) - X for db in (-20, 0))
    np.testing.assert_allclose(10 * weak, strong, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_units_of_the_dimensions_do_not_matter(name: str, X: np.ndarray, bank: Bank) -> None:
    """The same clips in other units are changed alike: another view of the same is perturbed coherently."""
    unit = np.array([10, 1e-3, 5, 1, 2, 3, 4, 5, 6, 7.0])
    other = Bank.of(embeddings(40, 0) * unit - 3)
    rngs, again = ([np.random.default_rng(seed) for seed in range(12)] for _ in range(2))
    donors = embeddings(12, 2) if PERTURBATIONS[name].donor else None
    plain = perturb(name, X, bank, 0, rngs=rngs, donors=donors)
    there = None if donors is None else donors * unit - 3
    np.testing.assert_allclose(
        perturb(name, X * unit - 3, other, 0, rngs=again, donors=there), plain * unit - 3, rtol=1e-7
    )


def test_directions_by_hand() -> None:
    """Four clips at (+-1, +-1): centre 0, spread 1 along each dimension, RMS distance sqrt(2)."""
    bank = Bank.of(np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]))
    rngs = [np.random.default_rng(0)]
    apart = perturb("apart", np.array([[1.0, 3]]), bank, 0, rngs=rngs)
    np.testing.assert_allclose(apart, [[1, 3 + np.sqrt(2)]])
    away = perturb("away", np.array([[0.0, 0]]), bank, 20, rngs=rngs, donors=np.array([[3.0, 4]]))
    np.testing.assert_allclose(away, 10 * np.sqrt(2) * np.array([[-0.6, -0.8]]))
    still = perturb("apart", np.array([[1.0, 1]]), bank, 0, rngs=rngs)
    np.testing.assert_array_equal(still, [[1, 1]])


def test_a_block_moves_neighbours_alike(bank: Bank, X: np.ndarray) -> None:
    """All of a block by the same step, up or down; without a gap but for the dimension that never varies."""
    change = (bank.place(made("block", X, bank, 0, range(12))) - bank.place(X))[:, SCALE > 0]
    for row in change:
        moved = np.flatnonzero(np.abs(row) > 1e-9)
        assert np.ptp(moved) + 1 == len(moved) <= 4
        np.testing.assert_allclose(np.abs(row[moved]), 3 / np.sqrt(len(moved)))
        assert np.ptp(np.sign(row[moved])) == 0
    assert {1, -1} <= set(np.sign(np.round(change.sum(axis=1), 6)).tolist())


def test_an_exchange_goes_towards_the_donor_in_a_block(bank: Bank, X: np.ndarray) -> None:
    donors = embeddings(50, 2)[:12] + 1
    change = bank.place(made("exchange", X, bank, 0, range(12))) - bank.place(X)
    towards = bank.place(donors) - bank.place(X)
    for row, whole in zip(change, towards, strict=True):
        inside = np.abs(row) > 1e-9
        assert 0 < inside.sum() <= 4
        np.testing.assert_allclose(row[inside] / whole[inside], 3 / np.linalg.norm(whole[inside]))


def test_what_is_wrong_is_named(X: np.ndarray, bank: Bank) -> None:
    rngs = [np.random.default_rng(0)] * 12
    with pytest.raises(ValueError, match="unknown perturbation 'wobble'; choose from"):
        perturb("wobble", X, bank, 0, rngs=rngs)
    with pytest.raises(ValueError, match="and a donor"):
        perturb("away", X, bank, 0, rngs=rngs)
    with pytest.raises(ValueError, match="one generator per clip"):
        perturb("noise", X, bank, 0, rngs=rngs[:3])


def test_names_say_that_no_sound_was_made() -> None:
    assert not set(PERTURBATIONS) & set(ANOMALIES)
