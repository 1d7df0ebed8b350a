import re
from dataclasses import replace

import numpy as np
import pytest
from scored_results import NEWEST, drift_row, limit_of, results

from ensemble.decision.conformal import surprise
from ensemble.marks.file import Mark
from ensemble.page.items import items
from ensemble.page.overview.recent import date_text
from ensemble.page.overview.tiles import Overview, doubts, facts, headline, overview

A, B, C = "fan/00", "fan/01", "pump/00"


def text_of(html):
    """The text that a person reads, without markup."""
    apart = re.sub(r"</?(p|div|dt|dd|li|h3|h4|svg|text|small|summary)\b", r" \g<0>", str(html))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", apart)).strip()


def first(scored, marked=None):
    return text_of(headline(Overview(scored, marked or {}), links=True))


def order(scored, marked=None):
    return [(tile.machine, tile.section) for tile in Overview(scored, marked or {}).tiles]


def mark(kind):
    return Mark(clip="x", mark=kind)


def test_the_headline_says_where_to_look_first_and_why():
    scored = results({A: [0.5, 0.95], B: [0.92, 0.95, 0.99, 0.5]}, times={A: [-60, -30], B: [-50, -40, -7200, 0]})
    when = date_text(NEWEST - 7200, "%Y-%m-%d at %H:%M")
    assert first(scored) == (
        f"Look at fan section 01 first: 3 reported clips, the highest 10 times its threshold, on {when} "
        "(2 hours before the newest recording) in 002.wav."
    )


def test_the_headline_without_times_and_with_windows():
    scored = results({A: [0.95, 0.97, 0.5, 0.5, 0.95, 0.5]}, windows_of=6)
    assert first(scored) == (
        "Look at fan section 00 first: 2 events, the highest 3.3 times its threshold, in 000.wav, at 0:10."
    )
    one = results({A: [0.5, 0.97]})
    assert first(one) == "Look at fan section 00 first: 1 reported clip, 3.3 times its threshold, in 001.wav."


def test_the_headline_without_events():
    assert first(results({A: [0.5], B: [0.9]})) == "No machine is above its threshold."
    assert first(results({})) == "No clip was scored."
    dismissed = {0: mark("normal"), 1: mark("ignore")}
    assert first(results({A: [0.95, 0.92, 0.5]}), dismissed) == (
        "Nothing is left to look at: 2 reported clips were marked normal or ignored."
    )


def test_the_headline_leads_to_the_clip():
    assert '<a href="#triage?clip=1">' in overview(results({A: [0.5, 0.97]}), links=True)
    assert "#triage" not in overview(results({A: [0.5, 0.97]}), links=False)


def test_doubts_follow_the_headline():
    scored = results(
        {A: [0.999] + [0.5] * 9, B: [0.98] + [0.5] * 8, C: [0.5]},
        drifts=(drift_row(A, direction="higher"), drift_row(C, direction="lower")),
    )
    assert doubts(Overview(scored, {})) == [
        "The false-alarm rate does not hold there, so this may be a false alarm.",
        "About 1 reported clip would be expected there even if all were normal.",
        "1 more section has reported clips to look at.",
        "The false-alarm rate does not hold in 1 other section.",
    ]
    assert doubts(Overview(results({A: [0.99, 0.99, 0.5]}), {})) == []
    quiet = results({A: [0.5]}, drifts=(drift_row(A, direction="lower"),))
    assert doubts(Overview(quiet, {})) == ["The false-alarm rate does not hold in 1 section."]


def test_ranked_training_clips_are_what_is_expected():
    scored = results({A: [*np.linspace(0.01, 0.99, 20)]}, threshold=0.91, self_ranked=True)
    ranked = "There are no known normal recordings, so about 10 % of each machine are always reported, good or bad."
    assert doubts(Overview(scored, {})) == [ranked]


def test_no_more_than_normal_clips_would_give_is_no_alarm():
    scored = results({A: [0.96, 0.92] + [0.5] * 18, B: [0.5]}, times={A: [0] * 20, B: [0]})
    when = date_text(NEWEST, "%Y-%m-%d at %H:%M")
    assert first(scored) == (
        "No machine has more reported clips than normal ones would give. "
        f"The highest: fan section 00, 2.5 times its threshold, on {when} (the newest recording) in 000.wav."
    )
    html = overview(scored, links=True)
    assert re.findall(r'<h3 class="group">(.*?) <', html) == ["As many as normal clips would give", "Quiet"]
    assert '<ul class="tiles usual">' in html
    ranked = results({A: [0.999] * 5 + [0.5] * 5, B: [0.99]}, self_ranked=True)
    assert first(ranked).startswith("No machine has more reported clips than normal ones would give. The highest: fan")
    assert first(ranked, {0: mark("fault")}).startswith("Look at fan section 00 first")


def test_more_than_expected_comes_before_a_higher_ratio():
    scored = results({A: [0.97] + [0.5] * 19, B: [0.92] * 9 + [0.5] * 11})
    assert order(scored) == [("fan", "01"), ("fan", "00")]
    assert first(scored).startswith("Look at fan section 01 first: 9 reported clips, the highest 1.3 times")
    dismissed = {row: mark("normal") for row in range(21, 29)}
    assert first(scored, dismissed).startswith("No machine has more reported clips than normal ones would give.")


def test_an_event_that_is_alone_is_no_reason_for_calm():
    scored = results({A: [0.92]})
    assert first(scored).startswith("Look at fan section 00 first: 1 reported clip")


def test_rising_scores_of_a_quiet_machine_are_said():
    rising = 1 - 0.1 / np.geomspace(0.11, 0.9, 40)
    scored = results(
        {A: [0.895] * 40, B: rising.tolist()}, times={A: np.arange(-39, 1) * 3600, B: np.arange(-39, 1) * 3600}
    )
    assert doubts(Overview(scored, {})) == ["Scores rise in 1 quiet section."]
    assert order(scored) == [("fan", "01"), ("fan", "00")]
    text = text_of(overview(scored, links=True))
    assert "Scores are rising, typically from 0.1 times to 0.7 times the threshold." in text


def test_worst_first_then_doubted_then_quiet():
    scored = results(
        {"a/00": [0.5], "b/00": [0.85], "c/00": [0.92], "d/00": [0.92, 0.92], "e/00": [0.99], "f/00": [0.1]},
        drifts=(drift_row("f/00", direction="lower"),),
    )
    assert [machine for machine, _ in order(scored)] == ["e", "d", "c", "f", "b", "a"]
    assert re.findall(r'<h3 class="group">(.*?) <', overview(scored, links=True)) == [
        "Look here",
        "Quiet, with doubts",
        "Quiet",
    ]


def test_a_mark_as_normal_or_ignored_takes_an_event_out():
    scored = results({A: [0.99, 0.92], B: [0.95]})
    assert order(scored) == [("fan", "00"), ("fan", "01")]
    marked = {0: mark("normal")}
    tile = Overview(scored, marked).tiles[1]
    assert order(scored, marked) == [("fan", "01"), ("fan", "00")]
    assert (tile.open, tile.confirmed, tile.dismissed, tile.reported, tile.excess) == (1, 0, 1, 2, "1.3 times")
    assert "2 clips, 1 above the threshold, the highest 1.3 times" in overview(scored, links=True, marked=marked)
    assert order(scored, {0: mark("ignore"), 1: mark("ignore")})[-1] == ("fan", "00")


def test_a_fault_is_confirmed_and_stays():
    scored = results({A: [0.99, 0.92] + [0.5] * 18, B: [0.95]})
    marked = {0: mark("fault")}
    tile = Overview(scored, marked).tiles[0]
    assert (tile.open, tile.confirmed, tile.dismissed) == (1, 1, 0)
    assert first(scored, marked).startswith(
        "Look at fan section 00 first: 1 reported clip and 1 confirmed fault, the highest 10 times"
    )
    assert doubts(Overview(scored, marked)) == ["1 more section has reported clips to look at."]
    assert "1 confirmed as a fault" in text_of(overview(scored, links=True, marked=marked))


def test_a_fault_below_the_threshold_counts():
    scored = results({A: [0.5, 0.5], B: [0.8]})
    assert first(scored, {1: mark("fault")}).startswith("Look at fan section 00 first: 1 confirmed fault, 0.2 times")


def test_faults_below_the_threshold_are_counted_apart():
    scored = results({A: [0.99] * 8 + [0.5] * 12})
    marked = {row: mark("fault") for row in range(2, 10)}
    tile = Overview(scored, marked).tiles[0]
    assert (tile.open, tile.confirmed, tile.missed) == (2, 6, 2)
    detail = "2 open; 6 confirmed as faults; 2 more faults are marked below the threshold"
    assert facts(Overview(scored, marked))[1] == ("reported clips", "8", detail)
    text = text_of(overview(scored, links=True, marked=marked))
    assert (
        "8 of 20 clips reported (about 2 expected if all were normal); 6 confirmed as faults; 2 more faults are" in text
    )
    assert facts(Overview(scored, {9: mark("fault")}))[1][2] == "8 open; 1 fault is marked below the threshold"
    assert "8 of 20 clips reported (about 2 expected if all were normal); 1 fault is marked below" in text_of(
        overview(scored, links=True, marked={9: mark("fault")})
    )


def test_the_highest_clip_is_one_of_those_that_stand():
    scored = results({A: [0.5, 0.85, 0.99]})
    marked = {0: mark("fault"), 2: mark("normal")}  # the fault is quieter than a clip that nobody marked
    tile = Overview(scored, marked).tiles[0]
    assert (tile.peak, tile.confirmed, tile.missed) == (0, 0, 1)
    assert "in 000.wav" in first(scored, marked)
    assert Overview(scored, {2: mark("normal")}).tiles[0].peak == 1


def test_an_event_is_dismissed_by_marks_of_all_its_windows():
    scored = results({A: [0.99, 0.95, 0.5, 0.5]}, windows_of=4)
    part = Overview(scored, {0: mark("normal")}).tiles[0]
    assert (part.open, part.dismissed, part.excess) == (1, 0, "2.0 times")
    whole = Overview(scored, {0: mark("normal"), 1: mark("normal")}).tiles[0]
    assert (whole.open, whole.dismissed) == (0, 1)
    assert "All clips" not in text_of(overview(scored, links=True, marked={0: mark("normal"), 1: mark("normal")}))
    every = {row: mark("ignore") for row in range(4)}
    assert "All clips are marked normal or ignored." in text_of(overview(scored, links=True, marked=every))


def test_a_tile_in_words():
    scored = results(
        {A: [0.99] * 30 + [0.5] * 70}, times={A: np.arange(-99, 1) * 3600.0}, drifts=(drift_row(A, direction="higher"),)
    )
    text = text_of(overview(scored, links=True))
    assert "10 times the threshold 30 of 100 clips reported (about 10 expected if all were normal)" in text
    assert "last hour 0.2 times last day 0.2 times last week 10 times" in text
    assert (
        "False-alarm rate of 10 %: does not hold here, because normal sound has probably shifted "
        "(or over half of the clips are anomalous). Drift to higher scores (p 0.4)."
    ) in text
    assert f"Last hour, day and week end with the newest recording, {date_text(NEWEST)}." in text


def test_what_all_tiles_share_is_said_once():
    scored = results({f"fan/{i:02d}": [0.5] for i in range(60)})
    text = text_of(overview(scored, links=True))
    assert text.count("no clip is labelled normal") == 1
    assert text.count("times of the recordings are unknown") == 1
    assert "last hour" not in text
    assert text.count("up to 0.2 times the threshold") == 60


def test_a_chart_says_what_it_shows():
    scored = results({A: [0.99] * 30 + [0.5] * 70}, times={A: np.arange(-99, 1) * 3600.0})
    assert (
        'aria-label="Scores of fan section 00 over time, as multiples of the threshold: 100 clips, '
        "30 above the threshold, the highest 10 times; scores are falling"
    ) in overview(scored, links=True)
    assert "Scores of fan section 00 in the order of the results, as" in overview(results({A: [0.5]}), links=True)


def test_facts_are_the_numbers_of_the_run():
    scored = results({A: [0.99] * 3 + [0.5] * 97}, times={A: np.arange(-99, 1) * 3600.0})
    assert facts(Overview(scored, {})) == [
        ("clips scored", "100", "of 1 machine and section"),
        ("reported clips", "3", "3 % of the clips"),
        ("reported clips expected if all were normal", "10", "at a false-alarm rate of 10 %"),
        ("newest recording", date_text(NEWEST), "by the names of the recordings"),
    ]
    marked = {0: mark("fault"), 1: mark("normal")}
    assert facts(Overview(scored, marked))[1] == (
        "reported clips",
        "3",
        "1 open; 1 confirmed as a fault; 1 marked normal or ignored",
    )
    windows = results({A: [0.99, 0.99, 0.5, 0.99]}, windows_of=4, limits=(limit_of("fan", "00", None, expected=0.25),))
    assert facts(Overview(windows, {}))[1:] == [
        ("events", "2", "3 of 4 windows reported"),
        ("reported windows expected if all were normal", "1", "by the thresholds by hand"),
    ]


def test_a_false_discovery_rate_that_no_clip_reaches():
    limits = (limit_of("fan", "00", None, value=None, expected=0.0),)
    scored = results({A: [0.5, 0.99]}, threshold=np.inf, nominal=None, limits=limits)
    text = text_of(overview(scored, links=True))
    assert text.startswith(
        "No machine is above its threshold. In 1 section no clip reaches the limit of the false-discovery rate."
    )
    assert "Quiet, with doubts" in text
    assert "a false-discovery rate states no number" in text
    assert "times the threshold" not in text.partition("Quiet, with doubts")[2]
    assert "<svg" not in overview(scored, links=True)


def test_warnings_are_open_and_those_of_drift_stand_in_their_tile():
    drift = drift_row(A, direction="higher", warning="fan section 00: shifted")
    scored = results({A: [0.5]}, warnings=("fan section 00: shifted", "flat <b>"), notes=("n",), drifts=(drift,))
    html = overview(scored, links=True)
    assert '<details class="messages" open><summary>1 warning on these results</summary>' in html
    assert "flat &lt;b&gt;" in html
    assert "fan section 00: shifted" not in html
    assert '<details class="messages"><summary>1 note on these results</summary>' in html
    many = overview(replace(scored, warnings=tuple("abcdefg")), links=True)
    assert '<details class="messages"><summary>7 warnings on these results</summary>' in many


@pytest.mark.parametrize("links", [True, False])
def test_hostile_names_are_escaped(links):
    machine, section = '"><script>x</script>', "a&b=\udcff\n"
    scored = results({f"{machine.replace('/', '_')}/{section}": [0.99]})
    html = overview(scored, links=links)
    assert "<script" not in html
    html.encode()  # no lone surrogates
    href = re.search(r'<h4><a href="([^"]*)"', html)[1]
    assert href == (
        "#triage?machine=%22%3E%3Cscript%3Ex%3C_script%3E&amp;section=a%26b%3D%FF%0A" if links else "#events"
    )


def test_tiles_of_a_report_name_their_section():
    html = overview(results({A: [0.99], B: [0.5]}), links=False)
    assert re.findall(r'data-machine="(\w+)" data-section="(\w+)"', html) == [("fan", "00"), ("fan", "01")]


def test_events_are_the_reported_items_also_of_items_that_are_made_already():
    scored = results({A: [0.99, 0.95, 0.5, 0.92], C: [0.5, 0.97]}, windows_of=4, times={A: [0] * 4, C: [0] * 2})
    found = items(scored)
    assert Overview(scored, {}, found).events == [item for item in found if item.reported]
    assert overview(scored, links=True, found=found) == overview(scored, links=True)


def test_a_hundred_thousand_clips_stay_a_small_page():
    scored = results({A: np.random.default_rng(0).uniform(size=100_000)}, times={A: np.arange(-99_999, 1) * 60.0})
    assert len(overview(scored, links=True)) < 25_000


def test_the_trend_is_that_of_the_scores_where_all_ratios_are_zero():
    scores = np.linspace(-1, -5, 40)
    scored = results({A: scores}, times={A: np.arange(-39, 1) * 86400.0}, threshold=1.28, bounded=False)
    tile = Overview(scored, {}).tiles[0]
    assert not tile.course.excess.any()
    assert tile.trend.direction == "falling"
    fused = results({A: np.tile([0.2, 0.9], 20)}, times={A: np.arange(-39, 1) * 86400.0})
    np.testing.assert_allclose(Overview(fused, {}).tiles[0].course.scores, surprise(np.tile([0.2, 0.9], 20)))
