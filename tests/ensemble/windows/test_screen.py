"""Times, clips and expected reports as a person reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from report_plant import RECIPE, plant, store_of

from ensemble.page.overview.promise import expected_rates
from ensemble.page.scored import scored_of
from ensemble.recipe import Recipe
from ensemble.run import Detection, detect
from ensemble.windows.screen import DOUBTS, clip_title, clock, expected_text, reported_text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0:00"),
        (5.04, "0:05"),
        (65.25, "1:05.2"),
        (59.96, "1:00"),
        (3599.99, "1:00:00"),
        (3723.5, "1:02:03.5"),
        (90_000, "25:00:00"),
        (None, "?"),
        (1e308, "1e+308 s"),
        (float("inf"), "inf s"),
        (float("nan"), "?"),
    ],
)
def test_times_are_rounded_to_tenths(seconds: float | None, expected: str) -> None:
    assert clock(seconds) == expected


def test_a_window_has_the_name_of_its_recording_and_its_times() -> None:
    assert clip_title("fan/a.wav#t=65,75.5") == "fan/a.wav, 1:05 to 1:15.5"
    assert clip_title("fan/a.wav") == "fan/a.wav"
    assert clip_title("fan/a#t=1.wav") == "fan/a#t=1.wav"


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return detect(store_of(tmp_path_factory.mktemp("s") / "store", plant()), RECIPE)


@pytest.mark.parametrize(
    ("rate", "clips", "remark", "text"),
    [
        (0.1, 24, "", "At a 10 % false-alarm rate about 2 would be expected if all were normal"),
        (0.05, 24, "", "At a 5 % false-alarm rate about 1 would be expected if all were normal"),
        (0.01, 24, "", "At a 1 % false-alarm rate fewer than 1 would be expected if all were normal"),
        (0.1, 0, "", "At a 10 % false-alarm rate fewer than 1 would be expected if all were normal"),
        (0.1, 24, "the false-alarm rate of each domain is not guaranteed", "not guaranteed, see the notes"),
        (0.1, 24, "and the stated false-alarm rate may not hold", "but that rate is not guaranteed, see the notes"),
    ],
)
def test_the_expected_number_is_never_about_zero(
    detection: Detection, rate: float, clips: int, remark: str, text: str
) -> None:
    stated = replace(detection, recipe=replace(RECIPE, false_alarm_rate=rate), remarks=(remark,))
    assert expected_text(stated, np.full(clips, rate)).endswith(text)


def test_clips_that_are_ranked_among_themselves_promise_no_rate(detection: Detection) -> None:
    assert "would be expected" in reported_text(detection, "clip")
    ranked = replace(detection, decided=replace(detection.decided, self_ranked=True))
    assert reported_text(ranked, "clip").endswith(
        f"themselves: about {100 * RECIPE.false_alarm_rate:g} % are always reported, however many are faults."
    )


def test_the_rate_of_few_training_clips_is_named(detection: Detection) -> None:
    stated = replace(detection, recipe=replace(RECIPE, false_alarm_rate=0.01))
    assert expected_text(stated, np.full(240, 1 / 34)) == (
        "With these training clips, the false-alarm rate is 2.9 % instead of 1 %: about 7 would be expected if all "
        "were normal"
    )
    by_hand = replace(stated, recipe=replace(stated.recipe, thresholds=(("fan/00", 0.5),)))
    assert expected_text(by_hand, np.full(240, 0.5)).startswith("With the thresholds set by hand about 120 would")


def recipes() -> list[Recipe]:
    return [RECIPE, replace(RECIPE, false_alarm_rate=0.01), replace(RECIPE, thresholds=(("fan/00", 0.5),))]


@pytest.mark.parametrize("recipe", recipes())
def test_the_screen_expects_what_the_page_does(tmp_path: Path, recipe: Recipe) -> None:
    clips = plant()
    for own in (clips, [clip for clip in clips if clip.split != "test"]):
        found = detect(store_of(tmp_path / f"{len(own)}", own), recipe)
        rates = found.decided.expected_rates
        np.testing.assert_allclose(rates, expected_rates(scored_of(found, title="t")), atol=1e-12)


def test_no_number_is_stated_for_a_false_discovery_rate(detection: Detection) -> None:
    assert reported_text(detection, "clip").startswith("3 of 24 clips reported. ")
    discovered = replace(detection, recipe=replace(RECIPE, fdr=0.2))
    assert reported_text(discovered, "clip") == "3 of 24 clips reported."


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_note_states_each_doubt(doubt: str) -> None:
    """The words are those of a note somewhere; where it changes, so must they."""
    rooms = [ROOT / "ensemble" / part for part in ("decision", "domains", "windows")]
    sources = [path for room in rooms for path in room.glob("*.py")]
    sources = [path for path in [*sources, ROOT / "ensemble" / "groups.py"] if path.name != "screen.py"]
    assert any(doubt in path.read_text() for path in sources)
