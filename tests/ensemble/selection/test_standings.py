"""Standings: leads over the fixed default, which strategy may replace it, and what a choice per machine brings."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.selection.choose import STRATEGIES, Problem, Strategy, bootstrap_weights, nested_scores, positions
from ensemble.selection.scoring.validation import Validation
from ensemble.selection.standings import DEFAULT, by_machine, chosen_by, standing_of, standings

HALF = "best 10 and the default"


def test_a_standing_by_hand() -> None:
    """Observed 0.8 against 0.7; one of four replicates does not lead, and the observed clips count as one."""
    standing = standing_of("a", np.array([0.8, 0.9, 0.8, 0.6, 0.9]), np.array([0.7, 0.7, 0.7, 0.7, 0.7]))
    assert (standing.name, standing.score) == ("a", 0.8)
    assert standing.lead == pytest.approx(0.1)
    assert standing.p == pytest.approx(2 / 5)
    assert standing.low < 0 < standing.high


def test_the_best_comes_first() -> None:
    rows = standings({DEFAULT: np.full(9, 0.5), "a": np.full(9, 0.4), "b": np.full(9, 0.6)}, DEFAULT)
    assert [(row.name, round(row.lead, 9)) for row in rows] == [("b", 0.1), (DEFAULT, 0.0), ("a", -0.1)]


def replicates(default: float = 0.7, **leads: float) -> dict[str, np.ndarray]:
    """Nested scores of two strategies by their lead over the default, the same in all resamples."""
    names = {"half": HALF, "alone": "best 5, fisher"}
    return {DEFAULT: np.full(101, default)} | {names[key]: np.full(101, default + lead) for key, lead in leads.items()}


def offered(*names: str) -> dict[str, Strategy]:
    return {name: STRATEGIES[name] for name in names}


@pytest.mark.parametrize(("lead", "taken"), [(-0.019, HALF), (-0.021, DEFAULT), (0.0, HALF)])
def test_the_default_is_half_unless_that_is_two_points_behind(lead: float, taken: str) -> None:
    both = offered(HALF, "best 5, fisher")
    chosen, reason = chosen_by(replicates(half=lead, alone=lead - 0.001), both, [])
    assert chosen == taken
    assert (f"{100 * lead:+.1f} points" in reason, "is kept" in reason) == (True, taken == DEFAULT)
    assert chosen_by(replicates(half=lead, alone=lead - 0.001), both, ["too easy"])[0] == DEFAULT


@pytest.mark.parametrize(("fails", "taken"), [(4, "best 5, fisher"), (5, DEFAULT)])
def test_a_strategy_without_the_default_must_lead_it_in_nearly_all_resamples(fails: int, taken: str) -> None:
    scores = replicates(alone=0.05)
    scores["best 5, fisher"][1 : 1 + fails] = 0.6
    assert chosen_by(scores, offered("best 5, fisher"), [])[0] == taken


@pytest.mark.parametrize(
    ("behind", "noise", "taken"),
    [
        (0.019, 0.0, HALF),  # certainly behind the best, by less than the margin
        (0.021, 0.0, "best 5, fisher"),  # certainly behind, by more
        (0.021, 0.05, HALF),  # by more, but not in all resamples
    ],
)
def test_the_first_in_order_is_taken_only_if_it_is_not_clearly_behind_the_best(
    behind: float, noise: float, taken: str
) -> None:
    """Both may replace the default, which they lead in all resamples."""
    scores = replicates(half=0.2 - behind, alone=0.2)
    scores[HALF][1:] += noise * np.resize([-1.0, 1.0], 100)
    chosen, reason = chosen_by(scores, offered(HALF, "best 5, fisher"), [])
    assert chosen == taken
    assert ("the best strategy" in reason) == (taken != HALF)


def test_a_choice_per_machine_takes_the_candidate_of_each(plan: Validation) -> None:
    """Of two candidates each detects the anomalies of one machine only."""
    plan = replace(plan, sections=(("fan", "00"), ("pump", "00")))
    detected = ~plan.normal & (plan.section == np.arange(2)[:, None])
    placed = positions(np.random.default_rng(3).normal(size=(2, len(plan))) + 3 * detected, plan)
    problem = Problem(plan, placed, rule="average")
    weights = bootstrap_weights(problem, 20, np.random.default_rng(5))
    once = nested_scores(problem, lambda evidence: placed[0], weights)
    apart = nested_scores(problem, lambda evidence: np.where(plan.section == 0, *placed), weights)
    standing = by_machine(problem, "best single", once, 20, 5)
    assert standing is not None
    assert (standing.score, standing.lead) == pytest.approx((apart[0], apart[0] - once[0]))
    assert standing.lead > 0.1
    assert standing.p == pytest.approx(1 / 21)
    one = Problem(replace(plan, sections=(("fan", "00"), ("fan", "01"))), placed)
    assert by_machine(one, "best single", once, 20, 5) is None
