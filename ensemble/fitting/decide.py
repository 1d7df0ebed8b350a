"""Decisions on fused scores by the rules of a recipe."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ensemble.decision.conformal import Decisions, decisions
from ensemble.decision.fuse import Fused, fusion
from ensemble.domains.correct import decided_as
from ensemble.domains.correction import scale_of
from ensemble.members import placed
from ensemble.recipe import Recipe
from ensemble.windows.blocks import any_windows
from featstore.errors import DataError
from featstore.table import ClipTable


class Sides(NamedTuple):
    """The clips of a decision: those scored, those of training, and blocks of the latter.

    target_probability: of the scored clips (m,), None where domains are not predicted.
    """

    scored: ClipTable
    train: ClipTable
    target_probability: np.ndarray | None
    blocks: np.ndarray | None
    self_ranked: bool


def bounded(recipe: Recipe) -> bool:
    """Whether the recipe's scores are fused positions in (0, 1), not raw scores or z-scores."""
    return len(recipe.members) > 1 and fusion(recipe.fusion).calibration == "ecdf"


def decide(recipe: Recipe, fused: Fused, sides: Sides) -> Decisions:
    """Decisions on fused scores, by predicted domains, or by labelled ones where the recipe says these are known."""
    _refuse_unreachable(recipe)
    probability = sides.target_probability
    reference = placed(sides.train, fused.reference, recipe.pool_sections, sides.blocks)
    test = placed(sides.scored, fused.scores, recipe.pool_sections)
    if recipe.domains == "known" or probability is not None:
        reference = replace(reference, domain=sides.train.column("domain"))
        domain = sides.scored.column("domain") if probability is None else decided_as(probability)
        test = replace(test, domain=domain)
    try:
        return decisions(
            reference if sides.self_ranked else test,
            reference,
            rate=recipe.false_alarm_rate,
            method=recipe.threshold,
            fdr=recipe.fdr,
            scale=scale_of(fused.reference, fused=bounded(recipe)),
            tail=recipe.tail,
            given=recipe.thresholds,
            grouped=bool(recipe.group) or any_windows(sides.train),
        )
    except ValueError as error:
        raise DataError(str(error)) from error


def _refuse_unreachable(recipe: Recipe) -> None:
    """DataError for a threshold by hand that no score, or every score, of a fused ensemble exceeds."""
    for section, value in recipe.thresholds if bounded(recipe) else ():
        if not 0 < value < 1:
            raise DataError(
                f"--threshold {section}={value:g}: scores of a fused ensemble are between 0 and 1, so "
                f"{'no' if value >= 1 else 'every'} clip would be reported; give a number between 0 and 1"
            )
