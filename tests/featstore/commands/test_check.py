"""`featstore check` on folders and stores: tables, names, exit codes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from fakes import write_clip

from featstore.cli import main
from featstore.errors import StoreError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore

RATE = 16_000


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def write(path: Path, seed: int, rate: int = RATE, scale: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).normal(0, scale, rate // 2), rate)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Twelve training and four test recordings of a fan."""
    for i in range(12):
        write(tmp_path / f"plant/fan/train/normal/{i}.wav", i)
    for i in range(4):
        write(tmp_path / f"plant/fan/test/normal/{i}.wav", 100 + i)
    return tmp_path / "plant"


def both(plant: Path) -> list[Result]:
    """The answers on the folder and on a store of it."""
    run("build", plant, plant.parent / "store", "-e", "logmel", "--workers", 0)
    return [run("check", plant, "--workers", 0), run("check", plant.parent / "store")]


def test_a_clean_plant_exits_0(plant: Path) -> None:
    for result in both(plant):
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1].endswith(": the recordings of each section are alike; no problem found")
        assert max(map(len, result.stdout.splitlines()[:-1])) <= 110
        row = result.stdout.splitlines()[2].split()
        assert (row[:6], row[-1]) == (["fan", "00", "16", "16000", "0.5", "1"], "8000")
        assert row[6] == "-20"


def test_what_would_mislead_exits_3_and_is_named(plant: Path) -> None:
    for i in range(5):
        write(plant / f"fan/test/normal/slow{i}.wav", 200 + i, rate=8000)
    (plant / "fan/test/normal/copy.wav").write_bytes((plant / "fan/train/normal/3.wav").read_bytes())
    for result in both(plant):
        assert result.exit_code == 3
        assert "fan/test/normal/slow0.wav  8000 Hz" in result.stdout
        assert "slow3.wav" not in result.stdout
        assert "and 2 more" in result.stdout
        assert "fan/test/normal/copy.wav   fan/train/normal/3.wav" in result.stdout
        assert result.stdout.splitlines()[-1].endswith(
            "1 test clip has a copy among the training clips, 5 clips have another sample rate"
        )
    built = run("build", plant, plant.parent / "again", "-e", "logmel", "--workers", 0)
    assert (
        "note: fan 00: 5 of 10 test clips with another sample rate (8000 Hz; training clips 16000 Hz), " in built.stderr
    )
    assert built.exit_code == 0
    repeated = run("build", plant, plant.parent / "again", "-e", "logmel", "--workers", 0)
    assert "another sample rate" not in repeated.stderr, "nothing new was built"


def test_store_and_folder_give_the_same_table(plant: Path) -> None:
    write(plant / "fan/test/normal/loud.wav", 7, scale=0.2)
    folder, store = both(plant)
    assert folder.stdout.splitlines()[:-1] == store.stdout.splitlines()[:-1]


def test_rejected_recordings_exit_3(plant: Path) -> None:
    (plant / "fan/test/normal/bad\033[2J.wav").write_bytes(b"x")
    for result in both(plant):
        assert result.exit_code == 3
        assert "bad\\x1b[2J.wav" in result.stdout
        assert "\033" not in result.output
        assert result.stdout.splitlines()[-1].endswith(
            "the recordings of each section are alike; 1 recording was rejected"
        )


def test_escapes_in_names_do_not_reach_the_terminal(plant: Path) -> None:
    name = plant / "fan/test/normal/slow\033]0;title\007\nforged.wav"
    write(name, 1, rate=8000)
    (plant / "fan/train/normal/\033[31m.wav").write_bytes(name.read_bytes())
    for result in both(plant):
        assert result.exit_code == 3
        assert "\033" not in result.output
        assert "slow\\x1b]0;title\\x07\\nforged.wav" in result.stdout


def test_a_dead_channel_is_named_with_the_one_that_has_sound(tmp_path: Path) -> None:
    (tmp_path / "plant/fan/normal").mkdir(parents=True)
    for i in range(5):
        wave = np.random.default_rng(i).normal(0, 0.1, 4000)
        sf.write(tmp_path / f"plant/fan/normal/{i}.wav", np.stack([0 * wave, wave], 1), RATE)
    built = run("build", tmp_path / "plant", tmp_path / "store", "-e", "logmel", "--workers", 0)
    text = "sound is in channel 1: build with --channel 1"
    assert f"note: fan 00: 5 of 5 clips with silence (channel 0; {text}); see featstore check" in built.stderr
    result = run("check", tmp_path / "plant", "--workers", 0)
    assert (result.exit_code, f"note: fan 00: {text}" in result.stderr) == (3, True)
    assert run("check", tmp_path / "plant", "--channel", 1, "--workers", 0).exit_code == 0
    assert run("check", tmp_path / "store").exit_code == 3


def test_the_csv_has_a_row_per_clip(plant: Path, tmp_path: Path) -> None:
    write(plant / "fan/test/normal/slow.wav", 1, rate=8000)
    assert run("check", plant, "--workers", 0, "--csv", tmp_path / "a.csv").exit_code == 3
    rows = {row["clip"]: row for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())}
    assert len(rows) == 17
    slow = rows["fan/test/normal/slow.wav"]
    assert (slow["sample_rate_hz"], slow["n_samples"], slow["channels"], slow["silent"]) == ("8000", "4000", "1", "0")
    assert (slow["section"], slow["split"], slow["differs_in"]) == ("00", "test", "sample rate")
    assert float(slow["level_dbfs"]) == pytest.approx(-20, abs=0.5)
    assert rows["fan/train/normal/0.wav"]["differs_in"] == ""


def test_reading_options_are_refused_for_a_store(plant: Path) -> None:
    both(plant)
    result = run("check", plant.parent / "store", "--channel", 1)
    assert result.exit_code == 2
    assert "--channel is for reading recordings" in result.output


def test_windows_are_checked_one_by_one(plant: Path) -> None:
    result = run("check", plant, "--window", 0.25, "--hop", 0.25, "--workers", 0)
    assert result.exit_code == 0, result.output
    assert "32 windows of 16 recordings" in result.stderr


def test_worker_processes_give_the_same(plant: Path) -> None:
    assert run("check", plant, "--workers", 1).stdout == run("check", plant, "--workers", 0).stdout


def test_imported_embeddings_are_unknown(tmp_path: Path, plant: Path) -> None:
    both(plant)
    built = FeatureStore.open(plant.parent / "store")
    import_matrix(tmp_path / "other", "x", built.matrix("logmel").reshape(16, -1), built.clips("logmel"))
    result = run("check", tmp_path / "other")
    assert result.exit_code == 0, result.output
    assert "16 of 16 clips have no measured facts" in result.stderr
    assert result.stdout.splitlines()[-1].endswith("other: nothing is known of 16 clips")
    assert result.stdout.splitlines()[2].split() == ["fan", "00", "16", *"????????..?"]


def test_generated_anomalies_are_not_shown_and_have_the_facts_of_their_source(plant: Path) -> None:
    store = plant.parent / "store"
    assert run("build", plant, store, "-e", "logmel", "--anomalies", "1", "--workers", 0).exit_code == 0
    opened = FeatureStore.open(store)
    levels = dict(zip(opened.clips("logmel").keys(), opened.facts("logmel")["level_dbfs"].tolist(), strict=True))
    assert len(levels) > 16
    assert all(level == levels[key.partition("::")[0]] for key, level in levels.items())
    assert run("check", store).stdout.splitlines()[2].split()[2] == "16"


def test_short_clips_of_a_low_rate_are_no_error(tmp_path: Path) -> None:
    for i in range(5):
        write_clip(tmp_path / "plant", f"fan/normal/{i}.wav", i, samples=20)
    assert run("check", tmp_path / "plant", "--workers", 0).exit_code == 0


def test_where_all_recordings_were_rejected_nothing_is_known(plant: Path) -> None:
    for file in plant.rglob("*.wav"):
        file.write_bytes(b"x")
    for result in both(plant):
        assert result.exit_code == 3
        assert result.stdout.splitlines()[-1].endswith(": nothing is known of 0 clips; 16 recordings were rejected")


def test_a_file_longer_than_its_header_misleads_and_padded_ones_are_noted(plant: Path, tmp_path: Path) -> None:
    odd = plant / "fan/test/normal/odd.wav"
    write(odd, 300)
    content = bytearray(odd.read_bytes())
    content[4:8], content[40:44] = (36 + 8000).to_bytes(4, "little"), (8000).to_bytes(4, "little")
    odd.write_bytes(content)
    sf.write(plant / "fan/test/normal/short.wav", np.random.default_rng(0).normal(0, 0.1, 100), RATE)
    both(plant)
    result = run("check", plant.parent / "store", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 3
    assert "1 clip has a length that its header does not state" in result.stdout.splitlines()[-1]
    assert "fan/test/normal/odd.wav" in result.stdout
    assert "padded" not in result.stdout
    assert "note: 1 recording: padded (" in result.stderr
    rows = {row["clip"]: row for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())}
    assert rows["fan/test/normal/odd.wav"]["outcome"] == "longer than its header says"
    assert rows["fan/test/normal/short.wav"]["outcome"] == "padded"
    assert rows["fan/train/normal/0.wav"]["outcome"] == ""


def test_a_csv_in_a_missing_folder_is_a_usage_error(plant: Path, tmp_path: Path) -> None:
    result = run("check", plant, "--csv", tmp_path / "none/x.csv")
    assert result.exit_code == 2
    assert f"no folder {tmp_path / 'none'}" in result.stderr


def test_a_csv_that_cannot_be_written_is_no_damaged_store(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise StoreError(f"cannot write {path}: denied")

    monkeypatch.setattr("featstore.disk.files.write_checked", fail)
    result = run("check", plant, "--workers", 0, "--csv", plant.parent / "x.csv")
    assert (result.exit_code, "x.csv: denied" in result.stderr) == (1, True)


def test_whole_clipping_is_100_percent(plant: Path) -> None:
    wave = np.sign(np.random.default_rng(0).normal(size=RATE // 2))
    sf.write(plant / "fan/test/normal/square.wav", np.repeat(wave[: RATE // 8], 4), RATE)
    result = run("check", plant, "--workers", 0)
    assert "100 %" in result.stdout
    assert "e+" not in result.stdout
