"""The words of a card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_plant import RECIPE, plant, store_of
from zones import zone

from ensemble.marks.file import Mark
from ensemble.page.cards import OUTCOMES, card_of, local_time
from ensemble.page.excess import excess_meaning
from ensemble.page.html import macros
from ensemble.page.items import items
from ensemble.page.scored import Scored, scored_of
from ensemble.run import detect


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    detection = detect(store_of(tmp_path_factory.mktemp("s") / "store", plant()), RECIPE)
    return scored_of(detection, title="store", where={0: "2 to 4 kHz, 9 dB above normal"})


def test_a_card_has_the_numbers_of_its_row(scored: Scored) -> None:
    for item in items(scored):
        card, row = card_of(scored, item), item.row
        assert (card.score, card.threshold) == (scored.score[row], scored.threshold[row])
        assert card.outcome == OUTCOMES[scored.clips[row].label, bool(scored.score[row] > scored.threshold[row])]
        assert card.sentence == ("2 to 4 kHz, 9 dB above normal" if row == 0 else "")
        assert card.nearest == card.nearest_title == scored.nearest[row]
        assert [opinion.percentile for opinion in card.opinions] == sorted(scored.member_percentiles[:, row])[::-1]
        assert card.span == "", "a whole recording"


def test_a_ratio_near_one_names_the_side_of_the_threshold(scored: Scored) -> None:
    item = items(scored)[0]
    for ratio, reported, text in ((1.02, True, "just above"), (0.97, False, "just below"), (1.3, True, "1.3 times")):
        assert card_of(scored, replace(item, excess=ratio, reported=reported)).excess == text


def test_the_ratio_is_explained_where_it_stands(scored: Scored) -> None:
    for bounded in (True, False):
        text = macros("card.html").heading(card_of(replace(scored, bounded=bounded), items(scored)[0]))
        assert f'title="{excess_meaning(bounded)}"' in text


def test_a_single_detector_has_no_opinions(tmp_path: Path) -> None:
    single = detect(store_of(tmp_path / "s", plant()), replace(RECIPE, members=RECIPE.members[:1]))
    scored = scored_of(single, title="t")
    assert card_of(scored, items(scored)[0]).opinions == []


def test_the_heading_shows_the_mark_with_who_and_when(scored: Scored) -> None:
    item = items(scored)[0]
    mark = Mark(clip="a", mark="fault", who="<Ana>", when="2026-11-30T20:57:38Z", note="loose <belt>")
    with zone("Asia/Kolkata"):
        text = macros("card.html").heading(card_of(scored, item, mark))
    assert "marked fault</span>" in text
    assert 'Marked fault by <bdi class="name">&lt;Ana&gt;</bdi> on 2026-12-01 02:27: loose &lt;belt&gt;' in text
    assert "nobody named" in macros("card.html").heading(card_of(scored, item, replace(mark, who="")))
    assert "arked" not in macros("card.html").heading(card_of(scored, item))


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    for text in ("", "yesterday", "9999-12-31T23:59:59Z"):
        with zone("Asia/Kolkata"):
            assert local_time(text) == text


def test_a_time_of_recording_is_shown_where_it_is_known(scored: Scored) -> None:
    known = replace(scored, times=np.full(len(scored.clips), 1.7e9))
    assert card_of(known, items(known)[0]).recorded.startswith("2023-11-1")
    assert card_of(scored, items(scored)[0]).recorded == ""
