"""Time of the `gmm` detector beside the same detector on scikit-learn's GaussianMixture, with honest reference scores.

    python scripts/bench_mixture.py [--mimii FOLDER] [--rounds 5] [--only TEXT]

The competitor is the detector as it was: every fold starts from k-means of its own. Both take turns with one thread.
The table has medians over the rounds of the processor time, for the fit alone and with reference scores (theirs /
ours), the median ratio of the latter, the iterations of both fits, and the largest difference of a training row's score
relative to 1 + its size. Simulated rows, standardised: `states`, two clusters, each with axes and a decaying spectrum
of its own; `one`, a single cluster, where two components overlap most. FOLDER holds npz files of MIMII features (see
bench_mimii_features.py): the normal clips of id 00 at 0 dB, as they are and behind `standardize=true`.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from detectors.base import Fitted
from detectors.gmm import GMM
from detectors.preprocess import Preprocessed

SHAPES = ((1200, 128), (300, 128), (60, 640), (1200, 640))
SETTINGS = ((2, "full", 1e-6), (2, "full", 0.01), (1, "full", 1e-6), (2, "tied", 1e-6), (4, "diag", 0.01))
LARGE = 5e5
"""Matrices with more entries take two rounds only."""


class Plain(Fitted):
    """The detector on scikit-learn's mixture."""

    def __init__(self, *, n_components: int, covariance_type: str, reg_covar: float) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        X = np.array(X, dtype=np.float64)
        X = X[np.argsort(np.unique(X, axis=0, return_inverse=True)[1].reshape(-1), kind="stable")]
        k = min(self.n_components, len(np.unique(X, axis=0)))
        mixture = GaussianMixture(
            k, covariance_type=self.covariance_type, reg_covar=self.reg_covar, tol=1e-3, random_state=0
        )
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.mixture_ = mixture.fit(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        means, factors = self.mixture_.means_, self.mixture_.precisions_cholesky_
        if self.covariance_type == "tied":
            factors = np.repeat(factors[None], len(means), axis=0)
        columns = []
        for mean, factor in zip(means, factors, strict=True):
            diagonal = factor if factor.ndim == 1 else np.diag(factor)
            offsets = (X - mean) * factor if factor.ndim == 1 else (X - mean) @ factor
            columns.append(np.log(diagonal).sum() - 0.5 * np.square(offsets).sum(axis=1))
        scores: np.ndarray = 0.5 * X.shape[1] * np.log(2 * np.pi) - np.stack(columns, axis=1).max(axis=1)
        return scores


def states(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Two clusters, one with twice the rows of the other."""
    return standardised(np.concatenate([rng.normal(size=d) + cluster(m, d, rng) for m in (n - n // 3, n // 3)]))


def one(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """A single cluster."""
    return standardised(cluster(n, d, rng))


def cluster(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Normal rows with a decaying spectrum and axes at random."""
    turned: np.ndarray = (rng.normal(size=(n, d)) * (1 + np.arange(d)) ** -0.5) @ np.linalg.qr(rng.normal(size=(d, d)))[
        0
    ]
    return turned


def standardised(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1."""
    scaled: np.ndarray = (X - X.mean(axis=0)) / X.std(axis=0)
    return scaled


def matrices(mimii: Path | None) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Every matrix, its name, and whether the detector is to standardise it."""
    for n, d in SHAPES:
        for make in (states, one):
            yield f"{make.__name__} {n} x {d}", make(n, d, np.random.default_rng(0)), False
    for path in sorted(mimii.glob("*.npz")) if mimii else ():
        with np.load(path, allow_pickle=False) as arrays:
            X = arrays["snr0_id_00_normal"].astype(np.float64)
        yield f"{path.stem} {X.shape[0]} x {X.shape[1]}", X, False
        yield f"{path.stem}, standardize=true", X, True


def line(X: np.ndarray, theirs: Any, ours: Any, rounds: int) -> str:
    """The cells of one line of the table."""
    calls: list[Callable[[np.ndarray], object]] = [theirs.learn, ours.learn, theirs.fit, ours.fit]
    times = np.zeros((rounds, 4))
    for i in range(rounds):
        for j, call in enumerate(calls):
            start = time.process_time()
            call(X)
            times[i, j] = 1000 * (time.process_time() - start)
    learned, learn, fitted, fit = np.median(times, axis=0)
    ratio = statistics.median(times[:, 2] / times[:, 3])
    was, now = theirs.anomaly_score(X), ours.anomaly_score(X)
    difference = np.abs((was - now) / (1 + np.abs(was))).max()
    a, b = (getattr(detector, "detector_", detector).mixture_ for detector in (theirs, ours))
    steps = f"{a.n_iter_} / {b.iterations}"
    return f"{learned:.1f} / {learn:.1f} | {fitted:.0f} / {fit:.0f} | {ratio:.1f} | {steps} | {difference:.0e}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mimii", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print("| rows | components, reg_covar | fit, ms | with reference scores, ms | ratio | iterations | difference |")
    print("|---|---|---|---|---|---|---|")
    for name, X, standardize in matrices(args.mimii):
        for k, covariance_type, reg in SETTINGS:
            label = f"| {name} | {k} {covariance_type}, {reg:g} |"
            if args.only not in label:
                continue
            pair = [kind(n_components=k, covariance_type=covariance_type, reg_covar=reg) for kind in (Plain, GMM)]
            if standardize:
                pair = [Preprocessed(detector=detector, standardize=True) for detector in pair]
            with threadpool_limits(1):
                print(label, line(X, *pair, min(args.rounds, 2) if X.size > LARGE else args.rounds), "|", flush=True)


if __name__ == "__main__":
    main()
