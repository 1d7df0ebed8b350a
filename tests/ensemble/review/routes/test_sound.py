"""GET /sound/audio.wav and /sound/picture.png: ranges, and what is tried to read other files."""

import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import soundfile as sf
from report_plant import HOSTILE, RATE
from review_plant import session_of
from starlette.testclient import TestClient
from window_page import window_session

from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.review.routes.sound import sounds_for
from ensemble.review.server.app import application
from ensemble.review.session import Session
from ensemble.review.sound.locating import Locating
from ensemble.run import detect
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

CLIP, NORMAL = "fan/00/test/1.wav", "fan/00/train/1.wav"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path)


@pytest.fixture
def client(session: Session) -> TestClient:
    return TestClient(application(session))


def path_of(session: Session, clip: str = CLIP) -> Path:
    assert session.data
    return session.data / clip


def session_with(folder: Path, paths: list[str]) -> Session:
    """A page of a store that has these test clips; their recordings are for the test to write."""
    clips = [Clip(f"fan/train/{i}.wav", "fan", "00", "train", "source", "normal") for i in range(12)]
    clips += [Clip(path, "fan", "00", "test", "source", "unknown") for path in paths]
    X = np.random.default_rng(0).normal(size=(len(clips), 4)).astype(np.float32) + 3
    import_matrix(folder / "store", "e", X, ClipTable.from_clips(clips))
    (folder / "data").mkdir()
    detection = detect(FeatureStore.open(folder / "store"), Recipe((Member("e", "knn:k=1"),)))
    return Session(folder / "store", folder, scored_of(detection, title="store"), data=folder / "data", who="tester")


def get(client: TestClient, clip: str, **headers: str) -> "tuple[int, bytes]":
    answer = client.get(f"/sound/audio.wav?clip={quote(clip, safe='', errors='surrogateescape')}", headers=headers)
    return answer.status_code, answer.content


def test_a_sound(client: TestClient) -> None:
    answer = client.get("/sound/audio.wav", params={"clip": CLIP, "like": NORMAL})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content[:4] == b"RIFF"
    assert len(answer.content) == 44 + 2 * round(1.5 * RATE)


def test_a_part_and_a_window_are_the_same_sound(client: TestClient) -> None:
    part = client.get("/sound/audio.wav", params={"clip": CLIP, "start": "0.5", "end": "1"}).content
    assert len(part) == 44 + RATE
    assert client.get("/sound/audio.wav", params={"clip": f"{CLIP}#t=0.5,1"}).content == part


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-", 0, None), ("bytes=10-19", 10, 19), ("bytes=-100", -100, None), ("bytes=100-99999999", 100, None)],
)
def test_ranges(client: TestClient, wanted: str, first: int, last: int | None) -> None:
    _, whole = get(client, CLIP)
    answer = client.get("/sound/audio.wav", params={"clip": CLIP}, headers={"Range": wanted})
    start = first % len(whole) if first < 0 else first
    end = len(whole) - 1 if last is None else last
    assert answer.status_code == 206
    assert answer.content == whole[start : end + 1]
    assert answer.headers["content-range"] == f"bytes {start}-{end}/{len(whole)}"
    assert answer.headers["content-length"] == str(end - start + 1)


def test_ranges_that_are_none(client: TestClient) -> None:
    _, whole = get(client, CLIP)
    answer = client.get("/sound/audio.wav", params={"clip": CLIP}, headers={"Range": f"bytes={len(whole)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert client.get("/sound/audio.wav", params={"clip": CLIP}, headers={"Range": "bytes=-0"}).status_code == 416
    for wanted in ("bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=0-1", "bytes=x-y", "bytes=" + "9" * 400):
        answer = client.get("/sound/audio.wav", params={"clip": CLIP}, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (200, whole), wanted


@pytest.mark.parametrize("kind", ["clip", "normal", "difference"])
def test_pictures(client: TestClient, kind: str) -> None:
    answer = client.get("/sound/picture.png", params={"clip": CLIP, "normal": NORMAL, "kind": kind})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    columns, rows = struct.unpack(">II", answer.content[16:24])
    assert rows == 112
    assert 40 < columns < 60


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("clip=x.wav", 404, "no recording of this store"),
        ("", 404, "no recording"),
        (f"clip={CLIP}&loudness=loud", 400, "unknown loudness"),
        (f"clip={CLIP}&like=x", 404, "no recording"),
        (f"clip={CLIP}&start=0", 400, "end: expected a finite number"),
        (f"clip={CLIP}&start=2&end=1", 400, "start and end"),
        (f"clip={CLIP}&start=-1&end=1", 400, "start and end"),
        (f"clip={CLIP}&start=nan&end=1", 400, "start: expected a finite number"),
        (f"clip={CLIP}&start=0&end=inf", 400, "end: expected a finite number"),
        (f"clip={CLIP}&start=1e300&end=1e301", 422, "no samples"),
        (f"clip={CLIP}%23t=9,99999999999999999999999999", 422, "no samples"),
        (f"clip={CLIP}%23t={'9' * 400},{'9' * 401}", 422, "no samples"),
        (f"clip={NORMAL}::hiss", 404, "generated anomaly"),
        ("&".join(f"a{i}=1" for i in range(99)), 400, "at most 50 values"),
    ],
)
def test_what_is_asked_for_wrongly(client: TestClient, query: str, status: int, text: str) -> None:
    answer = client.get(f"/sound/audio.wav?{query}")
    assert (answer.status_code, text in answer.text) == (status, True), answer.text


def test_pictures_that_are_none(client: TestClient, session: Session) -> None:
    sounds, go = sounds_for(session), threading.Event()
    sounds.locating = Locating(lambda: (None, "no log-mel statistics") if go.wait(30) else (None, "late"))
    client.app.state.sounds = sounds  # type: ignore[attr-defined]
    for query, status, text in (
        ("kind=x", 400, "unknown kind"),
        ("kind=normal", 404, "without a normal clip"),
        ("kind=difference", 404, "without a normal clip"),
        ("kind=deviation", 503, "ask again"),
    ):
        answer = client.get(f"/sound/picture.png?clip={CLIP}&{query}")
        assert (answer.status_code, text in answer.text) == (status, True), answer.text
        if status == 503:
            assert answer.headers["retry-after"]
    go.set()
    with pytest.raises(DataError):
        sounds.locating.get(30)
    answer = client.get(f"/sound/picture.png?clip={CLIP}&kind=deviation")
    assert (answer.status_code, "log-mel statistics" in answer.text) == (422, True)


def test_files_outside_of_the_folder_are_not_read(client: TestClient, session: Session, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    sf.write(secret, np.ones(RATE) / 2, RATE)
    for clip in (
        "../secret.wav",
        "fan/../../secret.wav",
        str(secret),
        f"/{secret}",
        "..\\secret.wav",
        "fan/00/test/../../../../secret.wav",
        f"{CLIP}/../../../../../secret.wav",
        f"file://{secret}",
        f"{secret}#t=0,1",
        f"{CLIP}\0",
    ):
        assert get(client, clip)[0] == 404
        for encoded in (quote(clip, safe=""), quote(quote(clip, safe=""), safe=""), clip.replace("../", "%2e%2e%2f")):
            assert client.get(f"/sound/audio.wav?clip={encoded}".replace("\0", "%00")).status_code == 404


def test_a_store_that_names_files_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    sf.write(secret, np.ones(RATE) / 2, RATE)
    paths = ["../secret.wav", str(secret), "fan/../../secret.wav", "link.wav", "folder/secret.wav"]
    session = session_with(tmp_path, paths)
    assert session.data
    (session.data / "fan").mkdir()
    (session.data / "link.wav").symlink_to(secret)
    (session.data / "folder").symlink_to(tmp_path)
    client = TestClient(application(session))
    for path in paths:
        status, content = get(client, path)
        assert (status, b"leads out of the folder" in content) == (422, True), path
        assert client.get("/sound/picture.png", params={"clip": path}).status_code == 422
    for item in session.items:
        page = client.get(f"/items/{item.row}")
        assert page.status_code == 200
        assert "leads out of the folder" in page.text
        assert "<audio" not in page.text


def test_a_file_that_is_exchanged_for_a_link(client: TestClient, session: Session, tmp_path: Path) -> None:
    assert get(client, CLIP)[0] == 200
    secret = tmp_path / "secret.wav"
    path_of(session).rename(secret)
    path_of(session).symlink_to(secret)
    assert get(client, CLIP)[0] == 422, "also what was kept is not given for a file that may not be read"


def test_what_is_no_recording(client: TestClient, session: Session) -> None:
    path = path_of(session)
    whole = path.read_bytes()
    nan = np.full(RATE, np.nan, np.float32)
    cases = {
        "empty": lambda: path.write_bytes(b""),
        "not a regular file": lambda: os.mkfifo(path),
        "not a regular": path.mkdir,
        "No such file": lambda: None,
        "truncated": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "not decodable": lambda: path.write_bytes(os.urandom(5000)),
        "NaN": lambda: sf.write(path, nan, RATE, subtype="FLOAT"),
    }
    for reason, make in cases.items():
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        make()
        status, content = get(client, CLIP)
        assert (status, reason in content.decode()) == (422, True), (reason, content)
        page = client.get("/items/" + str(session.scored.keys.index(CLIP)))
        assert page.status_code == 200
        assert reason in page.text
        assert "<image" not in page.text


def test_names_that_are_not_utf8_and_names_of_tags(tmp_path: Path) -> None:
    odd = os.fsdecode(b"fan/\xff\xfe#?&.wav")
    session = session_with(tmp_path, [odd, f"fan/{HOSTILE}"])
    for path in (odd, f"fan/{HOSTILE}"):
        path_of(session, path).parent.mkdir(exist_ok=True)
        sf.write(os.fsencode(path_of(session, path)), np.ones(RATE) / 4, RATE, format="WAV")
    client = TestClient(application(session))
    for path in (odd, f"fan/{HOSTILE}"):
        assert get(client, path)[0] == 200


def test_a_picture_is_made_once_for_many_requests(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from ensemble.page import pictures

    drawn = []
    real = pictures.spectrogram
    monkeypatch.setattr(pictures, "spectrogram", lambda sound: drawn.append(1) or real(sound))
    query = {"clip": CLIP, "normal": NORMAL, "kind": "difference"}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.get("/sound/picture.png", params=query), range(32)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert [answer.status_code for answer in answers] == [200] * 32
    assert len(drawn) == 2, "that of the clip and that of the normal one"


def test_recordings_of_windows(tmp_path: Path) -> None:
    client = TestClient(application(window_session(tmp_path)))
    assert client.get("/sound/audio.wav", params={"clip": "fan/test/0.wav#t=8,37"}).status_code == 200
    assert client.get("/sound/audio.wav", params={"clip": "fan/test/0.wav"}).status_code == 200
    assert client.get("/sound/audio.wav", params={"clip": "fan/test/9.wav#t=8,37"}).status_code == 404
