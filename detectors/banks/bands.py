"""A detector per view of an embedding, for example per frequency band.

After BEAM's k-NN per sub-band (arXiv 2603.13749, 2026): louder bands do not hide a fault in one band.
"""

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.base import Fitted

LEAST_SPREAD = 1e-9
"""Standard deviation below which distances differ only by rounding."""


@dataclass(frozen=True, eq=False)
class Bands:
    """A fitted detector per band, and the standard deviation (bands,) of its leave-one-out training scores."""

    detectors: tuple[Fitted, ...]
    spread: np.ndarray

    @classmethod
    def fit(cls, detector: Fitted, scale: Fitted, parts: list[np.ndarray], *labels: np.ndarray) -> Self:
        """Fit a copy of `detector` to each part (n, d); the reference scores of a copy of `scale` give the spread."""
        detectors, spread = [], []
        for part in parts:
            of_part, scale_of_part = copy.copy(detector), copy.copy(scale)
            of_part._learn(part, *labels)
            detectors.append(of_part)
            scale_of_part._learn(part, *labels)
            spread.append(_spread(scale_of_part._reference(part, *labels)) if len(part) > 1 else 1.0)
        return cls(tuple(detectors), np.array(spread))

    def score(self, parts: list[np.ndarray]) -> np.ndarray:
        """Mean of the bands' scores, each divided by its spread: the mean z-score plus a constant."""
        scores = [detector._score(part) for detector, part in zip(self.detectors, parts, strict=True)]
        mean: np.ndarray = (np.stack(scores) / self.spread[:, None]).mean(axis=0)
        return mean


def split_bands(X: np.ndarray, bands: int) -> list[np.ndarray]:
    """Equal parts (n, d / bands) of joined views X (n, d), in order; ValueError if d is no multiple of `bands`."""
    if X.shape[1] % bands:
        raise ValueError(
            f"bands={bands}: cannot split {X.shape[1]} dimensions into {bands} equal views; set bands to the number of "
            "views of the embedding, and name the embedding without a view"
        )
    return np.split(X, bands, axis=1)


def _spread(scores: np.ndarray) -> float:
    """Standard deviation of scores; 1 where all are equal."""
    spread = float(scores.std())
    return spread if spread > LEAST_SPREAD else 1.0
