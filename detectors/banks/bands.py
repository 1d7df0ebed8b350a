"""Views of an embedding side by side, say its frequency bands: each scored by a detector of its own.

After BEAM's k-NN per sub-band (arXiv 2603.13749, 2026): a fault in one band does not drown in the others.
"""

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.base import Fitted

LEAST_SPREAD = 1e-9
"""Standard deviation of distances below which they are equal but for rounding."""


@dataclass(frozen=True, eq=False)
class Bands:
    """A fitted detector per band, and the standard deviation of its leave-one-out training scores (bands,)."""

    detectors: tuple[Fitted, ...]
    spread: np.ndarray

    @classmethod
    def fit(cls, detector: Fitted, unit: Fitted, parts: list[np.ndarray], *labels: np.ndarray) -> Self:
        """Copies of `detector` learned from each part (n, d); `unit` makes the scores that it is measured by."""
        made, spread = [], []
        for part in parts:
            one, plain = copy.copy(detector), copy.copy(unit)
            one._learn(part, *labels)
            made.append(one)
            plain._learn(part, *labels)
            spread.append(_spread(plain._reference(part, *labels)) if len(part) > 1 else 1.0)
        return cls(tuple(made), np.array(spread))

    def score(self, parts: list[np.ndarray]) -> np.ndarray:
        """Mean of the bands' scores, each in units of its spread: the mean z-score, but for a constant."""
        scores = [one._score(part) for one, part in zip(self.detectors, parts, strict=True)]
        mean: np.ndarray = (np.stack(scores) / self.spread[:, None]).mean(axis=0)
        return mean


def split_bands(X: np.ndarray, bands: int) -> list[np.ndarray]:
    """Equal parts (n, d / bands) of joined views X (n, d), in order; ValueError where they do not come out even."""
    if X.shape[1] % bands:
        raise ValueError(
            f"bands={bands}: {X.shape[1]} dimensions are no {bands} views of equal length; give the number of views "
            "of the embedding, and name the embedding without a view"
        )
    return np.split(X, bands, axis=1)


def _spread(scores: np.ndarray) -> float:
    """Standard deviation of scores; 1 where all are alike."""
    spread = float(scores.std())
    return spread if spread > LEAST_SPREAD else 1.0
