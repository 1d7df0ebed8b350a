"""Positions of clips among the held-out normal clips, and the strategies by brute force."""

from dataclasses import replace

import numpy as np
import pytest
from selection_store import recordings, variants

from ensemble.decision.calibrate import position, position_of_reference
from ensemble.decision.fuse import combine
from ensemble.selection import choose
from ensemble.selection.choose import STRATEGIES, Problem, positions
from ensemble.selection.quality import official_score
from ensemble.selection.scoring.validation import Validation, plan_validation
from featstore.table import ClipTable, encode


def test_clips_are_placed_among_the_normal_clips_of_other_blocks(rng: np.random.Generator) -> None:
    recorded = [replace(clip, attributes={"day": clip.path[-5]}) for clip in recordings()]
    clips = [*recorded, *(replace(clip, attributes={"day": clip.path[-5]}) for clip in variants(recorded))]
    facts = {"content_hash": encode(f"hash of {clip.path}" for clip in clips), "outcome": encode("" for _ in clips)}
    plain, by_day = (plan_validation(ClipTable.from_clips(clips), facts, group=group) for group in ("", "day"))
    scores = rng.normal(size=(2, len(plain)))
    without, placed = positions(scores, plain), positions(scores, by_day)
    days = np.array([key.partition(".wav")[0][-1] for key in plain.keys])
    for section in (0, 1):
        here = plain.section == section
        normal = here & plain.normal
        np.testing.assert_array_equal(without[1, normal], position_of_reference(scores[1, normal]))
        for day in "0123456789":
            own, others = here & (days == day), scores[1, normal & (days != day)]
            np.testing.assert_array_equal(placed[1, own], position(scores[1, own], others))


@pytest.mark.parametrize("fusion", ["fisher", "mean"])
def test_greedy_adds_what_helps_the_fused_score_most(
    plan: Validation, fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step by brute force, with the scores that the fusion itself gives; the two fusions take other members."""
    monkeypatch.setattr(choose, "GREEDY_STEPS", 3)
    monkeypatch.setattr(choose, "GREEDY_POOL", 5)
    rng = np.random.default_rng(1)
    placed = positions(rng.standard_t(2, size=(7, len(plan))) + (~plan.normal) * rng.uniform(0, 2, size=(7, 1)), plan)
    problem = Problem(plan, placed, rule="best")
    evidence = replace(problem.evidence(0), pair_weights=np.full(len(plan.pairs), 1 / len(plan.pairs)))

    def score(counts: np.ndarray, rule: str) -> float:
        fused = combine(f"weighted_{rule}", placed, counts.tolist())
        return float(official_score(evidence.evaluator.metrics(fused), evidence.pair_weights))

    def brute(rule: str) -> np.ndarray:
        steps = [np.zeros(len(placed))]
        for _ in range(3):
            longer = [steps[-1] + np.eye(len(placed))[i] for i in evidence.order[:5]]
            steps.append(max(longer, key=lambda counts: score(counts, rule)))
        return max(steps[1:], key=lambda counts: score(counts, rule))

    taken = STRATEGIES[f"greedy, {fusion}"].choose(problem, evidence)
    np.testing.assert_array_equal(taken, brute(fusion))
    assert not np.array_equal(brute("fisher"), brute("mean"))
