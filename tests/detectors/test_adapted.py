"""A detector of one's own that knows only `fit` and `anomaly_score`."""

import numpy as np
import pytest

from detectors.adapted import Adapted
from detectors.base import folds
from featstore.testing import check_detector


class Median:
    """Distance from the median; remembers what it was given."""

    def fit(self, X: np.ndarray) -> "Median":
        self.median_ = np.median(X, axis=0)
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        return np.linalg.norm(X - self.median_, axis=1)


class ByDomain(Median):
    """Takes the domains, and brings reference scores of its own."""

    def fit(self, X: np.ndarray, domain: np.ndarray) -> "ByDomain":
        super().fit(X)
        self.domains_ = sorted(set(domain))
        self.reference_scores_ = np.arange(len(X), dtype=np.float64)
        return self


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(40, 3))


def test_reference_scores_are_cross_fitted(X: np.ndarray) -> None:
    X[7] = 50
    adapted = Adapted(detector=Median()).fit(X)
    none = np.full(len(X), "")
    for held_out in folds(X, none, none):
        alone = Median().fit(X[~held_out])
        np.testing.assert_allclose(adapted.reference_scores_[held_out], alone.anomaly_score(X[held_out]))
    np.testing.assert_allclose(adapted.anomaly_score(X), Median().fit(X).anomaly_score(X))


def test_domains_and_own_reference_scores_are_used(X: np.ndarray) -> None:
    adapted = Adapted(detector=ByDomain()).fit(X, domain=np.repeat(["source", "target"], 20))
    assert adapted.detector_.domains_ == ["source", "target"]
    np.testing.assert_array_equal(adapted.reference_scores_, np.arange(40.0))


def test_the_object_that_was_given_stays_as_it_was(X: np.ndarray) -> None:
    own = Median()
    Adapted(detector=own).fit(X)
    assert not vars(own)


def test_it_keeps_the_contract() -> None:
    check_detector(lambda: Adapted(detector=Median()))


class Broken(Median):
    """Fails in the way that its name says."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def fit(self, X: np.ndarray) -> "Broken":
        if self.wrong == "fit":
            raise KeyError("no such column")
        return super().fit(X)  # type: ignore[return-value]

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        scores = super().anomaly_score(X)
        wrong = {"shape": scores[1:], "nan": scores * np.nan}
        return X.missing if self.wrong == "score" else wrong.get(self.wrong, scores)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("fit", r"Broken\.fit: KeyError: 'no such column' \(.*test_adapted\.py, line \d+\)"),
        ("score", r"Broken\.anomaly_score: AttributeError: .*missing.* \(.*test_adapted\.py, line \d+\)"),
        ("shape", r"expected \d+ finite scores, got shape"),
        ("nan", r"with \d+ values that are not finite"),
    ],
)
def test_what_goes_wrong_in_it_is_one_line_with_its_place(X: np.ndarray, wrong: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adapted(detector=Broken(wrong)).fit(X).anomaly_score(X)
