"""Candidates that surely fall behind on a part of the clips are not scored on the rest (successive halving).

All candidates are first scored on one fold of every section. One of them is dropped if it is among the best KEEP, from
which every strategy chooses, in no more than RISK of the resamples of that fold's recordings. What is known of the
dropped ones still counts in the weights of the pairs, so these do not change with the number of candidates kept.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.recipe import Member
from ensemble.selection.choose import GREEDY_POOL
from ensemble.selection.informative import RULES, mean_rank
from ensemble.selection.quality import Evaluator, by_pair
from ensemble.selection.scoring.score_candidates import Scored
from ensemble.selection.scoring.validation import Validation

KEEP = GREEDY_POOL
RISK = 0.01
REPLICATES = 100

RACE_FROM = 5e8
"""Values scored, over all candidates, from which a race saves more time than its resamples cost."""


@dataclass(frozen=True, eq=False)
class Raced:
    """The candidates to score whole; metrics of the others on the first fold, by half and whole; a note on them."""

    kept: list[Member]
    dropped: tuple[np.ndarray, ...] = ()
    notes: tuple[str, ...] = ()


def race(
    score: Callable[..., Scored],
    members: Sequence[Member],
    validation: Validation,
    *,
    always: Collection[str],
    rule: str,
    seed: int,
    progress: Callable[[int, int], None],
) -> Raced:
    """Score all candidates on the first fold by `score` and drop those that surely fall behind.

    Candidates named in `always`, score files, and candidates that fail are kept.
    """
    part = validation.fold == 0
    folds = int(validation.fold.max()) + 1
    first = score(members, part=part, progress=lambda done, total: progress(done // folds, total))
    metrics = part_metrics(first.scores, validation, part)
    kept = survivors(first.scores, metrics, validation, part, rule, seed)
    kept |= np.array([member.name in always or bool(member.file) for member in first.members])
    going_on = [member for member, keep in zip(first.members, kept, strict=True) if keep]
    failed = [member for member in members if member.name in first.failed]
    if kept.all():
        return Raced([*going_on, *failed])
    note = (
        f"{np.count_nonzero(~kept)} of {len(members)} candidates left out after the first fold: each was among "
        f"the best {KEEP} in at most {100 * RISK:g} % of the resamples; --no-race scores all of them whole"
    )
    counted = ~kept & ~_repeats(metrics[2], kept)
    return Raced([*going_on, *failed], tuple(of_part[counted] for of_part in metrics), (note,))


def _repeats(metrics: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mask (candidates,) of those with the metrics of another that is kept or comes first: they would count twice."""
    order = np.argsort(~kept, kind="stable")
    rows = np.nan_to_num(metrics.reshape(len(metrics), -1), nan=-1.0).round(9)[order]
    repeats = np.ones(len(metrics), dtype=bool)
    repeats[order[np.unique(rows, axis=0, return_index=True)[1]]] = False
    return repeats


def survivors(  # noqa: PLR0917 - one caller
    scores: np.ndarray,
    metrics: tuple[np.ndarray, ...],
    validation: Validation,
    part: np.ndarray,
    rule: str,
    seed: int,
) -> np.ndarray:
    """Mask (candidates,) of those that may be among the best KEEP, by scores (candidates, n) on the clips of a part.

    metrics: those of the scores on the halves of the part and on the whole part.
    """
    if len(scores) <= KEEP:
        return np.ones(len(scores), dtype=bool)
    first, second, whole = (by_pair(of_part) for of_part in metrics)
    weights = RULES[rule](whole, (first, second))
    if not weights.any():
        return np.ones(len(scores), dtype=bool)
    evaluator = Evaluator(validation, part)
    resamples = np.concatenate(list(evaluator.resampled(REPLICATES, np.random.default_rng(seed))))
    values = np.stack([by_pair(evaluator.resampled_metrics(row, resamples)) for row in scores], axis=1)
    among_best = np.zeros(len(scores))
    for replicate in [whole, *values]:
        rank = mean_rank(replicate, weights)
        among_best += rank >= np.sort(rank)[-KEEP]
    kept: np.ndarray = among_best > RISK * (1 + len(values))
    return kept


def part_metrics(scores: np.ndarray, validation: Validation, part: np.ndarray) -> tuple[np.ndarray, ...]:
    """Metrics (candidates, sections, pairs, 3) of scores (candidates, n) on the clips of a part: halves, then whole."""
    masks = (part & validation.half(0), part & validation.half(1), part)
    return tuple(Evaluator(validation, mask).metrics(scores) for mask in masks)
