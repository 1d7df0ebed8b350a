"""The drift check warns of shifted clips, and never because clips like the training clips contain anomalies."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import ks_2samp

from ensemble.cli import main
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.conformal import decisions
from ensemble.decision.drift import LEVEL, MIN_CLIPS, Drift, drift, shift_p_values
from ensemble.decision.false_alarms import discoveries, exact_interval, false_alarm_rates, false_alarms_text
from ensemble.decision.thresholds import rate_interval
from ensemble.output import year_of
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect, redecided
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

RECIPE = Recipe((Member("e", "mahalanobis:covariance=ledoit_wolf"),))


def detected(path: Path, shift: float, *, anomalies: float = 0.0, n: int = 60, recipe: Recipe = RECIPE) -> Detection:
    """Normal test clips moved by `shift` in every dimension, and a share of anomalies moved by 8."""
    rng = np.random.default_rng(1)
    clips = [Clip(f"fan/train/{i}.wav", "fan", "00", "train", "source", "normal") for i in range(150)]
    for i in range(n):
        label = "anomaly" if i < anomalies * n else "normal"
        clips.append(Clip(f"fan/test/{i}.wav", "fan", "00", "test", ("source", "target")[i % 2], label))
    X = rng.normal(size=(len(clips), 4))
    X[150:] += shift
    X[150 : 150 + round(anomalies * n)] += 8
    import_matrix(path, "e", X.astype(np.float32), ClipTable.from_clips(clips))
    return detect(FeatureStore.open(path), recipe)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("lift", [0.0, 1.0, 50.0])
def test_the_level_holds_for_any_anomalies(share: float, lift: float, rng: np.random.Generator) -> None:
    wrong = []
    for _ in range(300):
        test = rng.normal(size=40)
        test[: round(40 * share)] += lift
        wrong.append(min(shift_p_values(test, rng.normal(size=80), anomalies_at_most=0.5)) <= 0.05)
    assert np.mean(wrong) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 300), "two tests at 0.05"


def test_shifts_are_detected_in_their_direction(rng: np.random.Generator) -> None:
    reference = rng.normal(size=200)
    higher, lower = shift_p_values(rng.normal(3, 1, size=50), reference, anomalies_at_most=0.5)
    assert higher < 1e-6 < lower
    higher, lower = shift_p_values(rng.normal(-1, 1, size=50), reference, anomalies_at_most=0.5)
    assert lower < 1e-4 < higher
    moderate = rng.normal(0.8, 1, size=50)
    assert shift_p_values(moderate, reference, anomalies_at_most=0.0)[0] < 1e-3
    assert shift_p_values(moderate, reference, anomalies_at_most=0.5)[0] > 0.05, "half of them could be anomalies"


def test_a_shift_is_reported_with_its_bank_and_the_least_share_of_false_alarms(tmp_path: Path) -> None:
    (same,) = checked(detected(tmp_path / "a", 0.0, anomalies=0.5))
    assert (same.direction, same.warning, same.clips, same.references) == ("", "", 60, 150)
    (shifted,) = checked(detected(tmp_path / "b", 3.0))
    assert shifted.direction == "higher"
    assert shifted.at_least > 0.8
    assert shifted.warning.startswith(
        "fan section 00: normal sound has probably shifted (or over half of the clips are anomalous): the stated "
        "false-alarm rate does not hold here (p "
    )
    assert "(or over 20 % of the clips are anomalous)" in replace(shifted, anomalies_at_most=0.2).warning
    assert "scores are lower than those of the training clips" in replace(shifted, direction="lower").warning
    bounded = replace(shifted, direction="", at_least=0.83)
    assert bounded.warning == (
        "fan section 00: at least 83 % of the normal clips are reported (or over half of the clips are anomalous): the "
        "stated false-alarm rate does not hold here"
    )
    assert replace(shifted, direction="", at_least=0.0).warning == ""
    (too_few,) = checked(detected(tmp_path / "c", 3.0, n=MIN_CLIPS), anomalies_at_most=0.9)
    assert too_few.warning == ""
    assert checked(detected(tmp_path / "d", 3.0, n=MIN_CLIPS - 1)) == ()
    with pytest.raises(ValueError, match="below 1, got 1"):
        checked(detected(tmp_path / "e", 0.0), anomalies_at_most=1.0)


def checked(detection: Detection, **options: float) -> tuple[Drift, ...]:
    return drift(detection.score, detection.decided, **options)


def windowed(
    rng: np.random.Generator, recordings: int, count: int, sections: int = 1
) -> tuple[PlacedScores, np.ndarray]:
    """Scores of windows, alike within their recording, and the number of each one's recording."""
    number = np.repeat(np.arange(sections * recordings), count)
    scores = rng.normal(size=sections * recordings)[number] + 0.3 * rng.normal(size=len(number))
    section = np.array([f"{i:02d}" for i in number // recordings])
    return PlacedScores(scores, np.full(len(scores), "fan"), section, block=number), number


def false_warnings(rng: np.random.Generator, repetitions: int, *, by_recording: bool, **shape: int) -> float:
    """Share of repetitions with any warning of a shift, although nothing shifted."""
    wrong = 0
    for _ in range(repetitions):
        reference, _ = windowed(rng, **shape)
        scored, number = windowed(rng, **shape)
        scored = replace(scored, block=None)
        if not by_recording:
            reference, number = replace(reference, block=None), np.arange(len(number))
        decided = decisions(scored, reference, rate=0.1)
        checks = drift(scored.scores, decided, recording=number, anomalies_at_most=0.0)
        wrong += any(check.direction for check in checks)
    return wrong / repetitions


def test_recordings_count_and_not_their_windows(rng: np.random.Generator) -> None:
    shape = {"recordings": 20, "count": 10}
    assert false_warnings(rng, 200, by_recording=True, **shape) <= LEVEL + 3 * np.sqrt(LEVEL / 200)
    assert false_warnings(rng, 60, by_recording=False, **shape) > 0.2


def test_the_level_is_that_of_any_warning_over_all_sections_and_both_directions(rng: np.random.Generator) -> None:
    shape = {"recordings": 60, "count": 1, "sections": 4}
    assert false_warnings(rng, 80, by_recording=True, **shape) <= LEVEL + 3 * np.sqrt(LEVEL / 80)


def test_every_bank_and_direction_has_its_share_of_the_level(rng: np.random.Generator) -> None:
    reference, _ = windowed(rng, 400, 1, sections=2)
    scored = replace(windowed(rng, 100, 1, sections=2)[0], block=None)
    for lift in np.arange(0.1, 1.5, 0.02):
        moved = replace(scored, scores=scored.scores + lift)
        for check in drift(moved.scores, decisions(moved, reference, rate=0.1), anomalies_at_most=0.0):
            assert (check.direction == "higher") == (check.higher <= LEVEL / 4), "two banks, two directions"


def test_a_bank_needs_recordings(rng: np.random.Generator) -> None:
    reference, _ = windowed(rng, 20, 5)
    scored, number = windowed(rng, MIN_CLIPS - 1, 5)
    decided = decisions(replace(scored, block=None), reference, rate=0.1)
    assert drift(scored.scores, decided, recording=number) == ()
    (check,) = drift(scored.scores, decided)
    assert (check.clips, check.independent) == (35, 35)
    assert (check.references, check.independent_references) == (100, pytest.approx(20))
    (limit,) = decided.thresholds
    assert limit is not None
    assert check.nominal == limit.high
    assert limit.high > rate_interval(limit.expected, 100)[1], (
        "20 recordings allow a wider range of rates than 100 clips"
    )


def test_p_values_are_those_of_scipy_where_every_clip_is_independent(rng: np.random.Generator) -> None:
    scores, reference = rng.normal(0.3, 1, size=30), rng.normal(size=80)
    expected = [ks_2samp(scores, reference, alternative=which, method="asymp").pvalue for which in ("less", "greater")]
    np.testing.assert_allclose(shift_p_values(scores, reference, anomalies_at_most=0.0), expected, rtol=1e-9)
    wider = shift_p_values(scores, reference, anomalies_at_most=0.0, sizes=(10.0, 8.0))
    assert wider[0] > expected[0]


def test_real_rates_are_counted_by_domain(tmp_path: Path) -> None:
    detection = detected(tmp_path / "a", 0.0, anomalies=0.5)
    rates = false_alarm_rates(detection.clips, detection.decided)
    assert [(one.machine, one.section, one.domain, one.clips, one.nominal) for one in rates] == [
        ("fan", "00", "source", 15, 0.1),
        ("fan", "00", "target", 15, 0.1),
    ]
    normal = detection.clips.where(label="normal")
    assert sum(one.reported for one in rates) == int(detection.decision[normal].sum())
    assert all(one.low <= one.rate <= one.high for one in rates)
    assert "real false alarms %" in false_alarms_text(rates)


def test_a_detection_is_decided_again_without_scoring(tmp_path: Path) -> None:
    first = detected(tmp_path / "a", 0.0, anomalies=0.3)
    asked = replace(RECIPE, false_alarm_rate=0.02, domains="known")
    again = redecided(first, asked)
    fresh = detect(FeatureStore.open(tmp_path / "a"), asked)
    np.testing.assert_array_equal(again.decided.threshold, fresh.decided.threshold)
    np.testing.assert_array_equal(again.decision, fresh.decision)
    assert again.score is first.score
    assert not np.array_equal(again.decision, first.decision)
    assert again.notes == fresh.notes


def test_without_normal_clips_of_both_domains_the_plain_rule_is_used(tmp_path: Path) -> None:
    clips = detected(tmp_path / "a", 0.0, anomalies=0.5).clips
    assert year_of(clips) == 2023
    one_sided = clips[~(clips.where(label="normal") & clips.where(domain="target"))]
    assert year_of(one_sided) == 2020


def test_the_command_warns_and_records(tmp_path: Path) -> None:
    detected(tmp_path / "s", 3.0)
    command = ["-d", "mahalanobis:covariance=ledoit_wolf", "-e", "e", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [str(tmp_path / "s"), *command, "--domains", "known"])
    assert result.exit_code == 0, result.output
    assert (
        "warning: fan section 00 source: normal sound has probably shifted (or over half of the clips are anomalous)"
        in result.stderr
    )
    assert "real false alarms %" in result.stdout
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {(one["domain"], one["direction"]) for one in found["drift"]} == {("source", "higher"), ("", "higher")}
    assert all(one["rate"] > 0.8 for one in found["false_alarms"])
    assert 'domains = "known"' in (tmp_path / "out" / "recipe.toml").read_text()
    by_rate = CliRunner().invoke(main, [str(tmp_path / "s"), *command, "--fdr", "0.1", "--json"])
    assert json.loads(by_rate.stdout)["metrics"]["false_discoveries"]["rate"] == 1.0, "every clip reported is normal"
    both = CliRunner().invoke(main, [str(tmp_path / "s"), *command, "--fdr", "0.1", "--fpr", "0.1"])
    assert both.exit_code == 2
    assert "give one of them" in both.stderr


def test_clopper_pearson() -> None:
    assert exact_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert exact_interval(10, 10) == (pytest.approx(0.025**0.1), 1.0)
    assert exact_interval(3, 20) == pytest.approx((0.03207094, 0.37892683), abs=1e-7)


def test_a_discovery_rate_is_compared_with_the_real_one(tmp_path: Path) -> None:
    recipe = Recipe(RECIPE.members, fdr=0.2)
    detection = detected(tmp_path / "a", 0.0, anomalies=0.5, recipe=recipe)
    found = discoveries(detection.clips, detection.decided)
    assert found.nominal == 0.2
    assert found.reported >= 30
    assert found.rate <= 0.35
    rates = false_alarm_rates(detection.clips, detection.decided)
    assert {alarms.nominal for alarms in rates} == {None}
    assert "-" in false_alarms_text(rates)
