"""The items: events and clips in order, made when they are asked for, as a plain walk over the clips makes them."""

from dataclasses import replace

import numpy as np
import pytest
from large_results import large_scored

from ensemble.page.items import Item, items, what_is
from ensemble.page.scored import Scored
from ensemble.windows.events import TOUCHING_S
from featstore.clip import Clip, window_path
from featstore.table import ClipTable


def plain(scored: Scored) -> list[Item]:
    """All items by a plain walk over the clips."""
    clips, seconds = list(scored.clips), scored.seconds
    runs: list[list[int]] = []
    last: dict[tuple[str, str, str], list[int]] = {}
    for row in sorted(range(len(clips)), key=lambda row: (seconds[row, 0], row)):
        clip = clips[row]
        if not (scored.decision[row] and clip.window):
            runs.append([row])
            continue
        place = (clip.recording, clip.machine, clip.section)
        run = last.get(place)
        if run is None or seconds[row, 0] > max(seconds[other, 1] for other in run) + TOUCHING_S:
            run = last[place] = []
            runs.append(run)
        run.append(row)
    found = []
    for run in runs:
        peak = max(run, key=lambda row: (scored.excess[row], scored.score[row], -row))
        end = max(seconds[row, 1] for row in run)
        start = min(seconds[row, 0] for row in run)
        clip = clips[peak]
        found.append(
            Item(
                row=peak,
                rows=tuple(run),
                recording=clip.recording,
                machine=clip.machine,
                section=clip.section,
                start_s=start,
                end_s=end if np.isfinite(end) else None,
                excess=scored.excess[peak],
                reported=bool(scored.decision[peak]),
                time=scored.times[peak] + start,
            )
        )
    return sorted(
        found,
        key=lambda item: (
            -item.excess,
            -scored.percentile[item.row],
            item.machine,
            item.section,
            item.recording,
            item.start_s,
        ),
    )


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("threshold", [0.99, 0.5, 0.05])
def test_they_are_those_of_a_plain_walk(windows: bool, threshold: float) -> None:
    scored = large_scored(400, windows=windows)
    score = np.round(scored.score, 2)
    scored = replace(scored, threshold=np.full(400, threshold), score=score, percentile=np.round(score, 1))
    found = items(scored)
    assert found == plain(scored)
    assert list(found) == [found[i] for i in range(len(found))]
    assert found[3:9] == list(found)[3:9]
    assert found[-1] == plain(scored)[-1]
    rows = sorted(row for item in found for row in item.rows)
    assert rows == list(range(400))


def test_numbers_are_those_of_python() -> None:
    item = items(large_scored(40, windows=True))[0]
    assert [type(getattr(item, name)) for name in ("row", "start_s", "end_s", "excess", "reported", "time")] == [
        int,
        float,
        float,
        float,
        bool,
        float,
    ]
    assert all(type(row) is int for row in item.rows)


def test_windows_that_touch_are_one_event_named_by_its_peak() -> None:
    spans = [(0, 10), (10, 20), (21, 31), (5, 15), (40, 50)]
    scored = of_windows(spans, [0.95, 0.97, 0.96, 0.98, 0.5])
    found = items(scored)
    assert [(item.row, item.rows, item.start_s, item.end_s, item.reported) for item in found] == [
        (3, (0, 3, 1), 0.0, 20.0, True),
        (2, (2,), 21.0, 31.0, True),
        (4, (4,), 40.0, 50.0, False),
    ]
    assert found.reported == 2
    assert found.place_of == {3: 0, 0: 0, 1: 0, 2: 1, 4: 2}
    assert found.peaks.tolist() == [3, 2, 4]


def of_windows(spans: list[tuple[int, int]], score: list[float]) -> Scored:
    clips = ClipTable.from_clips([Clip(window_path("a.wav", *span), "fan", "00", "test") for span in spans])
    n = len(spans)
    base = large_scored(n)
    return replace(
        base,
        clips=clips,
        score=np.array(score),
        threshold=np.full(n, 0.9),
        seconds=np.array(spans, dtype=np.float64),
    )


def test_unknown_lengths_and_times_stay_unknown() -> None:
    scored = large_scored(16)
    seconds, times = scored.seconds.copy(), scored.times.copy()
    seconds[5, 1], times[5] = np.nan, np.nan
    item = next(item for item in items(replace(scored, seconds=seconds, times=times)) if item.row == 5)
    assert item.end_s is None
    assert np.isnan(item.time)


def test_clips_that_cannot_be_reported_are_in_order_of_their_percentile() -> None:
    scored = large_scored(80)
    never = replace(scored, threshold=np.full(80, np.inf))
    assert {item.excess for item in items(never)} == {0.0}
    assert items(never).peaks.tolist() == np.argsort(-scored.percentile, kind="stable").tolist()


def test_no_clips_have_no_items() -> None:
    scored = large_scored(8)
    nothing = np.zeros(0, dtype=np.intp)
    names = ("score", "percentile", "threshold", "times", "seconds")
    empty = replace(scored, clips=scored.clips[nothing], **{name: getattr(scored, name)[:0] for name in names})  # type: ignore[arg-type]
    assert list(items(empty)) == []
    assert items(empty).reported == 0


def test_only_what_is_looked_at_is_made() -> None:
    found = items(large_scored(400))
    assert len(found._made) == 0
    assert len(found[:5]) == 5
    assert len(found._made) == 5
    assert found[0] is found[:5][0]


@pytest.mark.parametrize("windows", [False, True])
def test_some_of_the_items(windows: bool) -> None:
    scored = replace(large_scored(400, windows=windows), threshold=np.full(400, 0.3))
    found = items(scored)
    np.testing.assert_array_equal(found.times, [item.time for item in found])
    assert found.only(np.arange(len(found))) == found
    some = found.only(np.array([5, 2, 0]))
    assert list(some) == [found[5], found[2], found[0]]
    assert some[0] is found[5]
    assert {row: some[place] for row, place in some.place_of.items()} == {
        row: item for item in some for row in item.rows
    }
    fans = found.only(scored.clips.where(machine="fan")[found.peaks])
    assert list(fans) == [item for item in found if item.machine == "fan"]
    assert fans.reported == sum(item.reported for item in fans)


def test_what_an_item_is() -> None:
    windows = of_windows([(0, 10), (40, 50)], [0.95, 0.5])
    assert [what_is(windows, item) for item in items(windows)] == ["event", "window"]
    clips = replace(large_scored(2), threshold=np.array([-1.0, 2.0]))
    assert {what_is(clips, item) for item in items(clips)} == {"clip"}
