"""Rows standardised by their section, by hand."""

import numpy as np
import pytest

from ensemble.domains.standardisation import Standardisation
from ensemble.domains.stored import Stored

BANK = np.array([[0.0, 5, 1, 7], [2, 5, 1, 8], [10, 5, 1, 6], [30, 5, 1, 6]])
SECTION = np.array(["00", "00", "01", "01"])


def test_rows_are_standardised_by_the_bank_of_their_section() -> None:
    scale = Standardisation.of(BANK, SECTION)
    assert scale.sections == ("00", "01")
    assert scale.columns.tolist() == [0, 3], "the others vary in no section"
    np.testing.assert_allclose(scale.of_rows(BANK, SECTION), [[-1, -1], [1, 1], [-1, 0], [1, 0]])
    new = np.array([[4.0, 5, 7, 7.5], [40, 0, 0, 99], [4, 4, 4, 4]])
    rows = scale.of_rows(new, np.array(["00", "01", "02"]))
    np.testing.assert_allclose(rows, [[3, 0], [2, 0], [0, 0]], err_msg="the last section has no bank clips")


def test_a_constant_column_of_large_values_is_left_out() -> None:
    X = np.array([[1e9, 0.0], [1e9 + 1e-3, 1.0]])
    assert Standardisation.of(X, np.array(["00", "00"])).columns.tolist() == [1]


def stored(**changed: np.ndarray) -> Standardisation:
    arrays = {**Standardisation.of(BANK, SECTION).arrays(), **changed}
    return Standardisation.from_arrays(Stored(arrays), ("00", "01"), 4)


def test_stored_arrays_give_the_same_rows() -> None:
    expected = Standardisation.of(BANK, SECTION).of_rows(BANK, SECTION)
    np.testing.assert_array_equal(stored().of_rows(BANK, SECTION), expected)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("columns", np.array([3, 0]), "in order"),
        ("columns", np.array([0, 0]), "in order"),
        ("columns", np.array([-1, 0]), "from 0 to 3"),
        ("columns", np.array([0, 4]), "from 0 to 3"),
        ("columns", np.array([0.0, 3]), "expected int64"),
        ("centre", np.zeros((2, 3)), r"expected shape \(2, 2\)"),
        ("scale", np.full((2, 2), -1.0), "at least 0"),
        ("scale", np.full((2, 2), np.nan), "finite"),
    ],
)
def test_stored_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stored(**{name: array})
