"""A computation in a process of its own: its result, its errors, and its death."""

import os

import numpy as np
import pytest

from ensemble.review import projection
from ensemble.review.space.background import Computation, attempt, outcome
from featstore.errors import DataError


def fails(X: np.ndarray) -> np.ndarray:
    raise MemoryError("too much")


def refuses(X: np.ndarray) -> np.ndarray:
    raise DataError("no sound")


def test_a_result_is_that_of_the_function() -> None:
    X = np.arange(6.0)
    computation = Computation(np.negative, X)
    assert outcome(computation) is None
    assert computation.is_running
    computation.wait(60)
    np.testing.assert_array_equal(outcome(computation), -X)
    assert computation.seconds >= 0


def test_a_process_that_dies_is_said() -> None:
    gone = Computation(os._exit, 3)  # type: ignore[arg-type]
    gone.wait(60)
    with pytest.raises(DataError, match="ended without a result, probably out of memory"):
        outcome(gone)


@pytest.mark.parametrize(("work", "words"), [(fails, "MemoryError: too much"), (refuses, "no sound")])
def test_errors_are_words(work, words: str) -> None:
    assert attempt(work, np.zeros(1)) == words


@pytest.mark.slow
def test_umap_itself_puts_groups_apart(rng: np.random.Generator) -> None:
    pytest.importorskip("umap")
    X = np.repeat(3 * rng.normal(size=(2, 8)), 15, axis=0) + 0.1 * rng.normal(size=(30, 8))
    computation = Computation(projection.umap_points, X.astype(np.float32))
    computation.wait(900)
    points = outcome(computation)
    assert points is not None
    assert points.shape == (30, 2)
    centres = points[:15].mean(axis=0), points[15:].mean(axis=0)
    spread = max(np.abs(points[:15] - centres[0]).max(), np.abs(points[15:] - centres[1]).max())
    assert np.linalg.norm(centres[0] - centres[1]) > spread
