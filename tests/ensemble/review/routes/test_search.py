"""Searches by file and by clip through the page: what is found, what is refused, and that no file stays behind."""

import re
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
from report_plant import HOSTILE
from review_plant import session_of
from scored_plant import Plant, plant_in
from starlette.testclient import TestClient

from ensemble.marks.file import FILE, Mark, append_mark
from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.review.routes import search as search_part
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.review.space.opened import WAITING
from ensemble.run import detect
from ensemble.scoring.neighbours import Search, neighbours


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return plant_in(tmp_path_factory.mktemp("plant"))


@pytest.fixture(scope="module")
def page(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Session:
    scored = scored_of(detect(plant.store, Recipe((Member("twfr", "knn:k=1", "r0.9"),))), title="store")
    return Session(plant.store.path, tmp_path_factory.mktemp("results"), scored, data=plant.root)


@pytest.fixture
def client(page: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return TestClient(application(page))


def titles(text: str) -> list[str]:
    """The recordings found, in order."""
    cards = re.findall(r'<li class="card">.*?clip=(.*?)(?:"|&amp;)', text, re.DOTALL)
    return [str(card) for card in cards]


def quoted(key: str) -> str:
    return quote(key, safe="")


def test_the_form(client: TestClient) -> None:
    text = client.get("/parts/search").text
    assert '<option value="twfr@r0.9" selected>' in text
    assert '<option value="pump">' in text
    assert "64 MiB" in text


@pytest.mark.parametrize("view", ["twfr@r0.9", "logmel", "logmel@mean"])
def test_more_like_a_clip_are_its_neighbours(client: TestClient, plant: Plant, view: str) -> None:
    key = plant.store.clips("twfr").keys()[3]
    expected = [n.clip.key for n in neighbours(plant.store, key, Search(embedding=view, k=5))]
    answer = client.get(f"/search/like?clip={quoted(key)}&embedding={view}&k=5")
    assert answer.status_code == 200
    assert titles(answer.text) == [quoted(key) for key in expected]
    assert answer.text.count("searched for") == 1
    assert f"/sound/audio.wav?clip={quoted(expected[0])}" in answer.text


def test_the_most_similar_has_the_longest_bar_and_marks_are_shown(client: TestClient, plant: Plant) -> None:
    own = plant.store.clips("twfr").keys()[3]
    keys = [n.clip.key for n in neighbours(plant.store, own, Search(embedding="twfr@r0.9", k=5))]
    for key, word in ((keys[0], "fault"), (keys[1], "normal")):
        append_mark(plant.store.path, Mark(clip=key, mark=word))
    answer = client.get(f"/search/like?clip={quoted(own)}&embedding=twfr@r0.9&k=5")
    (plant.store.path / FILE).unlink()
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", answer.text)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1] == 10.0
    assert "0 = the same sound" in answer.text
    assert re.findall("marked (fault|normal|ignore)<", answer.text) == ["fault", "normal"]


def test_only_a_machine_and_a_split(client: TestClient, plant: Plant, page: Session) -> None:
    key = plant.store.clips("twfr").keys()[0]
    answer = client.get(f"/search/like?clip={quoted(key)}&machine=pump&split=test&k=100")
    found = titles(answer.text)
    assert len(found) == 4
    assert all(name.startswith("pump%2Ftest") for name in found)
    rows = [int(row) for row in re.findall(r"#triage\?clip=(\d+)", answer.text)]
    assert [quoted(page.scored.keys[row]) for row in rows] == found, "scored clips open in triage"


def test_a_file_finds_itself_and_leaves_nothing(client: TestClient, plant: Plant, tmp_path: Path) -> None:
    file = plant.files()[2]
    name = "<script>alert(1)</script>.wav"
    answer = client.post(f"/search?k=3&name={quoted(name)}", content=file.read_bytes())
    assert answer.status_code == 200
    assert titles(answer.text)[0] == quoted(file.relative_to(plant.root).as_posix())
    assert "distance 0.000000" in answer.text
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert list(tmp_path.iterdir()) == []


def sound(values: np.ndarray, path: Path, **options: str) -> bytes:
    soundfile.write(path, values, 16_000, format="WAV", **options)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["empty", "text", "nan", "cut", "long", "none"])
def test_files_that_are_no_usable_sound(client: TestClient, tmp_path: Path, kind: str, tmp_path_factory) -> None:
    file = tmp_path_factory.mktemp("made") / "a.wav"
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    if kind == "nan":
        wave[5] = np.nan
    content = {
        "empty": b"",
        "text": b"<html>no sound</html>",
        "nan": sound(wave, file, subtype="FLOAT"),
        "cut": sound(wave, file, subtype="PCM_16")[:9000],
        "long": sound(np.zeros(16_000 * 601, dtype=np.int16), file, subtype="PCM_U8") if kind == "long" else b"",
        "none": sound(wave[:0], file, subtype="PCM_16"),
    }[kind]
    answer = client.post("/search?name=mine.wav", content=content)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("mine.wav: ")
    assert str(tmp_path) not in answer.text
    assert len(answer.text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_refused_early(client: TestClient, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(search_part, "LARGEST", 1000)
    answer = client.post("/search", content=b"a" * 1001)
    assert answer.status_code == 413

    def endless():
        for _ in range(100):
            yield b"a" * 100

    answer = client.post("/search", content=endless())
    assert answer.status_code == 413
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("clip=/etc/passwd", 404, "has no clip '/etc/passwd'"),
        ("clip=", 404, "has no clip ''"),
        ("clip=..%2F..%2Fa.wav&k=1", 404, "has no clip '../../a.wav'"),
        ("clip=%FF%0A", 404, "has no clip"),
        (f"clip={'x' * 20_000}", 404, "has no clip"),
        ("clip=CLIP&embedding=logmle", 404, "did you mean logmel?"),
        ("clip=CLIP&k=0", 400, "k: expected a whole number from 1 to 100, got '0'"),
        ("clip=CLIP&k=1000000000000", 400, "k: expected a whole number from 1 to 100"),
        ("clip=CLIP&machine=pmup", 400, "unknown machine: 'pmup'; did you mean pump?"),
        ("clip=CLIP&split=tests", 400, "unknown split: 'tests'; did you mean test?"),
        ("clip=CLIP&machine=pump&split=supplemental", 422, "no other recordings of this machine and split"),
    ],
)
def test_what_is_refused(client: TestClient, plant: Plant, query: str, status: int, words: str) -> None:
    query = query.replace("CLIP", quoted(plant.store.clips("twfr").keys()[0]))
    answer = client.get(f"/search/like?{query}")
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) <= 1000


def test_a_mistyped_clip_has_a_hint(client: TestClient, plant: Plant) -> None:
    key = plant.store.clips("twfr").keys()[0]
    answer = client.get(f"/search/like?clip={quoted(key.replace('section', 'sectoin'))}")
    assert answer.status_code == 404
    assert "did you mean fan/train/section_0" in answer.text


def test_an_embedding_whose_embedder_is_not_at_hand(tmp_path: Path) -> None:
    page = session_of(tmp_path)
    client = TestClient(application(page))
    answer = client.post("/search?name=a.wav", content=b"x")
    assert answer.status_code == 422
    assert "detect neighbours STORE FILE -e e --embedder LINE" in answer.text
    key = next(key for key in page.scored.keys if HOSTILE in key)
    found = client.get(f"/search/like?clip={quoted(key)}")
    assert found.status_code == 200, "stored rows are enough for a clip"
    assert "<script>" not in found.text


def test_one_searches_and_few_wait(client: TestClient, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    key = quoted(plant.store.clips("twfr").keys()[0])
    begun, go = threading.Semaphore(0), threading.Event()
    by_clip = search_part.by_clip

    def slow(*arguments):
        begun.release()
        go.wait(30)
        return by_clip(*arguments)

    monkeypatch.setattr(search_part, "by_clip", slow)
    answers: list[int] = []
    ask = lambda: answers.append(client.get(f"/search/like?clip={key}").status_code)  # noqa: E731
    held = [threading.Thread(target=ask) for _ in range(1 + WAITING)]
    for thread in held:
        thread.start()
    assert begun.acquire(timeout=30)
    turns = client.app.state.space.turns  # type: ignore[attr-defined]
    while turns._places._value:  # until all have a place
        threading.Event().wait(0.01)
    assert not begun.acquire(blocking=False), "one at a time"
    refused = client.get(f"/search/like?clip={key}"), client.post("/search", content=b"x")
    assert [answer.status_code for answer in refused] == [503, 503]
    for answer in refused:
        assert "try again in a few seconds" in answer.json()["error"]
        assert answer.headers["retry-after"] == "2"
    go.set()
    for thread in held:
        thread.join(30)
    assert answers == [200] * (1 + WAITING)
    assert client.get(f"/search/like?clip={key}").status_code == 200
