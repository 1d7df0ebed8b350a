#!/usr/bin/env python3
"""How well a linear classifier of machine ids detects faults, compared with a Mahalanobis distance on the same view.

    featstore build DATA STORE -e logmel
    python scripts/bench_individuals.py STORE [-e logmel] [--view mean ...]

Per machine type, a logistic regression learns to name the id from the standardised training clips; the score of a clip
is -log of the posterior of its id. The Mahalanobis distance has the Ledoit-Wolf covariance of the training clips of the
id. Printed are the share of normal test clips whose id is named correctly, and both AUCs, averaged over the ids.
"""

import argparse

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from featstore.store import FeatureStore


def scores(X: np.ndarray, ids: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted id, -log posterior and squared Mahalanobis distance of every clip (n,) of one machine type."""
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
    return classifier.predict(Z), posterior, distance


def main() -> None:
    """Print one line per machine type and view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("-e", "--embedding", default="logmel")
    parser.add_argument("--view", action="append", default=[])
    args = parser.parse_args()
    store = FeatureStore.open(args.store)
    clips, X = store.clips(args.embedding), store.matrix(args.embedding).astype(np.float64)
    views = store.info(args.embedding).views
    ids, faulty = clips.column("section").astype(str), clips.where(label="anomaly")
    train, test = clips.where(split="train"), clips.where(split="test")
    print("| machine | view | ids | AUC, -log posterior | AUC, Mahalanobis |\n|---|---|---|---|---|")
    for view in args.view or ["mean"]:
        for machine in sorted(set(clips.column("machine"))):
            own = clips.where(machine=machine)
            results = scores(X[own, views.index(view)], ids[own], train[own])
            named = np.mean((results[0] == ids[own])[(test & ~faulty)[own]])
            aucs = [
                np.mean([roc_auc_score(faulty[own][rows], score[rows]) for rows in rows_of(ids[own], test[own])])
                for score in results[1:]
            ]
            print(f"| {machine} | {view} | {100 * named:.0f} | {100 * aucs[0]:.1f} | {100 * aucs[1]:.1f} |")


def rows_of(ids: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    """Mask (n,) of the test clips of every id."""
    return [test & (ids == name) for name in sorted(set(ids))]


if __name__ == "__main__":
    main()
