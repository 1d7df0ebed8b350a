"""The loop, step by step, with clocks that stand still."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from watching import Bench, Kept, verdict

from ensemble.watching.folder import Look
from ensemble.watching.journal import read_records
from ensemble.watching.watch import Watch
from ensemble.watching.whole import Version
from featstore.errors import DataError, RejectedAudio

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def running(bench: Bench, **options: Any) -> Iterator[Watch]:
    watch = bench.open(**options)
    try:
        yield watch
    finally:
        watch.journal.close()


def files(bench: Bench) -> list[tuple[str, int]]:
    """Path and version of every result or rejection in the journal."""
    return [(record["path"], record["version"]) for record in read_records(bench.place) if record["kind"] == "file"]


def test_every_file_is_scored_once_and_told(bench: Bench) -> None:
    bench.write("a.wav", 0.2)
    with running(bench) as watch:
        bench.steps(watch)
        bench.write("line/b.wav", 0.3)
        bench.steps(watch)
    assert files(bench) == [("a.wav", 1), ("line/b.wav", 1)]
    assert bench.sink.types() == ["result", "result"]
    result = bench.sink.messages[0]
    assert (result["file"], result["version"], round(result["score"], 3)) == ("a.wav", 1, 0.2)
    assert (watch.counts.scored, watch.counts.rejected, watch.counts.anomalous) == (2, 0, 0)


def test_a_restart_scores_only_what_came_meanwhile(bench: Bench) -> None:
    bench.write("a.wav")
    with running(bench) as watch:
        bench.steps(watch)
    bench.write("b.wav")
    with running(bench) as watch:
        bench.steps(watch)
    assert files(bench) == [("a.wav", 1), ("b.wav", 1)]
    assert bench.scorer.scored == ["a.wav", "b.wav"]


def test_existing_files_are_passed_over_at_the_very_first_start_only(bench: Bench) -> None:
    bench.write("a.wav")
    with running(bench, existing="skip") as watch:
        bench.steps(watch)
        bench.write("b.wav")
        bench.steps(watch)
    bench.write("c.wav")
    with running(bench, existing="skip") as watch:
        bench.steps(watch)
    assert files(bench) == [("b.wav", 1), ("c.wav", 1)]
    assert "1 existing file skipped" in bench.log


def test_a_half_written_file_waits(bench: Bench) -> None:
    data = bench.write("a.wav").read_bytes()
    path = bench.tear("a.wav")
    with running(bench) as watch:
        bench.steps(watch, 20)
        assert files(bench) == []
        assert list(watch.arrivals.waiting) == ["a.wav"]
        path.write_bytes(data)
        bench.steps(watch, 2)
        assert files(bench) == [("a.wav", 1)]


def test_a_truncated_file_is_rejected_at_last(bench: Bench) -> None:
    bench.tear("a.wav")
    with running(bench, give_up_s=5) as watch:
        bench.steps(watch, 11)
    assert bench.sink.types() == ["rejected"]
    assert "truncated" in bench.sink.messages[0]["reason"]
    assert bench.scorer.scored == ["a.wav"]


def test_a_changed_file_is_a_new_version(bench: Bench) -> None:
    bench.write("a.wav")
    with running(bench) as watch:
        bench.steps(watch)
        bench.write("a.wav", 0.9)
        bench.steps(watch)
    assert files(bench) == [("a.wav", 1), ("a.wav", 2)]
    assert [message.get("version") for message in bench.sink.messages] == [1, 2, None]
    assert "a.wav: changed, this is version 2" in bench.log


def test_a_file_that_changes_while_it_is_scored_is_scored_again(bench: Bench) -> None:
    path = bench.write("a.wav", 0.1)

    def change(scored: Path) -> None:
        if not bench.scorer.scored:
            bench.write("a.wav", 0.9, seconds=2)

    bench.scorer.before = change
    with running(bench) as watch:
        bench.steps(watch, 10)
    assert bench.scorer.scored == ["a.wav", "a.wav"]
    assert files(bench) == [("a.wav", 1)]
    assert [record["size"] for record in read_records(bench.place) if record["kind"] == "file"] == [path.stat().st_size]


def test_a_file_that_vanishes_while_it_is_scored_is_forgotten(bench: Bench) -> None:
    bench.write("a.wav")
    bench.scorer.before = lambda path: path.unlink()
    with running(bench) as watch:
        bench.steps(watch, 5)
        assert watch.arrivals.waiting == {}
    assert files(bench) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RejectedAudio("contains no samples"), "contains no samples"),
        (DataError("unclear"), "unclear"),
        (ValueError("shape"), "ValueError: shape"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_an_error_rejects_the_file_and_nothing_else(bench: Bench, error: Exception, reason: str) -> None:
    bench.write("a.wav")
    bench.write("b.wav")

    def fail(path: Path) -> None:
        if path.name == "a.wav":
            raise error

    bench.scorer.before = fail
    with running(bench) as watch:
        bench.steps(watch)
    with running(bench) as watch:
        bench.steps(watch)
        assert watch.counts.scored == 0
    assert bench.sink.types() == ["rejected", "result"]
    assert bench.sink.messages[0]["reason"] == reason


def test_a_reason_does_not_name_the_file_again(bench: Bench) -> None:
    bench.write("unclear.wav")
    with running(bench) as watch:
        bench.steps(watch)
    assert bench.sink.messages[0]["reason"] == "no section; use --section"


def test_a_score_that_is_no_number_rejects_the_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("a.wav")
    monkeypatch.setattr(bench.scorer, "score_file", lambda *words, **more: [verdict(score=float("nan"))])
    with running(bench) as watch:
        bench.steps(watch)
    assert bench.sink.messages[0]["reason"] == "the model gave a score that is not finite"


def test_a_rejected_file_is_tried_again_when_it_changes(bench: Bench) -> None:
    (bench.folder / "a.wav").write_bytes(b"no sound")
    with running(bench) as watch:
        bench.steps(watch, 10)
        assert bench.scorer.scored == ["a.wav"]
        bench.write("a.wav")
        bench.steps(watch)
    assert bench.sink.types() == ["rejected", "result"]


def test_a_file_that_the_file_system_does_not_hand_out_is_not_given_up(bench: Bench) -> None:
    bench.write("a.wav")
    tries: list[float] = []

    def away(path: Path) -> None:
        tries.append(bench.clock())
        if len(tries) < 4:
            raise RejectedAudio("cannot be read: Input/output error")

    bench.scorer.before = away
    with running(bench) as watch:
        bench.steps(watch, 30)
    assert files(bench) == [("a.wav", 1)]
    assert [later - earlier for earlier, later in pairwise(tries)] == [1, 2, 4]
    assert sum("tried again" in text for text in bench.log) == 1


def test_a_folder_that_is_away_is_said_once_and_comes_back(bench: Bench) -> None:
    bench.write("a.wav")
    with running(bench) as watch:
        bench.steps(watch)
        bench.folder.rename(bench.folder.with_name("away"))
        bench.steps(watch, 5)
        bench.folder.with_name("away").rename(bench.folder)
        bench.write("b.wav")
        bench.steps(watch)
    assert files(bench) == [("a.wav", 1), ("b.wav", 1)]
    assert sum("No such file" in text for text in bench.log) == 1
    assert sum("can be read again" in text for text in bench.log) == 1


def test_an_alarm_over_several_files_and_a_restart(bench: Bench) -> None:
    for i, level in enumerate([0.1, 0.9, 0.8]):
        bench.write(f"{i}.wav", level, mtime=bench.wall() + i)
    with running(bench) as watch:
        bench.steps(watch)
    with running(bench) as watch:
        bench.write("3.wav", 0.95)
        bench.steps(watch)
        assert watch.counts.alarms == 0
        bench.steps(watch, 50)
        assert "alarm_end" not in bench.sink.types()
        bench.steps(watch, 10)
    assert bench.sink.types() == ["result", "result", "alarm", "result", "result", "alarm_end"]
    alarm, end = bench.sink.messages[2], bench.sink.messages[-1]
    assert (alarm["file"], end["alarm"], end["clips"], round(end["peak_score"], 2)) == ("1.wav", alarm["id"], 3, 0.95)


def test_sections_have_runs_of_their_own(bench: Bench) -> None:
    bench.write("one/a.wav", 0.9)
    bench.write("two/b.wav", 0.9)
    with running(bench) as watch:
        bench.steps(watch)
    assert [m["section"] for m in bench.sink.messages if m["type"] == "alarm"] == ["01", "00"]


def test_machine_and_section_may_be_given(bench: Bench) -> None:
    bench.write("a.wav")
    with running(bench, machine="pump", section="07") as watch:
        bench.steps(watch)
    assert (bench.sink.messages[0]["machine"], bench.sink.messages[0]["section"]) == ("pump", "07")


def test_what_was_not_delivered_is_delivered_by_the_next_start_with_the_same_id(bench: Bench) -> None:
    bench.write("a.wav", 0.9)
    bench.sink = Kept(delivers=False)
    with running(bench) as watch:
        bench.steps(watch)
    first = bench.sink.messages
    bench.sink = Kept()
    with running(bench) as watch:
        bench.steps(watch)
    assert bench.sink.messages == first
    bench.sink = Kept()
    with running(bench) as watch:
        bench.steps(watch)
    assert bench.sink.messages == []


def test_the_journal_is_written_before_anything_is_told(bench: Bench) -> None:
    bench.write("a.wav", 0.9)

    class Looking(Kept):
        def send(self, name: str, messages: Any) -> bool:
            assert files(bench) == [("a.wav", 1)]
            return super().send(name, messages)

    bench.sink = Looking()
    with running(bench) as watch:
        bench.steps(watch)
    assert bench.sink.types() == ["result", "alarm"]


def test_once_ends_when_nothing_is_left(bench: Bench) -> None:
    bench.write("a.wav", 0.9)
    bench.tear("torn.wav")
    with running(bench, once=True) as watch:
        counts = watch.run()
    assert (counts.scored, counts.anomalous, counts.rejected) == (1, 1, 0)
    assert list(watch.arrivals.waiting) == ["torn.wav"]


def test_once_does_not_wait_for_a_file_that_grows(bench: Bench) -> None:
    path = bench.write("a.flac")
    with running(bench, once=True) as watch:
        wait: Any = watch.wake.wait

        def grow(*words: float) -> None:
            with path.open("ab") as file:
                file.write(b"x")
            wait(*words)

        watch.wake.wait = grow  # type: ignore[method-assign]
        assert watch.run().scored == 0


def test_once_refuses_a_folder_that_it_cannot_read(bench: Bench) -> None:
    bench.folder.rmdir()
    with running(bench, once=True) as watch, pytest.raises(DataError, match="No such file"):
        watch.run()


def test_a_stop_ends_after_the_present_file(bench: Bench) -> None:
    for name in "abc":
        bench.write(f"{name}.wav")
    with running(bench) as watch:
        bench.scorer.before = lambda path: watch.wake.stop()
        watch.run()
    assert files(bench) == [("a.wav", 1)]


def test_a_long_queue_is_interrupted_by_looks(bench: Bench) -> None:
    for i in range(9):
        bench.write(f"{i}.wav")

    def slow(path: Path) -> None:
        bench.clock.now += 1

    bench.scorer.before = slow
    with running(bench) as watch:
        bench.steps(watch, 2)
        assert len(bench.scorer.scored) == 3
        assert watch._pause() == 0
        bench.steps(watch, 3)
    assert sorted(bench.scorer.scored) == [f"{i}.wav" for i in range(9)]


def test_a_heartbeat_tells_what_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(Watch, "_show", lambda watch, message: shown.append(message))
    bench.write("a.wav", 0.9)
    bench.tear("torn.wav")
    with running(bench, heartbeat_s=2) as watch:
        bench.steps(watch, 9)
    assert [message["type"] for message in shown] == ["heartbeat"] * 2
    expected = {"scored": 1, "rejected": 0, "alarms": 1, "waiting": 1, "oldest_waiting": "torn.wav", "undelivered": 0}
    assert {name: shown[-1][name] for name in expected} == expected


@pytest.mark.parametrize("is_mounted_in_part", [False, True])
def test_segments_begin_without_forgetting_what_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_mounted_in_part: bool
) -> None:
    seen = Look({"line/b.wav": Version(1, 1)}, ("other: away",)) if is_mounted_in_part else Look({})
    bench.write("a.wav")
    with running(bench) as watch:
        bench.steps(watch)
        with monkeypatch.context() as patch:
            patch.setattr(watch, "_look", lambda: seen)
            for _ in range(3):  # a file that is absent twice is forgotten
                bench.wall.now += 40 * 86400
                watch.step()
        bench.steps(watch)
    assert files(bench) == [("a.wav", 1)]
    assert len(list(bench.place.glob("*.jsonl"))) == 4


def test_segments_begin_without_what_is_gone(bench: Bench) -> None:
    bench.write("a.wav").rename(bench.folder / "b.wav")
    with running(bench) as watch:
        bench.steps(watch)
        (bench.folder / "b.wav").rename(bench.folder / "c.wav")
        for _ in range(2):
            bench.wall.now += 40 * 86400
            bench.steps(watch)
        assert list(watch.journal.state.known) == ["c.wav"]


def test_windows_of_a_file_are_lines_of_their_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("a.wav", seconds=2)
    windows = [verdict(0, 1, 0.2), verdict(1, 2, 0.9)]
    monkeypatch.setattr(bench.scorer, "score_file", lambda *words, **more: windows)
    with running(bench) as watch:
        bench.steps(watch)
    assert [(m["type"], m["start_s"], m["id"][-2:]) for m in bench.sink.messages[:2]] == [
        ("result", 0, "-0"),
        ("result", 1, "-1"),
    ]
    alarm = bench.sink.messages[2]
    assert alarm["start"][-10:] == "59:59.000Z"  # the file was written until its second window had ended
    assert alarm["end"][-10:] == "00:00.000Z"


def test_old_files_are_looked_at_less_often_where_looks_are_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.write("a.wav", mtime=bench.wall() - 3600)
    with running(bench) as watch:
        bench.steps(watch)
        monkeypatch.setattr(watch, "_full_s", 0.3)
        monkeypatch.setattr(watch, "_full_at", bench.clock())
        bench.write("a.wav", 0.9)
        bench.write("b.wav")
        bench.steps(watch, 6)
        assert files(bench) == [("a.wav", 1), ("b.wav", 1)]
        bench.steps(watch, 3)
    assert files(bench) == [("a.wav", 1), ("b.wav", 1), ("a.wav", 2)]
    assert path.exists()


def test_a_drift_warning_is_told_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(Watch, "_show", lambda self, message: shown.append(message))
    bench.scorer.warnings = ("fan section 00: normal sound has probably shifted",)
    with running(bench, heartbeat_s=2) as watch:
        for name in ("a.wav", "b.wav"):
            bench.write(name, 0.2)
            bench.steps(watch)
            watch.heartbeat()
    warnings = [message["warning"] for message in shown if message["type"] == "drift"]
    assert warnings == list(bench.scorer.warnings)
