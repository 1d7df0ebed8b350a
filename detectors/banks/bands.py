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
    """A fitted detector per band, and the unit (bands,) of its scores.

    The unit is the standard deviation of the band's leave-one-out training scores, or 1 where VarMin makes it
    unnecessary.
    """

    detectors: tuple[Fitted, ...]
    spread: np.ndarray

    @classmethod
    def fit(cls, detector: Fitted, scale: Fitted | None, parts: list[np.ndarray], *labels: np.ndarray) -> Self:
        """Fit a copy of `detector` to each part (n, d); the reference scores of a copy of `scale` give the spread."""
        detectors, spread = [], []
        for part in parts:
            of_part = copy.copy(detector)
            of_part._learn(part, *labels)
            detectors.append(of_part)
            spread.append(1.0 if scale is None or len(part) < 2 else _spread(_held_out(scale, part, *labels)))
        return cls(tuple(detectors), np.array(spread))

    def score(self, parts: list[np.ndarray]) -> np.ndarray:
        """Mean of the bands' scores, each divided by its spread: the mean z-score plus a constant."""
        scores = [detector._score(part) for detector, part in zip(self.detectors, parts, strict=True)]
        mean: np.ndarray = (np.stack(scores) / self.spread[:, None]).mean(axis=0)
        return mean

    def reference(self, parts: list[np.ndarray], *labels: np.ndarray) -> np.ndarray:
        """Mean of the bands' reference scores, for units that do not depend on the clips."""
        scores = [detector._reference(part, *labels) for detector, part in zip(self.detectors, parts, strict=True)]
        mean: np.ndarray = np.mean(scores, axis=0)
        return mean


def split_bands(X: np.ndarray, bands: int) -> list[np.ndarray]:
    """Equal parts (n, d / bands) of joined views X (n, d), in order; ValueError if d is no multiple of `bands`.

    Of one log-mel view the parts are neighbouring mels.
    """
    if X.shape[1] % bands:
        raise ValueError(
            f"bands={bands}: cannot split {X.shape[1]} dimensions into {bands} equal views; set bands to the number of "
            "views of the embedding, and name the embedding without a view, or to a divisor of a view's dimensions"
        )
    return np.split(X, bands, axis=1)


def _held_out(scale: Fitted, part: np.ndarray, *labels: np.ndarray) -> np.ndarray:
    scale_of_part = copy.copy(scale)
    scale_of_part._learn(part, *labels)
    return scale_of_part._reference(part, *labels)


def _spread(scores: np.ndarray) -> float:
    """Standard deviation of scores; 1 where all are equal."""
    spread = float(scores.std())
    return spread if spread > LEAST_SPREAD else 1.0
