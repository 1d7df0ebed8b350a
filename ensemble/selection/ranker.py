"""A learned fusion: a LightGBM ranker over the positions that the best candidates give a clip.

It is judged beside the other ways but never chosen: a recipe holds weights, and where real labels could be looked at,
what it learns from generated anomalies did not carry over to real ones (see the README).
"""

from typing import Any

import numpy as np

from ensemble.selection.choose import Evidence, Problem

MEMBERS, TREES, LEAVES, LEAST_CLIPS = 20, 60, 8, 10


def ranker_scores(problem: Problem, evidence: Evidence, *, seed: int = 0) -> np.ndarray:
    """Scores (n,) of all clips by a ranker that learned on the evidence's clips and pairs only.

    Anomalies are to rank above the normal clips of their section and weigh as their pair does. No tree may lower a
    score because a member finds the clip more anomalous.
    """
    trees, members = learned(problem, evidence, seed=seed)
    return np.asarray(trees.predict(problem.placed[members].T), dtype=np.float64)


def learned(problem: Problem, evidence: Evidence, *, seed: int = 0) -> tuple[Any, np.ndarray]:
    """The fitted ranker and the candidates (numbers) whose positions it takes."""
    from lightgbm import LGBMRanker

    validation = problem.validation
    members = evidence.order[:MEMBERS]
    weight = np.where(validation.normal, 1.0, evidence.pair_weights[validation.pair])
    known = np.ones(len(validation), dtype=bool) if evidence.judge.keep is None else evidence.judge.keep
    rows = np.flatnonzero(known & (weight > 0))
    rows = rows[np.argsort(validation.section[rows], kind="stable")]
    anomalous = ~validation.normal[rows]
    weight = weight[rows]
    weight[anomalous] *= np.count_nonzero(~anomalous) / weight[anomalous].sum()
    trees = LGBMRanker(
        n_estimators=TREES,
        num_leaves=LEAVES,
        min_child_samples=LEAST_CLIPS,
        monotone_constraints=[1] * len(members),
        random_state=seed,
        n_jobs=1,
        verbose=-1,
    )
    sizes = np.bincount(validation.section[rows])
    trees.fit(problem.placed[members][:, rows].T, anomalous.astype(int), group=sizes[sizes > 0], sample_weight=weight)
    return trees, members
