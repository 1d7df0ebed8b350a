"""The offset between domains: shrunk, by hand and by simulation, and taken off by the posterior."""

import numpy as np
import pytest

from ensemble.domains.shift import Shift


def arranged(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(source) + len(target)
    scores = np.concatenate([source, target])
    return scores, np.full(n, "fan"), np.full(n, "00"), np.arange(n) >= len(source)


def test_the_offset_of_one_section_by_hand() -> None:
    """Source: median 2, deviation 1.4826; target: 9 clips at 8 without spread, so only n / (n + 3) shrinks."""
    shift = Shift.of(*arranged(np.array([0.0, 1, 2, 3, 4]), np.full(9, 8.0)))
    assert shift.sections == (("fan", "00"),)
    np.testing.assert_allclose(shift.offset, [6 * 9 / 12])
    two = Shift.of(np.array([[0.0, 1, 2, 3, 4, 8, 8], [0, 0, 0, 0, 0, 0, 0]]), *arranged(np.zeros(5), np.zeros(2))[1:])
    np.testing.assert_allclose(two.offset, [[6 * 2 / 5], [0]], err_msg="one row per candidate")


def test_an_offset_within_its_error_is_none() -> None:
    """Target clips around the source level, far apart."""
    shift = Shift.of(*arranged(np.linspace(-1, 1, 21), np.array([-6.0, 0.4, 6.0])))
    assert shift.offset == pytest.approx(0)


def test_sections_of_a_machine_share_half_of_their_offsets() -> None:
    source, machine = np.linspace(0, 4, 9), np.full(22, "fan")
    scores = np.concatenate([source, [8.0, 8.0], source, [6.0, 6.0]])
    section, target = np.repeat(["00", "01"], 11), np.tile(np.arange(11) >= 9, 2)
    own = Shift.of(scores, machine, section, target).offset
    np.testing.assert_allclose(own, np.array([0.5 * 6 + 0.5 * 5, 0.5 * 4 + 0.5 * 5]) * 2 / 5)
    apart = Shift.of(scores, np.repeat(["fan", "pump"], 11), section, target).offset
    np.testing.assert_allclose(apart, np.array([6, 4]) * 2 / 5)


def test_the_offset_is_shrunk_by_its_standard_error() -> None:
    """Deviations of one spread around both medians; the variance of a median of 3 of n is pi / 2 of that of a mean.

    Two sections of three target clips at offsets of 6 and 4: four degrees of freedom for six clips.
    """
    source, spread = np.arange(5.0), 1.4826
    scores = np.concatenate([source, [7.0, 8, 9], source, [5.0, 6, 7]])
    section, target = np.repeat(["00", "01"], 8), np.tile(np.arange(8) >= 5, 2)
    offset = np.array([0.5 * 6 + 0.5 * 5, 0.5 * 4 + 0.5 * 5])
    error = np.pi / 2 * (4 / spread**2 / 4) * (0.5**2 / 3 + 0.5**2 / 6)
    certain = 1 - error / (offset / spread) ** 2
    expected = offset * certain * 3 / 6
    np.testing.assert_allclose(Shift.of(scores, np.full(16, "fan"), section, target).offset, expected, rtol=1e-9)


def test_source_scores_that_are_mostly_equal_have_their_standard_deviation_as_spread() -> None:
    """The median deviation of 2, 2, 2, 2, 12 is 0, and the standard deviation is 4."""
    scores = np.array([2.0, 2, 2, 2, 12, 8, 8, 0, 1, 2, 3, 4, 6, 6])
    section, target = np.repeat(["00", "01"], 7), np.tile(np.arange(7) >= 5, 2)
    relative, spread = np.array([6 / 4, 4 / 1.4826]), np.array([4, 1.4826])
    expected = (0.5 * relative + 0.5 * relative.mean()) * spread * 2 / 5
    np.testing.assert_allclose(Shift.of(scores, np.full(14, "fan"), section, target).offset, expected, rtol=1e-9)


def test_the_offset_is_taken_off_by_the_posterior_and_the_range_is_kept() -> None:
    higher = Shift((("fan", "00"),), np.array([2.0]))
    machine, section = np.full(4, "fan"), np.array(["00", "00", "00", "01"])
    q, scores = np.array([0.0, 0.5, 1.0, 0.0]), np.zeros(4)
    np.testing.assert_allclose(higher.removed(scores, machine, section, q), [2, 1, 0, 0])
    lower = Shift((("fan", "00"),), np.array([-2.0]))
    np.testing.assert_allclose(lower.removed(scores, machine, section, q), [0, 1, 2, 0])
    unknown = np.full(4, np.nan)
    np.testing.assert_array_equal(higher.removed(scores, machine, section, unknown), scores)


def test_sections_without_both_domains_are_left_alone(rng: np.random.Generator) -> None:
    scores, machine, section, _ = arranged(rng.normal(size=8), rng.normal(size=4) + 9)
    assert Shift.of(scores, machine, section, np.zeros(12, dtype=bool)).offset == 0
    assert Shift.of(scores, machine, section, np.ones(12, dtype=bool)).offset == 0


@pytest.mark.parametrize("n", [3, 10, 50])
def test_normal_clips_of_both_domains_come_closer_and_never_cross(n: int, rng: np.random.Generator) -> None:
    """Over many draws the remaining offset is smaller than before, and of the same sign."""
    left = []
    for _ in range(200):
        shift = Shift.of(*arranged(rng.normal(size=30), rng.normal(3, 1, size=n)))
        left.append(3 - shift.offset[0])
    assert 0 < np.mean(left) < 3 * 0.62
    assert np.mean(left) == pytest.approx(3 * 3 / (n + 3), abs=0.45)
