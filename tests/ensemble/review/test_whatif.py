"""What another threshold would report: the counts are those of the results decided by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from large_results import large_scored
from review_plant import session_of

from ensemble.decision.thresholds import given_threshold
from ensemble.page.items import items
from ensemble.page.scored import Scored
from ensemble.review.whatif import BINS, STEPS, WEEK_S, Generated, WhatIf

SECTION = ("fan", "01")


@pytest.fixture(scope="module")
def windows() -> Scored:
    return large_scored(2000, windows=True)


@pytest.mark.parametrize("value", [0.2, 0.6, 0.9, 0.97, 0.9999])
@pytest.mark.parametrize("windows", [True, False])
def test_clips_and_events_are_those_of_the_results_with_that_threshold(value: float, windows: bool) -> None:
    scored = large_scored(1000, windows=windows)
    decided = scored.with_thresholds({SECTION: value})
    rows = decided.rows_of(*SECTION)
    reported = [item for item in items(decided) if item.reported and (item.machine, item.section) == SECTION]
    count = WhatIf(scored, *SECTION).count(value)
    assert count.clips == int(decided.decision[rows].sum()) == sum(len(item.rows) for item in reported)
    assert count.events == len(reported)
    assert WhatIf(decided, *SECTION).present() == WhatIf(decided, *SECTION).count(value)


def test_windows_that_overlap_an_unreported_one_touch(windows: Scored) -> None:
    what = WhatIf(windows, *SECTION)
    assert what.count(-1.0).events == len(set(np.array(windows.recordings)[what.rows]))
    assert what.count(1.0).events == what.count(1.0).clips == 0


def test_the_last_week_ends_with_the_newest_clip_of_all_sections(windows: Scored) -> None:
    times = windows.times.copy()
    elsewhere = windows.rows_of("pump", "02")[0]
    times[elsewhere] = np.nanmax(times) + WEEK_S + 3600.0 * 40
    scored = replace(windows, times=times)
    what = WhatIf(scored, *SECTION)
    assert what.newest is not None
    began = (times + scored.seconds[:, 0])[scored.rows_of(*SECTION)]
    recent = began > what.newest - WEEK_S
    above = scored.score[scored.rows_of(*SECTION)] > 0.5
    count = what.count(0.5)
    assert count.week_clips == int((recent & above).sum()) == 0
    assert count.clips == int(above.sum()) > 0
    assert WhatIf(windows, *SECTION).count(0.5).week_clips == count.clips  # all within a week of their own newest


def test_a_clip_of_exactly_a_week_before_the_newest_counts(windows: Scored) -> None:
    rows = windows.rows_of(*SECTION)
    times = np.full_like(windows.times, np.nan)
    times[rows] = 2e9 - windows.seconds[rows, 0]
    times[rows[:3]] -= np.array([WEEK_S, WEEK_S + 1, WEEK_S - 1])
    assert WhatIf(replace(windows, times=times), *SECTION).count(-1.0).week_clips == len(rows) - 1


def test_times_that_are_unknown_say_so(windows: Scored) -> None:
    times = np.full_like(windows.times, np.nan)
    assert WhatIf(replace(windows, times=times), *SECTION).count(0.5).week_clips is None
    rows = windows.rows_of(*SECTION)
    times[rows[:5]] = 1e9
    what = WhatIf(replace(windows, times=times), *SECTION)
    assert what.untimed == len(rows) - 5
    assert what.count(-1.0).week_clips == 5


def test_the_share_of_normal_clips_is_that_of_a_threshold_by_hand(tmp_path: Path) -> None:
    scored = session_of(tmp_path, data=False).scored
    what = WhatIf(scored, "fan", "00")
    (reference,) = what.references
    for value in (0.1, 0.5, 0.93, 0.9999, float(reference.scores[3]), float(reference.scores[-1])):
        limit = given_threshold(value, reference.scores)
        assert what.rates(value) == [tuple(round(number, 5) for number in (limit.expected, limit.low, limit.high))]
        (by_hand,) = [each for each in scored.with_thresholds({("fan", "00"): value}).limits if each.section == "00"]
        assert what.rates(value)[0][0] == round(by_hand.expected, 5)


def test_windows_of_a_recording_widen_the_interval(windows: Scored) -> None:
    of_group = tuple(replace(limit, worth=limit.references / 5) for limit in windows.limits)
    what = WhatIf(replace(windows, limits=of_group), *SECTION)
    (reference,) = what.references
    assert reference.independent == len(reference.scores) / 5
    limit = given_threshold(0.5, reference.scores)
    ((expected, low, high),) = what.rates(0.5)
    assert expected == round(limit.expected, 5)
    assert low < limit.low < limit.high < high


def test_domains_have_their_own_lines_and_rates(windows: Scored) -> None:
    own = [number for number, limit in enumerate(windows.limits) if (limit.machine, limit.section) == SECTION]
    limits, banks = list(windows.limits), list(windows.banks)
    for domain, value in (("source", 0.9), ("target", 0.95)):
        number = own[0] if domain == "source" else len(limits)
        changed = replace(windows.limits[own[0]], domain=domain, value=value)
        limits[number:] = [changed, *limits[number + 1 :]]
    banks.append(windows.banks[own[0]][:5])
    what = WhatIf(replace(windows, limits=tuple(limits), banks=tuple(banks)), *SECTION)
    assert [(line.domain, line.value) for line in what.lines] == [("source", 0.9), ("target", 0.95)]
    assert [(each.domain, len(each.scores)) for each in what.references][1] == ("target", 5)
    same = [replace(limit, value=0.9) for limit in limits]
    what = WhatIf(replace(windows, limits=tuple(same), banks=tuple(banks)), *SECTION)
    assert [(line.domain, line.value) for line in what.lines] == [("", 0.9)]


def test_the_slider_has_few_digits_and_reaches_every_line(windows: Scored) -> None:
    what = WhatIf(windows, *SECTION)
    assert len(what.values) <= STEPS
    assert what.values == sorted(set(what.values))
    assert all(len(repr(value)) < 9 for value in what.values)
    assert what.values[0] < min(line.value or 0 for line in what.lines) <= what.values[-1] < 1
    assert what.count(what.values[-1]).clips == 0
    places = [what.share(value) for value in what.values]
    assert places == sorted(places)
    assert -0.01 < places[0] < places[-1] < 1.01
    raw = WhatIf(
        replace(windows, bounded=False, score=1e4 * windows.score, reference=1e4 * windows.reference), *SECTION
    )
    assert len(raw.values) > STEPS // 2
    assert sum(raw.bars(raw.score)) == pytest.approx(1, abs=BINS * 1e-5)


def test_ratios_are_words(windows: Scored) -> None:
    what = WhatIf(windows, *SECTION)
    (line,) = what.lines
    assert line.value == 0.99
    assert what.ratio(0.995, line) == "2.0 times"
    assert what.ratio(0.98, line) == "0.5 times"
    assert what.ratio(1.01, line) == "over 9,000 times"
    assert not what.ratio(0.98, replace(line, value=None))


def test_generated_anomalies_are_counted_by_kind() -> None:
    generated = Generated(np.array([0.1, 0.6, 0.7, 0.9]), ["leak", "leak", "squeal", "squeal"])
    assert generated.found(0.6) == 2
    assert generated.by_kind(0.5) == [("leak", 1, 2), ("squeal", 2, 2)]
    assert generated.by_kind(0.8) == [("leak", 0, 2), ("squeal", 1, 2)]
    assert Generated(np.array([0.9, 0.1]), ["a", "b"]).by_kind(0.5) == [("b", 0, 1), ("a", 1, 1)]


def test_a_hundred_thousand_clips_have_a_bounded_answer() -> None:
    what = WhatIf(large_scored(100_000, windows=True), *SECTION)
    assert len(what.values) <= STEPS
    assert len(what.bars(what.score)) == BINS
    assert what.count(what.values[0]).clips > 10_000
