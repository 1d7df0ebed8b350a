"""Banks: by domain, pooled over the sections of a machine, shifted, and for clips that can be of either domain."""

import numpy as np
import pytest

from ensemble.decision.banks import EITHER, BankRule, Scale, banks, median_residuals, p_values, shifted_reference
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.conformal import decisions, from_surprise, surprise


def placed(scores: np.ndarray, domain: np.ndarray, section: np.ndarray | None = None) -> PlacedScores:
    n = len(scores)
    where = np.full(n, "00") if section is None else section
    return PlacedScores(np.asarray(scores, dtype=float), np.full(n, "fan"), where, domain)


def domains(source: int, target: int) -> np.ndarray:
    return np.array(["source"] * source + ["target"] * target)


def test_clips_of_an_unknown_domain_are_compared_with_the_whole_section() -> None:
    of_test = np.array(["source", "unknown", "target"])
    reference = placed(np.arange(30.0), domains(30, 0))
    made = list(banks(placed(np.zeros(3), of_test), reference, BankRule(0.1, Scale())))
    assert [(bank.domain, bank.rows.tolist()) for bank in made] == [("source", [0]), ("", [1, 2])]


def test_too_few_clips_of_a_domain_are_joined_by_those_of_other_sections_at_this_section_s_level() -> None:
    """Section 01 has scores 100 higher throughout; target clips are 5 above their section's source clips."""
    source = np.arange(9.0)
    scores = np.concatenate([source, [9, 9.5, 10], source + 100, [108, 109, 110]])
    section = np.repeat(["00", "01"], 12)
    reference = placed(scores, np.tile(domains(9, 3), 2), section)
    test = placed(np.zeros(1), np.array(["target"]), np.array(["00"]))
    (bank,) = banks(test, reference, BankRule(0.15, Scale()))
    np.testing.assert_allclose(np.sort(bank.reference), [8, 9, 9, 9.5, 10, 10])
    assert not bank.shifted
    (bank,) = banks(test, reference, BankRule(0.3, Scale()))
    np.testing.assert_allclose(bank.reference, [9, 9.5, 10], err_msg="enough of its own")
    (bank,) = banks(test, reference, BankRule(0.1, Scale(), tail="none"))
    assert (len(bank.reference), bank.shifted) == (6, False)
    (bank,) = banks(test, reference, BankRule(0.1, Scale()))
    assert (len(bank.reference), bank.shifted) == (12, True)
    assert np.median(bank.reference) == pytest.approx(9.25, abs=0.5), "the level of the six target clips"


def test_a_domain_that_only_other_sections_have_is_taken_from_them() -> None:
    section = np.repeat(["00", "01"], [5, 10])
    scores = np.concatenate([np.arange(5.0), np.arange(5.0) + 10, np.arange(5.0) + 17])
    reference = placed(scores, np.concatenate([domains(5, 0), domains(5, 5)]), section)
    test = placed(np.zeros(1), np.array(["target"]), np.array(["00"]))
    (bank,) = banks(test, reference, BankRule(0.2, Scale()))
    np.testing.assert_allclose(bank.reference, np.arange(5.0) + 7)


def test_a_clip_of_either_domain_is_reported_only_where_both_domains_would_report_it(rng: np.random.Generator) -> None:
    of_train = domains(60, 40)
    reference = placed(rng.normal(size=100) + 3 * (of_train == "target"), of_train)
    scores = np.linspace(-3, 9, 200)

    def decided(domain: str) -> np.ndarray:
        return decisions(placed(scores, np.full(200, domain)), reference, rate=0.1).reported

    either = decisions(placed(scores, np.full(200, EITHER)), reference, rate=0.1)
    np.testing.assert_array_equal(either.reported, decided("source") & decided("target"))
    both = [p_values(scores, reference.scores[of_train == name]) for name in ("source", "target")]
    np.testing.assert_array_equal(either.p_value, np.maximum(*both))


def test_median_residuals_leave_the_own_value_out(rng: np.random.Generator) -> None:
    for n in (2, 3, 4, 5, 12, 13):
        values = rng.integers(0, 6, n).astype(float)
        expected = [values[i] - np.median(np.delete(values, i)) for i in range(n)]
        np.testing.assert_allclose(median_residuals(values), expected)


def test_shifting_moves_the_level_and_keeps_the_shape() -> None:
    scores, domain = np.array([0.0, 1, 2, 3, 4, 10, 12, 14]), domains(5, 3)
    moved = shifted_reference(scores, domain, 12.0, Scale())
    assert moved is not None
    assert len(moved) == 8
    np.testing.assert_allclose(np.sort(moved)[[0, -1]], 12 + np.array([-3.0, 3.0]))
    alone = shifted_reference(np.array([1.0, 2, 3, 9]), domains(3, 1), 9.0, Scale())
    assert alone is not None
    np.testing.assert_allclose(np.sort(alone), 9 + np.array([-1.5, 0, 1.5]))
    assert shifted_reference(np.array([1.0, 2]), domains(1, 1), 1.0, Scale()) is None
    scale = Scale(surprise, from_surprise)
    level = float(np.median(surprise(np.array([0.99, 0.98]))))
    bounded = shifted_reference(np.array([0.1, 0.5, 0.9, 0.99, 0.98]), domains(3, 2), level, scale)
    assert bounded is not None
    assert bounded.max() < 1
