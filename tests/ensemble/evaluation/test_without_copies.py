"""Test clips that are copies: the score without them, when it comes first, the shift check, and two labels."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from fitted_plant import INFOS
from noise_plant import RATE, noise

from ensemble.cli import main
from ensemble.fitting.fit import fit
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.cli import main as featstore_main
from featstore.clip import Clip
from featstore.store import FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable, encode

OPTIONS = ("-d", "knn", "-e", "h", "--workers", "1")
TRAIN, TEST = 30, 20


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def make(path: Path, copied: int, *, faults: int = 6, opposed: int = 0, near: int = 0) -> Path:
    """A store whose first `copied` and next `near` normal test clips, and first `opposed` anomalies, are copies."""
    clips = [Clip(f"fan/normal/{i:02d}.wav", "fan", "00", "train", "unknown", "normal") for i in range(TRAIN)]
    clips += [Clip(f"fan/test/{i:02d}.wav", "fan", "00", "test", "unknown", "normal") for i in range(TEST)]
    clips += [Clip(f"fan/abnormal/{i:02d}.wav", "fan", "00", "test", "unknown", "anomaly") for i in range(faults)]
    X = np.random.default_rng(3).normal(size=(len(clips), 12)).astype(np.float32)
    X[TRAIN + TEST :, 0] += 4
    contents = [f"content {clip.path}" for clip in clips]
    rows = [*range(TRAIN, TRAIN + copied), *range(TRAIN + TEST, TRAIN + TEST + opposed)]
    for i, row in enumerate(rows):
        X[row], contents[row] = X[i], contents[i]
    for i in range(copied, copied + near):
        X[TRAIN + i] = X[i] * np.float32(1 + 3e-7)
    shard = ShardData(replace(INFOS["h"], dtype="float32"), ClipTable.from_clips(clips), X, {})
    with StoreWriter(path) as writer:
        writer.commit([replace(shard, facts={"content_hash": encode(contents)})])
    return path


@pytest.mark.parametrize(("copied", "first"), [(20, True), (11, True), (10, False), (1, False)])
def test_the_score_without_copies_comes_first_where_most_normal_test_clips_are_copies(
    tmp_path: Path, copied: int, first: bool
) -> None:
    done = run(make(tmp_path / "s", copied), *OPTIONS, "-o", tmp_path / "r")
    assert done.exit_code == 0, done.output
    without, official = (done.stdout.index(text) for text in ("official score without", "official score (2020"))
    warning = f"warning: {copied} of 20 normal test clips are copies of training clips: the official score says nothing"
    assert (without < official) == first
    assert (warning in done.stdout) == first
    assert ("no section is left to measure" in done.stdout) == (copied == 20)


@pytest.mark.parametrize("near", [0, 2])
def test_evaluate_says_of_copies_what_the_run_says(tmp_path: Path, near: int) -> None:
    store = make(tmp_path / "s", 12, near=near)
    done = run(store, *OPTIONS, "-o", tmp_path / "r")
    of_run = json.loads((tmp_path / "r" / "metrics.json").read_text())
    evaluated = run("evaluate", tmp_path / "r" / "scores.csv", store)
    lines = [line for line in done.stdout.splitlines() if "copies of training clips" in line]
    assert len(lines) == 2
    assert [line for line in evaluated.stdout.splitlines() if "copies of training clips" in line] == lines
    as_json = json.loads(run("evaluate", tmp_path / "r" / "scores.csv", store, "--json").stdout)
    assert as_json["copies"] == of_run["copies"]
    assert as_json["copies"]["near"] == near


def test_evaluate_knows_exact_copies_of_the_store_without_the_column(tmp_path: Path) -> None:
    store = make(tmp_path / "s", 3)
    run(store, *OPTIONS, "-o", tmp_path / "r")
    with (tmp_path / "r" / "scores.csv").open(newline="") as file:
        lines = [f"{row['clip']};{row['score']}\n" for row in csv.DictReader(file)]
    (tmp_path / "plain.csv").write_text("".join(["clip;score\n", *lines]))  # as Excel writes it in many countries
    evaluated = run("evaluate", tmp_path / "plain.csv", store)
    assert evaluated.exit_code == 0, evaluated.output
    assert "official score without the 3 copies of training clips: " in evaluated.stdout


def test_copies_are_no_shift(tmp_path: Path) -> None:
    for copied in (20, 0):
        done = run(make(tmp_path / str(copied), copied), *OPTIONS, "-o", tmp_path / "r")
        assert "normal sound has probably shifted" not in done.stderr
    (shift,) = json.loads((tmp_path / "r" / "metrics.json").read_text())["drift"]
    assert shift["clips"] == TEST + 6
    run(tmp_path / "20", *OPTIONS, "-o", tmp_path / "r")
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["drift"] == [], "6 clips that are no copies"


def test_a_recording_under_two_labels_is_named_and_no_score_depends_on_it(tmp_path: Path) -> None:
    recipe = Recipe((Member("h", "knn"),))
    one, two = (FeatureStore.open(make(tmp_path / str(n), 0, opposed=n)) for n in (1, 2))
    first = detect(one, recipe).notes[0]
    pair = "fan/abnormal/00.wav and fan/normal/00.wav"
    assert first == (
        f"{pair} are the same recording, once as anomaly and once as normal training clip: correct the wrong one and "
        "build with --prune"
    )
    notes = detect(two, recipe).notes
    assert notes[0].startswith(f"{pair}, fan/abnormal/01.wav and fan/normal/01.wav are the same recording in each pair")
    assert first in fit(one, recipe)[1]


def test_fit_names_copies_as_a_run_does(tmp_path: Path) -> None:
    store, recipe = FeatureStore.open(make(tmp_path / "s", 0)), Recipe((Member("h", "knn"),))
    clips, X = store.clips("h"), store.matrix("h").copy()
    X[1] = X[0] * np.float32(1 + 3e-7)
    contents = [f"content {clip.key}" for clip in clips]
    X[3], contents[3] = X[2], contents[2]
    shard = ShardData(replace(INFOS["h"], dtype="float32"), clips, X, {"content_hash": encode(contents)})
    with StoreWriter(tmp_path / "t") as writer:
        writer.commit([shard])
    twice = FeatureStore.open(tmp_path / "t")
    copies = [note for note in detect(twice, recipe).notes if note.startswith("1 training clip has the")]
    assert len(copies) == 2
    assert [note for note in fit(twice, recipe)[1] if note.startswith("1 training clip has the")] == copies


def test_fit_names_recordings_that_are_gone_as_a_run_does(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "s"
    (data / "fan" / "normal").mkdir(parents=True)
    for i, wave in enumerate(noise(np.random.default_rng(4), 6)):
        sf.write(data / "fan" / "normal" / f"{i}.wav", wave, RATE)
    command = ["build", str(data), str(store), "-e", "logmel:n_mels=40", "--as", "logmel", "--workers", "0"]
    assert CliRunner().invoke(featstore_main, command).exit_code == 0
    (data / "fan" / "normal" / "3.wav").unlink()
    fitted = run("fit", store, "-o", tmp_path / "m", "-d", "knn", "-e", "logmel@mean", "--workers", "1")
    assert fitted.exit_code == 0, fitted.output
    note = f"1 training clip of recordings that are no longer in {data}, first fan/normal/3.wav"
    assert f"note: {note}" in fitted.stderr
