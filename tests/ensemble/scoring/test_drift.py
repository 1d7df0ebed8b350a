"""The drift check on verdicts: recordings count, not windows."""

from collections.abc import Sequence
from dataclasses import replace

from watching import verdict

from ensemble.scoring.drift import RECENT, WINDOWS, Recent, recording_numbers
from ensemble.scoring.verdict import Verdict


def windows(starts: Sequence[float], length: float = 10.0) -> list[Verdict]:
    return [verdict(start_s=start, end_s=start + length) for start in starts]


def test_a_recording_begins_where_a_window_does_not_start_later() -> None:
    assert recording_numbers(windows([0, 5, 10, 0, 5, 0, 0])).tolist() == [0, 0, 0, 1, 1, 2, 3]


def test_sections_do_not_matter_to_each_other() -> None:
    first, second = windows([0, 5]), [replace(each, section="01") for each in windows([0, 5])]
    assert recording_numbers([first[0], second[0], first[1], second[1]]).tolist() == [0, 1, 0, 1]


def test_a_long_recording_is_thinned() -> None:
    seen: list[list[float]] = []

    def check(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        seen.append([each.start_s for each in verdicts])
        return ()

    recent = Recent(check)
    recent.add(windows(range(2 * WINDOWS)))
    recent.add(windows([0, 1]))
    recent.news()
    assert seen == [[*range(0, 2 * WINDOWS, 2), 0, 1]]


def test_the_last_clips_are_checked_and_a_warning_is_news_once() -> None:
    seen: list[int] = []

    def check(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        seen.append(len(verdicts))
        return ("fan section 00: shifted",) if len(verdicts) > 1 else ()

    recent = Recent(check)
    assert recent.news() == ()
    recent.add([verdict()])
    assert recent.news() == ()
    recent.add([verdict()])
    assert recent.news() == ("fan section 00: shifted",)
    for _ in range(RECENT):
        recent.add([verdict()])
    assert recent.news() == ()
    assert recent.news() == ()
    assert seen == [1, 2, RECENT]
