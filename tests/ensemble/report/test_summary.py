"""The head of the page leads with what counts and contradicts nothing below it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from report_plant import RECIPE, plant, store_of
from window_store import plant as windows
from window_store import window_store

from ensemble.checks.copies import Copies
from ensemble.decision.given import EVERY
from ensemble.page.items import items
from ensemble.page.overview.tiles import Overview
from ensemble.page.overview.tiles import facts as overview_facts
from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.report.build import ReportOptions, report_html
from ensemble.report.summary import facts, lead
from ensemble.run import Detection, detect
from ensemble.windows.findings import findings_of


def facts_of(text: str) -> list[str]:
    """The terms of the facts in their order."""
    return [part.partition("<")[0] for part in text.partition("</header>")[0].split("<dt>")[1:]]


def test_the_lead_names_the_event_furthest_above_its_threshold(detection: Detection) -> None:
    scored = scored_of(detection, title="t")
    found = items(scored)
    sentence, recording, rest = lead(scored, found)
    assert sentence == "3 of 24 scored clips are above the threshold, in 1 of 2 sections. The furthest:"
    assert recording == found[0].recording
    assert rest.endswith("the threshold")
    calm = replace(scored, threshold=np.full(24, 2.0))
    assert lead(calm, items(calm)) == ("None of 24 scored clips is above its threshold.", "", "")
    one = replace(scored, threshold=np.where(np.arange(24) == found[0].row, scored.threshold, 2.0))
    assert lead(one, items(one))[0].startswith("1 of 24 scored clips is above the threshold, in 1 of 2 sections")


def test_the_lead_counts_events_of_windows(tmp_path: Path) -> None:
    detection = detect(window_store(tmp_path / "s", windows(train=6, test=4)), Recipe((Member("e", "knn:k=1"),)))
    scored = scored_of(detection, title="t")
    found = items(scored)
    events = sum(item.reported for item in found)
    sentence, _, rest = lead(scored, found)
    assert f"of 48 scored windows are above the threshold ({events} events). The furthest:" in sentence
    assert rest.startswith(", 0:")


def test_the_score_without_copies_comes_first(detection: Detection) -> None:
    plain = facts_of(report_html(detection, ReportOptions()))
    assert plain[-1] == "official score"
    keys = [detection.clips.keys()[i] for i in (0, 2)]
    copied = replace(detection, copies=Copies(exact=dict.fromkeys(keys, "fan/00/train/0.wav")))
    text = report_html(copied, ReportOptions())
    what = "the 2 copies of training clips"
    assert facts_of(text)[-2:] == [f"official score without {what}", f"official score with {what}"]
    assert "it says nothing" not in text
    normal = [key for key, clip in zip(detection.clips.keys(), detection.clips, strict=True) if clip.label == "normal"]
    worthless = replace(detection, copies=Copies(exact=dict.fromkeys(normal, "fan/00/train/0.wav")))
    text = report_html(worthless, ReportOptions())
    assert "no section is left to measure" in text
    assert "it says nothing: most normal test clips are copies" in text


def test_the_rates_are_those_of_the_recipe(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", plant())
    fdr = facts_of(report_html(detect(store, replace(RECIPE, fdr=0.2)), ReportOptions()))
    assert fdr[:2] == ["training clips", "false-discovery rate asked for"]
    assert "real false-discovery rate" in fdr
    by_hand = report_html(detect(store, replace(RECIPE, thresholds=((EVERY, 0.5),))), ReportOptions())
    assert "by the thresholds by hand" in by_hand


def test_the_head_repeats_nothing_of_the_overview(detection: Detection) -> None:
    head = {term for term, *_ in facts(detection, None, (), findings_of(detection).recordings)}
    below = {term for term, *_ in overview_facts(Overview(scored_of(detection, title="t"), {}))}
    assert head == {"training clips"}
    text = report_html(detection, ReportOptions())
    assert "false-alarm rate asked for" not in text
    assert "reported" not in facts_of(text)
    assert "reported clips" in below
