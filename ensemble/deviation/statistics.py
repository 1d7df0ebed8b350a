"""What the log-mel spectrogram of a normal clip looks like in a section, from stored statistics without audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from detectors.covariance import Moments, ledoit_wolf
from featstore.errors import DataError

VIEWS = ("mean", "std", "delta", "min", "max")
"""Statistics over time that are needed, as views of the embedding `logmel`."""

BUILD = "featstore build DATA STORE -e logmel"
FLOOR_DB = 0.3  # least spread: a band that hardly varies in training may vary by this much
ODD = 4.0  # spreads from the median beyond which a training clip counts no more
LEAST_OF_DOMAIN = 2  # training clips that give a domain a level of its own
GAUSSIAN_EXTREME = 2.9  # spreads between mean and maximum of some 300 Gaussian values
MAD = 1.4826  # from the median absolute deviation to the standard deviation of a Gaussian


@dataclass(frozen=True, eq=False)
class NormalSound:
    """Level of normal clips in each mel band, its covariance between clips, and its spread within a clip, all in dB.

    level (domains, mels): median over clips of the mean over time, one row per domain. between (mels, mels): covariance
    of the clips' means about their level, shrunk and robust. within (mels,): spread of single frames about the mean of
    their clip. memory (mels,): number of frames for which a deviation lasts, at least 1.
    """

    level: np.ndarray
    between: np.ndarray
    within: np.ndarray
    memory: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, view_names: Sequence[str], *, domain: np.ndarray | None = None) -> "NormalSound":
        """From the rows (n, views, mels) of normal clips in the embedding `logmel`; `domain`: their texts (n,).

        Medians over clips and limited residuals: a few odd clips hardly change the result. DataError for missing views.
        """
        missing = [name for name in VIEWS if name not in view_names]
        if missing:
            raise DataError(f"the log-mel statistics lack the views {', '.join(missing)}; {BUILD} stores them")
        if rows.ndim != 3 or not len(rows) or rows.shape[1] != len(view_names) or not np.isfinite(rows).all():
            raise DataError(f"expected finite rows (clips, {len(view_names)} views, mels), got {rows.shape}")
        # Sums depend on the order of their terms: a fixed order makes the result independent of that of the rows.
        order = np.lexsort(rows.reshape(len(rows), -1).T)
        views = {name: rows[order, view_names.index(name)].astype(np.float64) for name in VIEWS}
        level, residuals = _levels(views["mean"], None if domain is None else np.asarray(domain)[order])
        memory = _memory(np.median(views["std"], axis=0), np.median(views["delta"], axis=0))
        return cls(level, _between(residuals), _within(views), memory)

    def nearest_level(self, mean: np.ndarray) -> np.ndarray:
        """The level (mels,) of the domain that a clip's mean over time (mels,) is nearest to, by its median distance.

        A median over bands, because a fault changes few of them.
        """
        nearest: np.ndarray = self.level[np.median(np.abs(self.level - mean), axis=1).argmin()]
        return nearest

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as plain float32 arrays, for a file."""
        return {field.name: getattr(self, field.name).astype(np.float32) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "NormalSound":
        """Inverse of `arrays`; DataError for a missing array, a wrong shape or an impossible value."""
        names = [field.name for field in fields(cls)]
        if set(arrays) != set(names):
            raise DataError(f"statistics of normal sound: expected {', '.join(names)}, got {', '.join(sorted(arrays))}")
        values = {name: np.asarray(arrays[name]) for name in names}
        mels = values["within"].shape[0] if values["within"].ndim == 1 else 0
        domains = values["level"].shape[0] if values["level"].ndim == 2 else 0
        shapes = {"level": (domains, mels), "between": (mels, mels)} | dict.fromkeys(names[2:], (mels,))
        for name, value in values.items():
            if value.shape != shapes[name] or not value.size or value.dtype.kind != "f" or not np.isfinite(value).all():
                raise DataError(
                    f"statistics of normal sound: {name} is {value.dtype} {value.shape}; expected finite floats "
                    f"{shapes[name]}"
                )
        values = {name: value.astype(np.float64) for name, value in values.items()}
        possible = (values["within"] > 0).all() and (values["memory"] >= 1).all()
        if not possible or not _is_covariance(values["between"]):
            raise DataError("statistics of normal sound: spreads must be positive and `between` must be a covariance")
        return cls(**values)


def _levels(means: np.ndarray, domain: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Median (domains, mels) of the clips' means in each domain with enough clips, and the residuals (n, mels).

    The clips of a smaller domain are compared with the level of all clips.
    """
    overall = np.median(means, axis=0)
    labels = np.zeros(len(means)) if domain is None else domain
    names, counts = np.unique(labels, return_counts=True)
    large = names[counts >= LEAST_OF_DOMAIN]
    if len(large) < 2:
        return overall[None], means - overall
    levels, residuals = [], means - overall
    for name in large:
        levels.append(np.median(means[labels == name], axis=0))
        residuals[labels == name] = means[labels == name] - levels[-1]
    return np.stack(levels), residuals


def _between(residuals: np.ndarray) -> np.ndarray:
    """Robust covariance (mels, mels): shrunk after each band is scaled to its median absolute deviation and limited."""
    centre = np.median(residuals, axis=0)
    scale = np.hypot(MAD * np.median(np.abs(residuals - centre), axis=0), FLOOR_DB)
    limited = np.clip((residuals - centre) / scale, -ODD, ODD)
    shrunk = ledoit_wolf(Moments.of(limited - limited.mean(axis=0)))
    # One clip, or equal ones, have no covariance: the floor remains.
    return np.asarray(shrunk * np.outer(scale, scale) + FLOOR_DB**2 * np.eye(len(scale)))


def _within(views: Mapping[str, np.ndarray]) -> np.ndarray:
    """Spread of single frames, larger than their standard deviation where the extremes of normal clips lie far out."""
    std, high, low = (
        np.median(values, axis=0)
        for values in (views["std"], views["max"] - views["mean"], views["mean"] - views["min"])
    )
    above, below = (np.maximum(std, extreme / GAUSSIAN_EXTREME) for extreme in (high, low))
    return np.asarray(np.maximum(np.sqrt(above * below), FLOOR_DB))


def _memory(spread: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Frames for which a deviation lasts, from the mean change between frames: (1 + r) / (1 - r) of an AR(1) process.

    Its mean absolute change is 2 spread sqrt((1 - r) / pi), with r the correlation of neighbouring frames.
    """
    r = np.clip(1 - np.pi / 4 * np.square(delta / np.maximum(spread, FLOOR_DB)), 0, 0.98)
    return np.asarray((1 + r) / (1 - r))


def _is_covariance(matrix: np.ndarray) -> bool:
    symmetric = np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6)
    return symmetric and bool(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0] > 0)
