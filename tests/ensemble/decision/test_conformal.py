"""Conformal p-values and decisions: values by hand, stated rates by simulation, banks by domain."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.decision.banks import p_values
from ensemble.decision.calibrate import PlacedScores, position
from ensemble.decision.conformal import (
    benjamini_hochberg,
    decisions,
    from_surprise,
    p_values_of_reference,
    surprise,
)
from ensemble.decision.fuse import fuse


def placed(scores: np.ndarray, domain: np.ndarray | None = None, section: np.ndarray | None = None) -> PlacedScores:
    n = len(scores)
    where = np.full(n, "00") if section is None else section
    return PlacedScores(np.asarray(scores, dtype=float), np.full(n, "fan"), where, domain)


def domains(source: int, target: int) -> np.ndarray:
    return np.array(["source"] * source + ["target"] * target)


def test_p_values_by_hand() -> None:
    reference = np.array([3.0, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(p_values(np.array([0.5, 1, 2, 2.5, 3, 9]), reference), np.array([5, 5, 4, 2, 2, 1]) / 5)
    np.testing.assert_allclose(p_values_of_reference(reference), np.array([1, 4, 3, 3]) / 4)
    for i in range(4):
        alone = p_values(reference[[i]], np.delete(reference, i))[0]
        assert alone == p_values_of_reference(reference)[i], "a training clip meets the others as a test clip would"


@pytest.mark.parametrize("n", [7, 40])
def test_a_normal_clip_has_a_p_value_below_u_with_probability_u(n: int, rng: np.random.Generator) -> None:
    p = np.concatenate([p_values(rng.normal(size=1), rng.normal(size=n)) for _ in range(4000)])
    for u in (0.1, 0.25, 0.5):
        expected = np.floor(u * (n + 1)) / (n + 1)
        assert np.mean(p <= u) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))
        assert expected <= u


def test_decisions_by_rate_are_those_of_the_p_value(rng: np.random.Generator) -> None:
    reference, test = rng.normal(size=60).round(1), rng.normal(1, 2, size=300).round(1)
    for rate in (0.05, 0.1, 0.3):
        found = decisions(placed(test), placed(reference), rate=rate)
        np.testing.assert_array_equal(found.reported, found.p_value <= rate)
        np.testing.assert_array_equal(found.reported, test > found.threshold)
        assert np.all(np.diff(found.percentile[np.argsort(test, kind="stable")]) >= 0)


def test_benjamini_hochberg_by_hand() -> None:
    p = np.array([0.039, 0.001, 0.041, 0.008, 0.9])
    assert benjamini_hochberg(p, 0.05) == 0.008  # limits .01 .02 .03 .04 .05
    assert benjamini_hochberg(p, 0.06) == 0.041  # limits .012 .024 .036 .048 .06: a later one lifts the third
    assert benjamini_hochberg(p, 0.004) == 0
    assert benjamini_hochberg(np.full(4, 0.05), 0.05) == 0.05
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        benjamini_hochberg(p, 1)


def test_the_limits_of_benjamini_hochberg_are_shares_of_the_clips() -> None:
    """The k-th of m p-values may be as large as k/m of the rate, exactly."""
    for m in (4, 10):
        for k in (1, m // 2, m):
            p = np.concatenate([np.full(k, 0.2 * k / m), np.ones(m - k)])
            assert benjamini_hochberg(p, 0.2) == 0.2 * k / m
            assert benjamini_hochberg(p + 1e-6, 0.2) == 0


def test_discoveries_are_the_clips_whose_p_value_may_be_reported() -> None:
    """The cut, 0.1, is a p-value of section 00; the 60 clips of section 01 have none of that size."""
    reference = placed(np.concatenate([np.arange(19.0), np.arange(60.0)]), section=np.repeat(["00", "01"], [19, 60]))
    scores, counts = [17.5, 53.5, 54.5, -1.0], [9, 1, 9, 21]
    test = placed(np.repeat(scores, counts), section=np.repeat(["00", "01"], [9, 31]))
    found = decisions(test, reference, rate=0.1, fdr=0.23)
    np.testing.assert_array_equal(found.p_value, np.repeat([2 / 20, 7 / 61, 6 / 61, 1], counts))
    assert benjamini_hochberg(found.p_value, 0.23) == 0.1
    np.testing.assert_array_equal(found.reported, found.p_value <= 0.1)


@pytest.mark.parametrize(("target", "rate", "fdr"), [(9, 0.1, 0.0), (19, 0.05, 0.0), (19, 0.1, 0.5)])
def test_a_domain_needs_no_more_clips_than_its_smallest_p_value_does(target: int, rate: float, fdr: float) -> None:
    """n clips reach 1 / (n + 1); a discovery rate needs a tenth of itself."""
    test = placed(np.zeros(3), domains(0, 3))
    for n, is_shifted in ((target, False), (target - 1, True)):
        reference = placed(np.arange(80.0 + n), domains(80, n))
        assert decisions(test, reference, rate=rate, fdr=fdr).banks[0].shifted == is_shifted


def test_false_discoveries_stay_below_the_rate(rng: np.random.Generator) -> None:
    """200 archives of 90 normal clips and 10 anomalies that share one bank each."""
    shares, hits = [], []
    for _ in range(200):
        test = np.concatenate([rng.normal(size=90), rng.normal(5, 1, size=10)])
        found = decisions(placed(test), placed(rng.normal(size=400)), rate=0.1, fdr=0.2)
        shares.append(found.reported[:90].sum() / max(1, found.reported.sum()))
        hits.append(found.reported[90:].mean())
        np.testing.assert_array_equal(found.reported, test > found.threshold)
    assert np.mean(shares) < 0.2
    assert np.mean(hits) > 0.9


def test_a_false_discovery_rate_is_over_all_sections(rng: np.random.Generator) -> None:
    """A clip of a section without anomalies is reported only when another section has many reported clips."""
    section = np.repeat(["00", "01"], 50)
    quiet = np.concatenate([np.full(50, -1.0), rng.normal(size=50).clip(-2, 2)])
    quiet[70] = 10.0
    reference = placed(np.resize(np.linspace(-3, 3, 99), 198), section=np.repeat(["00", "01"], 99))
    alone = decisions(placed(quiet, section=section), reference, rate=0.1, fdr=0.1)
    assert not alone.reported.any()
    assert np.isinf(alone.threshold).all()
    assert alone.thresholds == (None, None)
    assert "at least 10 of the 100 clips" in alone.notes[0]
    loud = quiet.copy()
    loud[:40] = 20.0
    both = decisions(placed(loud, section=section), reference, rate=0.1, fdr=0.1)
    assert both.reported[70]
    assert both.reported[:40].all()


def test_training_clips_ranked_among_themselves_have_no_discoveries(rng: np.random.Generator) -> None:
    reference = placed(rng.normal(size=50))
    found = decisions(reference, reference, rate=0.1)
    np.testing.assert_allclose(np.sort(found.p_value), np.arange(1, 51) / 50)
    assert int(found.percentile.argmax()) == int(reference.scores.argmax())
    with pytest.raises(ValueError, match="needs test clips"):
        decisions(reference, reference, rate=0.1, fdr=0.1)


def test_a_domain_has_its_own_bank_where_its_clips_are_enough_for_the_rate(rng: np.random.Generator) -> None:
    """Target clips score 3 higher, in training and in test."""
    of_train, of_test = domains(200, 20), domains(500, 500)
    reference = placed(rng.normal(size=220) + 3 * (of_train == "target"), of_train)
    test = placed(rng.normal(size=1000) + 3 * (of_test == "target"), of_test)
    found = decisions(test, reference, rate=0.1)
    assert [(bank.domain, len(bank.reference), bank.shifted) for bank in found.banks] == [
        ("source", 200, False),
        ("target", 20, False),
    ]
    for domain in ("source", "target"):
        assert found.reported[of_test == domain].mean() < 0.25
    unknown = PlacedScores(test.scores, test.machine, test.section)
    pooled = decisions(unknown, reference, rate=0.1)
    assert [bank.domain for bank in pooled.banks] == [""]
    assert pooled.reported[of_test == "target"].mean() > 0.8
    assert found.notes == ()


def test_a_small_domain_uses_the_spread_of_its_section(rng: np.random.Generator) -> None:
    of_train, of_test = domains(300, 5), domains(0, 2000)
    reference = placed(rng.normal(size=305) + 4 * (of_train == "target"), of_train)
    found = decisions(placed(rng.normal(4, 1, size=2000), of_test), reference, rate=0.05)
    bank = found.banks[0]
    assert (bank.shifted, len(bank.reference)) == (True, 305)
    assert 0.005 < found.reported.mean() < 0.25
    assert "a false-alarm rate of 0.05 is not guaranteed for 1 domain of a section, because it has" in found.notes[0]
    assert "fewer than 19 training clips" in found.notes[0]
    alone = decisions(placed(rng.normal(4, 1, size=2000), of_test), reference, rate=0.05, tail="none")
    assert (alone.banks[0].shifted, len(alone.banks[0].reference)) == (False, 5)
    assert alone.thresholds[0] is not None
    assert alone.thresholds[0].expected == pytest.approx(1 / 6)
    assert "5 training clips are too few for a false-alarm rate of 0.05" in alone.notes[0]
    assert decisions(placed(rng.normal(4, 1, size=2000)), reference, rate=0.05).reported.mean() > 0.9, "without domains"


def test_surprise_is_finite_and_has_an_inverse() -> None:
    assert np.isfinite(surprise(np.ones(1))).all()
    np.testing.assert_allclose(from_surprise(surprise(np.array([0.0, 0.3, 0.999]))), [0, 0.3, 0.999])


REPETITIONS = 400


def promised(n: int, rate: float) -> float:
    """Expected false-alarm rate of the threshold on n exchangeable scores: at most `rate`, if n allows any such."""
    return max(np.floor((n + 1) * rate + 1e-9), 1) / (n + 1)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("n", [30, 99, 250])
def test_thresholds_keep_their_rate_on_exchangeable_scores(n: int, rate: float, rng: np.random.Generator) -> None:
    """Uniform scores: the real rate of a threshold is 1 - threshold, Beta(n + 1 - k, k) over the training sets."""
    real, covered = [], 0
    for _ in range(REPETITIONS):
        found = decisions(placed(np.zeros(1)), placed(rng.uniform(size=n)), rate=rate)
        one = found.thresholds[0]
        assert one is not None
        assert one.expected == pytest.approx(promised(n, rate))
        real.append(1 - found.threshold[0])
        covered += one.low <= real[-1] <= one.high
    p = promised(n, rate)
    deviation = np.sqrt(p * (1 - p) / (n + 2) / REPETITIONS)  # of the mean of that many draws of the Beta
    assert np.mean(real) == pytest.approx(p, abs=4 * deviation)
    assert covered / REPETITIONS == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / REPETITIONS))


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_every_domain_keeps_its_rate_whatever_the_shift_between_them(rate: float, rng: np.random.Generator) -> None:
    """The domains differ in level and spread, each with enough training clips; a shared bank fails the noisier one."""
    level, spread = {"source": 0.0, "target": 5.0}, {"source": 1.0, "target": 3.0}
    of_train, of_test = domains(60, 25), domains(5, 5)
    alarms = {"known": np.zeros(10), "pooled": np.zeros(10)}

    def draw(domain: np.ndarray) -> np.ndarray:
        return np.array([level[one] + spread[one] * rng.normal() for one in domain])

    for _ in range(REPETITIONS):
        reference, test = placed(draw(of_train), of_train), placed(draw(of_test), of_test)
        alarms["known"] += decisions(test, reference, rate=rate).reported
        alarms["pooled"] += decisions(placed(test.scores), placed(reference.scores), rate=rate).reported
    for domain, n in (("source", 60), ("target", 25)):
        here = of_test == domain
        observed, p = alarms["known"][here].mean() / REPETITIONS, promised(n, rate)
        assert observed == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / REPETITIONS)), domain
    assert alarms["pooled"][of_test == "target"].mean() / REPETITIONS > 2 * rate


@pytest.mark.parametrize("rule", ["mean", "fisher", "max_rank", "min_zscore"])
def test_fused_thresholds_keep_their_rate_on_exchangeable_scores(rule: str, rng: np.random.Generator) -> None:
    """Three noisy members: training clips are placed among n - 1 others, so the rate holds up to 1 / n."""
    n, m, rate = 99, 40, 0.1
    alarms = 0
    for _ in range(150):
        truth = rng.normal(size=n + m)
        members = [truth + rng.normal(size=n + m) for _ in range(3)]
        fused = fuse(rule, [placed(one[n:]) for one in members], [placed(one[:n]) for one in members])
        alarms += int(decisions(placed(fused.scores), placed(fused.reference), rate=rate).reported.sum())
    clusters = 150  # the clips of one repetition share its threshold: Beta variance beside the binomial one
    deviation = np.sqrt(rate * (1 - rate) * (1 / (clusters * m) + 1 / (clusters * (n + 2))))
    assert alarms / (clusters * m) == pytest.approx(rate, abs=4 * deviation + 1 / n)


def test_training_clips_are_decided_by_the_other_blocks() -> None:
    """A day of faults raises no threshold of its own."""
    scores = np.concatenate([np.arange(20.0), 100 + np.arange(20.0)])
    block = np.repeat([0, 1], 20)
    reference = replace(placed(scores), block=block)
    decided = decisions(reference, reference, rate=0.1)
    for own, others in ((block == 0, block == 1), (block == 1, block == 0)):
        np.testing.assert_array_equal(decided.p_value[own], p_values(scores[own], scores[others]))
        np.testing.assert_array_equal(decided.percentile[own], position(scores[own], scores[others]))
        np.testing.assert_array_equal(decided.threshold[own], np.sort(scores[others])[18])
    np.testing.assert_array_equal(decided.reported, block == 1)
    assert any("a threshold of its own" in note for note in decided.notes)
    copies = decisions(reference, reference, rate=0.1, grouped=False)
    assert not any("a threshold of its own" in note for note in copies.notes)
    assert decisions(placed(scores), placed(scores), rate=0.1).reported.sum() < 5
    single, plain = replace(reference, block=np.arange(40)), placed(scores)
    for name in ("p_value", "percentile", "threshold"):
        expected = getattr(decisions(plain, plain, rate=0.1), name)
        np.testing.assert_array_equal(getattr(decisions(single, single, rate=0.1), name), expected)


def test_blocks_of_training_clips_do_not_change_how_test_clips_are_decided() -> None:
    reference, test = placed(np.arange(40.0)), placed(np.array([1.0, 35.0, 39.5]))
    blocked = replace(reference, block=np.arange(40) // 10)
    for name in ("p_value", "percentile", "threshold", "reported"):
        pair = (getattr(decisions(test, of, rate=0.1), name) for of in (reference, blocked))
        np.testing.assert_array_equal(*pair)


def test_a_threshold_by_hand_decides_its_section_only(rng: np.random.Generator) -> None:
    section = np.repeat(["00", "01"], 50)
    reference, test = rng.normal(size=100), rng.normal(1, 2, size=100)
    ruled = decisions(placed(test, section=section), placed(reference, section=section), rate=0.1)
    by_hand = decisions(
        placed(test, section=section), placed(reference, section=section), rate=0.1, given=(("fan/01", 0.25),)
    )
    second = section == "01"
    np.testing.assert_array_equal(by_hand.reported[second], test[second] > 0.25)
    np.testing.assert_array_equal(by_hand.threshold[second], 0.25)
    for name in ("reported", "threshold"):
        np.testing.assert_array_equal(getattr(by_hand, name)[~second], getattr(ruled, name)[~second])
    for name in ("p_value", "percentile"):
        np.testing.assert_array_equal(getattr(by_hand, name), getattr(ruled, name))
    share = (1 + (reference[second] > 0.25).sum()) / 51
    assert by_hand.notes == (
        f"fan section 01: threshold set to 0.25; about {100 * share:.2g} % of normal clips are expected above it",
    )
    rates = np.where(second, share, 5 / 51)  # 4 of 50 training clips are above their 46th
    np.testing.assert_allclose(by_hand.expected_rates, rates)


def test_few_training_clips_state_another_rate_than_the_requested_one() -> None:
    """33 clips allow 1 / 34 at least, and 3 / 34 below a tenth; among themselves, n - rank of them are above."""
    reference = placed(np.arange(33.0))
    for rate, expected in ((0.01, 1 / 34), (0.1, 3 / 34)):
        np.testing.assert_allclose(decisions(placed(np.zeros(5)), reference, rate=rate).expected_rates, expected)
    alone = decisions(reference, reference, rate=0.1)
    assert alone.expected_rates.sum() == pytest.approx(alone.reported.sum()) == 2
    assert not decisions(reference, reference, rate=0.01).expected_rates.any(), "none can be reported"


def test_a_threshold_by_hand_holds_for_both_domains_and_for_training_clips_ranked_among_themselves(
    rng: np.random.Generator,
) -> None:
    reference = placed(rng.normal(size=40), domains(30, 10))
    both = decisions(placed(rng.normal(size=20), domains(10, 10)), reference, rate=0.1, given=(("default", 0.5),))
    assert {bank.domain for bank in both.banks} == {"source", "target"}
    assert set(both.threshold.tolist()) == {0.5}
    blocks = replace(placed(rng.normal(size=40)), block=np.arange(40) // 10)
    alone = decisions(blocks, blocks, rate=0.1, given=(("fan/00", 0.5),))
    assert set(alone.threshold.tolist()) == {0.5}
    assert not any("threshold of its own" in note for note in alone.notes)


def test_no_threshold_by_hand_with_a_false_discovery_rate(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="no threshold can be given by hand"):
        decisions(placed(rng.normal(size=9)), placed(rng.normal(size=9)), rate=0.1, fdr=0.1, given=(("default", 1.0),))
