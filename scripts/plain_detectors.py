"""Detectors and default ensemble written plainly on scikit-learn, numpy and PyOD: the competitors of bench_ensemble.py.

    python scripts/plain_detectors.py STORE OUT.csv

It scores the test clips of STORE with the default ensemble, one member and one section after the other. The embeddings,
the folds of the honest scores (ten; single rows for mahalanobis), the percentiles and the fusion are those of `detect
--ensemble`; the detectors are not. Rows are standardised within every fold. LDN is numpy, since scikit-learn has none.
"""

import argparse
import csv
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

from detectors.base import FOLDS, folds
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.fuse import fuse
from ensemble.defaults import default_recipe
from ensemble.inputs import Inputs
from ensemble.recipe import Member
from featstore.store import FeatureStore
from featstore.table import ClipTable

MANY_ROWS = 50_000
"""With fewer rows, one thread: two are slower on such small matrices. `detect` has the same rule."""

LDN_ROWS = 1024
"""Queries of LDN in one product."""

Score = Callable[[np.ndarray], np.ndarray]


def threads(rows: int) -> Any:
    """The limit of threads in BLAS and OpenMP for a job of that many rows, as a context."""
    return threadpool_limits(1 if rows < MANY_ROWS else None)


def knn(Z: np.ndarray) -> Score:
    """Cosine distance to the nearest row."""
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(Z)
    return lambda queries: index.kneighbors(queries)[0].mean(axis=1)


def ldn(Z: np.ndarray) -> Score:
    """Smallest distance divided by the distance of that row from its own nearest row, copies merged."""
    rows = np.unique(normalize(Z), axis=0)

    def distances(start: int, queries: np.ndarray) -> np.ndarray:
        half: np.ndarray = np.clip((1 - queries[start : start + LDN_ROWS] @ rows.T) / 2, 0, None)
        return half

    rho = np.empty(len(rows))
    for start in range(0, len(rows), LDN_ROWS):
        to_others = distances(start, rows)
        np.fill_diagonal(to_others[:, start:], np.inf)
        rho[start : start + LDN_ROWS] = to_others.min(axis=1)
    rho = np.maximum(rho, 1e-12)

    def score(queries: np.ndarray) -> np.ndarray:
        queries = normalize(queries)
        starts = range(0, len(queries), LDN_ROWS)
        return np.concatenate([(distances(start, queries) / rho).min(axis=1) for start in starts])

    return score


def mahalanobis(Z: np.ndarray) -> Score:
    """Squared distance to the mean, with a Ledoit-Wolf covariance."""
    score: Score = LedoitWolf().fit(Z).mahalanobis
    return score


def gmm(Z: np.ndarray) -> Score:
    """Negative log density of the most likely of two components, without its weight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(2, tol=1e-3, reg_covar=1e-6, max_iter=100, random_state=0).fit(Z)

    def score(queries: np.ndarray) -> np.ndarray:
        densities = [
            np.log(np.diag(factor)).sum() - 0.5 * np.square((queries - mean) @ factor).sum(axis=1)
            for mean, factor in zip(mixture.means_, mixture.precisions_cholesky_, strict=True)
        ]
        nats: np.ndarray = 0.5 * Z.shape[1] * np.log(2 * np.pi) - np.max(densities, axis=0)
        return nats

    return score


def lof(Z: np.ndarray) -> Score:
    """Local outlier factor of four neighbours, as in the default ensemble."""
    factor = LocalOutlierFactor(min(4, len(Z) - 1), novelty=True).fit(Z)
    return lambda queries: -factor.score_samples(queries)


PLAIN: dict[str, Callable[[np.ndarray], Score]] = {
    "knn": knn,
    "ldn": ldn,
    "mahalanobis": mahalanobis,
    "gmm": gmm,
    "lof": lof,
}


def plain_scores(kind: str, train: np.ndarray, test: np.ndarray, domain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of test rows and honest scores of training rows, float64; `domain` (n,) spreads the folds."""
    train, test = train.astype(np.float64), test.astype(np.float64)

    def scorer(rows: np.ndarray) -> Score:
        scaler = StandardScaler().fit(rows)
        score = PLAIN[kind](scaler.transform(rows))
        return lambda queries: score(scaler.transform(queries))

    reference = np.empty(len(train))
    count = len(train) if kind == "mahalanobis" else FOLDS
    for held_out in folds(train, domain, np.full(len(train), ""), count):
        reference[held_out] = scorer(train[~held_out])(train[held_out])
    return scorer(train)(test), reference


def pyod_models() -> dict[str, Callable[[], Any]]:
    """PyOD's detectors of the same kinds, none where it is not installed; it has no LDN and no Ledoit-Wolf distance."""
    if find_spec("pyod") is None:
        return {}
    from pyod.models.gmm import GMM
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF

    return {
        "knn": lambda: KNN(n_neighbors=1, metric="cosine"),
        "gmm": lambda: GMM(n_components=2, tol=1e-3, reg_covar=1e-6, max_iter=100, random_state=0),
        "lof": lambda: LOF(n_neighbors=4),
    }


def pyod_scores(model: Any, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of test rows, and PyOD's own scores of the training rows: one fit and no folds."""
    scaler = StandardScaler().fit(train.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(scaler.transform(train.astype(np.float64)))
    return model.decision_function(scaler.transform(test.astype(np.float64))), model.decision_scores_


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows (n, d) of one view, those that train and those that are scored, with their clips."""

    train_X: np.ndarray
    train: ClipTable
    test_X: np.ndarray
    test: ClipTable

    @classmethod
    def of(cls, inputs: Inputs, member: Member) -> "Rows":
        """Rows of a member's view."""
        X, roles = inputs.matrix(member), inputs.roles
        return cls(X[roles.train], inputs.clips[roles.train], X[roles.scored], inputs.clips[roles.scored])

    def tenth(self) -> "Rows":
        """Every tenth row."""
        train, test = np.arange(0, len(self.train), 10), np.arange(0, len(self.test), 10)
        return Rows(self.train_X[train], self.train[train], self.test_X[test], self.test[test])


Form = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Scores of test rows and of training rows, from training rows, test rows and the domains of the training rows."""


def by_section(form: Form, rows: Rows) -> tuple[PlacedScores, PlacedScores]:
    """Scores of test clips and of training clips, section by section."""
    test, train = (
        PlacedScores(np.full(len(clips), np.nan), clips.column("machine"), clips.column("section"))
        for clips in (rows.test, rows.train)
    )
    domain = rows.train.column("domain")
    for group, scored in test.groups():
        bank = train.rows_of(group)
        scores = form(rows.train_X[bank], rows.test_X[scored], domain[bank])
        test.scores[scored], train.scores[bank] = scores
    return test, train


def main() -> None:
    """Score and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    store = FeatureStore.open(args.store)
    recipe = default_recipe(store)
    inputs = Inputs(store, recipe, ())
    with threads(len(inputs.clips)):
        scores = [
            by_section(partial(plain_scores, member.detector.partition(":")[0]), Rows.of(inputs, member))
            for member in recipe.members
        ]
    weights = [member.weight for member in recipe.members]
    fused = fuse(recipe.fusion, [test for test, _ in scores], [train for _, train in scores], weights)
    clips = inputs.clips[inputs.roles.scored]
    columns = clips.keys(), clips.column("machine").tolist(), clips.column("section").tolist(), fused.scores.tolist()
    with args.out.open("w", newline="") as file:
        csv.writer(file).writerows([("clip", "machine", "section", "score"), *zip(*columns, strict=True)])


if __name__ == "__main__":
    main()
