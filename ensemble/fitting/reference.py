"""The training side of a detection: honest positions of the training clips by every member, fused and corrected.

It is the same for every clip that is scored, so a fitted model computes it once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensemble.decision.calibrate import PlacedScores, calibrate_reference, calibration
from ensemble.decision.fuse import Fused, combine, fusion
from ensemble.domains.correction import Correction, scale_of
from ensemble.fitting.decide import bounded
from ensemble.recipe import Recipe
from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class Reference:
    """Honest scores of the training clips.

    members: raw scores, one entry per member. positions: of each clip among the others, (members, n). scores: fused
    and corrected, (n,). correction: None where domains are not predicted.
    """

    recipe: Recipe
    members: tuple[PlacedScores, ...]
    positions: np.ndarray
    scores: np.ndarray
    correction: Correction | None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        members: Sequence[PlacedScores],
        train: ClipTable,
        target_probability: np.ndarray | None = None,
    ) -> "Reference":
        """From the members' honest scores; `target_probability` (n,) of the training clips, where it is predicted."""
        positions = np.array([calibrate_reference(member) for member in members])
        scores = members[0].scores
        if len(members) > 1:
            method = fusion(recipe.fusion).calibration
            placed = positions if method == "ecdf" else [calibrate_reference(each, method=method) for each in members]
            scores = _combined(recipe, np.array(placed), members[0], members)
        correction = None
        if target_probability is not None:
            correction = Correction.of(scores, train, scale_of(scores, fused=bounded(recipe)))
            scores = correction.removed(scores, train, target_probability)
        return cls(recipe, tuple(members), positions, scores, correction)

    def fuse(
        self, test: Sequence[PlacedScores], clips: ClipTable, target_probability: np.ndarray | None
    ) -> tuple[Fused, np.ndarray]:
        """Fused scores of new clips, and each member's percentiles (members, m); one member keeps its raw scores."""
        percentiles = self._placed(test, "ecdf")
        scores = test[0].scores
        if len(test) > 1:
            method = fusion(self.recipe.fusion).calibration
            placed = percentiles if method == "ecdf" else self._placed(test, method)
            scores = _combined(self.recipe, placed, test[0], self.members)
        if self.correction and target_probability is not None:
            scores = self.correction.removed(scores, clips, target_probability)
        return Fused(scores, self.scores), percentiles

    def _placed(self, test: Sequence[PlacedScores], method: str) -> np.ndarray:
        """Scores of new clips placed among the reference scores of their sections, (members, m)."""
        placed = np.empty((len(test), len(test[0].scores)))
        for group, rows in test[0].groups():
            for i, (member, place) in enumerate(zip(test, self._places(group, method), strict=True)):
                placed[i, rows] = place(member.scores[rows])
        return placed

    def _places(self, group: tuple[str, str], method: str) -> list[Callable[[np.ndarray], np.ndarray]]:
        """Functions that place the scores of each member in a section; prepared once."""
        key = (*group, method)
        if key not in self._prepared:
            rows = self.members[0].rows_of(group)
            prepare = calibration(method).prepared
            self._prepared[key] = [prepare(member.scores[rows]) for member in self.members]
        return self._prepared[key]

    @cached_property
    def _prepared(self) -> dict[tuple[str, str, str], list[Callable[[np.ndarray], np.ndarray]]]:
        return {}


def _combined(recipe: Recipe, placed: np.ndarray, clips: PlacedScores, reference: Sequence[PlacedScores]) -> np.ndarray:
    """Fused scores (m,) of the clips from their placed scores (members, m).

    Members whose rows are flat in a section have no vote there, unless all are.
    """
    weights = np.array([member.weight for member in recipe.members])
    weighted = fusion(recipe.fusion).weighted
    if all(member.flat is None for member in reference):
        return combine(recipe.fusion, placed, weights.tolist() if weighted else None)
    scores = np.empty(placed.shape[1])
    for group, rows in clips.groups():
        first = reference[0].rows_of(group)[0]
        voting = np.array([member.flat is None or not member.flat[first] for member in reference])
        if not (weights[voting] > 0).any():
            voting[:] = True
        scores[rows] = combine(
            recipe.fusion, placed[np.ix_(voting, rows)], weights[voting].tolist() if weighted else None
        )
    return scores
