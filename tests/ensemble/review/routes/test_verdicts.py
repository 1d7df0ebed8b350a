"""The part verdicts: who heard what and when, and marks to and from other programs."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from report_plant import HOSTILE
from review_plant import session_of
from starlette.testclient import TestClient
from zones import zone

from ensemble.marks.file import FILE, Mark, append_mark, read_marks
from ensemble.marks.lines import MAX_BYTES
from ensemble.review.routes import verdicts
from ensemble.review.server.app import application
from ensemble.review.session import Session

CLIP, OTHER, TRAIN = "fan/00/test/1.wav", "fan/01/test/2.wav", "fan/00/train/3.wav"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = session_of(tmp_path, data=False)
    for clip, mark, who, note in (
        (CLIP, "fault", "anna", "a knock"),
        (OTHER, "normal", "bert", ""),
        (TRAIN, "ignore", "", "<b>loud</b>"),
        (f"fan/01/test/{HOSTILE}", "fault", "<script>x</script>", "=1+1"),
        (CLIP, "normal", "bert", "it was the door"),
    ):
        append_mark(session.path, Mark(clip=clip, mark=mark, who=who, note=note, when="2026-05-03T10:00:00Z"))
    return session


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(application(session)) as client:
        yield client


def parts(client: TestClient, **query: str) -> tuple[str, str]:
    """The list of marked clips, and the history."""
    answer = client.get("/verdicts/list", params=query)
    assert answer.status_code == 200, answer.text
    clips, _, history = answer.text.partition('<details class="history"')
    return clips, history


def test_every_marked_clip_is_listed_with_who_when_and_note_and_all_marks_are_in_the_history(
    client: TestClient, session: Session
) -> None:
    with zone("Asia/Kolkata"):
        clips, history = parts(client)
    row = session.scored.keys.index(CLIP)
    assert f'href="#triage?clip={row}"' in clips
    assert "it was the door" in clips
    assert "a knock" not in clips
    assert "a knock" in history
    assert clips.count("2026-05-03 15:30<") == 4
    assert history.count("2026-05-03 15:30<") == 5
    assert history.count('class="past"') == 1
    assert "not among the scored clips" in clips
    assert history.index("it was the door") < history.index("a knock")


def test_names_and_notes_are_text(client: TestClient) -> None:
    text = client.get("/verdicts/list").text
    assert "<script>" not in text
    assert "<img" not in text
    assert "<b>loud" not in text


@pytest.mark.parametrize(
    ("query", "clips", "history"),
    [
        ({"mark": "fault"}, 1, 2),
        ({"who": "bert"}, 2, 2),
        ({"machine": "fan", "mark": "normal"}, 2, 2),
        ({"machine": "pump"}, 0, 0),
        ({"who": "<script>x</script>"}, 1, 1),
    ],
)
def test_filters(client: TestClient, query: dict[str, str], clips: int, history: int) -> None:
    shown, past = parts(client, **query)
    assert shown.count("<tr>\n<td") == clips
    assert past.count("<time") == history


def test_long_lists_have_pages(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "SHOWN", 3)
    clips, history = parts(client, offset="3", **{"from": "3"})
    assert (clips.count("<time"), history.count("<time")) == (1, 2)
    assert 'data-offset="0"' in clips
    assert 'data-from="0"' in history
    for query in ({"offset": "-1"}, {"from": "x"}):
        assert client.get("/verdicts/list", params=query).status_code == 400


def test_a_new_mark_is_shown_at_once(client: TestClient, session: Session) -> None:
    parts(client)
    append_mark(session.path, Mark(clip=OTHER, mark="none"))
    clips, history = parts(client)
    assert clips.count("<time") == 3
    assert history.count("<time") == 6


def test_what_a_mark_does_and_how_to_use_it(client: TestClient, session: Session) -> None:
    text = client.get("/parts/verdicts").text
    assert "never used as normal sound" in text
    command = f"<pre>detect {session.path} --ensemble -o {session.results}"
    assert f"{command}</pre>" in text
    (session.results / "thresholds.toml").touch()
    text = client.get("/parts/verdicts").text
    assert f"{command} --threshold {session.results}/thresholds.toml</pre>" in text
    clips, _ = parts(client)
    assert "2 normal: used as normal sound from the next run on. 1 fault: never used as normal sound." in clips
    assert "1 ignored clip: neither used nor scored from the next run on." in clips


def test_a_mark_that_removed_another_is_named_so(client: TestClient, session: Session) -> None:
    append_mark(session.path, Mark(clip=OTHER, mark="none"))
    assert '<option value="none">removed</option>' in client.get("/parts/verdicts").text
    assert '<span class="mark none">removed</span>' in parts(client, mark="none")[1]


def test_a_clip_that_became_a_training_clip_says_so(client: TestClient, session: Session) -> None:
    assert "(not among the scored clips)" in parts(client)[0]
    append_mark(session.path, Mark(clip=TRAIN, mark="normal"))
    assert "(now used as normal sound)" in parts(client)[0]


def test_exports_come_back_unchanged_and_add_nothing(client: TestClient, session: Session) -> None:
    before = (session.path / FILE).read_bytes()
    for path in ("/verdicts/marks.csv", "/verdicts/labels.zip"):
        answer = client.get(path)
        name = path.rpartition("/")[2]
        assert f'filename="{name}"' in answer.headers["content-disposition"]
        result = client.post("/verdicts/import", params={"name": name}, content=answer.content)
        assert result.json() == {"text": "0 marks written; 4 marks already in the store", "written": 0, "repeated": 4}
    assert (session.path / FILE).read_bytes() == before
    (session.path / FILE).unlink()
    result = client.post("/verdicts/import", params={"name": "x.zip"}, content=answer.content)
    assert result.json()["written"] == 4
    assert {mark.who for mark in read_marks(session.path).items} == {"tester"}
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert all(".." not in name and not name.startswith("/") for name in archive.namelist())


def test_a_bad_file_names_its_lines_and_writes_nothing(client: TestClient, session: Session) -> None:
    before = (session.path / FILE).read_bytes()
    body = f"clip,label\n{CLIP},fault\nnone.wav,fault\n".encode()
    answer = client.post("/verdicts/import", params={"name": "m.csv"}, content=body)
    assert answer.status_code == 422
    assert "m.csv, line 3: 'none.wav' is no recording" in answer.json()["error"]
    assert client.post("/verdicts/import", content=body).json() == {"error": "the name of the file is missing"}
    assert client.post("/verdicts/import", params={"name": "a.csv"}, content=b"x" * (MAX_BYTES + 1)).status_code == 413
    assert (session.path / FILE).read_bytes() == before


def test_the_recording_of_a_label_file_can_be_named(client: TestClient, session: Session) -> None:
    query = {"name": "my labels.txt", "clip": TRAIN}
    result = client.post("/verdicts/import", params=query, content=b"0\t0\tfault: bearing\n")
    assert result.json()["written"] == 1
    assert read_marks(session.path).items[-1].clip == TRAIN


def test_a_store_without_marks(tmp_path: Path) -> None:
    with TestClient(application(session_of(tmp_path, data=False))) as client:
        assert "No clip is marked yet" in client.get("/verdicts/list").text
        assert client.get("/verdicts/marks.csv").text == "clip,label,start_s,end_s,who,when,note\n"
        assert client.get("/verdicts/labels.zip").status_code == 200
