"""Points as JSON: columns that agree with the results, names of any kind, coordinates that fit."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ensemble.marks.file import FAULT, Mark
from ensemble.page.items import Items
from ensemble.review.session import Session
from ensemble.review.space.maps import Map
from ensemble.review.space.points import SIZE, points_json
from ensemble.review.space.population import population
from featstore.clip import Clip
from featstore.table import ClipTable


def some(page: Session, clips: ClipTable, **values: object) -> Map:
    people = population(clips, page.scored)
    shown = np.arange(len(people))
    points = np.random.default_rng(0).normal(size=(len(people), 2)).astype(np.float32)
    usual = {"people": people, "shown": shown, "points": points, "explained": (0.5, 0.2), "marked": {}, "missing": 0}
    return Map(**usual | values)  # type: ignore[arg-type]


def test_columns_agree_with_the_results(page: Session) -> None:
    clips = page.store.clips("e")
    shown = np.arange(0, 72, 2)
    points = np.random.default_rng(0).normal(size=(36, 2)).astype(np.float32)
    found = some(
        page, clips, shown=shown, points=points, marked={4: Mark(clip="x", mark=FAULT), 5: Mark(clip="y", mark=FAULT)}
    )
    data = json.loads(points_json(found, page))
    assert (data["total"], data["shown"], data["explained"]) == (72, 36, [0.5, 0.2])
    of = {name: [column["names"][i] for i in column["of"]] for name, column in data["classes"].items()}
    place = {key: row for row, key in enumerate(page.scored.keys)}
    for i, number in enumerate(shown):
        clip = clips[int(number)]
        row = place.get(clip.key)
        assert data["key"][i] == clip.key
        assert of["section"][i] == f"fan section {clip.section}"
        assert (of["domain"][i], of["split"][i], of["label"][i]) == (clip.domain, clip.split, clip.label)
        assert of["verdict"][i] == ("fault" if number == 4 else "none")
        if row is None:
            assert (data["row"][i], data["excess"][i], of["decision"][i], of["role"][i]) == (
                -1,
                None,
                "not scored",
                "training",
            )
        else:
            assert data["row"][i] == row
            assert data["excess"][i] == pytest.approx(page.scored.excess[row], rel=1e-3)
            assert of["decision"][i] == ("reported" if page.scored.decision[row] else "not reported")
            assert of["role"][i] == "scored"


def test_only_scored_clips_are_reported_and_rows_are_those_of_items(page: Session) -> None:
    scored = replace(page.scored, threshold=np.full(24, -1.0))
    session = SimpleNamespace(scored=scored, items=Items(scored, np.array([2]), {2: (0, 1, 2)}))
    data = json.loads(points_json(some(page, page.store.clips("e")), session))  # type: ignore[arg-type]
    decision, role = data["classes"]["decision"], data["classes"]["role"]
    counts = dict(zip(decision["names"], np.bincount(decision["of"]).tolist(), strict=True))
    assert counts == {"not scored": 48, "reported": 24}
    place = {key: row for row, key in enumerate(scored.keys)}
    rows = [data["row"][i] for i, name in enumerate(role["of"]) if role["names"][name] == "scored"]
    keys = [data["key"][i] for i, name in enumerate(role["of"]) if role["names"][name] == "scored"]
    assert rows == [2 if place[key] < 3 else place[key] for key in keys]


def test_coordinates_keep_their_proportion(page: Session) -> None:
    clips = page.store.clips("e")[:4]
    points = np.array([[-1e6, 0], [1e6, 0], [0, 5e5], [0, -5e5]], dtype=np.float32)
    data = json.loads(points_json(some(page, clips, points=points), page))
    assert data["x"] == [0, SIZE, 32768, 32768]
    assert data["y"] == [32768, 32768, 49151, 16384]
    same = json.loads(points_json(some(page, clips, points=np.ones((4, 2), np.float32)), page))
    assert set(same["x"] + same["y"]) == {32768}


def test_names_of_any_kind_arrive_and_are_shown_harmlessly(page: Session) -> None:
    names = ["a\udcff.wav", "b\u202e<script>.wav", 'c".wav', "d\n.wav"]
    clips = ClipTable.from_clips([Clip(name, "m\udcfe", "0\u202e", "test") for name in names])
    page_scored = type("Page", (), {"scored": page.scored, "items": page.items})
    people = population(page.store.clips("e"), page.scored).only(np.arange(4))
    people = type(people)(clips, people.number, people.role, people.scored)
    content = points_json(some(page, page.store.clips("e")[:4], people=people, shown=np.arange(4)), page_scored)  # type: ignore[arg-type]
    assert content.isascii()
    data = json.loads(content)
    assert data["key"] == names
    assert data["text"] == {"0": "a\\udcff.wav", "1": "b\\u202e<script>.wav", "3": "d\\n.wav"}
    assert data["classes"]["section"]["names"] == ["m\\udcfe section 0\\u202e"]
