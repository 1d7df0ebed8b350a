"""The file of marks: what is written is read, damage is named, a crash loses nothing that was acknowledged."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.marks import file as module
from ensemble.marks.file import FILE, TORN, Mark, Marks, append_mark, read_marks
from featstore.disk.sealed import canonical, seal
from featstore.errors import OptionError, ResourceError, StoreError

ODD = os.fsdecode(b"fan/a\nb\xff\r\x85 .wav")


def write(root: Path, *clips: str) -> list[bytes]:
    """Marks of clips; the lines of the file."""
    for clip in clips:
        append_mark(root, Mark(clip=clip, mark="fault", who="anna"))
    return (root / FILE).read_bytes().splitlines(keepends=True)


def names(root: Path) -> list[str]:
    return [mark.clip for mark in read_marks(root).items]


def test_marks_are_read_back_in_order(tmp_path: Path) -> None:
    assert read_marks(tmp_path).items == ()
    first = append_mark(
        tmp_path, Mark(clip=ODD, mark="fault", start_s=0.5, end_s=2, who="Jörg", note="line\nbreak \\ ✓")
    )
    second = append_mark(tmp_path, Mark(clip="b.wav", mark="none"))
    assert read_marks(tmp_path).items == (first, second)
    assert (first.line, second.line, first.end_s, first.clip) == (1, 2, 2.0, ODD)
    assert first.when.endswith("Z")
    raw = [json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert [row["previous"] for row in raw] == ["", first.checksum]
    marks = read_marks(tmp_path)
    assert marks.head == second.checksum
    assert [len(part.items) for part in (marks.until(""), marks.until(first.checksum)) if part is not None] == [0, 1]
    assert marks.until("0" * 64) is None


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"anna", b"otto"), *lines[2:]]


@pytest.mark.parametrize(
    ("damage", "line", "message"),
    [
        (changed, 2, "its checksum does not match its content"),
        (lambda lines: lines[1:], 1, "it does not follow the line before it"),
        (lambda lines: [lines[0], *lines[2:]], 2, "it does not follow the line before it"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1, "it does not follow"),
        (lambda lines: [*lines, lines[-1]], 4, "it does not follow"),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2, ""),
        (lambda lines: [lines[0], b"[" * 9999 + b"\n", *lines[1:]], 2, ""),
        (lambda lines: [lines[0][:-9], *lines[1:]], 1, ""),
        (lambda lines: [lines[0][:-1] + b"\r" + lines[0][-1:], b"7\n", lines[2]], 2, ""),
        (lambda lines: [*changed(lines)[:2], lines[2][:-1]], 2, "its checksum does not match"),
    ],
)
def test_damage_names_the_line_and_what_to_do(tmp_path: Path, damage: object, line: int, message: str) -> None:
    lines = write(tmp_path, "a.wav", "b.wav", "c.wav")
    damaged = b"".join(damage(lines))  # type: ignore[operator]
    (tmp_path / FILE).write_bytes(damaged)
    with pytest.raises(StoreError, match=rf"{FILE}, line {line}: .*{message}.*head -n {line - 1} {FILE}"):
        read_marks(tmp_path)
    with pytest.raises(StoreError, match=f"line {line}"):
        write(tmp_path, "d.wav")
    assert (tmp_path / FILE).read_bytes() == damaged


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "version 2, this program reads version 1"),
        ({"extra": 1}, "it has the fields"),
        ({"mark": "broken"}, "unknown mark: 'broken'"),
        ({"start_s": 1.0}, "both its start and its end"),
        ({"start_s": 2.0, "end_s": 1.0}, "is empty"),
        ({"start_s": 1, "end_s": 2}, "expected float"),
        ({"clip": 3}, "expected str"),
        ({"clip": "\ud800"}, "surrogates not allowed"),
        ({"note": "x" * 4001}, "4,001 characters; the limit is 4,000"),
    ],
)
def test_a_sealed_line_with_other_values_is_damage(tmp_path: Path, values: dict[str, object], message: str) -> None:
    raw = {**Mark(clip="a.wav", mark="fault").as_json(), "version": 1, "previous": "", **values}
    (tmp_path / FILE).write_bytes(canonical(seal(raw)) + b"\n")
    with pytest.raises(StoreError, match=f"line 1: .*{message}"):
        read_marks(tmp_path)


def test_every_torn_last_line_is_left_out_and_replaced(tmp_path: Path) -> None:
    lines = write(tmp_path, "a.wav", "b.wav")
    for end in range(1, len(lines[1])):
        (tmp_path / FILE).write_bytes(lines[0] + lines[1][:end])
        marks = read_marks(tmp_path)
        assert [mark.clip for mark in marks.items] == ["a.wav"]
        assert marks.torn == lines[1][:end]
        assert marks.notes == (
            f"line 2 of {FILE} is incomplete: a mark is being written, or its writing was interrupted; this mark does "
            "not count, repeat it",
        )
    write(tmp_path, "c.wav")
    assert names(tmp_path) == ["a.wav", "c.wav"]
    assert (tmp_path / TORN).read_bytes() == lines[1]
    assert not read_marks(tmp_path).notes


def test_a_wrong_checksum_in_the_last_line_is_a_torn_line(tmp_path: Path) -> None:
    lines = write(tmp_path, "a.wav", "b.wav")
    (tmp_path / FILE).write_bytes(lines[0] + lines[1].replace(b"anna", b"otto"))
    assert names(tmp_path) == ["a.wav"]
    write(tmp_path, "c.wav")
    assert names(tmp_path) == ["a.wav", "c.wav"]
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b"{")
    write(tmp_path, "d.wav")
    kept = lines[1].replace(b"anna", b"otto")
    assert (tmp_path / TORN).read_bytes() == kept + b"{\n", "it may have been acknowledged, so its bytes are kept"


MARKING = """
import sys
from pathlib import Path
from ensemble.marks.file import Mark, append_mark
for i in range(int(sys.argv[3])):
    append_mark(Path(sys.argv[1]), Mark(clip=f"{sys.argv[2]}{i}", mark="normal", note="x" * 500))
    print(i, flush=True)
"""


def marking(root: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MARKING, str(root), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_lose_no_mark(tmp_path: Path) -> None:
    processes = [marking(tmp_path, name, 100) for name in "ab"]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert sorted(names(tmp_path)) == sorted(f"{name}{i}" for name in "ab" for i in range(100))


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(6):
        with marking(tmp_path, f"{round_}-", 10_000) as process:
            assert process.stdout is not None
            for _ in range(3 + 5 * round_):
                process.stdout.readline()
            process.kill()
            rest = process.stdout.read().split()
        count = 3 + 5 * round_ + len(rest)
        acknowledged += [f"{round_}-{i}" for i in range(count)]
        present = names(tmp_path)
        assert set(acknowledged) <= set(present)
        assert len(present) <= len(acknowledged) + round_ + 1, "at most the mark that was being written"
        assert len(set(present)) == len(present)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = write(tmp_path, "a.wav")
    whole = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: whole(descriptor, data[: len(data) // 2]))
    with pytest.raises(ResourceError, match=f"no space for .*{FILE}"):
        append_mark(tmp_path, Mark(clip="b.wav", mark="fault"))
    monkeypatch.undo()
    assert (tmp_path / FILE).read_bytes() == lines[0]

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.os, "fsync", fails)
    with pytest.raises(StoreError, match=f"cannot write .*{FILE}: Input/output error"):
        append_mark(tmp_path, Mark(clip="b.wav", mark="fault"))
    monkeypatch.undo()
    assert (tmp_path / FILE).read_bytes() == lines[0]


def test_a_read_only_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module.os, "open", refuses)
    with pytest.raises(StoreError, match=f"cannot write {tmp_path / FILE}: Read-only file system"):
        append_mark(tmp_path, Mark(clip="b.wav", mark="fault"))


def test_links_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    for action in (read_marks, lambda root: append_mark(root, Mark(clip="b.wav", mark="fault"))):
        with pytest.raises(StoreError, match=f"{FILE}: it is a symbolic link"):
            action(tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == b""
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    for action in (read_marks, lambda root: append_mark(root, Mark(clip="b.wav", mark="fault"))):
        with pytest.raises(StoreError, match="not a regular file"):
            action(tmp_path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = write(tmp_path, "a.wav")
    monkeypatch.setattr(module, "MAX_BYTES", 2 * len(lines[0]))
    with pytest.raises(StoreError, match=r"would exceed its limit of .* export the marks"):
        write(tmp_path, "a.wav")
    assert names(tmp_path) == ["a.wav"]
    monkeypatch.setattr(module, "MAX_BYTES", len(lines[0]) - 1)
    with pytest.raises(StoreError, match="bytes; the limit is"):
        read_marks(tmp_path)


def test_a_held_lock_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.05)
    with module._locked(tmp_path / FILE), pytest.raises(StoreError, match="being written by another process"):
        write(tmp_path, "a.wav")
    write(tmp_path, "a.wav")
    assert names(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("torn", [b"", b'{"mark'])
def test_where_the_lock_fails_a_mark_of_another_program_is_kept(
    tmp_path: Path, torn: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    write(own, "a.wav")
    shutil.copytree(own, other)
    lines = write(other, "b.wav")
    with (own / FILE).open("ab") as file:
        file.write(torn)

    def read(root: Path) -> Marks:
        marks = read_marks(root)
        (own / FILE).write_bytes(b"".join(lines))
        return marks

    monkeypatch.setattr(module, "read_marks", read)
    with pytest.raises(StoreError, match=r"another program marks at the same time; mark the clip again"):
        append_mark(own, Mark(clip="c.wav", mark="fault"))
    assert names(own) == ["a.wav", "b.wav"]


OLD = [{"note": "a\0b"}, {"who": "\0"}, {"start_s": 0.0, "end_s": 1e308}]


def test_new_marks_have_no_null_byte_and_no_huge_time(tmp_path: Path) -> None:
    for values, message in zip(OLD, ("note has a null", "who has a null", "the latest time is"), strict=True):
        with pytest.raises(OptionError, match=message):
            append_mark(tmp_path, Mark(clip="a.wav", mark="fault", **values))  # type: ignore[arg-type]
    assert not (tmp_path / FILE).exists()


def test_such_marks_of_an_earlier_version_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "problem_of", lambda mark: "")
    for values in OLD:
        append_mark(tmp_path, Mark(clip="a.wav", mark="fault", **values))  # type: ignore[arg-type]
    monkeypatch.undo()
    marks = read_marks(tmp_path).items
    assert (marks[0].note, marks[1].who, marks[2].end_s) == ("a\0b", "\0", 1e308)
    append_mark(tmp_path, Mark(clip="a.wav", mark="normal"))
    assert len(read_marks(tmp_path).items) == 4
