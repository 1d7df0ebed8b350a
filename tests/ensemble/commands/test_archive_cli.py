"""`detect archive` as a user drives it: results, resumption after whatever stopped a run, and clear refusals."""

import csv
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_stores import D, add, clips, content, results
from click.testing import CliRunner, Result

pytest.importorskip("pyarrow")

from ensemble.archive import banks as archive_banks
from ensemble.archive import run as archive_module
from ensemble.archive.parts import Top, one_writer
from ensemble.cli import main

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bank of 80 clips and an archive of 100 in units of 20."""
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 20)
    X = np.random.default_rng(3).normal(size=(180, D)).astype(np.float32)
    add(tmp_path / "bank", clips(80, "bank"), X[:80])
    add(tmp_path / "archive", clips(100, "archive", split="test"), X[80:], per_shard=20)
    return tmp_path


def run(plant: Path, *more: object, reference: str = "bank", archive: str = "archive", out: str = "out") -> Result:
    words = ["archive", plant / reference, plant / archive, "-o", plant / out, *more]
    return CliRunner().invoke(main, [str(word) for word in words])


def parts(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of results; a run beside this may rename one."""
    found = {}
    for path in out.glob("part-*"):
        with suppress(FileNotFoundError):
            found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def test_results_top_and_summary(plant):
    result = run(plant, "--top", 7, "-k", 2)
    assert result.exit_code == 0, result.output
    assert "100 clips; the 7 most anomalous of 7 in top.csv" in result.stdout
    rows = sorted(results(plant / "out"), key=lambda row: (-row["percentile"], row["clip"]))
    with (plant / "out" / "top.csv").open(newline="") as file:
        top = list(csv.DictReader(file))
    assert [row["clip"] for row in top] == [row["clip"] for row in rows[:7]]
    assert [float(row["distance_2"]) for row in top] == [row["distance_2"] for row in rows[:7]]
    summary = json.loads((plant / "out" / "archive.json").read_text())
    assert (summary["finished"], summary["clips"], summary["unscored"]) == (True, 100, {})
    assert summary["files"] == sorted(parts(plant / "out"))
    assert len(summary["files"]) == 5


def test_json_is_the_summary(plant):
    result = run(plant, "--json", "--top", 0)
    assert json.loads(result.stdout) == json.loads((plant / "out" / "archive.json").read_text())


def test_a_dry_run_writes_nothing(plant):
    before = sorted(plant.rglob("*"))
    result = run(plant, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "100 rows of 6 dimensions" in result.stdout
    assert "in 5 units against at most 80 rows" in result.stdout
    assert sorted(plant.rglob("*")) == before


def test_clips_without_a_bank_give_exit_code_3_and_are_counted(plant):
    new = [replace(clip, machine="pump") for clip in clips(3, "new", parts=1)]
    add(plant / "archive", new, np.ones((3, D), np.float32))
    result = run(plant)
    assert result.exit_code == 3, result.output
    said = "3 clips without a bank of more than k rows: pump 00 (3)"
    assert said in result.stderr
    again = run(plant)  # now they are counted from the files
    assert (again.exit_code, said in again.stderr) == (3, True)


def test_a_finished_run_is_not_made_again(plant):
    run(plant, "-k", 3)
    before, top = parts(plant / "out"), (plant / "out" / "top.csv").read_bytes()
    assert run(plant, "-k", 3, "--threads", 2, "--memory", "3GB").exit_code == 0
    assert parts(plant / "out") == before
    assert (plant / "out" / "top.csv").read_bytes() == top


DAMAGE = {
    "removed": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(path.read_bytes().replace(b"archive/0003", b"archive/0006")),
    "another's": lambda path: path.write_bytes(sorted(path.parent.glob("part-*"))[0].read_bytes()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_part_is_made_again_and_no_other(plant, kind):
    run(plant)
    before, whole, top = parts(plant / "out"), content(plant / "out"), (plant / "out" / "top.csv").read_bytes()
    damaged = sorted(before)[1]
    image = (plant / "out" / damaged).read_bytes()
    DAMAGE[kind](plant / "out" / damaged)
    assert not (plant / "out" / damaged).exists() or (plant / "out" / damaged).read_bytes() != image
    assert run(plant).exit_code == 0
    after = parts(plant / "out")
    assert {name for name in before if after[name] != before[name]} == {damaged}
    assert content(plant / "out") == whole
    assert (plant / "out" / "top.csv").read_bytes() == top


def test_a_grown_archive_keeps_its_old_parts(plant):
    run(plant)
    before = parts(plant / "out")
    add(plant / "archive", clips(30, "later"), np.random.default_rng(4).normal(size=(30, D)).astype(np.float32))
    assert run(plant).exit_code == 0
    after = parts(plant / "out")
    assert before.items() <= after.items()
    assert len(after) == 6
    assert len(results(plant / "out")) == 130


def test_a_changed_reference_makes_all_again_and_leaves_nothing_old(plant):
    run(plant)
    before = parts(plant / "out")
    add(plant / "bank", clips(1, "later"), np.ones((1, D), np.float32))
    assert run(plant).exit_code == 0
    assert not before.keys() & parts(plant / "out").keys()
    assert len(results(plant / "out")) == 100


@pytest.mark.parametrize("more", [("-k", 2), ("--per", "machine"), ("--bank", "all")])
def test_other_settings_in_the_same_folder_are_refused(plant, more):
    run(plant)
    before = parts(plant / "out")
    result = run(plant, *more)
    assert result.exit_code == 1
    assert "holds results made with" in result.stderr
    assert parts(plant / "out") == before


def test_another_archive_does_not_replace_results_and_a_moved_one_goes_on(plant):
    run(plant)
    before = parts(plant / "out")
    result = run(plant, archive="bank")
    assert result.exit_code == 1
    assert f"holds results made with archive={plant / 'archive'}" in result.stderr
    (plant / "archive").rename(plant / "moved")
    assert run(plant, archive="moved").exit_code == 0
    assert parts(plant / "out") == before


def test_a_foreign_record_is_refused(plant):
    (plant / "out").mkdir()
    for text in ("{}", "[]", "not json", "3"):
        (plant / "out" / "archive.json").write_text(text)
        result = run(plant)
        assert result.exit_code == 1
        assert "is not the record of an archive run" in result.stderr


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--memory", "1kB"], 5, "its largest unit takes"),
        (["--memory", "lots"], 2, "is no size; write 500MB or 2GB"),
        (["--memory", "1.2.3GB"], 2, "is no size"),
        (["--memory", "-1GB"], 2, "is no size"),
        (["--per", "colour"], 2, "'colour' is none of machine, section, domain"),
        (["-k", 0], 2, "-k"),
        (["-e", "y"], 1, "y"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(plant, more, code, words):
    result = run(plant, *more)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not parts(plant / "out")


def test_values_that_are_not_finite_name_their_shard(plant, monkeypatch):
    X = np.ones((20, D), np.float32)
    X[3, 2] = np.nan
    monkeypatch.setattr("featstore.disk.shard.finite_rows", lambda matrix: np.ones(len(matrix), bool))
    add(plant / "archive", clips(20, "hostile"), X)
    monkeypatch.undo()
    result = run(plant)
    assert result.exit_code == 4, result.output
    shard = max((plant / "archive" / "shards").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert f"{shard.name} has values that are not finite" in result.stderr


def test_without_pyarrow_the_cure_is_said(plant, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = run(plant)
    assert result.exit_code == 1
    assert "pip install 'featstore[parquet]'" in result.stderr


PROGRAM = "from ensemble.archive import run; run.UNIT_ROWS = 20; from ensemble.cli import main; main()"


def command(plant: Path, out: Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "archive", str(plant / "bank"), str(plant / "archive"), "-o", str(out)]


def test_a_killed_run_goes_on_where_it_was(plant):
    X = np.random.default_rng(9).normal(size=(2000, D)).astype(np.float32)
    add(plant / "archive", clips(2000, "many", split="test"), X, per_shard=20)
    process = subprocess.Popen(command(plant, plant / "out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(parts(plant / "out")) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {name: facts for name, facts in parts(plant / "out").items() if name.endswith(".parquet")}
    assert 1 <= len(done) < 105, "killed too early or too late to show anything"
    assert not (plant / "out" / "top.csv").exists()
    (plant / "out" / "part-000050-0123456789abcdef.parquet.deadbeef.tmp").write_bytes(b"half")
    assert run(plant).exit_code == 0
    after = parts(plant / "out")
    assert done.items() <= after.items()
    assert len(after) == 105
    assert run(plant, out="anew").exit_code == 0
    assert content(plant / "out") == content(plant / "anew")
    assert (plant / "out" / "top.csv").read_bytes() == (plant / "anew" / "top.csv").read_bytes()


def test_a_full_disk_gives_exit_code_5_leaves_no_half_file_and_the_run_goes_on_with_space(plant):
    small = plant / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        full = subprocess.run(command(plant, small / "out"), capture_output=True, text=True, timeout=120, check=False)
        assert full.returncode == 5, full.stderr
        assert "no space for" in full.stderr
        left = parts(small / "out")
        assert 0 < len(left) < 5
        assert all(name.endswith(".parquet") for name in left)
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        assert run(plant, out="small/out").exit_code == 0
        assert left.items() <= parts(small / "out").items()
        assert len(results(small / "out")) == 100
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_second_run_into_the_same_folder_is_refused(plant):
    (plant / "out").mkdir()
    with one_writer(plant / "out"):
        result = run(plant)
    assert result.exit_code == 4
    assert f"{plant / 'out'} is being written by process" in result.stderr
    assert run(plant).exit_code == 0


def test_says_when_memory_makes_it_read_the_bank_again_and_again(plant, monkeypatch):
    assert "with more memory" not in run(plant).stderr
    monkeypatch.setattr(archive_banks, "PIECE_ROWS", 8)
    tight = next(
        result
        for kilobytes in range(80, 1000, 2)
        if (result := run(plant, "--memory", f"{kilobytes}kB", out=f"out{kilobytes}")).exit_code == 0
    )
    assert "they were read again for every batch of the archive; with more memory they are read once" in tight.stderr


def test_a_store_or_a_file_is_no_place_for_results(plant):
    (plant / "file").touch()
    for out, code, what in (("bank", 1, "is a store"), ("file", 2, "is a file")):
        result = run(plant, out=out)
        assert result.exit_code == code
        assert what in " ".join(result.stderr.split())


def test_the_record_names_the_embedding_that_was_not_asked_for(plant):
    assert run(plant).exit_code == 0
    assert json.loads((plant / "out" / "archive.json").read_text())["embedding"] == "x"


def test_embeddings_imported_twice_compare_with_a_note(plant):
    X = np.random.default_rng(3).normal(size=(180, D)).astype(np.float32)
    imported = {"config": {"imported": True}}
    add(plant / "mine", clips(80, "bank"), X[:80], fingerprint="a" * 64, **imported)
    add(plant / "theirs", clips(100, "archive", split="test"), X[80:], fingerprint="b" * 64, per_shard=20, **imported)
    result = run(plant, reference="mine", archive="theirs")
    assert result.exit_code == 0
    assert "x was imported twice: make sure the same embedder made both" in result.stderr
    assert run(plant, out="built").exit_code == 0
    assert content(plant / "out") == content(plant / "built")


def test_an_interruption_stops_after_the_unit_at_work(plant, monkeypatch):
    take = Top.take

    def interrupted(self: Top, *of: object) -> None:
        take(self, *of)
        if self.clips == 40:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Top, "take", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = run(plant)
    assert result.exit_code == 130
    assert "stopping after this unit" in result.stderr
    assert 2 <= len(parts(plant / "out")) < 5
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert run(plant).exit_code == 0


def test_a_run_that_ended_before_it_had_results_claims_nothing(plant):
    assert run(plant, "--memory", "1kB").exit_code == 5
    assert run(plant, "-k", 2).exit_code == 0


def test_somebody_elses_top_csv_is_not_overwritten(plant):
    (plant / "out").mkdir()
    (plant / "out" / "top.csv").write_text("mine")
    result = run(plant)
    assert result.exit_code == 1
    assert "top.csv is not of an archive run" in result.stderr
    assert (plant / "out" / "top.csv").read_text() == "mine"
