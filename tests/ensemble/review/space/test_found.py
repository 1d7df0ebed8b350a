"""What a search asks for and shows: windows, generated variants, names that are not UTF-8, hints for mistyped keys."""

from pathlib import Path

import pytest
from window_store import plant, window_store

from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.review.session import Session
from ensemble.review.space.found import by_clip, by_file, matches, search_of
from ensemble.review.space.views import Views
from ensemble.run import detect
from ensemble.scoring.neighbours import Neighbour, Search, rows_of
from ensemble.windows.findings import findings_of
from featstore.clip import Clip, Window
from featstore.errors import DataError, RequestError


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A page of recordings that are stored as windows."""
    folder = tmp_path_factory.mktemp("windows")
    store = window_store(folder / "store", plant())
    detection = detect(store, Recipe((Member("e", "knn:k=1"),)))
    scored = scored_of(detection, title="store", seconds=findings_of(detection, store=store).seconds)
    return Session(store.path, folder, scored)


def test_a_window_and_a_whole_recording_of_windows(windows: Session) -> None:
    rows, search = rows_of(windows.store, "e"), Search(embedding="e", k=3)
    own, found = by_clip(windows.store, rows, "fan/test/1.wav", search)
    (card,) = matches(windows, [own])
    assert (card.title, card.span, card.distance, card.row) == ("fan/test/1.wav", "", None, -1)
    assert len(found) == 3
    shown = matches(windows, found)
    assert all(match.like and match.span for match in shown), "which part is like which"
    part, _ = by_clip(windows.store, rows, "fan/test/1.wav#t=20,30", search)
    (card,) = matches(windows, [part])
    assert (card.title, card.span) == ("fan/test/1.wav", "0:20 to 0:30")
    assert card.address == "fan%2Ftest%2F1.wav%23t%3D20%2C30"
    item = next(item for item in windows.items if windows.scored.keys.index("fan/test/1.wav#t=20,30") in item.rows)
    assert card.row == item.row, "a window of an event opens the event"


def test_names_and_lengths_of_any_kind(windows: Session) -> None:
    clip = Clip("a\udcff/b&c.wav", "fan", "00", "train", variant="hum:1:0")
    (card,) = matches(windows, [Neighbour(clip, 0.5, 0.0, float("nan"), Window(1.0, 2.5))])
    assert card.address == "a%FF%2Fb%26c.wav%3A%3Ahum%3A1%3A0"
    assert (card.span, card.like, card.row) == ("", "0:01 to 0:02.5", -1)
    assert card.title == "a\udcff/b&c.wav (hum:1:0)"


def test_a_mistyped_key_has_the_hint_of_its_file_or_folder(windows: Session) -> None:
    rows = rows_of(windows.store, "e")
    for key in ("fan/tset/1.wav", "fan/test/11.wav", "1.wav"):
        with pytest.raises(RequestError, match=r"has no clip .*; did you mean fan/test/1\.wav\?|has no clip '1.wav'"):
            by_clip(windows.store, rows, key, Search(embedding="e"))


def test_a_file_needs_an_embedder(windows: Session, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a file cannot be embedded here"):
        by_file(windows.store, rows_of(windows.store, "e"), tmp_path / "a", "a.wav", Search(embedding="e"))


def test_a_query_as_a_search(windows: Session) -> None:
    views = Views(windows)
    assert search_of({}, views, windows.store) == Search(embedding="e", k=12)
    query = {"embedding": "e", "k": "100", "machine": "fan", "split": "test"}
    assert search_of(query, views, windows.store) == Search(embedding="e", k=100, machine="fan", split="test")
