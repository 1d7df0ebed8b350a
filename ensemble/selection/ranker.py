"""A learned fusion: a LightGBM ranker over the positions that the best candidates give a clip.

It is evaluated beside the other strategies but never chosen: a recipe holds weights only, and where real labels could
be checked, what it learned from generated anomalies did not carry over to real ones. With up to 100 confirmed faults it
was not better than non-negative weights either (docs/selection.md).
"""

from typing import Any

import numpy as np

from ensemble.selection.choose import Evidence, Problem

MEMBERS, TREES, LEAVES, LEAST_CLIPS = 20, 60, 8, 10


def ranker_scores(problem: Problem, evidence: Evidence, *, seed: int = 0) -> np.ndarray:
    """Scores (n,) of all clips by a ranker that is trained on the clips and pairs of the evidence only.

    It learns to rank anomalies, weighted as their pair, above the normal clips of their section. A higher score by a
    member never lowers the result.
    """
    trees, members = trained_ranker(problem, evidence, seed=seed)
    return np.asarray(trees.predict(problem.placed[members].T), dtype=np.float64)


def trained_ranker(
    problem: Problem, evidence: Evidence, *, members: np.ndarray | None = None, seed: int = 0
) -> tuple[Any, np.ndarray]:
    """The trained ranker, and the numbers of the candidates that are its inputs; by default the best ones."""
    from lightgbm import LGBMRanker

    validation = problem.validation
    members = evidence.order[:MEMBERS] if members is None else members
    clips_of_pair = np.bincount(validation.pair[~validation.normal], minlength=len(validation.pairs))
    share = evidence.pair_weights / np.maximum(clips_of_pair, 1)
    weight = np.where(validation.normal, 1.0, share[validation.pair])
    rows = np.flatnonzero(evidence.clips & (weight > 0))
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
