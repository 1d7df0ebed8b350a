"""What the report says of a selection."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_plant import RECIPE, plant, store_of

from ensemble.recipe import Member
from ensemble.report.build import ReportOptions, report_html
from ensemble.report.selection import choice_text, selection_part
from ensemble.run import Detection, detect


def test_members_are_compared_on_generated_and_real_anomalies(detection: Detection) -> None:
    names = [member.name for member in detection.recipe.members]
    more = replace(
        detection,
        recipe=replace(RECIPE, members=(*detection.recipe.members, Member("e", "gmm"))),
        member_percentiles=np.vstack([detection.member_percentiles, detection.clips.where(label="normal") * 1.0]),
    )
    scores = zip([*names, "e gmm"], (0.55, 0.6, 0.9), strict=True)
    candidates = [{"name": member, "score": score} for member, score in scores]
    text = selection_part({"candidates": candidates}, more, 2023)
    assert text.count('class="dot"') == 3
    assert '<td class="number">90.0</td><td class="number">0.0</td>' in text
    assert "over these 3 members: -0.50" in text, "generated 1 2 3, real 2 3 1"
    assert selection_part(None, more, 2023) == ""
    assert "real anomalies" not in selection_part({"candidates": candidates}, more, None)


def test_members_are_compared_where_all_are_perfect(detection: Detection) -> None:
    perfect = np.tile(detection.clips.where(label="anomaly") * 1.0, (3, 1))
    members = tuple(Member("e", method) for method in ("knn", "lof", "gmm"))
    three = replace(detection, recipe=replace(RECIPE, members=members), member_percentiles=perfect)
    candidates = [{"name": member.name, "score": 1.0} for member in members]
    text = selection_part({"candidates": candidates}, three, 2023)
    assert text.count('cx="286" cy="10" r="4" class="dot"') == 3, "at the top right of an axis from 0.9 to 1"
    assert "undefined, one of them is the same for all members" in text


def test_members_are_compared_in_the_sections_that_the_rule_measures(tmp_path: Path) -> None:
    """Section 01 has no domains, so the rule of 2023 measures section 00 alone."""
    clips = [replace(clip, domain="unknown") if clip.section == "01" else clip for clip in plant()]
    detection = detect(store_of(tmp_path / "s", clips), RECIPE)
    candidates = [{"name": member.name, "score": 0.5} for member in RECIPE.members]
    text = report_html(detection, ReportOptions(year=2023), selection={"candidates": candidates})
    assert "Official score of the members on generated and on real anomalies" in text


def test_a_selection_is_shown_in_words_and_percent(detection: Detection) -> None:
    standing = {"name": "best <3>", "score": 0.875, "lead": 0.031, "low": -0.002, "high": 0.06}
    selection = {
        "reason": "it leads",
        "warnings": ["too easy"],
        "members": [{"embedding": "e", "fingerprint": "f" * 64}],
        "standings": [standing],
        "pair_weights": {"leak@-5": 0.25, "squeal@0": 0.75, "clip@0": 0.0},
        "candidates": [{"name": "e knn", "figure": 0.75, "score": 0.5}],
        "per_machine": None,
        "news": 3,
    }
    text = selection_part(selection, detection, 2023)
    assert "Why this choice: it leads." in text
    assert '<p class="warning">too easy</p>' in text
    assert "f" * 64 not in text
    assert "best &lt;3&gt;" in text
    assert "87.5" in text
    assert "+3.1 [-0.2, +6.0]" in text
    assert "The first 1 of 1 candidate " in text
    assert '<th scope="col" class="number">rank</th>' in text
    assert "figure" not in text
    assert "2 of 3 pairs of type and strength separate the candidates" in text
    assert text.index("squeal@0") < text.index("leak@-5")
    assert "clip@0" not in text
    assert "per machine" not in text
    assert '<td class="text">news</td><td class="text">3</td>' in text


def test_unknown_values_of_a_selection_are_shown_without_interpretation(detection: Detection) -> None:
    odd = {"standings": [{"name": "a", "points": 0.5}], "pair_weights": "none", "candidates": 7, "members": 1}
    text = selection_part(odd, detection, None)
    assert "points" in text
    assert "0.5" in text


STANDINGS = [
    {"name": "fixed default", "score": 0.9024, "lead": 0.0, "low": 0.0, "high": 0.0, "p": 1.0},
    {"name": "best 10 and the default", "score": 0.8998, "lead": -0.0026, "low": -0.022, "high": 0.004, "p": 0.7},
    {"name": "best 3", "score": 0.95, "lead": 0.0476, "low": 0.01, "high": 0.08, "p": 0.01},
]


def test_a_choice_below_the_default_says_why_it_was_taken(detection: Detection) -> None:
    text = choice_text({"chosen": "best 10 and the default", "standings": STANDINGS})
    assert text.startswith("best 10 and the default, which scores 90.0 on generated anomalies that were not used")
    assert "the fixed default scores 90.2 (difference -0.3, 95 % interval -2.2 to +0.4)" in text
    assert "does not show which is better" in text
    better = choice_text({"chosen": "best 3", "standings": STANDINGS})
    assert "(difference +4.8, 95 % interval +1.0 to +8.0)" in better
    assert "small a difference" not in better
    assert choice_text({"chosen": "fixed default", "standings": STANDINGS}).startswith(
        "the fixed default, which scores 90"
    )
    page = selection_part({"chosen": "best 3", "standings": STANDINGS, "reason": "other words"}, detection, None)
    assert "other words" not in page
    assert f"Why this choice: {better}." in page


@pytest.mark.parametrize("odd", [{}, {"chosen": "x"}, {"chosen": "x", "standings": [{"name": "x"}]}, {"standings": 3}])
def test_a_choice_without_standings_has_no_text_of_its_own(odd: dict[str, object]) -> None:
    assert choice_text(odd) == ""


def test_numbers_have_the_right_noun(detection: Detection) -> None:
    one = {"candidates": [{"name": "e knn", "score": 0.5}], "pair_weights": {"leak@0": 1.0}}
    text = selection_part(one, detection, None)
    assert "The first 1 of 1 candidate (" in text
    assert "1 of 1 pair of type and strength" in text
