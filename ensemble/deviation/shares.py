"""How much each mel band contributes to a Mahalanobis distance."""

from typing import Any

import numpy as np

from detectors.mahalanobis import Mahalanobis
from detectors.preprocess import Preprocessed
from ensemble.deviation.region import band_text


def band_shares(detector: Any, X: np.ndarray) -> np.ndarray | None:
    """Share (m, d) of each column in the squared distance of each row X (m, d) to its nearest centre; rows sum to 1.

    The terms delta_b (P delta)_b sum to the squared distance, with delta the offset from the centre and P the inverse
    covariance. A term is negative where a band lies on the side that its correlated bands predict: it makes the
    distance smaller, so its share is 0, and the positive terms are divided by their sum. A row at its centre has equal
    shares.
    None where the detector is no fitted Mahalanobis, or whitens by PCA.
    """
    if isinstance(detector, Preprocessed) and detector.pca is None and hasattr(detector, "whitening_"):
        return band_shares(detector.detector_, detector.whitening_(X))
    if not isinstance(detector, Mahalanobis) or not hasattr(detector, "centres_"):
        return None
    from scipy.linalg import cho_solve

    terms = []
    for centre, precision in zip(detector.centres_, detector.precisions_, strict=True):
        offsets = np.asarray(X, dtype=np.float64) - centre
        terms.append(offsets * cho_solve((precision.cholesky, True), offsets.T).T)
    by_centre = np.stack(terms)
    nearest = by_centre.sum(axis=2).argmin(axis=0)
    positive = np.maximum(by_centre[nearest, np.arange(len(nearest))], 0)
    total = positive.sum(axis=1, keepdims=True)
    shares = np.divide(positive, total, out=np.full_like(positive, 1 / positive.shape[1]), where=total > 0)
    return np.asarray(shares)


def share_sentence(shares: np.ndarray, frequencies: np.ndarray, *, at_least: float = 0.5) -> str:
    """The narrowest range of bands with `at_least` this share: `63 % of the distance in 2 to 4 kHz`.

    shares: (mels,) of one clip; frequencies: edges of the bands in Hz, (mels + 1,).
    """
    sums = np.concatenate([[0.0], np.cumsum(shares)])
    ends = np.searchsorted(sums, sums[:-1] + min(at_least, sums[-1]) - 1e-9)
    widths = np.where(ends < len(sums), ends - np.arange(len(ends)), len(sums))
    low = int(np.lexsort([sums[:-1] - sums[np.minimum(ends, len(shares))], widths])[0])
    high = int(ends[low])
    share = 100 * (sums[high] - sums[low])
    return f"{share:.0f} % of the distance in {band_text(float(frequencies[low]), float(frequencies[high]))}"
