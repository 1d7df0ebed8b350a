from dataclasses import replace

import numpy as np
import pytest
from scored_results import drift_row, limit_of, rate_row, results

from ensemble.page.overview.promise import (
    Promise,
    drift_text,
    drifts_of,
    expected_rates,
    is_usual,
    percent,
    promise,
    stated,
)
from featstore.clip import Clip
from featstore.table import ClipTable

A = "fan/00"


def said(n=100, label="unknown", **changes):
    scored = results({A: [0.5] * n}, labels={A: [label] * n}, **changes)
    return str(promise(scored, "fan", "00"))


def test_without_labels_nothing_is_promised():
    assert said() == "cannot be checked here, because no clip is labelled normal."
    assert said(drifts=(drift_row(A),)) == "cannot be checked here, because no clip is labelled normal."


def test_labelled_clips_support_a_rate():
    expected = "holds: 5 of 100 clips labelled normal were reported (5 %, 95 % interval 1.6 to 11 %; 10 % is stated)."
    assert said(label="normal", rates=(rate_row(A, 100, 5),)) == expected


def test_a_rate_far_below_the_stated_one_keeps_the_promise():
    expected = "holds: 0 of 100 clips labelled normal were reported (0 %, 95 % interval 0 to 3.6 %; 10 % is stated)."
    assert said(label="normal", rates=(rate_row(A, 100, 0),)) == expected


def test_labelled_clips_contradict_a_rate():
    expected = (
        "does not hold here, because 40 of 100 clips labelled normal were reported "
        "(40 %, 95 % interval 30 to 50 %; 10 % is stated)."
    )
    assert said(label="normal", rates=(rate_row(A, 100, 40),)) == expected


def test_few_labelled_clips_tell_nothing():
    expected = (
        "cannot be checked here, because too few clips are labelled normal "
        "(1 of 8 was reported, 95 % interval 0.3 to 53 %)."
    )
    assert said(n=8, label="normal", rates=(rate_row(A, 8, 1),)) == expected


def test_windows_count_as_their_recordings():
    scored = results({A: [0.5] * 100}, labels={A: ["normal"] * 100}, windows_of=50, rates=(rate_row(A, 100, 5),))
    assert str(promise(scored, "fan", "00")) == (
        "cannot be checked here, because too few clips are labelled normal "
        "(5 of 100 were reported, 95 % interval 0 to 99 %, counted as 2 recordings)."
    )


def test_a_domain_without_labels_leaves_the_rate_open():
    rates = (rate_row(A, 100, 5, domain="source"),)  # the clips are of an unknown domain
    assert said(label="normal", rates=rates).startswith("cannot be checked here, because too few clips are labelled")


def test_the_domain_that_contradicts_is_named():
    rates = (rate_row(A, 90, 4, domain="source"), rate_row(A, 90, 33, domain="target"))
    assert said(label="normal", rates=rates) == (
        "does not hold here, because 33 of 90 clips labelled normal of the target domain were reported "
        "(37 %, 95 % interval 27 to 47 %; 10 % is stated)."
    )


HIGHER = drift_row(A, direction="higher", higher=1e-6, warning="w")


def test_drift_contradicts_a_rate():
    expected = "normal sound has probably shifted (or over half of the clips are anomalous)"
    assert said(drifts=(HIGHER,)) == f"does not hold here, because {expected}."
    of_target = drift_row(A, direction="higher", domain="target", anomalies_at_most=0.2)
    assert said(drifts=(of_target,)) == (
        "does not hold here, because normal sound of the target domain has probably shifted "
        "(or over 20 % of the clips are anomalous)."
    )
    assert said(drifts=(drift_row(A, direction="lower"),)) == (
        "does not hold here, because normal sound has probably shifted to lower scores, so faults may be missed."
    )
    assert said(drifts=(drift_row(A, at_least=0.3),)) == (
        "does not hold here, because at least 30 % of the normal clips are reported "
        "(or over half of the clips are anomalous)."
    )
    assert said(drifts=(drift_row(A, at_least=0.13),)).startswith("cannot be checked")


def test_no_rate_holds_beside_a_drift():
    rates = (rate_row(A, 100, 5),)
    assert said(label="normal", rates=rates, drifts=(HIGHER,)) == (
        "cannot be checked here, because 5 of 100 clips labelled normal were reported (5 %, 95 % interval 1.6 to 11 %; "
        "10 % is stated), but normal sound has probably shifted (or over half of the clips are anomalous)."
    )
    lower = drift_row(A, direction="lower")
    assert not said(label="normal", rates=rates, drifts=(lower,)).startswith("holds")
    reported = drift_row(A, at_least=0.3)  # the labels say better how many normal clips are reported
    assert said(label="normal", rates=rates, drifts=(reported,)).startswith("holds")
    some = results(
        {A: [0.5] * 101}, labels={A: ["normal"] * 100 + ["unknown"]}, rates=(rate_row(A, 100, 5),), drifts=(HIGHER,)
    )
    assert promise(some, "fan", "00").verdict == "does not hold here"
    text = str(promise(results({A: [0.5] * 101}, labels={A: ["normal"] * 100 + ["unknown"]}, rates=rates), "fan", "00"))
    assert text.endswith("10 % is stated); 1 clip has no label.")
    assert text.startswith("holds")


def test_too_few_training_clips_contradict_a_rate():
    limit = limit_of("fan", "00", references=5, expected=1 / 6)
    assert said(limits=(limit,)) == (
        "does not hold here, because 5 training clips are too few for 10 %; "
        "about 17 % of normal clips are expected above the threshold."
    )
    enough = limit_of("fan", "00", references=9)
    assert said(limits=(enough,)) == "cannot be checked here, because no clip is labelled normal."


def test_a_threshold_that_the_training_clips_contradict():
    limit = limit_of("fan", "00", expected=0.2, low=0.15, high=0.26)
    assert said(limits=(limit,)) == "does not hold here, because 20 % of the training clips are above the threshold."


def test_a_tail_model_is_approximate():
    limits = (limit_of("fan", "00", domain="source"), limit_of("fan", "00", domain="target", shifted=True))
    assert said(limits=limits) == (
        "cannot be checked here, because training clips of the target domain are too few, "
        "so the threshold is approximate."
    )


def test_a_gamma_threshold_is_a_model():
    assert said(recipe='threshold = "gamma"') == (
        "cannot be checked here, because the gamma rule keeps its rate only where scores follow a gamma distribution."
    )
    assert said(recipe="not = toml = at all").endswith("no clip is labelled normal.")


def test_a_threshold_by_hand_states_no_rate():
    limit = limit_of("fan", "00", None, expected=0.03)
    assert said(limits=(limit,), drifts=(HIGHER,), rates=(rate_row(A, 100, 40, nominal=None),)) == (
        "Threshold set by hand: about 3 % of normal clips are expected above it."
    )
    by_hand = promise(results({A: [0.5]}, limits=(limit,)), "fan", "00")
    assert by_hand.about("False-alarm rate of 10 %") == str(by_hand)
    assert by_hand.about("x", ", here").startswith("Threshold set by hand, here: about 3 %")
    assert by_hand.short("False-alarm rate of 10 %") == "Threshold set by hand"


def test_ranked_training_clips_prove_nothing():
    assert said(self_ranked=True, label="normal") == (
        "cannot be checked here, because the training clips are ranked among themselves: "
        "about 9.5 % of them are above the threshold by construction."
    )


def test_a_false_discovery_rate_is_not_one_of_a_section():
    limit = limit_of("fan", "00", None)
    fdr = {"nominal": None, "limits": (limit,), "rates": (rate_row(A, 100, 40, nominal=None),)}
    assert said(**fdr) == ("cannot be checked here, because it is stated for all sections together, not for one.")
    assert said(**fdr, drifts=(HIGHER,)).startswith("does not hold here, because normal sound has probably shifted")


def test_pooled_sections_share_the_evidence_of_their_machine():
    pooled = drift_row("fan/all", direction="higher")
    assert said(pool_sections=True, drifts=(pooled,)).startswith("does not hold here")
    assert said(pool_sections=False, drifts=(pooled,)).startswith("cannot be checked here")
    limits = (limit_of("fan", "all", references=5, expected=1 / 6), limit_of("pump", "all"))
    assert said(pool_sections=True, limits=limits).startswith("does not hold here, because 5 training clips")


def test_drift_in_words():
    scored = results({A: [0.5]}, drifts=(drift_row(A), drift_row("fan/01", direction="higher")))
    assert drift_text([]) == "drift not checked"
    assert drift_text(drifts_of(scored, "fan", "00")) == "no drift found"
    assert drift_text([HIGHER]) == "drift to higher scores (p 1e-06)"
    lower = drift_row(A, domain="target", direction="lower", lower=0.0002)
    assert drift_text([drift_row(A, domain="source"), lower]) == "drift to lower scores (p 0.0002) in the target domain"


def test_a_promise_in_words():
    said = Promise("holds", "0 of 9")
    assert str(said) == "holds: 0 of 9."
    assert said.about("False-alarm rate of 10 %") == "False-alarm rate of 10 %: holds: 0 of 9."
    assert said.short("False-alarm rate of 10 %") == "False-alarm rate holds"
    assert said.short("False-discovery rate") == "False-discovery rate holds"


@pytest.mark.parametrize(
    ("reported", "of", "highest", "changes", "usual"),
    [
        (1, 5, 0.91, {}, False),  # fewer than one report is expected
        (10, 100, 0.91, {}, True),
        (15, 100, 0.91, {}, True),  # by chance in 7 % of cases
        (16, 100, 0.91, {}, False),  # in 4 %
        (16, 100, 0.91, {"windows_of": 10}, True),  # windows of 10 recordings count as 10 clips
        (10, 100, 0.999, {}, True),  # one of 100 normal clips is as high in 10 % of cases
        (10, 100, 0.9999, {}, False),
        (10, 100, 0.9999, {"bounded": False}, True),  # nothing is known of how rare it is
        (60, 100, 0.9999, {"self_ranked": True}, True),
    ],
)
def test_as_many_as_normal_clips_would_give(reported, of, highest, changes, usual):
    scored = results({A: [highest] * reported + [0.5] * (of - reported)}, **changes)
    rows = np.arange(of)
    assert is_usual(scored, rows, 0.1 * of, float(scored.excess.max()) if scored.bounded else 99.0) == usual


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.05, "5 %"), (0.0561, "5.6 %"), (0.0995, "10 %"), (0.374, "37 %"), (1, "100 %")]
)
def test_shares_in_percent(share, text):
    assert percent(share) == text


def test_expected_rates_are_those_of_each_threshold():
    by_hand = (limit_of("fan", "00", None, expected=0.03), limit_of("fan", "01"))
    scored = results({A: [0.5] * 2, "fan/01": [0.5]}, limits=by_hand)
    np.testing.assert_allclose(expected_rates(scored), [0.03, 0.03, 0.1])
    assert expected_rates(results({A: [0.5]}, nominal=None)) is None


def test_ranked_clips_that_are_too_few_are_not_expected_to_be_reported():
    limits = (limit_of("fan", "00", references=5, expected=1 / 6), limit_of("fan", "01", references=99))
    scored = results({A: [0.5] * 5, "fan/01": [0.5]}, limits=limits, self_ranked=True)
    np.testing.assert_allclose(expected_rates(scored), [0] * 5 + [9 / 99])


def test_copies_of_training_clips_prove_nothing_and_are_not_expected():
    labels = ["normal"] * 100
    copied = np.arange(100) < 95
    scored = results({A: [0.5] * 100}, labels={A: labels}, copied=copied, rates=(rate_row(A, 5, 0),))
    assert str(promise(scored, "fan", "00")) == (
        "cannot be checked here, because too few clips are labelled normal (0 of 5 were reported, "
        "95 % interval 0 to 52 %)."
    )
    assert expected_rates(scored).sum() == pytest.approx(0.5)
    only = results({A: [0.5] * 100}, labels={A: labels}, copied=np.ones(100, dtype=bool))
    assert promise(only, "fan", "00").verdict == "cannot be checked here"


def windowed(sizes, **changes):
    """Labelled windows of recordings of these sizes; a tenth of them as group `g`."""
    clips = [
        Clip(f"{name}.wav#t={i}.000,{i + 1}.000", "fan", "00", "test", "unknown", "normal", {"day": str(name // 10)})
        for name, size in enumerate(sizes)
        for i in range(size)
    ]
    scored = results({A: [0.5] * len(clips)}, rates=(rate_row(A, len(clips), 0),), **changes)
    return replace(scored, clips=ClipTable.from_clips(clips))


def test_recordings_of_unequal_length_are_worth_fewer_clips():
    equal = promise(windowed([10] * 60), "fan", "00")
    assert equal.verdict == "holds"
    assert "counted as 60 recordings" in equal.reason
    long = promise(windowed([600] + [1] * 59), "fan", "00")  # 659 ** 2 / (600 ** 2 + 59) is 1.2
    assert long.verdict == "cannot be checked here"
    assert "95 % interval 0 to 98 %, counted as 1 independent clip" in long.reason


def test_clips_of_a_group_are_worth_one():
    grouped = promise(windowed([1] * 60, recipe='group = "day"'), "fan", "00")
    assert grouped.verdict == "cannot be checked here"
    assert "counted as 6 independent clips" in grouped.reason


def test_labels_contradict_a_rate_only_beyond_what_the_training_clips_allow():
    rates = (rate_row(A, 1000, 145),)  # interval 12 to 17 %
    few = limit_of("fan", "00", references=100)  # allow up to 16.6 %
    text = said(n=1000, label="normal", rates=rates, limits=(few,))
    assert text.startswith("cannot be checked here, because 145 of 1,000 clips labelled normal were reported")
    assert text.endswith("10 % is stated); so few training clips allow this.")
    many = limit_of("fan", "00", references=10_000)
    assert said(n=1000, label="normal", rates=rates, limits=(many,)).startswith("does not hold here")
    alike = limit_of("fan", "00", references=10_000, worth=100.0)
    assert said(n=1000, label="normal", rates=rates, limits=(alike,)).startswith("cannot be checked here")


def test_expected_rates_are_those_of_the_limit_of_each_clip():
    limits = (
        limit_of("fan", "00", None, domain="source", expected=0.02),
        limit_of("fan", "00", None, domain="target", expected=0.2),
    )
    scored = results({A: [0.5] * 4}, limits=limits, limit_of=np.array([0, 1, 0, 1], dtype=np.int32))
    np.testing.assert_allclose(expected_rates(scored), [0.02, 0.2, 0.02, 0.2])


def test_few_training_clips_let_expect_another_rate_than_the_stated_one():
    few = limit_of("fan", "00", references=4, expected=0.2)
    assert expected_rates(results({A: [0.5] * 100}, limits=(few,))).sum() == pytest.approx(20)


def test_stated_rates_are_not_rounded():
    assert [stated(rate) for rate in (0.125, 0.0004, 0.07, 0.1)] == ["12.5 %", "0.04 %", "7 %", "10 %"]
    assert percent(0.0004) == "below 0.1 %"
    assert "; 12.5 % is stated)" in said(label="normal", rates=(rate_row(A, 100, 40, nominal=0.125),))
    by_hand = limit_of("fan", "00", None, expected=0.0004)
    assert "Threshold set by hand: below 0.1 % of normal clips" in said(limits=(by_hand,))


def test_few_clips_that_are_ranked_among_themselves():
    few = limit_of("fan", "00", references=15, expected=1 / 16)
    assert said(n=15, self_ranked=True, limits=(few,)) == (
        "cannot be checked here, because the training clips are ranked among themselves, and they are so few that "
        "none can be reported."
    )


def test_a_rate_that_is_too_low_is_not_rounded():
    limit = limit_of("fan", "00", 0.0004, references=2000, expected=1 / 2001)
    assert said(limits=(limit,)) == (
        "does not hold here, because 2,000 training clips are too few for 0.04 %; "
        "about 0.05 % of normal clips are expected above the threshold."
    )


def test_copies_do_not_make_other_recordings_count_as_more():
    windows = windowed([1] * 95 + [5])
    copied = np.arange(100) < 95
    scored = replace(windows, copied=copied, rates=(rate_row(A, 5, 0),))
    assert "95 % interval 0 to 98 %, counted as 1 recording" in promise(scored, "fan", "00").reason
