"""The featstore command as a user drives it: output, messages, exit codes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import write_clip

from featstore.building.request import name_in_store
from featstore.cli import main
from featstore.store import FeatureStore


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Four normal recordings and one faulty one of a fan, in folders a plant engineer would make."""
    for i in range(4):
        write_clip(tmp_path / "plant", f"fan/normal/{i}.wav", i, samples=4000)
    write_clip(tmp_path / "plant", "fan/abnormal/9.wav", 9, samples=4000)
    return tmp_path / "plant"


def build(plant: Path, *more: object) -> Result:
    return run("build", plant, plant.parent / "store", "-e", "logmel", "--workers", 0, *more)


def test_build_says_what_it_found_and_what_it_did(plant: Path) -> None:
    result = build(plant)
    assert result.exit_code == 0, result.output
    assert "logmel holds 5 rows (5 new, 0 changed, 0 kept)" in result.stdout
    assert "layout folder, 5 clips" in result.stderr
    again = build(plant)
    assert "(0 new, 0 changed, 5 kept)" in again.stdout


def test_rejected_recordings_give_exit_code_3_and_are_listed(plant: Path) -> None:
    (plant / "fan/normal/1.wav").write_bytes(b"RIFF")
    result = build(plant)
    assert result.exit_code == 3
    assert "fan/normal/1.wav" in result.stderr
    listed = run("info", plant.parent / "store", "--rejected")
    assert "fan/normal/1.wav  not decodable as audio" in listed.stdout
    assert "logmel holds 4 rows (5 new, 0 changed, 0 kept, less 1 rejected)" in result.stdout
    again = build(plant)
    assert again.exit_code == 0, "what is known to be rejected was not rejected this time"
    assert "(0 new, 0 changed, 4 kept)" in again.stdout


def test_a_single_machine_is_built_with_and_without_anomalies(plant: Path) -> None:
    write_clip(plant, "pump/normal/0.wav", 20, samples=4000)
    one = build(plant, "--machine", "fan")
    assert one.exit_code == 0, one.output
    assert "logmel holds 5 rows" in one.stdout
    for i in range(1, 4):
        write_clip(plant, f"pump/normal/{i}.wav", 20 + i, samples=4000)
    own = build(plant, "--machine", "pump", "--anomalies", "1:leak@0")
    assert own.exit_code == 0, own.output
    made = [clip for clip in FeatureStore.open(plant.parent / "store").clips("logmel") if clip.variant]
    assert {clip.machine for clip in made} == {"pump"}
    wrong = build(plant, "--machine", "fna")
    assert wrong.exit_code == 1
    assert "--machine fna: not in the data; it has fan, pump; did you mean fan?" in wrong.stderr


def test_an_unknown_kind_of_anomaly_is_a_usage_error(plant: Path) -> None:
    result = build(plant, "--anomalies", "foo")
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert not (plant.parent / "store").exists()


def test_strict_stops_with_one_line(plant: Path) -> None:
    (plant / "fan/normal/1.wav").write_bytes(b"")
    result = build(plant, "--strict")
    assert result.exit_code == 1
    assert "error: fan/normal/1.wav: the file is empty (0 bytes)" in result.stderr
    assert "Traceback" not in result.output


def test_dry_run_writes_nothing(plant: Path) -> None:
    result = build(plant, "--dry-run")
    assert result.exit_code == 0
    assert "5 clips to read in 1 unit" in result.stdout
    assert "bytes needed" in result.stdout
    assert not (plant.parent / "store").exists()
    plan = json.loads(build(plant, "--dry-run", "--json").stdout)
    assert plan["embeddings"][0]["new"] == 5


def test_json_reports(plant: Path) -> None:
    report = json.loads(build(plant, "--json").stdout)
    assert report["rows"] == {"logmel": 5}
    facts = json.loads(run("info", plant.parent / "store", "--json").stdout)
    assert facts["embeddings"]["logmel"]["rows"] == 5
    assert json.loads(run("verify", plant.parent / "store", "--json").stdout) == []


def test_info_shows_everything_on_one_screen(plant: Path) -> None:
    build(plant)
    shown = run("info", plant.parent / "store").stdout
    assert "logmel" in shown
    assert len(shown.splitlines()) < 40
    assert max(map(len, shown.splitlines())) <= 120


def test_damage_gives_exit_code_4_and_names_the_file(plant: Path) -> None:
    build(plant)
    shard = next((plant.parent / "store" / "shards").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = run("verify", plant.parent / "store")
    assert result.exit_code == 4
    assert shard.name in result.stdout


def test_export_and_import_round_trip(plant: Path, tmp_path: Path) -> None:
    build(plant)
    store = plant.parent / "store"
    for kind in ("npz", "csv", "parquet"):
        assert run("export", store, tmp_path / f"out.{kind}", "-e", "logmel").exit_code == 0
        assert (tmp_path / f"out.{kind}").stat().st_size > 0
    result = run("import", tmp_path / "other", tmp_path / "out.npz", "--as", "logmel")
    assert result.exit_code == 0, result.output
    import numpy as np

    from featstore.store import FeatureStore

    old, new = FeatureStore.open(store), FeatureStore.open(tmp_path / "other")
    np.testing.assert_array_equal(new.matrix("logmel"), old.matrix("logmel"))
    assert list(new.clips("logmel")) == list(old.clips("logmel"))


def test_compact_keeps_every_row(plant: Path) -> None:
    build(plant, "--unit-clips", 1)
    store = plant.parent / "store"
    before = json.loads(run("info", store, "--json").stdout)
    result = run("compact", store)
    assert result.exit_code == 0, result.output
    after = json.loads(run("info", store, "--json").stdout)
    assert (before["shards"], after["shards"]) == (5, 1)
    assert after["embeddings"]["logmel"]["rows"] == 5
    assert run("verify", store).exit_code == 0


def test_simulate_then_scan(tmp_path: Path) -> None:
    assert run("simulate", tmp_path / "s", "--clips", 16, "--machines", "fan,valve", "--seconds", 1).exit_code == 0
    scanned = run("scan", tmp_path / "s")
    assert scanned.exit_code == 0
    assert "layout dcase2023, 16 clips" in scanned.stdout


def test_simulate_several_machines_of_a_kind(tmp_path: Path) -> None:
    options = ["--style", "dcase2020", "--ids", 2, "--clips", 32, "--machines", "fan,valve", "--seconds", 1]
    assert run("simulate", tmp_path / "s", *options).exit_code == 0
    scanned = run("scan", tmp_path / "s")
    assert "layout dcase2020, 32 clips" in scanned.stdout
    assert "id_01" in scanned.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["biuld"], 2, "Did you mean 'build'?"),
        (["build", ".", "s", "-e", "logmell"], 2, "did you mean logmel?"),
        (["build", ".", "s", "-e", "logmel:n_mel=3"], 2, "did you mean n_mels?"),
        (["build", ".", "s", "-e", "logmel", "--chanel", "0"], 2, "--channel"),
        (["build", ".", "s", "-e", "logmel", "-e", "twfr", "--as", "x"], 2, "single -e"),
        (["build", ".", "s", "-e", "logmel", "--length", "crop"], 1, "expected native, crop:S"),
        (["info", "."], 1, "is not a feature store"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(
    plant: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(plant)
    result = run(*args)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("twfr", "twfr"),
        ("twfr:r=0.9;0.5,n_mels=64", "twfr:r=0.9+0.5,n_mels=64"),
        ("beats=/models/a,b.pt", "beats"),
        ("beats:checkpoint=/models/a.pt,layer=4", "beats:layer=4"),
    ],
)
def test_names_in_the_store_carry_no_paths(spec: str, name: str) -> None:
    assert name_in_store(spec) == name


def test_a_second_writer_is_refused_at_once_and_the_first_goes_on(plant: Path) -> None:
    from featstore.store import StoreWriter

    store = plant.parent / "store"
    with StoreWriter(store):
        started = time.monotonic()
        command = [sys.executable, "-m", "featstore.cli", "compact", str(store)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 4, second.stderr
        assert "is being written by process" in second.stderr
        assert time.monotonic() - started < 10  # the refusal itself is timed in test_lock
    assert build(plant).exit_code == 0


def test_a_full_disk_gives_exit_code_5_and_the_build_goes_on_when_there_is_space(tmp_path: Path, plant: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        command = [sys.executable, "-m", "featstore.cli", "build", str(plant), str(small / "store"), "-e", "logmel"]
        full = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert full.returncode == 5, full.stderr
        assert "bytes" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        grown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert grown.returncode == 0, grown.stderr
        assert "holds 5 rows" in grown.stdout
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_dry_run_for_a_cluster_needs_no_accelerator_here(plant: Path) -> None:
    cluster = run("build", plant, plant / "new", "-e", "logmel", "--engine", "ray", "--device", "cuda", "--dry-run")
    assert cluster.exit_code == 0, cluster.output
    assert "nothing was written" in cluster.stdout
