"""Clips compared with those of other blocks only (see `ensemble.groups`)."""

from collections.abc import Iterator
from typing import TypeGuard

import numpy as np


def blocked(block: np.ndarray | None, rows: np.ndarray) -> TypeGuard[np.ndarray]:
    """Whether any block has several of the rows; else every clip is left out by itself."""
    return block is not None and len(np.unique(block[rows])) < len(rows)


def apart(
    block: np.ndarray, rows: np.ndarray, candidates: np.ndarray, otherwise: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of every block, each with those candidates that are of other blocks.

    Where there are none, those of `otherwise` are taken.
    """
    for number in np.unique(block[rows]):
        others = candidates[block[candidates] != number]
        if not len(others):
            others = otherwise[block[otherwise] != number]
        yield rows[block[rows] == number], others


def independent(block: np.ndarray) -> float:
    """Number of independent clips that clips (n,) of these blocks are worth: 1 / the sum of squared shares of blocks.

    It is the number of blocks where these are equally large (Kish 1965), and n where every clip is one.
    """
    sizes = np.unique(block, return_counts=True)[1]
    return float(len(block) ** 2 / np.square(sizes).sum()) if len(block) else 0.0
