"""The checks of components of one's own: a complete one passes, and each part that is missing or wrong is named."""

from dataclasses import dataclass

import numpy as np
import pytest

from featstore.testing import ContractError, check_detector, check_embedder


@dataclass
class Levels:
    """A complete embedder; every attribute can be replaced by a wrong one."""

    name: object = "levels"
    fingerprint: object = "abc"
    sample_rate_hz: object = 8000
    shape: object = (2,)
    views: object = ()
    config: object = None
    min_samples: object = 8
    wrong: str = ""

    def __post_init__(self) -> None:
        self.config = self.config or {"parts": 2}

    def embed(self, waves: np.ndarray) -> np.ndarray:
        halves = np.array_split(waves, 2, axis=1)
        levels = np.stack([np.abs(half).mean(axis=1) for half in halves], axis=1).astype(np.float32)
        if self.wrong == "dtype":
            return levels.astype(np.float64)
        if self.wrong == "batch":
            return levels - levels.mean(axis=0)
        if self.wrong == "random":
            return levels + np.random.default_rng().normal(size=levels.shape).astype(np.float32)
        if self.wrong == "empty" and len(waves) == 0:
            return np.zeros(0, np.float32)
        return levels * np.float32(np.inf) if self.wrong == "infinite" else levels


def test_a_complete_embedder_passes() -> None:
    check_embedder(Levels())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: expected text"),
        ({"fingerprint": 3}, "fingerprint: expected text"),
        ({"sample_rate_hz": 8e3}, "sample_rate_hz: expected a positive int, got 8000.0"),
        ({"min_samples": 0}, "min_samples: expected a positive int"),
        ({"shape": [2]}, "shape: expected"),
        ({"views": ("a",)}, "views: expected a different name for each"),
        ({"config": {"parts": (1, 2)}}, "config: expected plain JSON values"),
        ({"wrong": "dtype"}, r"embed: expected float32 \(3, 2\), got float64"),
        ({"wrong": "batch"}, "depends on the other clips of its batch"),
        ({"wrong": "random"}, "other vectors for the same waves on a second call"),
        ({"wrong": "infinite"}, "not finite"),
        ({"wrong": "empty"}, r"got float32 \(0,\); an empty batch must give shape \(0, 2\)"),
    ],
)
def test_each_wrong_part_of_an_embedder_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_embedder(Levels(**changes))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ContractError) as error:
        check_embedder(Levels(views=("a",), config={"x": (1,)}, wrong="dtype"))
    assert len(error.value.problems) == 3
    with pytest.raises(ContractError, match=r"lacks views \(tuple of text"):
        check_embedder(object())


class Distance:
    """A complete detector, and ways to spoil it."""

    wrong = ""

    def fit(self, X: np.ndarray) -> "Distance | None":
        self.centre_ = X.mean(axis=0) if self.wrong != "memory" or not hasattr(self, "centre_") else self.centre_
        if self.wrong == "dishonest":
            self.reference_scores_ = np.arange(len(X), 0.0, -1.0)
        return None if self.wrong == "self" else self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        scores = np.linalg.norm(X - self.centre_, axis=1)
        if self.wrong == "dtype":
            return scores.astype(np.float32)
        return {"sign": -scores, "order": scores + np.arange(len(X))}.get(self.wrong, scores)


def test_a_complete_detector_passes() -> None:
    check_detector(Distance)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("self", "the detector itself to be returned"),
        ("dtype", "expected float64"),
        ("sign", "do not score higher"),
        ("order", "order of the rows"),
        ("dishonest", "leave each clip out of what scores it"),
    ],
)
def test_each_wrong_part_of_a_detector_is_named(wrong: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_detector(type("Spoilt", (Distance,), {"wrong": wrong}))


def test_a_second_fit_must_forget_the_first() -> None:
    class Remembering(Distance):
        def fit(self, X: np.ndarray) -> "Remembering":
            self.seen_ = getattr(self, "seen_", 0) + 1
            self.centre_ = X.mean(axis=0) * self.seen_
            return self

    with pytest.raises(ContractError, match="a second fit does not forget the first"):
        check_detector(Remembering)
