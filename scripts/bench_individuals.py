#!/usr/bin/env python3
"""How well a linear classifier of machine ids detects faults, compared with a Mahalanobis distance on the same view.

    featstore build DATA STORE -e logmel
    python scripts/bench_individuals.py STORE [-e logmel] [--view mean ...]

Per machine type, a logistic regression learns to name the id from the standardised training clips; the score of a clip
is -log of the posterior of its id. The same posterior in closed form (`LDA`) has the means of all ids and one
Ledoit-Wolf covariance of the deviations from them. The Mahalanobis distance has the covariance of the training clips of
the id alone. Printed are the share of normal test clips whose id the regression names correctly, the three AUCs
averaged over the ids (of an embedding without views, of its vector), and in the last line the mean over the types of
(AUC + pAUC) / 2, the score of DCASE 2020.
"""

import argparse

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from featstore.store import FeatureStore

SCORES = ("-log posterior", "LDA", "Mahalanobis")


def scores(X: np.ndarray, ids: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Predicted id, and the SCORES of every clip (n,) of one machine type."""
    Z = StandardScaler().fit(X[train]).transform(X)
    classifier = LogisticRegression(C=0.03, max_iter=2000).fit(Z[train], ids[train])
    column = np.searchsorted(classifier.classes_, ids)
    posterior = -classifier.predict_log_proba(Z)[np.arange(len(Z)), column]
    distance = np.empty(len(Z))
    for name in classifier.classes_:
        own = ids == name
        precision = np.linalg.inv(ledoit_wolf(Z[own & train])[0])
        D = Z[own] - Z[own & train].mean(0)
        distance[own] = np.einsum("nd,de,ne->n", D, precision, D)
    return classifier.predict(Z), [posterior, pooled_posterior(Z, ids, train), distance]


def pooled_posterior(Z: np.ndarray, ids: np.ndarray, train: np.ndarray) -> np.ndarray:
    """-log of the posterior of the own id (n,) by the means of all ids and one covariance."""
    names = np.unique(ids)
    means = np.array([Z[train & (ids == name)].mean(0) for name in names])
    deviations = Z[train] - means[np.searchsorted(names, ids[train])]
    precision = np.linalg.inv(ledoit_wolf(deviations, assume_centered=True)[0])
    D = Z[:, None] - means
    log_p = -0.5 * np.einsum("nid,de,nie->ni", D, precision, D)
    own = log_p[np.arange(len(Z)), np.searchsorted(names, ids)]
    return np.asarray(np.logaddexp.reduce(log_p, axis=1) - own)


def main() -> None:
    """Print one line per machine type and view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("-e", "--embedding", default="logmel")
    parser.add_argument("--view", action="append", default=[])
    args = parser.parse_args()
    store = FeatureStore.open(args.store)
    clips, views = store.clips(args.embedding), store.info(args.embedding).views or ("vector",)
    X = store.matrix(args.embedding).astype(np.float64).reshape(len(clips), len(views), -1)
    ids, faulty = clips.column("section").astype(str), clips.where(label="anomaly")
    train, test = clips.where(split="train"), clips.where(split="test")
    print(f"| machine | view | ids | {' | '.join(f'AUC, {name}' for name in SCORES)} |\n|{'---|' * 6}")
    for view in args.view or ["mean" if "mean" in views else views[0]]:
        official = []
        for machine in sorted(set(clips.column("machine"))):
            own = clips.where(machine=machine)
            named, results = scores(X[own, views.index(view)], ids[own], train[own])
            right = np.mean((named == ids[own])[(test & ~faulty)[own]])
            tests = rows_of(ids[own], test[own])
            aucs = [[roc_auc_score(faulty[own][rows], score[rows]) for rows in tests] for score in results]
            paucs = [
                [roc_auc_score(faulty[own][rows], score[rows], max_fpr=0.1) for rows in tests] for score in results
            ]
            official.append((np.mean(aucs, axis=1) + np.mean(paucs, axis=1)) / 2)
            cells = " | ".join(f"{100 * value:.1f}" for value in np.mean(aucs, axis=1))
            print(f"| {machine} | {view} | {100 * right:.0f} | {cells} |")
        print(
            f"| mean of AUC and pAUC | {view} |  | {' | '.join(f'{100 * v:.1f}' for v in np.mean(official, axis=0))} |"
        )


def rows_of(ids: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    """Mask (n,) of the test clips of every id."""
    return [test & (ids == name) for name in sorted(set(ids))]


if __name__ == "__main__":
    main()
