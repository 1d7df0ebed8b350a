"""The drift check on verdicts."""

from collections.abc import Sequence
from dataclasses import replace

from watching import verdict

from ensemble.scoring.drift import RECENT, Recent, _apart
from ensemble.scoring.verdict import Verdict


def windows(starts: Sequence[float], length: float = 10.0) -> list[Verdict]:
    return [verdict(start_s=start, end_s=start + length) for start in starts]


def test_overlapping_windows_count_once() -> None:
    assert [each.start_s for each in _apart(windows([0, 5, 10, 15, 17]))] == [0, 10]


def test_a_new_file_begins_again() -> None:
    assert [each.start_s for each in _apart(windows([0, 5, 10, 0, 5, 10]))] == [0, 10, 0, 10]


def test_sections_do_not_matter_to_each_other() -> None:
    first, second = verdict(), replace(verdict(), section="01")
    assert len(list(_apart([first, second, first, second]))) == 4


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
    recent.add([verdict()] * RECENT)
    assert recent.news() == ()
    assert recent.news() == ()
    assert seen == [1, 2, RECENT]
