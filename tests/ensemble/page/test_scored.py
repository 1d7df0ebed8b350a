"""Results: what they are of a detection, and the same scores decided by thresholds by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from large_results import large_scored
from report_plant import RECIPE, plant, store_of

from ensemble.checks.copies import Copies
from ensemble.decision.drift import drift
from ensemble.decision.thresholds import rate_interval
from ensemble.page.scored import DEFAULT, Scored, scored_of
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect, redecided
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def results_of(detection: Detection) -> Scored:
    return scored_of(detection, title="store", drifts=drift(detection.score, detection.decided))


RULES = {
    "fused": RECIPE,
    "single": Recipe((Member("e", "knn:k=1"),)),
    "known domains": replace(RECIPE, domains="known"),
    "spread": replace(RECIPE, domains="known", false_alarm_rate=0.02),
    "pooled": replace(RECIPE, pool_sections=True),
    "fdr": replace(RECIPE, fdr=0.3),
}


@pytest.mark.parametrize("rule", RULES)
def test_thresholds_by_hand_are_those_of_a_run_with_them(tmp_path: Path, rule: str) -> None:
    """The run `detect --threshold` would make, to the last number."""
    recipe = RULES[rule]
    detection = detect(store_of(tmp_path / "s", plant()), recipe)
    section = "all" if recipe.pool_sections else "00"
    value = float(np.quantile(detection.score, 0.6))
    by_hand = redecided(detection, replace(recipe, fdr=0.0, thresholds=((f"fan/{section}", value),)))
    scored = results_of(detection).with_thresholds({("fan", section): value})
    expected = results_of(by_hand)
    here = expected.limit_of == 0 if recipe.pool_sections else expected.clips.where(section="00")
    assert here.any()
    np.testing.assert_array_equal(scored.threshold[here], expected.threshold[here])
    np.testing.assert_array_equal(scored.decision[here], expected.decision[here])
    limits = [(mine, theirs) for mine, theirs in zip(scored.limits, expected.limits, strict=True)]
    for mine, theirs in limits:
        if mine.section == section and rule != "fdr":
            assert mine == theirs
    if rule != "fdr":
        assert scored.rates == expected.rates
        assert scored.drifts == expected.drifts
        assert {text for text in scored.warnings if "fan section" in text} == {
            row["warning"] for row in expected.drifts if row["warning"]
        }


def test_other_sections_stay_and_thresholds_can_be_taken_back(tmp_path: Path) -> None:
    run = results_of(detect(store_of(tmp_path / "s", plant()), RECIPE))
    first = run.with_thresholds({("fan", "00"): 0.5})
    other = run.clips.where(section="01")
    np.testing.assert_array_equal(first.threshold[other], run.threshold[other])
    np.testing.assert_array_equal(first.threshold[~other], 0.5)
    assert first.limits[1] == run.limits[1]
    assert first.original is run
    second = first.with_thresholds({("fan", "01"): 0.6})
    np.testing.assert_array_equal(second.threshold[~other], run.threshold[~other])
    np.testing.assert_array_equal(second.threshold[other], 0.6)
    assert second.original is run
    assert second.with_thresholds({}) is run
    np.testing.assert_array_equal(run.threshold, replace(run).threshold)


def test_what_was_computed_from_the_old_decisions_is_computed_again(tmp_path: Path) -> None:
    run = results_of(detect(store_of(tmp_path / "s", plant()), RECIPE))
    before = run.decision.sum(), run.excess.max()
    lower = run.with_thresholds({("fan", "00"): 0.01, ("fan", "01"): 0.01})
    assert lower.decision.all()
    assert lower.excess.min() > 1
    assert (run.decision.sum(), run.excess.max()) == before
    assert all(row["rate"] == 1 and row["nominal"] is None for row in lower.rates)
    assert [row["rate"] for row in run.rates] != [row["rate"] for row in lower.rates]


def test_the_default_is_for_sections_without_their_own() -> None:
    scored = large_scored(160).with_thresholds({DEFAULT: 0.5, ("pump", "03"): 0.7})
    own = scored.rows_of("pump", "03")
    np.testing.assert_array_equal(scored.threshold[own], 0.7)
    np.testing.assert_array_equal(np.delete(scored.threshold, own), 0.5)
    assert {limit.requested for limit in scored.limits} == {None}


def test_the_expected_rate_is_that_of_the_reference_scores() -> None:
    run = large_scored(800)
    limit = run.with_thresholds({("fan", "01"): 0.8}).limits[1]
    reference = run.reference[run.reference_rows("fan", "01")]
    n = len(reference)
    assert limit.expected == pytest.approx((n + 1 - (reference <= 0.8).sum()) / (n + 1))
    assert limit.low < limit.expected < limit.high
    without = replace(run, banks=(), limit_of=None)
    assert without.with_thresholds({("fan", "01"): 0.8}).limits[1] == limit
    np.testing.assert_array_equal(without.rows_of_limit(1), run.rows_of_limit(1))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (("fan", "09"), 0.5, "'fan/09' names no section; it has fan/00"),
        (("", ""), 0.5, "names no section"),
        (("fan", "00"), np.nan, "fan section 00: threshold nan, expected a finite number"),
        (("fan", "00"), -np.inf, "expected a finite number"),
        (("fan", "00"), 1.0, "so no clip would be reported"),
        (("fan", "00"), 0.0, "so every clip would be reported"),
        (DEFAULT, 7.0, "all sections: threshold 7"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(key: tuple[str, str], value: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        large_scored(80).with_thresholds({key: value})


def test_scores_of_one_detector_take_any_finite_threshold() -> None:
    scored = replace(large_scored(80), bounded=False)
    assert not scored.with_thresholds({DEFAULT: 7.0}).decision.any()
    assert scored.with_thresholds({DEFAULT: -7.0}).decision.all()


def test_names_are_decoded_once_and_as_the_clips_have_them() -> None:
    clips = [Clip("a\udcff.wav", "fän", "00", "test"), Clip("b.wav#t=0,5", "\udcfe", "01", "test")]
    scored = replace(large_scored(2), clips=ClipTable.from_clips(clips))
    assert scored.recordings == ["a\udcff.wav", "b.wav"]
    assert scored.machine == ["fän", "\udcfe"]
    assert scored.section == ["00", "01"]
    assert scored.keys == [clip.key for clip in clips]
    assert scored.machine is scored.machine


def test_every_clip_has_the_limit_of_its_bank(tmp_path: Path) -> None:
    scored = results_of(detect(store_of(tmp_path / "s", plant()), replace(RECIPE, domains="known")))
    assert len(scored.limits) == len(scored.banks) == 4
    for number, limit in enumerate(scored.limits):
        rows = scored.rows_of_limit(number)
        assert {scored.clips[row].section for row in rows.tolist()} == {limit.section}
        assert {scored.clips[row].domain for row in rows.tolist()} == {limit.domain}
        assert len(scored.banks[number]) == limit.references
        np.testing.assert_array_equal(scored.threshold[rows], limit.value)


def test_copies_of_training_clips_prove_no_rate(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "s", plant()), RECIPE)
    normal = np.flatnonzero(detection.clips.where(section="00", label="normal"))
    keys = [detection.clips.keys()[row] for row in normal[:4]]
    copies = Copies(exact=dict.fromkeys(keys, "fan/00/train/0.wav"))
    scored, alone = (results_of(each) for each in (replace(detection, copies=copies), detection))
    assert scored.copied is not None
    assert np.flatnonzero(scored.copied).tolist() == normal[:4].tolist()
    assert alone.copied is None
    clips = [sum(row["clips"] for row in each.rates if row["section"] == "00") for each in (scored, alone)]
    assert clips == [len(normal) - 4, len(normal)]
    again = scored.with_thresholds({("fan", "00"): 0.5})
    assert sum(row["clips"] for row in again.rates if row["section"] == "00") == len(normal) - 4
    assert all(row["nominal"] is None for row in again.rates if row["section"] == "00")


def test_limits_count_training_clips_by_their_worth(tmp_path: Path) -> None:
    clips = [replace(clip, attributes={"day": str(i % 4)}) for i, clip in enumerate(plant())]
    scored = results_of(detect(store_of(tmp_path / "s", clips), replace(RECIPE, group="day")))
    limit = scored.limits[0]
    assert (limit.references, limit.worth) == (24, pytest.approx(4))
    assert (limit.low, limit.high) == rate_interval(limit.expected, limit.worth)
    by_hand = scored.with_thresholds({("fan", "00"): 0.5}).limits[0]
    assert (by_hand.low, by_hand.high) == rate_interval(by_hand.expected, 4.0)
