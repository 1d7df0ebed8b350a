"""POST /marks and POST /marks/undo."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from review_plant import session_of
from starlette.testclient import TestClient
from window_page import window_session

from ensemble.marks.file import Mark, append_mark, read_marks
from ensemble.review.routes.marks import MOST_BYTES
from ensemble.review.server.app import application
from ensemble.review.session import Session
from featstore.errors import ResourceError

CLIP = "fan/00/test/1.wav"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path, data=False)


@pytest.fixture
def client(session: Session) -> TestClient:
    return TestClient(application(session))


def test_mark_and_undo(client: TestClient, session: Session) -> None:
    answer = client.post("/marks", json={"clip": CLIP, "mark": "fault", "start_s": None, "end_s": None, "note": "n"})
    assert answer.status_code == 200
    assert answer.json()["undo"] == 1
    mark = answer.json()["mark"]
    assert (mark["clip"], mark["mark"], mark["who"], mark["note"]) == (CLIP, "fault", "tester", "n")
    undone = client.post("/marks/undo").json()
    assert (undone["mark"]["mark"], undone["now"], undone["undo"]) == ("fault", ["none"], 0)
    assert client.post("/marks/undo").json() == {"mark": None, "now": [], "undo": 0}
    assert [mark.mark for mark in session.marks.items] == ["fault", "none"]


def test_a_repeated_mark_is_not_written_and_undo_tells_what_holds(client: TestClient, session: Session) -> None:
    body = {"clip": CLIP, "mark": "fault", "note": "n"}
    assert client.post("/marks", json=body).json()["written"] is True
    again = client.post("/marks", json=body).json()
    assert (again["written"], again["undo"], again["mark"]["note"]) == (False, 1, "n")
    assert client.post("/marks", json={**body, "mark": "ignore"}).json()["undo"] == 2
    undone = client.post("/marks/undo").json()
    assert (undone["mark"]["mark"], undone["now"]) == ("ignore", ["fault"])
    assert [mark.mark for mark in session.marks.items] == ["fault", "ignore", "fault"]
    assert client.post("/marks", json=body).json()["written"] is False, "a mark that holds again is the same mark"


def test_the_row_of_an_item_marks_all_of_it(tmp_path: Path) -> None:
    session = window_session(tmp_path, data=False)
    item = session.items[0]
    answer = TestClient(application(session)).post("/marks", json={"row": item.row, "mark": "fault"})
    assert answer.status_code == 200
    assert answer.json()["mark"]["start_s"] == item.start_s
    assert set(item.rows) <= set(session.marked)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"clip": CLIP}, 400, "mark: expected"),
        ({"clip": CLIP, "mark": "broken"}, 400, "broken"),
        ({"mark": "fault"}, 400, "which clip"),
        ({"clip": "../../etc/passwd", "mark": "fault"}, 404, "no recording"),
        ({"clip": 1, "mark": "fault"}, 400, "clip: expected a text, got a number"),
        ({"row": True, "mark": "fault"}, 400, "row: expected a whole number"),
        ({"row": 10**30, "mark": "fault"}, 404, "no such clip"),
        ({"row": -1, "mark": "fault"}, 404, "no such clip"),
        ({"clip": CLIP, "mark": "fault", "start_s": 1.0}, 400, "both"),
        ({"clip": CLIP, "mark": "fault", "start_s": 0, "end_s": 10**400}, 400, "finite number"),
        ({"clip": CLIP, "mark": "fault", "start_s": 0, "end_s": 1e308}, 400, "the latest time is"),
        ({"clip": CLIP, "mark": "fault", "note": "a\0b"}, 400, "null byte"),
        ({"clip": CLIP, "mark": "fault", "who": "root"}, 400, "unknown field 'who'"),
        ({"clip": CLIP, "mark": "fault", "note": "x" * 5000}, 400, "limit is 4,000"),
        ({"clip": "\ud800", "mark": "fault"}, 400, "ud800|surrogate"),
        ([], 400, "expected a JSON object"),
    ],
)
def test_bad_bodies_are_refused(client: TestClient, session: Session, body: object, status: int, message: str) -> None:
    answer = client.post("/marks", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    text = answer.json()["error"]
    assert any(part in text for part in message.split("|")), text
    assert not session.marks.items


def test_a_huge_time_of_an_earlier_version_is_shown(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ensemble.marks.file.problem_of", lambda mark: "")
        append_mark(session.path, Mark(clip=CLIP, mark="fault", start_s=0.0, end_s=1e308))
    row = session.scored.keys.index(CLIP)
    for address in ("/verdicts/list", f"/items/{row}", "/verdicts/marks.csv", "/verdicts/labels.zip"):
        assert client.get(address).status_code == 200
    assert "1e+308 s" in client.get("/verdicts/list").text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"mark":NaN}', b"[" * 60_000])
def test_what_is_no_json(client: TestClient, content: bytes) -> None:
    assert client.post("/marks", content=content).status_code == 400


def test_numbers_that_are_none(client: TestClient) -> None:
    for number in ("NaN", "Infinity", "1e999"):
        body = f'{{"clip":"{CLIP}","mark":"fault","start_s":0,"end_s":{number}}}'
        assert client.post("/marks", content=body).status_code == 400


def test_a_large_body_is_refused(client: TestClient, session: Session) -> None:
    assert client.post("/marks", content=b" " * (MOST_BYTES + 1)).status_code == 413
    assert not session.marks.items


def test_errors_of_the_store_are_told(client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ResourceError("no space for marks.jsonl")

    monkeypatch.setattr("ensemble.review.marking.append_mark", full)
    answer = client.post("/marks", json={"clip": CLIP, "mark": "fault"})
    assert answer.status_code == 507
    assert "no space" in answer.json()["error"]
    monkeypatch.undo()
    assert client.post("/marks", json={"clip": CLIP, "mark": "fault"}).status_code == 200
    damaged = "no mark\nno mark\n"
    (session.path / "marks.jsonl").write_text(damaged)
    for path, body in (("/marks", {"clip": CLIP, "mark": "fault"}), ("/marks/undo", {})):
        answer = client.post(path, json=body)
        assert answer.status_code == 409
        assert "marks.jsonl, line 1" in answer.json()["error"]
    assert (session.path / "marks.jsonl").read_text() == damaged


def test_marks_of_several_processes_at_once_are_all_kept(client: TestClient, session: Session) -> None:
    code = (
        "import sys; from pathlib import Path; from ensemble.marks.file import Mark, append_mark\n"
        f"for i in range(20): append_mark(Path(sys.argv[1]), Mark(clip={CLIP!r}, mark='normal', who='other'))"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(session.path)])
    with ThreadPoolExecutor(4) as pool:
        keys = [f"fan/00/test/{i}.wav" for i in range(12)]
        answers = list(pool.map(lambda key: client.post("/marks", json={"clip": key, "mark": "fault"}), keys))
    assert other.wait(60) == 0
    assert [answer.status_code for answer in answers] == [200] * 12
    assert len(read_marks(session.path).items) == 32
    assert client.get("/marks").status_code == 405
