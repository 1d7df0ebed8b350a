"""Comparisons with clips of other blocks only."""

import numpy as np
import pytest

from ensemble.decision.blocks import apart, blocked, independent

BLOCK = np.array([0, 0, 1, 1, 2, 3])


def pairs(rows: list[int], candidates: list[int], otherwise: list[int]) -> list[tuple[list[int], list[int]]]:
    parts = apart(BLOCK, np.array(rows), np.array(candidates), np.array(otherwise))
    return [(own.tolist(), others.tolist()) for own, others in parts]


def test_every_block_meets_the_candidates_of_the_others() -> None:
    assert pairs([0, 1, 2], [0, 1, 2, 3], []) == [([0, 1], [2, 3]), ([2], [0, 1])]


def test_a_block_without_other_candidates_meets_the_others_at_large() -> None:
    assert pairs([0, 2], [0, 1], [0, 1, 4, 5]) == [([0], [4, 5]), ([2], [0, 1])]


def test_single_clips_are_no_blocks() -> None:
    assert blocked(BLOCK, np.arange(6))
    assert not blocked(BLOCK, np.array([0, 2, 4, 5]))
    assert not blocked(None, np.arange(6))


def test_clips_are_worth_the_number_of_their_blocks() -> None:
    assert independent(np.arange(7)) == 7
    assert independent(np.repeat([3, 5], 10)) == pytest.approx(2)
    assert independent(np.repeat([0, 1, 2], [8, 1, 1])) == pytest.approx(100 / 66)
    assert independent(np.zeros(0)) == 0
