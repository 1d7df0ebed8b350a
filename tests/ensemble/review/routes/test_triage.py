"""The list of items and one item, as HTML."""

import os
import re
import threading
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from noise_plant import EMBEDDER, noise
from report_plant import HOSTILE
from review_plant import session_of
from starlette.testclient import TestClient
from window_page import window_session

from ensemble.deviation.locate import Locator
from ensemble.deviation.statistics import NormalSound
from ensemble.marks.file import Mark, append_mark
from ensemble.review.routes.sound import sounds_for
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.review.sound.locating import Locating
from featstore.errors import DataError


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path)


@pytest.fixture
def client(session: Session) -> TestClient:
    return TestClient(application(session))


def rows_in(text: str) -> list[int]:
    return list(map(int, re.findall(r'data-row="(\d+)"', text)))


def test_the_list(client: TestClient, session: Session) -> None:
    answer = client.get("/items")
    assert answer.status_code == 200
    assert rows_in(answer.text) == [item.row for item in session.items if item.reported]
    assert "times<span" in answer.text
    total = int(session.scored.decision.sum())
    assert f'data-left="{total}" data-noun="{total} reported clips"' in answer.text
    assert "Load more" not in answer.text


def test_pages(client: TestClient, session: Session) -> None:
    first = client.get("/items?decision=all&limit=5")
    assert rows_in(first.text) == [item.row for item in session.items[:5]]
    assert 'data-more="5">Load more (19 left)' in first.text
    last = client.get("/items?decision=all&limit=5&offset=20")
    assert rows_in(last.text) == [item.row for item in session.items[20:]]
    assert '<ol start="21">' in last.text
    assert "Load more" not in last.text
    assert rows_in(client.get("/items?decision=all&offset=999999999").text) == []


@pytest.mark.parametrize(
    "query",
    ["verdict=x", "decision=x", "machine=x", "section=9", "from=x", "offset=-1", "limit=1.5"],
)
def test_bad_filters_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/items?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.text
    assert len(answer.text) < 400


def test_a_long_value_is_not_repeated(client: TestClient) -> None:
    for name in ("offset", "machine", "from", "verdict"):
        answer = client.get(f"/items?{name}={'9' * 5000}")
        assert (answer.status_code, len(answer.text) < 400) == (400, True)


def test_links_keep_the_filters(client: TestClient) -> None:
    text = client.get("/items?section=01&verdict=unmarked&decision=all").text
    links = [unescape(link) for link in re.findall(r'<a href="([^"]+)"', text)]
    assert len(links) == 12
    for link, row in zip(links, rows_in(text), strict=True):
        assert link == f"#triage?section=01&verdict=unmarked&decision=all&clip={row}"


def test_marks_are_shown_at_once(client: TestClient, session: Session) -> None:
    item = session.items[0]
    append_mark(session.path, Mark(clip=session.scored.keys[item.row], mark="normal", who="anna", note="a <b>note</b>"))
    assert f'data-row="{item.row}" data-mark="normal"' in client.get("/items").text
    page = client.get(f"/items/{item.row}").text
    assert 'Marked normal by <bdi class="name">anna</bdi>' in page
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert 'data-mark="normal" aria-pressed="true"' in page
    assert rows_in(client.get("/items?verdict=normal").text) == [item.row]
    assert "No item has this verdict." in client.get("/items?verdict=fault").text


def test_an_item(client: TestClient, session: Session) -> None:
    item = session.items[0]
    page = client.get(f"/items/{item.row}").text
    addresses = [unescape(address) for address in re.findall(r'(?:href|src|data-same)="(/sound[^"]+)"', page)]
    assert len(addresses) == 3 + 2 * 2
    for address in addresses:
        assert client.get(address).status_code == 200, address
    assert "Nobody has marked it." in page
    assert "Members of the ensemble" in page
    assert f"#threshold?machine=fan&amp;section={item.section}" in page
    (link,) = re.findall(r'href="#search\?clip=([^"]+)"', page)
    assert unquote(link) == session.scored.keys[item.row]


def test_an_event_of_windows(tmp_path: Path) -> None:
    session = window_session(tmp_path)
    client = TestClient(application(session))
    item = session.items[0]
    assert item.end_s is not None
    assert "1 event" in client.get("/items").text or "events" in client.get("/items").text
    page = client.get(f"/items/{item.row}").text
    assert client.get(f"/items/{item.rows[-1]}").text == page, "any of its rows names it"
    start, seconds = item.start_s - 2, item.end_s - item.start_s + 4
    times = f'data-start="{start:g}" data-seconds="{seconds:g}" data-event="2" data-end="{seconds - 2:g}"'
    assert times in page.replace(".0", "")
    assert "This event minus the mean of the normal clip: red is louder, blue is quieter" in page
    assert 'aria-label="This event"' in page
    assert 'Hear <span data-place="voice" data-clip="the normal clip" data-normal="this event">' in page
    assert "his clip" not in page
    other = next(item for item in session.items if not item.reported)
    page = client.get(f"/items/{other.row}").text
    assert 'aria-label="This window"' in page
    assert "his event" not in page
    assert 'class="event"' in page


@pytest.mark.parametrize("row", ["x", "-1", "24", "999999999", "9" * 5000, "1.0", "%00", "٣"])
def test_items_that_are_none(client: TestClient, row: str) -> None:
    for path in (f"/items/{row}", f"/items/{row}/deviation"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert len(answer.text) < 200


def test_the_deviation_map_follows(client: TestClient, session: Session) -> None:
    item = session.items[0]
    sounds, go = sounds_for(session), threading.Event()
    rows = EMBEDDER.embed(noise(np.random.default_rng(3), 20))
    normal = {("fan", section): NormalSound.of(rows, EMBEDDER.views) for section in ("00", "01")}
    locator = Locator(normal, "logmel:n_mels=40")
    sounds.locating = Locating(lambda: (locator, "") if go.wait(30) else (None, "late"))
    client.app.state.sounds = sounds  # type: ignore[attr-defined]
    path = f"/items/{item.row}/deviation"
    assert client.get(path).status_code == 202
    go.set()
    sounds.locating.get(30)
    answer = client.get(path)
    assert answer.status_code == 200
    assert re.search(r'<p class="where">[^<]*Hz', answer.text)
    (address,) = re.findall(r'href="(/sound[^"]+)"', answer.text)
    assert client.get(unescape(address)).headers["content-type"] == "image/png"


def test_why_there_is_no_deviation_map(client: TestClient, session: Session) -> None:
    sounds = sounds_for(session)
    client.app.state.sounds = sounds  # type: ignore[attr-defined]
    with pytest.raises(DataError):
        sounds.locating.get(60)
    answer = client.get(f"/items/{session.items[0].row}/deviation")
    assert (answer.status_code, "No deviation map: " in answer.text) == (200, True)
    assert "log-mel statistics" in answer.text


def test_a_page_without_recordings(tmp_path: Path) -> None:
    session = session_of(tmp_path, data=False)
    page = TestClient(application(session)).get(f"/items/{session.items[0].row}").text
    assert "start detect review with --data DATA" in page
    assert "<audio" not in page
    assert 'data-mark="fault"' in page, "it can be marked all the same"


def test_hostile_names(client: TestClient, session: Session) -> None:
    row = next(row for row, key in enumerate(session.scored.keys) if "onerror" in key)
    for text in (client.get("/items?decision=all").text, client.get(f"/items/{row}").text):
        assert "onerror" in text
        assert "<script" not in text
        assert "<img" not in text
        assert "onerror=document.title='owned'>" not in text
    assert HOSTILE.rpartition("/")[2][:5] not in client.get("/items?decision=all").text
    for address in re.findall(r'(?:href|src)="(/sound[^"]+)"', client.get(f"/items/{row}").text):
        assert client.get(unescape(address)).status_code == 200


def test_machine_names_that_are_not_utf8(session: Session) -> None:
    odd = os.fsdecode(b"f\xff&<b>")
    scored = session.scored
    names = np.array([os.fsencode(odd)] * len(scored.clips))
    session.decide(replace(scored, clips=type(scored.clips)({**scored.clips.columns, "machine": names})))
    client = TestClient(application(session))
    assert rows_in(client.get("/items?machine=f%FF%26%3Cb%3E").text)
    page = client.get("/parts/triage").text
    assert "<b>" not in page
    assert client.get(f"/items/{session.items[0].row}").status_code == 200


def test_the_frame(client: TestClient) -> None:
    page = client.get("/parts/triage").text
    assert '<select name="section">' in page
    assert '<select name="machine">' not in page, "there is one machine"
    assert 'name="from"' not in page, "no time is known"
