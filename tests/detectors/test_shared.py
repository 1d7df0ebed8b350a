"""Results that several detectors need are computed once, and are those that each would compute alone."""

import numpy as np
import pytest

from detectors import create
from detectors.search import neighbours
from detectors.shared import longest_list, once, sharing
from ensemble.selection.candidates import GRID, expand


def test_a_result_is_computed_once_for_the_same_objects_in_a_scope():
    calls = []

    def double(X, *, times=2):
        calls.append(times)
        return X * times

    X = np.ones(3)
    with sharing():
        assert once(double, X) is once(double, X)
        np.testing.assert_array_equal(once(double, X, times=3), 3 * X)
        np.testing.assert_array_equal(once(double, 5 * X), 10 * X)
        with sharing():
            once(double, X)
    once(double, X)
    once(double, X)
    assert calls == [2, 3, 2, 2, 2, 2]


def test_an_id_is_not_reused_while_its_result_is_kept():
    class Box:
        def __init__(self, value):
            self.value = value

    def unpacked(box):
        return box.value

    with sharing():
        assert [once(unpacked, Box(i)) for i in range(50)] == list(range(50))


def test_detectors_say_how_many_neighbours_they_look_up():
    made = [create("knn:k=4,standardize=true"), create("knn"), create("lof:k=20")]
    with sharing(made):
        assert longest_list(made[1], 1, 100) == 4
        assert longest_list(made[1], 1, 3) == 3
        assert longest_list(made[2], 20, 100) == 20
    assert longest_list(made[1], 1, 100) == 1


@pytest.fixture
def searches(monkeypatch):
    """The number of searches so far."""
    seen = []
    plain = neighbours.nearest

    def counted(queries, bank, k, **options):
        seen.append(k)
        return plain(queries, bank, k, **options)

    monkeypatch.setattr("detectors.knn.nearest", counted)
    return seen


def test_the_default_grid_scores_alike_together_and_alone(rng, searches):
    """Together, one search serves every k of the neighbours on the same whitened rows."""
    bank, queries = rng.normal(size=(160, 24)).astype(np.float32), rng.normal(size=(40, 24)).astype(np.float32)
    domain = np.where(np.arange(160) < 150, "source", "target")
    specs = expand(GRID, "the default grid")
    alone = [create(spec).learn(bank, domain=domain).anomaly_score(queries) for spec in specs]
    assert len(searches) == sum(spec.startswith("knn") for spec in specs)
    searches.clear()
    made = [create(spec) for spec in specs]
    with sharing(made):
        together = [detector.learn(bank, domain=domain).anomaly_score(queries) for detector in made]
    for spec, a, b in zip(specs, alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=spec)
    assert searches == [4, 4, 4, 4]
