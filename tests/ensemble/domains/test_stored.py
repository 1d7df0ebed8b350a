"""Arrays of a stored model are taken one by one, and what does not fit is refused."""

import numpy as np
import pytest

from ensemble.domains.stored import FLOAT, Stored, fact, texts


def test_every_array_is_taken_once_with_its_prefix() -> None:
    stored = Stored({"a": np.zeros(2), "0.1.a": np.ones((3, 2))})
    assert stored.take("a", FLOAT, (2,)).sum() == 0
    with pytest.raises(ValueError, match=r"1 arrays that no model of domains has, first '0\.1\.a'"):
        stored.finish()
    assert stored.under("0").under("1").take("a", FLOAT, (None, 2)).sum() == 6
    stored.finish()
    with pytest.raises(ValueError, match="a: expected an array, got none"):
        stored.take("a", FLOAT, (2,))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([0.0, 1.0], "expected an array, got list"),
        (np.zeros(2, dtype=np.float32), "expected float64, got float32"),
        (np.zeros(2, dtype=object), "expected float64, got object"),
        (np.zeros(2, dtype=">f8"), "expected float64, got >f8"),
        (np.zeros((2, 1)), r"expected shape \(any\), got \(2, 1\)"),
        (np.array([0, np.nan]), "x.a: every value must be finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stored({"x.a": array}).under("x").take("a", FLOAT, (None,))


@pytest.mark.parametrize("meta", [None, [], {}, {"a": 1}, {"a": [1]}, {"a": ["b", "b"]}, {"a": ["b", None]}])
def test_texts_that_do_not_fit_are_refused(meta: object) -> None:
    with pytest.raises(ValueError, match="a stored model of domains: expected"):
        texts(meta, "a")


def test_facts_are_of_their_type() -> None:
    assert texts({"a": ["b", "c"]}, "a") == ("b", "c")
    assert fact({"a": 3}, "a", int) == 3
    with pytest.raises(ValueError, match="a as int, got bool"):
        fact({"a": True}, "a", int)
